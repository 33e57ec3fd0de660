"""Light curves of objects: forced photometry in every difference that covers them, detected there or not."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.images.footprints import contains

__all__ = ["Forced", "light_curves", "mirrored", "with_nondetections"]

#: What measures places in a difference: (pair_id, ra, dec) → rows as `pipeline.images.forced.calibrated` gives them;
#: flux is NaN where the difference says nothing.
Forced = Callable[[str, NDArray[np.float64], NDArray[np.float64]], pd.DataFrame]

_MEASURED = ("flux", "flux_err", "flux_unit", "snr", "mag_ab", "mag_err", "flux_limit", "mag_limit", "flags")


def light_curves(objects: pd.DataFrame, detections: pd.DataFrame, frames: pd.DataFrame, forced: Forced) -> pd.DataFrame:
    """Measure all objects in all differences that cover them, but for those they are detected in the other way round.

    Parameters
    ----------
    objects : pandas.DataFrame
        Columns object_id, ra, dec (deg).
    detections : pandas.DataFrame
        Columns object_id, pair_id, candidate_id, snr.
    frames : pandas.DataFrame
        Differences: pair_id, filter, mjd_mid, time_scale and footprint (ra, dec of the corners, deg).
    forced : callable
        See `Forced`; asked once for each difference.

    Returns
    -------
    pandas.DataFrame
        As `catalogs.supernovae.LIGHT_CURVE`, sorted by object_id and pair_id.
    """
    strength = detections.assign(strength=detections["snr"].abs())
    best = strength.sort_values(["strength", "candidate_id"], ascending=[False, True])
    best = best.drop_duplicates(["object_id", "pair_id"])[["object_id", "pair_id", "candidate_id"]]
    parts = []
    for frame in frames.sort_values("pair_id").to_dict("records"):
        inside = contains(frame["footprint"], objects["ra"], objects["dec"])
        # A detection is proof that a difference covers an object, whatever its corners say.
        seen = best.loc[best["pair_id"] == frame["pair_id"], "object_id"]
        # The same two images the other way round tell nothing new: that it is gone there is how it was detected.
        known = best.loc[best["pair_id"].isin(mirrored(frame["pair_id"])), "object_id"]
        inside &= ~objects["object_id"].isin(known).to_numpy()
        own = objects[inside | objects["object_id"].isin(seen).to_numpy()]
        if not len(own):
            continue
        rows = forced(frame["pair_id"], own["ra"].to_numpy(float), own["dec"].to_numpy(float))
        rows = rows.reset_index(drop=True)[[name for name in _MEASURED if name in rows]]
        parts.append(rows.assign(object_id=own["object_id"].to_numpy(), **_told(frame)))
    columns = ["object_id", "pair_id", "candidate_id", "filter", "mjd_mid", "time_scale", *_MEASURED]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True).merge(best, on=["object_id", "pair_id"], how="left")
    table = table[np.isfinite(table["flux"].to_numpy(float)) | table["candidate_id"].notna() | (table["flags"] != 0)]
    return table.reindex(columns=columns).sort_values(["object_id", "pair_id"], ignore_index=True)


def mirrored(pair_id: str) -> list[str]:
    """Return what the pair of the same images the other way round may be called; names of images may hold dashes."""
    return [f"{pair_id[k + 1 :]}-{pair_id[:k]}" for k, letter in enumerate(pair_id) if letter == "-"]


def _told(frame: dict[str, object]) -> dict[str, object]:
    return {name: frame[name] for name in ("pair_id", "filter", "mjd_mid", "time_scale")}


def with_nondetections(objects: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return objects with n_nondet: measurements of each with good pixels, in which it was not detected.

    Parameters
    ----------
    objects : pandas.DataFrame
        Column object_id.
    curves : pandas.DataFrame
        Their light curves.
    """
    unseen = curves["candidate_id"].isna() & np.isfinite(pd.to_numeric(curves["flux"]).to_numpy(float))
    counts = curves[unseen].groupby("object_id")["pair_id"].nunique()
    return objects.assign(n_nondet=objects["object_id"].map(counts).fillna(0).astype("int32"))
