"""How many doubles a score of stacks finds, in all and in each bin of pairs, where few others are taken for double."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.fusion import EDGES
from pipeline.metrics import wilson
from pipeline.stamps import completeness

__all__ = ["FALSE", "FRAME", "OTHERS", "at_false", "framed", "grid", "typical", "typically"]

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]

#: Shares of what is not double that may be taken for double.
FALSE = (0.01, 0.001)

#: What completeness is told for: separation, difference of magnitudes, signal to noise of the primary.
FRAME = {"sep_arcsec": (0.2, 2.5), "delta_mag": (0.0, 4.0), "snr_1": (20.0, 500.0)}

#: What it is told against: shares of what is not double, nearly all of it hard: mostly neighbours outside of the frame.
OTHERS = {"single": 0.15, "neighbour": 0.5, "galaxy": 0.12, "artefact": 0.1, "misregistered": 0.06, "saturated": 0.07}

_RESAMPLES = 200
_COMMON = 0.95  # share of rows that are drawn by how much they count; the others count more, and all stay


def framed(rows: pd.DataFrame, names: Collection[str] = tuple(FRAME)) -> Rows:
    """Return which rows lie in `FRAME`, or in `names` of it; of what is not double S/N alone counts."""
    inside = np.ones(len(rows), bool)
    double = rows["label"].to_numpy() > 0
    for name in names:
        low, high = FRAME[name]
        value = rows[name].to_numpy(float)
        within = (value >= low) & (value <= high)
        inside &= within | (~double if name != "snr_1" else ~np.isfinite(value))
    return inside


def typically(rows: pd.DataFrame) -> Floats:
    """Return how much each row counts (n,) for rows to be such as probabilities are told for; 0 outside of `FRAME`.

    Pairs of all separations in it are alike frequent, and others have the shares of `OTHERS`; both labels count as much
    as they have rows.
    """
    inside, double = framed(rows), rows["label"].to_numpy() > 0
    low, high = FRAME["sep_arcsec"]
    edges = np.clip(EDGES, low, high)
    place = np.digitize(np.nan_to_num(rows["sep_arcsec"].to_numpy(float)), edges[1:-1])
    kinds = rows["kind"].to_numpy(str)
    count = np.zeros(len(rows))
    for number, width in enumerate(np.diff(edges)):
        here = inside & double & (place == number)
        count[here] = width / max(here.sum(), 1)
    for kind, share in OTHERS.items():
        here = inside & ~double & (kinds == kind)
        count[here] = share / max(here.sum(), 1)
    for some in (inside & double, inside & ~double):
        count[some] *= some.sum() / max(count[some].sum(), 1e-300)
    return count


def typical(rows: pd.DataFrame) -> pd.DataFrame:
    """Return as many of rows, drawn by chance, as leave them such as probabilities are told for; see `typically`.

    Of what there is far too little of all is kept, and little else is lost for it.
    """
    count = typically(rows)
    double = rows["label"].to_numpy() > 0
    for some in (double & (count > 0), ~double & (count > 0)):
        if some.any():
            count[some] /= np.quantile(count[some], _COMMON)
    return rows[np.random.default_rng(0).random(len(rows)) < count]


def at_false(rows: pd.DataFrame, score: Floats, share: float) -> dict[str, Any]:
    """Return how many doubles are found where a share of the others is taken for double.

    Parameters
    ----------
    rows : pandas.DataFrame
        Stacks of one survey: label, sep_arcsec, delta_mag, snr_1, psf_fwhm_arcsec. Those outside of `FRAME` do not
        count.
    score : (n,) array
        Larger for more double; what has none is not found.
    share : float
        Of the others, false positives.

    Returns
    -------
    dict
        doubles, others, cut (score above which it is double), completeness and its 95% interval (both doubles and
        others drawn anew), easy: the same of those with a difference below 2 mag and a separation above one FWHM.
    """
    inside = framed(rows)
    some, value = rows[inside], np.nan_to_num(score[inside], nan=-np.inf)
    double = some["label"].to_numpy() > 0
    wide = (some["sep_arcsec"] > some["psf_fwhm_arcsec"]).to_numpy()
    easy = double & (some["delta_mag"] < 2).to_numpy() & wide
    told = {"doubles": int(double.sum()), "others": int((~double).sum())}
    if not double.any() or double.all():
        return told | {"cut": None, "completeness": None, "interval": None, "easy": None, "easy_interval": None}
    others, found, plain = np.sort(value[~double]), value[double], value[easy]
    cut = _cut(others, share)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(_RESAMPLES):
        again = _cut(np.sort(rng.choice(others, len(others))), share)
        drawn.append([
            (rng.choice(part, len(part)) > again).mean() if len(part) else np.nan for part in (found, plain)
        ])  # fmt: skip
    spread = np.quantile(drawn, (0.025, 0.975), axis=0).T.tolist()
    return told | {
        "cut": float(cut), "completeness": float((found > cut).mean()), "interval": spread[0],
        "easy": float((plain > cut).mean()) if len(plain) else None,
        "easy_interval": spread[1] if len(plain) else None,
    }  # fmt: skip


def _cut(ordered: Floats, share: float) -> float:
    """Return the score above which no more than a share of these lies."""
    allowed = int(np.floor(share * len(ordered)))
    return float(ordered[len(ordered) - 1 - allowed])


def grid(rows: pd.DataFrame, score: Floats, cut: float) -> pd.DataFrame:
    """Return completeness by separation, difference of magnitudes and signal to noise.

    Parameters
    ----------
    rows : pandas.DataFrame
        Stacks of one survey: label, sep_arcsec, delta_mag, snr_1.
    score : (n,) array
        Larger for more double.
    cut : float
        Score above which it is double.

    Returns
    -------
    pandas.DataFrame
        A row a bin of `pipeline.stamps.completeness` that has doubles: sep_arcsec, delta_mag, snr_1 (lower edges), n,
        found, completeness, low, high (Wilson's 95% interval).
    """
    double = (rows["label"] > 0).to_numpy()
    there, found = completeness.counts(rows[double], score[double] > cut)
    bins = np.nonzero(there)
    n, k = there[bins], found[bins]
    limits = np.array([wilson(*one) for one in zip(k.tolist(), n.tolist(), strict=True)]).reshape(-1, 2)
    edges = {"sep_arcsec": completeness.SEP_EDGES, "delta_mag": completeness.DM_EDGES, "snr_1": completeness.SNR_EDGES}
    cells = {name: limit[place] for (name, limit), place in zip(edges.items(), bins, strict=True)}
    return pd.DataFrame(cells).assign(n=n, found=k, completeness=k / n, low=limits[:, 0], high=limits[:, 1])
