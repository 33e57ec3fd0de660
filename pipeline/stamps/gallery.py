"""The page of visual binaries: the best candidates and the doubtful ones, with stacks, surfaces and numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from catalogs.pages import Link, Page, Picture, Section
from catalogs.stamps import StampFlag
from catalogs.visual_binaries import VISUAL_BINARY_FILTERS
from pipeline.stamps import showcase

__all__ = ["PATH", "best", "doubtful", "draw_visual"]

#: Where the page lies in the workspace.
PATH = "reports/visual_binaries.html"

#: Sources of each of the two sorts that are shown.
_MOST = 12

_ABOUT = (
    "Probabilities are those of a second point source within 2.5 arcsec of the first. A ring marks where the fits put "
    "it; lines point at the first star. North is up, east left."
)

_DOUBTFUL = (
    "Those whose odds are nearest to the threshold, above it or below. Look whether all surveys that can tell show the "
    "same, and whether the stacks are sound."
)

_COMPLETE = (
    "Share of simulated pairs that are found, for each survey and for groups of those that resolve as much. Cells hold "
    "few pairs: neighbouring ones scatter."
)

#: Column of the table → how its numbers are written; of the others what is there.
_COLUMNS = {
    "source": None, "ra": ".6f", "dec": ".6f", "surveys_able": None, "p_double": ".4f", "p_prior": ".4f",
    "p_fit": ".4f", "tier": None, "n_components": ".0f", "sep_arcsec": ".3f", "sep_arcsec_err": ".2g",
    "pa_deg": ".1f", "pa_deg_err": ".1f", "pa_ambiguous": None, "delta_mag": ".2f", "delta_mag_err": ".2g",
    "p_chance": ".2g", "completeness": ".2f", "remarks": None,
}  # fmt: skip

_FILTERS = {
    "survey": None, "filter": None, "mjd": ".3f", "sep_arcsec": ".3f", "sep_arcsec_err": ".2g", "pa_deg": ".1f",
    "pa_deg_err": ".1f", "delta_mag": ".2f", "delta_mag_err": ".2g", "delta_chi2": ".1f", "snr_1": ".1f",
    "fwhm_arcsec": ".2f", "p": ".3f", "stack_method": None,
}  # fmt: skip

_UNITS = {"ra": "deg", "dec": "deg", "mjd": "d", "sep_arcsec": "arcsec", "sep_arcsec_err": "arcsec", "pa_deg": "deg",
          "pa_deg_err": "deg", "delta_mag": "mag", "delta_mag_err": "mag", "fwhm_arcsec": "arcsec"}  # fmt: skip


def best(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the most probable doubles.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of `catalogs.visual_binaries.VISUAL_BINARIES`.
    most : int
        How many, at most.
    """
    own = rows[rows["tier"] == "double"]
    return own.sort_values(["p_double", "source_id"], ascending=[False, True]).head(most)


def doubtful(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the doubles and possible ones whose odds are nearest to the threshold.

    Parameters
    ----------
    rows : pandas.DataFrame
        As of `best`, without those already shown.
    most : int
        How many, at most.
    """
    own = rows[rows["tier"].isin(["double", "possible"])]
    far = (_odds(own["p_double"]) - _odds(own["threshold"])).abs()
    return own.assign(far=far).sort_values(["far", "source_id"]).drop(columns="far").head(most)


def _odds(values: pd.Series) -> pd.Series:
    p = values.astype(float).clip(1e-12, 1 - 1e-12)
    return pd.Series(np.log(p) - np.log1p(-p), values.index)


def draw_visual(workspace: Folder, rows: pd.DataFrame, most: int = _MOST, figures: Sequence[Picture] = ()) -> str:
    """Write the page of the best and of the doubtful candidates; return its full address.

    Parameters
    ----------
    workspace : Folder
        Holds stacks and the table of filters, if there is one; receives ``reports/visual_binaries.html``.
    rows : pandas.DataFrame
        The catalogue, `catalogs.visual_binaries.VISUAL_BINARIES`; what was not measured is null.
    most : int
        Sources of each sort that are shown, at most.
    figures : sequence of Picture
        Such as that of completeness.
    """
    first = best(rows, most)
    second = doubtful(rows[~rows["source_id"].isin(first["source_id"])], most)
    names = [*first["source_id"], *second["source_id"]]
    places, filters = showcase.indexed(workspace, names), _filters(workspace, names)
    # A number before each name keeps headings, which are the addresses within the page, apart.
    titles = {name: f"{number}. {name}" for number, name in enumerate(names, start=1)}
    sections = [Section("Best", _said(first, "No source is called double."), _table(first, titles), sortable=True)]
    sections.append(Section("Doubtful", _said(second, "None.", _DOUBTFUL), _table(second, titles), sortable=True))
    for row in [*first.to_dict("records"), *second.to_dict("records")]:
        name = str(row["source_id"])
        seen = showcase.load(workspace, places[places["source_id"] == name])
        own = filters[filters["source_id"] == name].drop(columns="source_id")
        sections.append(_source(titles[name], row, seen, own))
    if figures:
        sections.append(Section("How complete", _COMPLETE, figures=figures))
    return Page("Visual binaries", sections, _ABOUT, _facts(rows)).write(workspace, PATH)


def _said(rows: pd.DataFrame, nothing: str, text: str = "") -> str:
    return text if len(rows) else nothing


def _facts(rows: pd.DataFrame) -> dict[str, Any]:
    tiers = rows["tier"].value_counts()
    facts: dict[str, Any] = {"sources": len(rows)}
    facts |= {name: int(tiers.get(name, 0)) for name in ("double", "possible", "unknown")}
    if len(rows):
        facts |= {"threshold": float(rows["threshold"].iloc[0]), "for a share of doubles of": rows["prior"].iloc[0]}
    return facts


def _filters(workspace: Folder, names: Sequence[str]) -> pd.DataFrame:
    """Return what each filter tells of sources; no rows where nothing was written of that."""
    path = f"catalogs/{VISUAL_BINARY_FILTERS.name}.parquet"
    known = workspace.exists(path)
    table = write.read(workspace, path, VISUAL_BINARY_FILTERS) if known else VISUAL_BINARY_FILTERS.empty()
    rows = table.select(["source_id", *_FILTERS]).to_pandas()
    return rows[rows["source_id"].isin(names)]


def _table(rows: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame | None:
    if not len(rows):
        return None
    links = [Link(name, f"#{Section(titles[name]).anchor}") for name in rows["source_id"]]
    return _shown(rows.assign(source=links, remarks=[_remarks(row) for row in rows.to_dict("records")]), _COLUMNS)


def _shown(rows: pd.DataFrame, wanted: Mapping[str, str | None]) -> pd.DataFrame:
    """Return columns as they are read; those that nothing is known of are left out."""
    shown = {
        name: rows[name].astype(object) if form is None else [None if pd.isna(v) else f"{v:{form}}" for v in rows[name]]
        for name, form in wanted.items()
        if name in rows and rows[name].notna().any()
    }
    table = pd.DataFrame(shown, index=rows.index)
    table.attrs["units"] = _UNITS
    return table


def _remarks(row: Mapping[str, Any]) -> str:
    flags = row.get("flags")
    words = [] if flags is None or pd.isna(flags) else [bit.text for bit in StampFlag if int(flags) & int(bit)]
    if row.get("pa_ambiguous") is True:
        words.append("either may be the brighter one")
    return "; ".join(words)


def _source(title: str, row: Mapping[str, Any], seen: Sequence[showcase.Seen], filters: pd.DataFrame) -> Section:
    found, name = showcase.companion(row), str(row["source_id"])
    remarks = _remarks(row)
    text = [_told(row), f"{remarks[0].upper()}{remarks[1:]}." if remarks else ""]
    pictures = [showcase.stacks(seen, found, name), showcase.surfaces(seen, found, name)] if seen else []
    text.append("" if seen else "Its stacks are no longer in the workspace.")
    table = _shown(filters, _FILTERS) if len(filters) else None
    return Section(title, "\n\n".join(filter(None, text)), table, pictures)


def _told(row: Mapping[str, Any]) -> str:
    """Return in a sentence what was found."""
    words = [f"{str(row['tier']).capitalize()}: p_double {row['p_double']:.4f}"]
    if (found := showcase.companion(row)) is not None:
        words.append(f"{np.hypot(*found):.2f}″ apart at {float(row['pa_deg']):.0f}° east of north")
    elif _known(row, "sep_arcsec"):
        words.append(f"{row['sep_arcsec']:.2f}″ apart, at an angle that is not known")
    elif _known(row, "sep_network_arcsec"):
        words.append(f"about {row['sep_network_arcsec']:.1f}″ apart by the network")
    if _known(row, "n_components"):
        words.append(f"{int(row['n_components'])} star{'s' if row['n_components'] > 1 else ''} by the fits")
    if _known(row, "p_chance"):
        words.append(f"by chance with probability {row['p_chance']:.2g}")
    return ", ".join(words) + "."


def _known(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return value is not None and not pd.isna(value)
