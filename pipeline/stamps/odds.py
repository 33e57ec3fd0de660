"""What the fits alone make of a source: a probability, calibrated on simulated sources."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["FEATURES", "features", "identity", "learnt", "p_fit"]

Array = NDArray[np.float64]

#: What the odds follow from, in the order of `features`.
FEATURES = ("constant", "gain", "gain over an extended source", "gain by signal to noise", "separation")

#: Coefficients of the logarithm of the odds, were half of all sources double.
_OWN = Path(__file__).with_name("odds.json")


def features(delta_chi2: Array, delta_extended: Array, snr: Array, width: Array) -> Array:
    """Return what the odds follow from, (n, 5).

    Parameters
    ----------
    delta_chi2, delta_extended : (n,) float64
        Gain of χ² of two stars over one, and over one of any width.
    snr : (n,) float64
        Signal to noise of the brighter star: the gain that errors of the PSF bring grows with it.
    width : (n,) float64
        Separation that fits best, in FWHM; NaN counts as the width of a blend that cannot be resolved.
    """
    gain, extended = (np.nan_to_num(np.asarray(one, float)) for one in (delta_chi2, delta_extended))
    scale = np.log(np.clip(np.nan_to_num(np.asarray(snr, float), nan=10.0), 1, 1e4) / 50)
    apart = np.clip(np.nan_to_num(np.asarray(width, float), nan=0.3), 0.05, 10)
    gained = np.log(1 + np.maximum(gain, 0) / 10)
    return np.stack([np.ones_like(gain), gained, np.arcsinh(extended / 10), scale * gained, np.log(apart)], axis=-1)


def identity() -> str:
    """Return the checksum of the coefficients."""
    return sha256(_OWN.read_bytes()).hexdigest()


def p_fit(delta_chi2: Array, delta_extended: Array, snr: Array, width: Array) -> Array:
    """Return the probability of a second star by the fits alone, were half of all sources double; see `features`."""
    weights = np.array(json.loads(_OWN.read_text())["weights"])
    return np.asarray(expit(features(delta_chi2, delta_extended, snr, width) @ weights))


def learnt(table: pd.DataFrame) -> dict[str, object]:
    """Return coefficients fitted to simulated sources, as ``odds.json`` holds them.

    Parameters
    ----------
    table : DataFrame
        label (0, 1), delta_chi2, delta_chi2_extended, snr_1, width (separation over FWHM); classes count alike.
    """
    matrix = features(
        *(table[name].to_numpy(float) for name in ("delta_chi2", "delta_chi2_extended", "snr_1", "width"))
    )
    label = table["label"].to_numpy(float)
    weight = np.where(label > 0, 0.5 / max(label.mean(), 1e-9), 0.5 / max(1 - label.mean(), 1e-9))

    def _loss(w: Array) -> float:
        odds = matrix @ w
        return float((weight * (np.logaddexp(0, odds) - label * odds)).mean() + 1e-3 * (w[1:] ** 2).sum())

    found = minimize(_loss, np.zeros(matrix.shape[1]), method="BFGS")
    return {"features": list(FEATURES), "weights": [round(float(one), 4) for one in found.x], "sources": len(table)}
