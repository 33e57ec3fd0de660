"""Candidates of many images of made-up surveys, drawn fast: new stars, particles and misfits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.inputs import statistics
from models.planes import SIZE

__all__ = ["SURVEYS", "Survey", "candidates", "drawn", "shifted"]

_STARS = 6


@dataclass(frozen=True)
class Survey:
    """Limits of what the images of a survey are like: FWHM in px, noise of the sky in counts, share of real ones."""

    name: str
    fwhm: tuple[float, float]
    reference_fwhm: tuple[float, float]
    noise: tuple[float, float]
    depth: tuple[float, float] = (2.0, 20.0)
    real: float = 0.5


SURVEYS = (
    Survey("fine", (2.8, 5.4), (2.4, 5.0), (5.0, 40.0)),
    Survey("coarse", (1.8, 3.0), (1.6, 2.8), (10.0, 80.0)),
)


def shifted(survey: Survey, seeing: float = 1.0, background: float = 1.0) -> Survey:
    """Return a survey whose science images have other seeing, and so many times the sky (noise: its root)."""
    fwhm = (survey.fwhm[0] * seeing, survey.fwhm[1] * seeing)
    noise = (survey.noise[0] * background**0.5, survey.noise[1] * background**0.5)
    depth = (survey.depth[0] * background, survey.depth[1] * background)  # the reference is as it was
    return replace(survey, fwhm=fwhm, noise=noise, depth=depth)


def drawn(survey: Survey, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 3, 63, 63) triplets of one image, and which of them are real."""

    def between(limits: tuple[float, float]) -> float:
        return float(np.exp(rng.uniform(*np.log(limits))))

    fwhm, other, noise = between(survey.fwhm), between(survey.reference_fwhm), between(survey.noise)
    quiet = noise / between(survey.depth) ** 0.5
    real = rng.random(count) < survey.real
    place = rng.uniform(0, SIZE, (2, count, _STARS))
    flux = noise * np.exp(rng.uniform(2, 7, (count, _STARS)))
    change = np.zeros((count, SIZE, SIZE))
    middle = rng.uniform(-0.4, 0.4, (2, count, 1)) + SIZE // 2
    snr = noise * np.exp(rng.uniform(np.log(3), np.log(60), (count, 1)))
    change[real] = _stars(middle[:, real], snr[real], fwhm)
    hit = rng.integers(-1, 2, (2, count)) + SIZE // 2
    change[np.flatnonzero(~real), hit[0, ~real], hit[1, ~real]] += snr[~real, 0] * 2
    pixels = np.empty((count, 3, SIZE, SIZE))
    grain = noise * rng.normal(size=(count, SIZE, SIZE))
    still = quiet * rng.normal(size=(count, SIZE, SIZE))
    pixels[:, 0] = _stars(place, flux, fwhm) + change + grain
    pixels[:, 1] = _stars(place, flux, other) + still
    pixels[:, 2] = change + grain - still
    return pixels.astype(np.float32), real


def _stars(place: np.ndarray, flux: np.ndarray, fwhm: float) -> np.ndarray:
    offset = np.arange(SIZE) - place[..., None]
    y, x = np.exp(-4 * np.log(2) * (offset / fwhm) ** 2)
    return np.einsum("nk,nki,nkj->nij", flux, y, x)


def candidates(
    surveys: Sequence[Survey], images: int, seed: int, each: int = 30, most: int | None = None
) -> pd.DataFrame:
    """Return candidates of so many images, in turn of each survey: facts, truth, statistics, and made-up scores."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(images):
        survey = surveys[number % len(surveys)]
        triplets, real = drawn(survey, each, rng)
        facts = {"survey": survey.name, "filter": "gr"[number // len(surveys) % 2], "image": f"{seed}-{number}"}
        rows = statistics(triplets).assign(**facts, label=real.astype(int), mjd_mid=59800.0 + rng.uniform(0, 700))
        # A middling network: the wider the stars beyond what it knows, the less it tells.
        logit = np.where(real, 4, -4) + rng.normal(0, 3, each)
        rows = rows.assign(logit=logit, novelty=rng.random(each), ood=False)
        parts.append(rows.assign(p_real=1 / (1 + np.exp(-logit)), tier=np.where(logit > 0, "real", "bogus")))
    return pd.concat(parts, ignore_index=True)[:most]
