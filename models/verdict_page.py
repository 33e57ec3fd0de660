"""A page that sets models side by side on real labelled stars, with the light curves that a person should look at."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from catalogs.pages import Page, Picture, Section
from models.verdict import compare, judge, mistakes
from pipeline.lightcurves import charts
from pipeline.lightcurves.clean import prepare
from pipeline.lightcurves.labelled import Labelled

__all__ = ["page"]

_MOST = 24  # pictures a section

_HEADINGS = {
    "doubted": (
        "Labels in doubt",
        "Labelled as not eclipsing, yet in a published list of eclipsing binaries. They are neither learnt from nor "
        "counted: the pictures show who is right.",
    ),
    "missed": ("Missed", "Eclipsing binaries of known class that score below the threshold."),
    "false": ("False alarms", "Stars labelled as not eclipsing that score above the threshold; some may be binaries."),
}


def page(labelled: Labelled, tables: Mapping[str, pd.DataFrame]) -> Page:
    """Return the page.

    Parameters
    ----------
    labelled : Labelled
        Light curves of the stars.
    tables : mapping of str to pandas.DataFrame
        Model → its stars, see `models.crossvalidate.crossvalidate`; pictures are of the first model's mistakes.
    """
    first, *others = tables
    sections = [Section("Found", _LEAD, _found(tables))]
    if others:
        rows = [{"model": first, "against": name} | _flat(compare(tables[first], tables[name])) for name in others]
        sections.append(Section("Side by side", _COMPARED, pd.DataFrame(rows)))
    sections += [section for name in tables for section in _kinds(name, judge(tables[name]))]
    for name, rows in mistakes(tables[first], labelled.doubted_here).items():
        heading, text = _HEADINGS[name]
        count = f" {len(rows)} stars" + (f", {_MOST} of them shown." if len(rows) > _MOST else ".")
        sections.append(Section(heading, text + count, figures=_pictures(labelled, rows.head(_MOST))))
    counts = {f"stars, {name}": len(table) for name, table in tables.items()}
    return Page("Models on real stars, out of fold", sections, f"Pictures are of {first}'s mistakes.", counts)


_LEAD = """Each star is scored by a model that did not learn from it. The threshold of each model lets pass 1% of the
stars that do not eclipse and whose label is certain. Intervals: Wilson, 95%."""

_COMPARED = """Eclipsing binaries of known class, each model at its own threshold. p_value: McNemar's exact test;
ratio of the misses with its 95% interval by bootstrap over stars."""


def _found(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for name, table in tables.items():
        verdict = judge(table)
        for group in ("kinds", "dips", "sectors"):
            for label, got in verdict[group].items():
                low, high = got["interval"]
                said = {"model": name, "of": group, "stars of": label, "found": got["found"], "stars": got["stars"]}
                share = None if got["share"] is None else round(got["share"], 4)
                rows.append(said | {"share": share, "from": round(low, 4), "to": round(high, 4)})
    return pd.DataFrame(rows)


def _kinds(name: str, verdict: Mapping[str, Any]) -> list[Section]:
    """Return how a model's classes compare with what others call the binaries it found."""
    sections = []
    for who, theirs in (("classes", "the label's"), ("vsx", "VSX's")):
        if (got := verdict.get(who)) is None:
            continue
        matrix = pd.DataFrame(got["matrix"], columns=[f"said {kind}" for kind in got["classes"]])
        matrix.insert(0, theirs, got["classes"])
        text = f"Binaries that {name} found, {theirs} class against the model's most probable one."
        morph = verdict["morph"]
        if who == "classes" and morph["mae"] is not None:
            text += f" Morphology of {morph['stars']} of them against Prša et al. 2022: mean absolute error "
            text += f"{morph['mae']:.3f}, Spearman {morph['spearman']:.3f}."
        sections.append(Section(f"Classes of {name} against {theirs}", text, matrix))
    return sections


def _flat(verdict: Mapping[str, object]) -> dict[str, object]:
    return {name: str(value) if isinstance(value, list) else value for name, value in verdict.items()}


def _pictures(labelled: Labelled, stars: pd.DataFrame) -> list[Picture]:
    pictures = []
    for row in stars.itertuples():
        star = labelled.find(int(row.tic_id))
        segments = prepare(star.time, star.flux, star.quality, "robust", star.cadence_s)
        best = max(segments, key=lambda segment: segment.gls_power, default=None)
        if best is None or not best.gls_power > 0:
            continue
        inside = [(star.time >= part.t_start) & (star.time <= part.t_end) for part in segments]
        time = [star.time[rows] for rows in inside]
        flux = [star.flux[rows] / part.flux_median for rows, part in zip(inside, segments, strict=True)]
        name = f"TIC {row.tic_id}, sector {row.sector}"
        caption = f"Labelled {row.kind}, score {row.score:.3f}."
        pictures.append(charts.folded(np.concatenate(time), np.concatenate(flux), best.gls_period, name, caption))
    return pictures
