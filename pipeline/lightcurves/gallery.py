"""Light curves of chosen stars, read from the stores and drawn folded at their period."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.pages import Picture, Section
from pipeline import manifest, stores
from pipeline.lightcurves import charts, ingest, plan, preprocess
from pipeline.lightcurves.truth import Judgement
from pipeline.partition import Key, where_cadence, where_sector

__all__ = ["LightCurve", "draw", "examples", "light_curves"]

_SEGMENT = ["tic_id", "segment", "t_start", "t_end", "flux_median", "gls_period", "gls_power"]


@dataclass(frozen=True, eq=False)
class LightCurve:
    """What a model saw of a star in one sector, before it was resampled.

    Parameters
    ----------
    store : str
        ``s0001``.
    time, flux : (n,) float64
        BTJD, and flux relative to the median of its segment; good cadences inside segments.
    period : float
        gls_period of the most significant segment, d.
    """

    store: str
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    period: float


def light_curves(workspace: Folder, tic_ids: list[int]) -> dict[int, LightCurve]:
    """Return, for each star, the light curve of the sector with its most significant period.

    Parameters
    ----------
    workspace : Folder
        Holds light curves and segments.
    tic_ids : list of int
        Stars; those without a committed segment are left out.
    """
    wanted = pa.array(sorted(set(tic_ids)), pa.int64())
    found = []
    for name in plan.names(workspace):
        table = plan.load(workspace, name)
        if table is not None:
            found += _segments(workspace, name, table.filter(pc.is_in(table["tic_id"], wanted)))
    if not found:
        return {}
    segments = pd.concat(found, ignore_index=True)
    best = segments.sort_values("gls_power", kind="stable", na_position="first").groupby("tic_id").last()
    chosen = segments.merge(best["store"].reset_index(), on=["tic_id", "store"])
    return {
        int(tic_id): _read(workspace, rows, float(best.loc[tic_id, "gls_period"]))
        for tic_id, rows in chosen.groupby("tic_id")
    }


def _segments(workspace: Folder, name: str, rows: pa.Table) -> list[pd.DataFrame]:
    """Return the segments, with the star's row in the store, that stars of a plan have there."""
    placed = rows.filter(rows["row"].is_valid()).select(["tic_id", "row", "partition"]).to_pandas()
    found = []
    for part, stars in placed.groupby("partition"):
        key = Key("curves", name, int(part))
        if manifest.read(workspace, "preprocess", key) is None:
            continue
        index = write.read(workspace, preprocess.index_path(key), schema.SEGMENTS).select(_SEGMENT).to_pandas()
        found.append(index.merge(stars, on="tic_id").assign(store=name))
    return [frame for frame in found if len(frame)]


def _read(workspace: Folder, segments: pd.DataFrame, period: float) -> LightCurve:
    store, row = str(segments["store"].iloc[0]), int(segments["row"].iloc[0])
    names = ["time", "flux", "quality"]
    data = stores.read(workspace, ingest.store_path(store), names, slice(row, row + 1))
    time, flux = (data[name][0].astype(np.float64) for name in ("time", "flux"))
    relative = np.full(time.shape, np.nan)
    for segment in segments.itertuples():
        inside = (time >= segment.t_start) & (time <= segment.t_end)
        relative[inside] = flux[inside] / segment.flux_median
    good = np.isfinite(relative) & (data["quality"][0] == 0)
    return LightCurve(store, time[good], relative[good], period)


def draw(workspace: Folder, captions: Mapping[int, str], periods: Mapping[int, float]) -> list[Picture]:
    """Return a picture for each star that has a light curve and a period, in the order given.

    Parameters
    ----------
    workspace : Folder
        Holds light curves and segments.
    captions : mapping of int to str
        Star → line below its picture.
    periods : mapping of int to float
        Star → orbital period (d); gls_period stands in for those that are missing or NaN.
    """
    curves = light_curves(workspace, list(captions))
    pictures = []
    for tic_id, caption in captions.items():
        curve = curves.get(tic_id)
        orbit = periods.get(tic_id, np.nan)
        what, period = (
            ("period", orbit) if np.isfinite(orbit) else ("gls_period", np.nan if not curve else curve.period)
        )
        if curve is None or len(curve.time) < 2 or not np.isfinite(period):
            continue
        cadence = where_cadence(curve.store)
        name = f"TIC {tic_id}, sector {where_sector(curve.store)}" + (f", {cadence} s" if cadence != 120 else "")
        pictures.append(charts.folded(curve.time, curve.flux, period, name, caption, what))
    return pictures


_WHY = """Left in time, then folded at the catalogue's period and at twice that.

Where the catalogue has no period, gls_period, that of the strongest sinusoid, takes its place. A binary has two
eclipses an orbit; where they are alike, the strongest sinusoid has half the orbital period, and folding at that lays
one eclipse onto the other. So the middle panel shows every other cycle in another colour: if the two lines differ in
depth or shape, the orbit is twice the period drawn. Dots off both lines are eclipses that only some cycles have: the
orbit is longer still. Lines are medians, phase 0 is the deepest minimum. gls_period is sharpened within the step of
the periodogram's grid, 0.8%; period is drawn as it is."""


def examples(
    workspace: Folder,
    stars: pd.DataFrame,
    truth: pd.DataFrame | None,
    judgement: Judgement | None,
    threshold: float,
) -> list[Section]:
    """Return sections of folded light curves: best-scored, borderline and, with a truth, the worst mistakes.

    Parameters
    ----------
    workspace : Folder
        Holds light curves and segments.
    stars : pandas.DataFrame
        The catalogue, best first, one row a star.
    truth : pandas.DataFrame or None
        tic_id, label and, if known, kind, period (d).
    judgement : Judgement or None
        With a truth: only stars it judges by are shown.
    threshold : float
        Where candidates begin.
    """
    groups: dict[str, tuple[pd.Series, str]] = {}
    pool, said = stars, ""
    if judgement is not None:
        pool, said = (
            stars[stars["tic_id"].isin(judgement.stars["tic_id"])],
            " Shown are stars that the model did not train on.",
        )
        judged = judgement.stars.dropna(subset="p_eb").sort_values("p_eb")
        missed = judged[judged["is_eb"] & ~judged["found"]].head(2)["tic_id"]
        wrong = judged[~judged["is_eb"] & judged["found"]].tail(2)["tic_id"][::-1]
        text = "The stars of highest p_eb that are no eclipsing binaries, and those of lowest that are."
        groups["The worst mistakes"] = (pd.concat([wrong, missed]), text + said)
    near = pool.assign(away=(pool["p_eb"] - threshold).abs()).sort_values("away", kind="stable")["tic_id"]
    groups = {
        "The best-scored stars": (pool["tic_id"].head(5), _WHY + said),
        "Borderline stars": (
            near[~near.isin(pool["tic_id"].head(5))].head(3),
            "Closest to the threshold." + said,
        ),
        **groups,
    }
    scores, known = stars.set_index("tic_id"), None if truth is None else truth.set_index("tic_id")
    sections = []
    for heading, (chosen, text) in groups.items():
        captions = {int(tic_id): _caption(scores.loc[tic_id], known, int(tic_id)) for tic_id in chosen}
        if pictures := draw(workspace, captions, scores["period"].astype(float)[[*captions]].to_dict()):
            sections.append(Section(heading, text, figures=pictures))
    return sections


def _caption(star: pd.Series, known: pd.DataFrame | None, tic_id: int) -> str:
    orbit = f"period {star['period']:.5g} d ({star['period_flag']}), " if pd.notna(star["period"]) else ""
    text = (
        f"p_eb {star['p_eb']:.3f} of {star['n_segments']} segments, {orbit}gls_period {star['gls_period']:.5g} d, "
        f"Tmag {star['tmag']:.1f}."
    )
    if known is None or tic_id not in known.index:
        return text
    truth = known.loc[tic_id]
    kind, period = truth.get("kind", truth["label"]), truth.get("period", np.nan)
    if not np.isfinite(period):
        return f"{text} In truth: {kind}, no period."
    ratio = f", {period / star['gls_period']:.3g} times gls_period" if truth["label"] == "EB" else ""
    return f"{text} In truth: {kind}, period {period:.5g} d{ratio}."
