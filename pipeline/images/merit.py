"""How good a reference an image is.

The score is the product of three, each from 0 to 1, to the powers of the settings, and of the overlap:

- depth: the share of the difference's noise variance that is the science image's, σ_s² / (σ_s² + σ_r²), from both
  limits; ½ for images as deep as each other, and where a limit is unknown;
- seeing: FWHM_s² / (FWHM_s² + FWHM_r²), what a blurred reference costs; ½ where one is unknown;
- epoch: 1 − exp(−Δt / τ), the share of a transient that a reference as much older (τ the time of rise) or younger (τ
  that of fading, Δt beyond the least gap) does not hold.
"""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.settings import PairSettings

__all__ = ["Row", "age", "known", "scored", "word"]

#: A row of the index of images.
Row = dict[str, Any]


def scored(science: Row, reference: Row, share: float, settings: PairSettings, explicit: bool) -> Row:
    """Return a pair with its score and the parts of it.

    Parameters
    ----------
    science, reference : dict
        Rows of the index of images.
    share : float
        Share of the science image that the reference covers.
    settings : PairSettings
        Powers and times.
    explicit : bool
        Whether a list names the pair.
    """
    days = age(science, reference)
    depth, seeing = _depth(science, reference), _seeing(science, reference)
    epoch = np.nan if days is None else _epoch(days, settings)
    score = share * depth**settings.depth_weight * seeing**settings.seeing_weight
    return {
        "pair_id": f"{science['image_id']}-{reference['image_id']}",
        "science_id": science["image_id"], "reference_id": reference["image_id"], "overlap": share,
        "score": score * epoch**settings.epoch_weight, "score_depth": depth, "score_seeing": seeing,
        "score_epoch": epoch, "days": np.nan if days is None else days,
        "ref_after_event": pd.NA if days is None else days < 0, "explicit": explicit,
    }  # fmt: skip


def _depth(science: Row, reference: Row) -> float:
    one, other = known(science.get("maglim_5sigma")), known(reference.get("maglim_5sigma"))
    if one is not None and other is not None:
        ratio = 10 ** (0.4 * (one - other))  # limiting flux of the reference over that of the science image
    else:
        limits = [(known(image.get("depth")), known(image.get("exptime_s"))) for image in (science, reference)]
        (one, time), (other, wait) = limits
        if not (one and other and time and wait) or word(science, "instrument") != word(reference, "instrument"):
            return 0.5
        ratio = (other / wait) / (one / time)
    return float(1 / (1 + ratio**2))


def _seeing(science: Row, reference: Row) -> float:
    one, other = (
        None if (width := known(image.get("fwhm"))) is None else width * (known(image.get("pixscale")) or np.nan)
        for image in (science, reference)
    )
    return 0.5 if not one or not other or not one / other > 0 else float(one**2 / (one**2 + other**2))


def _epoch(days: float, settings: PairSettings) -> float:
    if days >= 0:
        return float(1 - np.exp(-days / settings.rise_days))
    return float(1 - np.exp(-max(-days - settings.after_days, 1e-3 * settings.fade_days) / settings.fade_days))


def age(science: Row, reference: Row) -> float | None:
    """Return how much older the reference is, d; None if a date is unknown."""
    one, other = known(science.get("mjd_mid")), known(reference.get("mjd_mid"))
    return None if one is None or other is None else one - other


def known(value: Any) -> float | None:
    """Return a number, or None for what is missing."""
    return None if value is None or pd.isna(value) else float(value)


def word(image: Row, name: str) -> str:
    """Return a text of an image, empty if it is missing."""
    value = image.get(name)
    return "" if value is None or pd.isna(value) else str(value)
