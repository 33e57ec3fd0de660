"""A page for each candidate, from which a person decides in seconds, and their index by rank."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from catalogs.binaries import PROBABILITIES, Flag, is_clean, meanings
from catalogs.folder import Folder
from catalogs.pages import Link, Page, Picture, Section
from pipeline.lightcurves import panels, sheet
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.star import StarCurves

__all__ = ["ROWS", "index_path", "page_path", "pictures", "write_candidate", "write_failure", "write_index"]

#: Rows of a page of the index.
ROWS = 500

#: Flags that speak for a candidate.
FAVOURABLE = Flag.CONTAMINANT_EXCLUDED

_SAME = 0.01  # share by which periods differ that are drawn apart


def page_path(rank: int, tic_id: int, eb_id: int = 1) -> str:
    """Return the name of a candidate's page; by name they are in order of rank, from 1."""
    return f"{rank:06d}-tic{tic_id}-{eb_id}.html"


def index_path(number: int = 0) -> str:
    """Return the name of a page of the index, from 0."""
    return "index.html" if number == 0 else f"index-{number + 1}.html"


def write_candidate(
    folder: Folder,
    rank: int,
    neighbours: tuple[str, str],
    star: StarCurves,
    row: Mapping[str, Any],
    ephemerides: Sequence[Ephemeris],
) -> str:
    """Write the page of one candidate; the same arguments give the same bytes.

    Parameters
    ----------
    folder : Folder
        Receives the page, named by `page_path`.
    rank : int
        Place in the index, from 1.
    neighbours : tuple of str
        Names of the pages before and after; empty where there is none.
    star : StarCurves
        Its light curves.
    row : mapping
        Its row of the catalogue: tic_id, and as far as known eb_id, p_eb, period and so on.
    ephemerides : sequence of Ephemeris
        Systems of the star; the one with the row's eb_id is drawn.

    Returns
    -------
    str
        Name of the page.
    """
    shown = Section("Light curve", figures=pictures(star, row, ephemerides))
    return _write(folder, rank, neighbours, row, shown, len(ephemerides))


def pictures(star: StarCurves, row: Mapping[str, Any], ephemerides: Sequence[Ephemeris]) -> list[Picture]:
    """Draw a candidate: its light curve, folded where there is a period, and its eclipses; see `write_candidate`."""
    tic_id, eb_id = int(row["tic_id"]), int(_value(row, "eb_id", 1))
    name = f"TIC {tic_id}"
    ephemeris = next((one for one in ephemerides if one.eb_id == eb_id), None)
    data = sheet.points(star, float("nan") if ephemeris is None else ephemeris.period)
    drawn = [sheet.curve(data, ephemeris, name)]
    if periods := _periods(data, ephemeris):
        epoch = float(data.time[np.argmin(data.flux)]) if ephemeris is None else ephemeris.epoch
        drawn.append(sheet.folds(data, periods, epoch, name))
    sigma = float(_value(row, "centroid_shift_sigma", np.nan))
    return [*drawn, panels.eclipses(star, data, ephemeris, name, sigma)]


def write_failure(folder: Folder, rank: int, neighbours: tuple[str, str], row: Mapping[str, Any], error: str) -> str:
    """Write the page of a candidate that cannot be drawn, which says why; see `write_candidate`."""
    return _write(folder, rank, neighbours, row, Section("Light curve", f"It could not be drawn. {error}"))


def _write(
    folder: Folder, rank: int, neighbours: tuple[str, str], row: Mapping[str, Any], drawn: Section, systems: int = 1
) -> str:
    tic_id, eb_id = int(row["tic_id"]), int(_value(row, "eb_id", 1))
    links = [
        Link("all candidates", index_path((rank - 1) // ROWS), "up"),
        Link("ExoFOP", f"https://exofop.ipac.caltech.edu/tess/target.php?id={tic_id}"),
    ]
    links += [
        Link(text, path, rel) for text, path, rel in zip(("previous", "next"), neighbours, ("prev", "next")) if path
    ]
    title = f"{rank}. TIC {tic_id}" + (f", system {eb_id}" if eb_id > 1 or systems > 1 else "")
    path = page_path(rank, tic_id, eb_id)
    Page(title, [drawn, Section("The row", table=_table(row), rows=500)], _lead(row), _facts(row), links).write(
        folder, path
    )
    return path


def write_index(folder: Folder, rows: pd.DataFrame, report: str = "") -> str:
    """Write the index, `ROWS` candidates a page, in the order of the rows: the first has rank 1.

    Parameters
    ----------
    folder : Folder
        Holds the pages.
    rows : pandas.DataFrame
        Rows of the catalogue: tic_id, and as far as there eb_id, p_eb, period, flags, known_in and so on.
    report : str
        Address of the report, as seen from `folder`; empty if there is none.

    Returns
    -------
    str
        Name of its first page.
    """
    pages = max(1, -(-len(rows) // ROWS))
    for number in range(pages):
        part = rows.iloc[number * ROWS : (number + 1) * ROWS]
        links = [Link("report", report, "up")] if report else []
        links += [Link("before", index_path(number - 1), "prev")] if number else []
        links += [Link("after", index_path(number + 1), "next")] if number + 1 < pages else []
        table = pd.DataFrame(
            [_line(rank, row) for rank, row in enumerate(part.to_dict("records"), number * ROWS + 1)],
            columns=list(_line(1, {"tic_id": 0})),
        )
        table.attrs["units"] = {"period": "d", "Tmag": "mag"}
        lead = "By rank. On the pages the arrow keys, or j and k, lead to the next and the previous one."
        section = Section("Candidates", table=table, rows=ROWS)
        Page("Eclipsing binaries: candidates", [section], lead, {"candidates": len(rows)}, links).write(
            folder, index_path(number)
        )
    return index_path()


def _value(row: Mapping[str, Any], name: str, default: Any = None) -> Any:
    value = row.get(name)
    missing = value is None or (not isinstance(value, list | tuple | np.ndarray) and pd.isna(value))
    return default if missing else value


def _class(row: Mapping[str, Any]) -> str:
    """Return the most probable class, empty if none is known."""
    chances = {name: float(_value(row, column, np.nan)) for name, column in PROBABILITIES.items()}
    known = {name: chance for name, chance in chances.items() if np.isfinite(chance)}
    return max(known, key=known.__getitem__) if known else str(_value(row, "klass", ""))


def _lead(row: Mapping[str, Any]) -> str:
    known = f" Known: {_known(row)}." if _known(row) else ""
    given = _value(row, "flags")
    if given is None:
        return f"No ephemeris was found, so that it could not be vetted.{known}"
    flags = int(given)
    against, favour = meanings(flags & ~FAVOURABLE), meanings(flags & FAVOURABLE)
    text = f"Reasons to distrust it: {'; '.join(against)}." if against else "No reason to distrust it was found."
    return text + "".join(f" {reason[0].upper()}{reason[1:]}." for reason in favour) + known


def _known(row: Mapping[str, Any]) -> str:
    known = _value(row, "known_in", "")
    return known if isinstance(known, str) else ", ".join(known)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    flag = str(_value(row, "period_flag", "")).replace("_", " ")
    tier = str(_value(row, "tier", ""))
    wanted = {
        f"probability{', tier ' + tier if tier else ''}": "p_eb",
        "class": "",
        "morphology": "morph",
        f"period, d{', ' + flag if flag else ''}": "period",
        "primary depth": "depth_1",
        "secondary depth": "depth_2",
        "Tmag": "tmag",
    }
    facts = {label: _value(row, column) if column else _class(row) for label, column in wanted.items()}
    short = {label: round(value, 4) if isinstance(value, float) else value for label, value in facts.items()}
    return {label: value for label, value in short.items() if value not in (None, "")}


def _table(row: Mapping[str, Any]) -> pd.DataFrame:
    known = {name: value for name, value in row.items() if not isinstance(value, float) or np.isfinite(value)}
    return pd.DataFrame({"column": list(known), "value": pd.Series(list(known.values()), dtype=object)})


def _line(rank: int, row: Mapping[str, Any]) -> dict[str, Any]:
    tic_id, eb_id = int(row["tic_id"]), int(_value(row, "eb_id", 1))
    flags = Flag(int(_value(row, "flags", 0))) & ~FAVOURABLE
    return {
        "rank": rank,
        "star": Link(f"TIC {tic_id}" + (f" ({eb_id})" if eb_id > 1 else ""), page_path(rank, tic_id, eb_id)),
        "p_eb": _rounded(row, "p_eb", 3),
        "clean": "yes" if is_clean([_value(row, "tier", "")], [_value(row, "flags", np.nan)])[0] else "",
        "class": _class(row),
        "period": _rounded(row, "period", 5),
        "period is": str(_value(row, "period_flag", "")).replace("_", " "),
        "depth 1": _rounded(row, "depth_1", 4),
        "depth 2": _rounded(row, "depth_2", 4),
        "Tmag": _rounded(row, "tmag", 1),
        "flags": ", ".join(str(flag.name).lower().replace("_", " ") for flag in Flag if flag & flags),
        "known in": _known(row),
    }


def _rounded(row: Mapping[str, Any], name: str, digits: int) -> float:
    return round(float(_value(row, name, np.nan)), digits)


def _periods(data: sheet.Points, ephemeris: Ephemeris | None) -> dict[str, float]:
    """Return what to fold at: the period with half and twice it, and the alternative if that is none of them."""
    if ephemeris is None:
        periods, power = sheet.strongest(data)
        if not len(periods):
            return {}
        best = float(periods[np.argmax(power)])
        return {"strongest sine": best, "twice that": 2 * best}
    period, other = ephemeris.period, ephemeris.period_alt
    if ephemeris.period_flag == "lower_limit" or not period > 0:
        return {}
    found = {"P/2": period / 2, "P": period, "2P": 2 * period}
    if other > 0 and all(abs(other / one - 1) > _SAME for one in found.values()):
        found["alternative"] = float(other)
    return found
