"""A simulated field subtracted as well, or as badly, as surveys do it: masks, PSFs and registration with faults."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label
from scipy.signal import fftconvolve

from pipeline.images import subtract
from pipeline.images.frame import Bit, Facts, Pixels
from pipeline.images.harvest import Pair, harvest
from pipeline.images.match import Match, match
from pipeline.images.selftest import both, calibrated
from pipeline.images.subtract import Band
from pipeline.images.whole import Whole
from pipeline.simulate.fields import Field
from pipeline.simulate.nights import Flaws, Night
from pipeline.simulate.optics import Optics
from pipeline.simulate.profiles import moffat

__all__ = ["THRESHOLD", "Subtracted", "subtracted"]

#: Of |S_corr|.
THRESHOLD = 5.0

#: Bits of what a mask may not know, as in `Flaws.unmasked`.
_BITS = (Bit.COSMIC_RAY, Bit.TRAIL, Bit.HOT, Bit.SATURATED)

#: Side of the PSFs that are given, px.
_STAMP = 65


@dataclass(frozen=True, eq=False)
class Subtracted:
    """A field, subtracted.

    Parameters
    ----------
    band : Band
        All of it.
    difference : (ny, nx) float32
        What the triplets show: that of `band`, or another pipeline's.
    candidates : pandas.DataFrame
        As in the table CANDIDATES.
    match : Match
        As it was used.
    fwhm : tuple of float
        Of science image and reference as they were taken to be, px of the reference.
    """

    band: Band
    difference: Pixels
    candidates: pd.DataFrame
    match: Match
    fwhm: tuple[float, float]


def subtracted(field: Field, night: Night) -> Subtracted:
    """Subtract a field with the faults of its night.

    Parameters
    ----------
    field : Field
        Images and truth.
    night : Night
        Faults, and what the images say of themselves.
    """
    rng = np.random.default_rng([night.seed, 1])
    flaws, ny = night.flaws, field.settings.shape[0]
    science, reference = (_image(field, night, name, rng) for name in ("science", "reference"))
    psfs = [None if flaws.measured else _psf(field, flaws, number) for number in (0, 1)]
    found = match(science, reference, science.sources, reference.sources, psfs[0], psfs[1])
    found = _off(found, field, flaws)
    band = subtract.subtract(science, reference, found, 0, ny)
    middle = field.settings.shape[1] / 2, ny / 2
    fwhm = found.science_psf.fwhm(*middle), found.reference_psf.fwhm(*middle)
    if not flaws.uncalibrated:
        sources = both(science, reference, found, science.sources, reference.sources)
        band, _ = calibrated(band, sources, max(fwhm))
    facts = _told(science, night), _told(reference, night)
    pair = Pair("", facts[0], facts[1], found, found.warp(science, reference), reference.sources, False)
    table = harvest(band, pair, THRESHOLD)
    return Subtracted(band, _difference(band, found, flaws.style, fwhm), table, found, fwhm)


def _image(field: Field, night: Night, name: str, rng: np.random.Generator) -> Whole:
    """Return an image with the mask that whoever made it has."""
    exposure = getattr(field.settings, name)
    mask = getattr(field, f"{name}_mask").copy()
    for bit, share in zip(_BITS, night.flaws.unmasked, strict=True):
        marked = (mask & np.uint16(bit)) != 0
        labels, count = label(marked, np.ones((3, 3), bool)) if 0 < share < 1 else (marked.astype(int), 1)
        lost = np.append(False, rng.random(count) < share)
        mask[lost[labels]] &= ~np.uint16(bit)
    full = None if night.flaws.unmasked[3] else exposure.saturation
    facts = Facts(
        survey=night.survey, ccd=night.ccd, filter=night.filter, mjd_mid=exposure.mjd, exptime_s=exposure.exptime,
        gain=exposure.gain, read_noise=exposure.read_noise, saturation=full,
    )  # fmt: skip
    return Whole.of(getattr(field, name), getattr(field.pointing, name), facts, mask)


def _psf(field: Field, flaws: Flaws, number: int) -> NDArray[np.float64]:
    """Return the PSF of the middle of a frame, as wrongly as it is known."""
    view, (ny, nx) = field.views[number], field.settings.shape
    optics: Optics = view.optics
    beta = max(1.8, view.exposure.beta + flaws.beta_error)
    wrong = replace(optics, profile=moffat(beta), fwhm=optics.fwhm * (1 + flaws.psf_error[number]))
    return wrong.stamp((nx - 1) / 2, (ny - 1) / 2, _STAMP)


def _off(found: Match, field: Field, flaws: Flaws) -> Match:
    """Return a match with its registration and its flux ratio wrong."""
    order = max(found.order, 1)
    correction = np.zeros((2, (order + 1) * (order + 2) // 2))
    if found.order >= 0:
        correction[:, : found.correction.shape[1]] = found.correction
    correction[:, 0] += flaws.shift
    correction[0, 1] += flaws.tilt
    correction[1, 2] -= flaws.tilt
    jitter = np.zeros(2) if flaws.no_jitter else found.jitter
    ratio = found.flux_ratio
    if not np.isfinite(found.flux_ratio_err):
        # Without a star in common nobody would subtract; with what the simulator knows it is done.
        ratio = field.settings.reference.scale / field.settings.science.scale
    return replace(found, order=order, correction=correction, jitter=jitter, flux_ratio=ratio * (1 + flaws.flux_ratio))


def _told(image: Whole, night: Night) -> dict[str, object]:
    """Return the facts of an image that its candidates want."""
    facts = vars(image.facts) | {"estimated": "", "sha256": "0" * 64, "image_id": "", "fwhm": None}
    return facts | {"sky_rms": image.sky_rms, "pixscale": night.settings.pixel_scale}


def _difference(band: Band, found: Match, style: str, fwhm: tuple[float, float]) -> Pixels:
    """Return the difference that triplets show, counts of the science image."""
    if style == "zogy":
        return band.difference
    reference = band.reference / np.float32(found.flux_ratio)
    if style == "matched":
        sigma = np.sqrt(abs(fwhm[0] ** 2 - fwhm[1] ** 2)) / 2.3548
        if fwhm[0] > fwhm[1]:
            return np.asarray(band.science - gaussian_filter(reference, sigma), np.float32)
        return np.asarray(gaussian_filter(band.science, sigma) - reference, np.float32)
    x, y = band.science.shape[1] / 2, band.science.shape[0] / 2
    psfs = [psf.at(x, y) for psf in (found.reference_psf, found.science_psf)]
    crossed = [fftconvolve(image, psf, "same") for image, psf in zip((band.science, reference), psfs, strict=True)]
    return np.asarray(crossed[0] - crossed[1], np.float32)
