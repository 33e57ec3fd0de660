"""The filters of one source and survey → one image: registered by their WCS, weighted, and measured.

Pure: arrays in, arrays and numbers out. What stages ingest and what is simulated go through the same function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import spline_filter1d

from catalogs.stamps import StampFlag
from pipeline.stamps.light import BAD, COSMIC_RAY, SATURATED, SPOILT, Light, Mask, Plane, at, stars
from pipeline.stamps.moments import Pixels, windowed
from pipeline.stamps.surveys import REACH, Survey, able

__all__ = ["BAD", "COSMIC_RAY", "SATURATED", "Plane", "Stacked", "shifted", "stack", "stack_source"]

#: S/N from which a filter's centroid tells; what is lower has an error of more than 0.06 FWHM.
_TELLING = 10.0

#: Share of its weight that a filter keeps where its source is saturated or has bad pixels and another's is not.
_SPOILT = 0.01

_BASIS = BSpline.basis_element(np.arange(-3.0, 4.0), extrapolate=False)


@dataclass(frozen=True)
class Stacked:
    """A stack.

    Parameters
    ----------
    image : (side, side) float32
        Sky subtracted; NaN: no pixels.
    mask : (side, side) uint8
        As of `Plane`.
    facts : dict
        Columns of `catalogs.stamps.STACKS` but row, source_id, ra and dec.
    """

    image: NDArray[np.float32]
    mask: Mask
    facts: dict[str, Any]


def stack_source(planes: Sequence[Plane], survey: Survey, method: str = "weighted") -> Stacked:
    """Stack the filters of one source and survey, and measure the result.

    Parameters
    ----------
    planes : sequence of Plane
        Its stamps, all of one shape; at least one.
    survey : Survey
        Whose they are.
    method : {"weighted", "clipped", "mean"}
        See `stack`; one stamp alone is ``single``.
    """
    # What may be turned does not lie on what is not.
    lost = [bool(plane.flags & StampFlag.UNORIENTED) for plane in planes]
    planes = [plane for plane, away in zip(planes, lost, strict=True) if all(lost) or not away]
    planes = sorted(planes, key=lambda plane: (survey.filter(plane.filter).wavelength_um, plane.filter))
    lights = [Light(plane, survey) for plane in planes]
    first = max(range(len(lights)), key=lambda k: lights[k].snr / lights[k].fwhm)
    reference = lights[first]
    moves = [(reference.plane.x0 - light.plane.x0, reference.plane.y0 - light.plane.y0) for light in lights]
    x0, y0, moved = _place(lights, moves, reference)
    fluxes = np.array([light.flux(x0 - dx, y0 - dy) for light, (dx, dy) in zip(lights, moves, strict=True)])
    sigmas = _sigmas(lights, fluxes)
    spoilt = [bool(light.near(x0 - dx, y0 - dy) & SPOILT) for light, (dx, dy) in zip(lights, moves, strict=True)]
    trust = np.array([min(one.fwhm for one in lights) / light.fwhm for light in lights]) ** 2
    trust *= np.where(np.array(spoilt) & (not all(spoilt)), _SPOILT, 1.0)
    if len(lights) == 1:
        method = "single"
    images = np.stack([light.clean for light in lights])
    masks = np.stack([light.mask for light in lights])
    image, mask, shares = stack(images, masks, sigmas, fluxes, moves, method, trust)
    whole = Plane(image, reference.plane.filter, x0, y0, mask, reference.plane.pixscale)
    facts = _facts(whole, lights, shares, survey, method)
    flags = facts["flags"] | (StampFlag.OFF_CENTRE if moved else 0)
    shift, is_shifted = _disagreement(lights, moves, x0, y0)
    facts |= {"centroid_shift": shift * facts["pixscale"], "flags": int(flags | is_shifted * StampFlag.SHIFTED)}
    return Stacked(image, mask, facts)


def stack(
    images: Pixels, masks: Mask, sigmas: Pixels, fluxes: Pixels, shifts: Sequence[tuple[float, float]],
    method: str = "weighted", trust: Pixels | None = None,
) -> tuple[NDArray[np.float32], Mask, NDArray[np.float64]]:  # fmt: skip
    """Register images and average them.

    Parameters
    ----------
    images : (k, ny, nx) float
        Sky subtracted, finite.
    masks : (k, ny, nx) uint8
        Bits of pixels; bad ones and cosmic rays do not go in, unless there is one image only.
    sigmas, fluxes : (k,) float
        Scatter of the sky a pixel, and flux of the source, in each image's counts.
    shifts : sequence of (float, float)
        By how much each is moved in x and y, px.
    method : {"weighted", "clipped", "mean", "single"}
        ``weighted``: by flux/σ², which makes the source's S/N largest; ``clipped``: the same without pixels that differ
        from the median of the filters, brought to the same flux, by more than 4 σ; ``mean``: all alike.
    trust : (k,) float, optional
        Factors of the weights.

    Returns
    -------
    image : (ny, nx) float32
        NaN where there is no pixel.
    mask : (ny, nx) uint8
        1: a filter of more than 5% of the light is saturated; 2: no pixel; 4: hit by particles in all filters.
    shares : (k,) float
        Of the source's light in the stack, by filter.
    """
    if method == "single":
        image = np.where(masks[0] & BAD, np.nan, images[0]).astype(np.float32)
        return image, masks[0].copy(), np.ones(1)
    moved = np.stack([shifted(image, *shift) for image, shift in zip(images, shifts, strict=True)])
    masks = np.stack([_moved(mask, *shift) for mask, shift in zip(masks, shifts, strict=True)])
    good = (masks & (BAD | COSMIC_RAY)) == 0
    sigmas = np.maximum(sigmas, 1e-12 * max(float(np.max(sigmas)), 1e-300))
    if method == "mean":
        scale, weights = np.ones(len(images)), np.ones(len(images))
        shares = np.maximum(fluxes, 0) + 1e-9 * np.max(np.abs(fluxes)) + 1e-300
    else:
        # What is not seen counts as if it were at the edge of being seen, and so for little.
        scale = np.maximum(fluxes, sigmas)
        weights = (scale / sigmas) ** 2 * (1.0 if trust is None else trust)
        shares = weights.copy()
    # Filters at one flux, averaged by flux²/σ², and back: without masks the average of counts by flux/σ².
    alike = moved / scale[:, None, None]
    if method == "clipped" and len(images) > 2:
        good &= ~_outliers(alike, good, sigmas / scale)
    counted = weights[:, None, None] * good
    total = counted.sum(axis=0)
    unit = weights.sum() / (weights / scale).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        image = (unit * (counted * alike).sum(axis=0) / total).astype(np.float32)
    shares = shares / shares.sum()
    saturated = ((masks & SATURATED) * (shares > 0.05)[:, None, None].astype(np.uint8)).max(axis=0)
    hit = (masks & COSMIC_RAY).min(axis=0)
    mask = (saturated | hit | np.where(total > 0, 0, BAD)).astype(np.uint8)
    return image, mask, shares


def _outliers(alike: Pixels, good: NDArray[np.bool_], noise: Pixels) -> NDArray[np.bool_]:
    """Return which pixels are none of the source's or the sky's: far above or below the middle filter."""
    middle = np.median(np.where(good, alike, np.median(alike, axis=0)), axis=0)
    # Stars of other colours differ in their scale, and PSFs in their width.
    allowed = 4 * noise[:, None, None] + 0.5 * np.abs(middle)
    found: NDArray[np.bool_] = np.abs(alike - middle) > allowed
    return found


def shifted(image: Pixels, dx: float, dy: float) -> NDArray[np.float64]:
    """Return an image moved by a part of a pixel, by quintic B-splines; what comes in from outside mirrors the edge.

    Parameters
    ----------
    image : (ny, nx) float
        Finite.
    dx, dy : float
        Shift in x and y, px.
    """
    moved = np.asarray(image, np.float64)
    if abs(dy) > 1e-4:
        moved = _mover(image.shape[0], float(dy)) @ moved
    if abs(dx) > 1e-4:
        moved = moved @ _mover(image.shape[1], float(dx)).T
    return moved


@lru_cache(maxsize=64)
def _mover(side: int, shift: float) -> NDArray[np.float64]:
    """Return the matrix that moves columns: spline coefficients from values, then values from these elsewhere."""
    first = int(np.floor(-shift))
    shares = _BASIS(-shift - first + np.arange(2, -4, -1))
    basis, period, rows = np.zeros((side, side)), 2 * (side - 1), np.arange(side)
    for k, share in enumerate(shares):
        column = (rows + first + k - 2) % period
        basis[rows, np.where(column < side, column, period - column)] += share
    moved: NDArray[np.float64] = basis @ _coefficients(side)
    return moved


@lru_cache(maxsize=8)
def _coefficients(side: int) -> NDArray[np.float64]:
    return np.asarray(spline_filter1d(np.eye(side), order=5, axis=0, mode="mirror"))


def _moved(mask: Mask, dx: float, dy: float) -> Mask:
    """Return a mask moved: a pixel has the bits of all those that it is between; what comes from outside is bad."""
    out = np.zeros_like(mask)
    for sy in {int(np.floor(dy + 0.02)), int(np.ceil(dy - 0.02))}:
        for sx in {int(np.floor(dx + 0.02)), int(np.ceil(dx - 0.02))}:
            out |= _whole(mask, sx, sy)
    return out


def _whole(mask: Mask, sx: int, sy: int) -> Mask:
    ny, nx = mask.shape
    out = np.full_like(mask, BAD)
    if abs(sx) < nx and abs(sy) < ny:
        to_y, to_x = slice(max(0, sy), ny + min(0, sy)), slice(max(0, sx), nx + min(0, sx))
        out[to_y, to_x] = mask[max(0, -sy) : ny - max(0, sy), max(0, -sx) : nx - max(0, sx)]
    return out


def _sigmas(lights: Sequence[Light], fluxes: Pixels) -> NDArray[np.float64]:
    """Return the noise of each filter; one that shows none is taken to be as good as the best of the others."""
    sigmas = np.array([light.noise for light in lights])
    noisy = np.array([light.is_noisy for light in lights])
    if noisy.any() and not noisy.all():
        best = max(float((fluxes[noisy] / sigmas[noisy]).max()), 1.0)
        sigmas[~noisy] = np.maximum(sigmas[~noisy], fluxes[~noisy] / best)
    return sigmas


def _place(
    lights: Sequence[Light], moves: Sequence[tuple[float, float]], reference: Light
) -> tuple[float, float, bool]:
    """Return where the source is in the stack, and whether that is not where it was asked for."""
    plane = reference.plane
    maps = np.stack([shifted(light.smooth, *move) / light.error for light, move in zip(lights, moves, strict=True)])
    summed = maps.sum(axis=0)
    if len(maps) > 1:
        # What one filter alone shows, such as a particle's hit, counts no more than in the next best.
        ordered = np.partition(maps, (-2, -1), axis=0)
        summed += ordered[-2] - ordered[-1]
    summed /= np.sqrt(len(lights))
    reach = max(REACH / reference.pixscale, 2.0)
    within = np.where(reference.distance <= reach, summed, -np.inf)
    row, column = np.unravel_index(int(np.argmax(within)), within.shape)
    away = np.hypot(row - plane.y0, column - plane.x0)
    brighter = within[row, column] > max(5.0, 1.5 * at(summed, plane.x0, plane.y0))
    if away <= max(0.5 * reference.fwhm, 1.0) or not brighter:
        return float(plane.x0), float(plane.y0), False
    found = windowed(summed, float(column), float(row), reference.fwhm)
    # Not the flank of what is out of reach.
    if not np.hypot(found.x - plane.x0, found.y - plane.y0) <= reach:
        return float(plane.x0), float(plane.y0), False
    return found.x, found.y, True


def _disagreement(
    lights: Sequence[Light], moves: Sequence[tuple[float, float]], x0: float, y0: float
) -> tuple[float, bool]:
    """Return the largest shift of a filter's centroid from the others', px, and whether it is too large to be noise."""
    fwhm = max(light.fwhm for light in lights)
    places, errors = [], []
    for light, (dx, dy) in zip(lights, moves, strict=True):
        if light.snr >= _TELLING:
            x, y = _own_place(light, x0 - dx, y0 - dy, fwhm)
            if not np.isnan(x):
                places.append((x + dx, y + dy))
                errors.append(0.6 * fwhm / light.snr)
    if len(places) < 2:
        return np.nan, False
    where, weight = np.array(places), np.array(errors) ** -2
    rest = weight.sum() - weight
    others = ((weight @ where) - weight[:, None] * where) / rest[:, None]
    apart = np.hypot(*(where - others).T)
    sigma = np.sqrt(1 / weight + 1 / rest)
    return float(apart.max()), bool(((apart > 0.1 * fwhm) & (apart > 4 * sigma)).any())


def _own_place(light: Light, x: float, y: float, fwhm: float) -> tuple[float, float]:
    """Return where a filter sees the source: near a place, else, if nothing is there, where it is brightest.

    A star that has moved by more than its width since the other filters' time is two stars in the stack, of which each
    filter sees one; of a double star it sees both.
    """
    found = windowed(light.clean, x, y, fwhm)
    if np.isnan(found.x):
        within = np.where(light.distance <= max(REACH / light.pixscale, 2.0), light.smooth, -np.inf)
        row, column = np.unravel_index(int(np.argmax(within)), within.shape)
        found = windowed(light.clean, float(column), float(row), fwhm)
    return found.x, found.y


def _facts(whole: Plane, lights: Sequence[Light], shares: Pixels, survey: Survey, method: str) -> dict[str, Any]:
    """Return what a stack tells, as in the table STACKS."""
    nominal = min(float(np.average([light.fwhm for light in lights], weights=shares)), 1e3)
    light = Light(Plane(whole.image, whole.filter, whole.x0, whole.y0, whole.mask, whole.pixscale,
                         nominal * lights[0].pixscale), survey)  # fmt: skip
    own = windowed(light.clean, whole.x0, whole.y0, 1.2 * light.fwhm)
    x, y = (whole.x0, whole.y0) if np.isnan(own.x) else (own.x, own.y)
    snr = at(light.smooth, x, y) / light.error
    widths, told = stars(light), np.array([one.told for one in lights])
    known = np.isfinite(told)
    flags = light.near(whole.x0, whole.y0)
    for one in lights:
        flags |= one.plane.flags & int(StampFlag.RESAMPLED | StampFlag.UNORIENTED)
    if len(widths):
        fwhm = float(np.quantile(widths, 0.5, method="lower")) * light.pixscale
    elif known.any():
        fwhm = float(np.average(told[known], weights=shares[known] + 1e-12))
    else:
        fwhm = float(np.average([survey.filter(one.plane.filter).fwhm_arcsec for one in lights], weights=shares))
        flags |= int(StampFlag.NOMINAL_FWHM)
    flags |= (0 if snr >= 5 else int(StampFlag.FAINT)) | (0 if able(survey) else int(StampFlag.UNABLE))
    mjds = np.array([one.plane.mjd for one in lights])
    dated = np.isfinite(mjds)
    waves = [survey.filter(one.plane.filter).wavelength_um for one in lights]
    return {
        "survey": survey.name,
        "filters": ",".join(one.plane.filter for one in lights),
        "n_filters": len(lights),
        "method": method,
        "x0": whole.x0,
        "y0": whole.y0,
        "pixscale": light.pixscale,
        "wavelength_um": float(np.average(waves, weights=shares)),
        "mjd": float(np.average(mjds[dated], weights=shares[dated] + 1e-12)) if dated.any() else np.nan,
        "noise": light.noise,
        "snr": float(snr) if light.is_noisy else np.nan,
        "fwhm_arcsec": fwhm,
        "ellipticity": own.ellipticity if snr >= 5 else np.nan,
        "centroid_shift": np.nan,
        "flags": int(flags),
    }
