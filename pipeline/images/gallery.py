"""The pages of supernova candidates: an index with pictures, and a page an object with triplets and light curve."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalogs.candidates import CANDIDATES
from catalogs.figures import COLORS, Picture, canvas, embed
from catalogs.folder import Folder
from catalogs.pages import Card, Link, Page, Section
from catalogs.supernovae import Selection, is_selected, tally
from catalogs.write import read as read_table
from pipeline import stores
from pipeline.errors import Missing
from pipeline.images import supernovae, triplets
from pipeline.images.combine import SERIES

__all__ = ["PATH", "Task", "draw", "tasks", "write_index"]

#: Where the pages lie in the workspace.
PATH = "reports/supernovae"

#: Triplets on a page, one a detection, at most.
_SHOWN = 4

_COLUMNS = ["object", "ra", "dec", "n_det", "n_nondet", "mjd_first", "mjd_last", "snr_max", "mag_peak", "filter_peak",
            "host_sep_arcsec", "known_name", "p_real", "remarks"]  # fmt: skip

#: Digits behind the point of numbers that are long before it.
_DIGITS = {"ra": 5, "dec": 5, "mjd_first": 3, "mjd_last": 3}


class Task(NamedTuple):
    """What a worker needs for the page of one object.

    Parameters
    ----------
    row : dict
        Its row of the catalogue.
    curve : pandas.DataFrame
        Its light curve.
    detections : pandas.DataFrame
        pair_id, triplet_row, mjd_mid, filter and snr of its detections, the strongest first.
    neighbours : tuple of str
        Objects before and after, empty where there is none.
    """

    row: dict[str, Any]
    curve: pd.DataFrame
    detections: pd.DataFrame
    neighbours: tuple[str, str]


def tasks(workspace: Folder, most: int) -> list[Task]:
    """Return the pages to draw: of the objects that are selected the `most` of highest S/N.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue.
    most : int
        Largest number of pages.

    Raises
    ------
    Missing
        If there is no catalogue yet, or its candidates are gone.
    """
    made = supernovae.read(workspace)
    if not workspace.exists(SERIES.current):
        raise Missing(f"{workspace.url(SERIES.current)}: no candidates; run difference_images")
    chosen = _ranked(made.objects[is_selected(made.objects["selection"])]).head(most)
    names = list(chosen["object_id"])
    own = made.members[made.members["object_id"].isin(names)]
    columns = ["candidate_id", "pair_id", "triplet_row", "mjd_mid", "filter", "snr"]
    found = read_table(workspace, SERIES.current, CANDIDATES).select(columns).to_pandas()
    rows = found.merge(own[["candidate_id", "object_id"]], on="candidate_id").assign(size=lambda t: -t["snr"].abs())
    rows = rows.sort_values(["size", "candidate_id"]).drop(columns="size")
    curves, detections = (dict(list(table.groupby("object_id"))) for table in (made.curves, rows))
    around = ["", *names, ""]
    return [
        Task(
            {str(key): value for key, value in row.items()}, curves.get(row["object_id"], made.curves.iloc[:0]),
            detections.get(row["object_id"], rows.iloc[:0]), (around[place], around[place + 2]),
        )
        for place, row in enumerate(chosen.to_dict("records"))
    ]  # fmt: skip


def _ranked(objects: pd.DataFrame) -> pd.DataFrame:
    score = objects["p_real"].astype(float).fillna(0.0)
    size = objects["snr_max"].abs()
    return objects.assign(score=score, size=size).sort_values(
        ["score", "size", "object_id"], ascending=[False, False, True], ignore_index=True
    ).drop(columns=["score", "size"])  # fmt: skip


def draw(workspace: Folder, batch: Sequence[Task]) -> list[tuple[str, bytes]]:
    """Write the pages of objects; return the name of each, with a small picture (PNG).

    Parameters
    ----------
    workspace : Folder
        Holds triplets, receives the pages.
    batch : sequence of Task
        Objects.
    """
    return [_page(workspace, task) for task in batch]


def _page(workspace: Folder, task: Task) -> tuple[str, bytes]:
    name, row = str(task.row["object_id"]), task.row
    cuts = [_triplet(workspace, one) for one in task.detections.head(_SHOWN).to_dict("records")]
    links = [Link("all candidates", "index.html", "up")]
    links += [
        Link(other, f"{other}.html", rel) for other, rel in zip(task.neighbours, ("prev", "next"), strict=True) if other
    ]
    curve = task.curve.sort_values(["mjd_mid", "pair_id"])[
        ["mjd_mid", "filter", "flux", "flux_err", "flux_unit", "snr", "mag_ab", "mag_limit", "candidate_id"]
    ]
    curve = curve.assign(mjd_mid=_digits(curve["mjd_mid"], 4))
    curve.attrs["units"] = {"mjd_mid": "d", "mag_ab": "mag", "mag_limit": "mag"}
    facts = {
        "detections": row["n_det"], "without detection": row["n_nondet"], "highest S/N": float(row["snr_max"]),
        "brightest": f"{row['mag_peak']:.2f} AB" if np.isfinite(row["mag_peak"] or np.nan) else None,
        "from a host": None if pd.isna(row["host_sep_arcsec"]) else f"{row['host_sep_arcsec']:.2f}″",
        "known as": None if pd.isna(row["known_name"]) else row["known_name"],
    }  # fmt: skip
    sections = [
        Section("Light curve", "Forced photometry at its mean place in every difference that covers it; triangles are "
                "limits of 3 sigma.", figures=[_light(task.curve, name)]),
        Section("Where it was detected", figures=[_cutouts(cuts, name)] if cuts else []),
        Section("Measurements", table=curve),
        Section("What there is to say", "\n\n".join(_remarks(int(row["selection"]))) or "Nothing speaks against it."),
    ]  # fmt: skip
    place = f"{row['ra']:.6f} {row['dec']:+.6f} deg"
    Page(name, sections, place, {label: value for label, value in facts.items() if value is not None}, links).write(
        workspace, f"{PATH}/{name}.html"
    )
    return name, _small(cuts, task.curve)


def _digits(values: pd.Series, number: int) -> list[str | None]:
    return [None if pd.isna(value) else f"{value:.{number}f}" for value in values]


def _remarks(selection: int) -> list[str]:
    return [f"{bit.text[0].upper()}{bit.text[1:]}." for bit in Selection if selection & int(bit)]


def _triplet(workspace: Folder, detection: Mapping[str, Any]) -> tuple[NDArray[np.float32] | None, str]:
    """Return the triplet of a detection, if one was kept, and what to write beside it."""
    when = "" if pd.isna(detection["mjd_mid"]) else f"MJD {detection['mjd_mid']:.3f}\n"
    text = f"{when}{detection['filter']}, {detection['snr']:+.1f}σ"
    if pd.isna(detection["triplet_row"]):
        return None, text
    row = int(detection["triplet_row"])
    found = stores.read(workspace, triplets.path(detection["pair_id"]), [triplets.NAME], slice(row, row + 1))
    return found[triplets.NAME][0], text


def _show(axis: Axes, image: NDArray[np.float32] | None) -> None:
    axis.set_axis_off()
    if image is None or not np.isfinite(image).any():
        return
    low, high = (float(v) for v in np.nanpercentile(image, [1, 99.7]))
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), origin="lower", interpolation="nearest")


def _cutouts(cuts: Sequence[tuple[NDArray[np.float32] | None, str]], name: str) -> Picture:
    figure, axes = canvas(len(cuts), 3, width=9.0, height=3.1 * len(cuts))
    for line, (cut, text) in zip(axes, cuts, strict=True):
        for channel, axis in enumerate(line):
            _show(axis, None if cut is None else cut[channel])
            title = "science, aligned" if channel == 0 else triplets.CHANNELS[channel]
            axis.set_title(f"{text.splitlines()[-1]} · {title}" if channel == 0 else title, fontsize=8)
    figure.set_facecolor("white")
    return replace(embed(figure, f"Triplets of {name}", wide=True, colors=64), plot=False)


def _light(curve: pd.DataFrame, name: str) -> Picture:
    figure, axes = canvas(1, 1, width=9.0, height=3.2)
    units = _points(axes[0, 0], curve)
    axes[0, 0].set_xlabel("MJD")
    axes[0, 0].set_ylabel(f"flux of the difference, {' or '.join(units)}")
    return embed(figure, f"Forced light curve of {name}", wide=True)


def _points(axis: Axes, curve: pd.DataFrame, size: float = 5.0) -> list[str]:
    """Draw a light curve, a colour a filter; return the units of its fluxes."""
    known = curve[np.isfinite(curve["flux"].astype(float)) & np.isfinite(curve["mjd_mid"].astype(float))]
    axis.axhline(0, color="#888888", lw=0.8)
    for color, (band, rows) in zip(COLORS * 20, known.groupby("filter"), strict=False):
        seen = rows["flux_limit"].isna()
        axis.errorbar(
            rows["mjd_mid"], rows["flux"], rows["flux_err"], fmt="none", ecolor=color, elinewidth=1, alpha=0.6
        )
        axis.plot(rows["mjd_mid"][seen], rows["flux"][seen], "o", ms=size, color=color, label=band or "no filter")
        axis.plot(rows["mjd_mid"][~seen], rows["flux_limit"][~seen], "v", ms=size, mfc="none", color=color,
                  label="" if seen.any() else band or "no filter")  # fmt: skip
    if len(known):
        axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return sorted({"µJy" if unit == "uJy" else "counts" for unit in known["flux_unit"]}) or ["counts"]


def _small(cuts: Sequence[tuple[NDArray[np.float32] | None, str]], curve: pd.DataFrame) -> bytes:
    figure = Figure(figsize=(4.0, 2.3), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.5, 1.0])
    for channel in range(3):
        cut = cuts[0][0] if cuts else None
        _show(figure.add_subplot(grid[0, channel]), None if cut is None else cut[channel])
    below = figure.add_subplot(grid[1, :])
    _points(below, curve, 3.0)
    if (legend := below.get_legend()) is not None:
        legend.remove()
    below.tick_params(labelsize=6, length=2)
    below.ticklabel_format(axis="x", useOffset=False)
    below.spines[["top", "right"]].set_visible(False)
    return embed(figure, "thumbnail", dpi=110, colors=64).png


def write_index(
    workspace: Folder, pictures: Mapping[str, bytes], notes: Sequence[str] = (), differences: Sequence[Picture] = ()
) -> str:
    """Write the page that leads to the others; pages of objects that are on it no more are removed.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue, receives ``reports/supernovae/index.html``.
    pictures : mapping
        Object with a page → small picture (PNG), as `draw` gives them.
    notes : sequence of str
        Sentences that stand at the top.
    differences : sequence of Picture
        As `pipeline.images.showcase.panels` draws them.

    Returns
    -------
    str
        Full address of the page.
    """
    objects = supernovae.read(workspace).objects
    chosen = _ranked(objects[is_selected(objects["selection"])])
    names = chosen["object_id"]
    table = chosen.assign(
        object=[Link(name, f"{name}.html") if name in pictures else name for name in names],
        # That no model has scored it is plain from p_real.
        remarks=[" ".join(_remarks(int(bits) & ~int(Selection.NO_P_REAL))) for bits in chosen["selection"]],
    )[_COLUMNS]  # fmt: skip
    table = table.assign(**{name: _digits(table[name], n) for name, n in _DIGITS.items()})
    table.attrs["units"] = {"ra": "deg", "dec": "deg", "mjd_first": "d", "mjd_last": "d", "mag_peak": "mag",
                            "host_sep_arcsec": "arcsec"}  # fmt: skip
    cards = [
        Card(
            Link(name, f"{name}.html"),
            _told(row),
            Picture(pictures[name], f"Triplet and light curve of {name}", plot=False),
        )
        for name, row in zip(names, chosen.to_dict("records"), strict=True)
        if name in pictures
    ]
    reasons = pd.DataFrame([(count, bit.text) for bit, count in tally(objects["selection"]) if count],
                           columns=["objects", "what there is to say of them"])  # fmt: skip
    sections = [
        Section("Pictures", cards=cards),
        Section("Table", table=table, rows=2000, sortable=True),
        Section("Every object, by what speaks for and against", "Of an object all that holds counts; none is ever "
                "dropped: the others are in catalogs/supernova_candidates.parquet.", table=reasons),
    ]  # fmt: skip
    if differences:
        sections.append(Section("A whole difference", "That with most of what is selected.", figures=differences))
    facts = {"objects": len(objects), "selected": len(chosen), "known before": int(chosen["known_name"].notna().sum())}
    path = Page("Supernova candidates", sections, " ".join(notes), facts).write(workspace, f"{PATH}/index.html")
    for entry in list(workspace.list(PATH, ".html")):
        if (name := entry.path.rpartition("/")[2].removesuffix(".html")) not in pictures and name != "index":
            workspace.remove(entry.path)
    return path


def _told(row: Mapping[str, Any]) -> str:
    peak = f", {row['mag_peak']:.1f} AB in {row['filter_peak']}" if np.isfinite(row["mag_peak"] or np.nan) else ""
    known = "" if pd.isna(row["known_name"]) else f"; {row['known_name']}"
    return f"{row['n_det']} detections, {row['snr_max']:+.1f}σ{peak}{known}"
