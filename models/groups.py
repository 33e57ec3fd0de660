"""By what a verdict is told apart: groups of candidates that a network may treat differently."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.monitor import season

__all__ = ["GROUPS", "groups"]

Rows = NDArray[np.bool_]

_SNR = (0.0, 5.0, 7.0, 10.0, 20.0, 50.0, np.inf)
_SEEING = (0.0, 2.0, 2.5, 3.0, 4.0, 5.0, np.inf)  # px
_HOST = (0.0, 0.5, 1.0, 2.0, 4.0)  # light radii of the host

_QUARTERS = {"Q1": "January to March", "Q2": "April to June", "Q3": "July to September", "Q4": "October to December"}

#: Group → what it is of.
GROUPS = {
    "snr": "signal to noise, whatever its sign",
    "sign": "sign of the difference",
    "host": "distance from the host, in its light radii",
    "environment": "where a real one lies; beside all bogus ones",
    "filter": "filter",
    "seeing": "FWHM of the science image, px",
    "season": "season",
    "survey": "survey",
    "kind": "kind; a real one beside all bogus ones, a bogus one beside all real ones",
}


def groups(rows: pd.DataFrame) -> Iterator[tuple[str, str, Rows]]:
    """Yield (one of `GROUPS`, name, which rows), as far as the columns tell.

    Parameters
    ----------
    rows : pandas.DataFrame
        label, and any of snr, host_dlr, environment, filter, seeing_px, mjd_mid, survey, kind.
    """
    real = rows["label"].to_numpy() > 0
    for by, values in _values(rows).items():
        for name in values.cat.categories if values.dtype == "category" else sorted(set(values) - {""}):
            of = np.array(values == name)
            if not of.any():
                continue
            if by == "environment":
                of = of & real | ~real
            elif by == "kind":
                of = of | (~real if real[of].any() else real)
            yield by, str(name), of


def _values(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the value of each row by each group there are columns for, as text or in ordered bins."""
    found = {}
    if "snr" in rows:
        found["snr"] = _bins(rows["snr"].abs(), _SNR)
        found["sign"] = pd.Series(
            np.select([rows["snr"] > 0, rows["snr"] < 0], ["positive", "negative"], ""), rows.index
        )
    if "host_dlr" in rows:
        found["host"] = _bins(rows["host_dlr"], (*_HOST, np.inf))
    for by in ("environment", "filter", "survey", "kind"):
        if by in rows:
            found[by] = rows[by].fillna("").astype(str)
    if "seeing_px" in rows:
        found["seeing"] = _bins(rows["seeing_px"], _SEEING)
    if "mjd_mid" in rows:
        # Whatever the year: a season's sky and weather come again.
        found["season"] = season(rows["mjd_mid"]).str[-2:].map(_QUARTERS).fillna("")
    return {by: found[by] for by in GROUPS if by in found}


def _bins(values: pd.Series, edges: tuple[float, ...]) -> pd.Series:
    names = [f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more" for low, high in pairwise(edges)]
    return pd.cut(values.astype(float), edges, right=False, labels=names)
