"""Simulated stamps: a source as the filters of a survey see it, with known truth, and stacked as real ones are."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.stamps import LESSONS
from pipeline.simulate import blemishes
from pipeline.simulate.blemishes import Image, Mask
from pipeline.simulate.optics import ellipse
from pipeline.simulate.profiles import DEVAUCOULEURS, EXPONENTIAL, Floats, Profile
from pipeline.simulate.spectra import Grid, Spectrum, image, points, power, radial
from pipeline.simulate.stamp_chances import draw, drawn
from pipeline.simulate.stamp_scenes import Description, Exposure, Galaxy, Scene, described
from pipeline.simulate.stamp_truth import truth
from pipeline.simulate.telescopes import air, vacuum
from pipeline.stamps import surveys
from pipeline.stamps.hits import hits
from pipeline.stamps.light import COSMIC_RAY, Plane
from pipeline.stamps.stack import stack_source
from pipeline.stamps.surveys import Survey

__all__ = ["Rendered", "described", "draw", "drawn", "grid", "one_stacked", "places", "point", "render", "stacked"]


@dataclass(frozen=True, eq=False)
class Rendered:
    """A stamp, and what is true of it.

    Parameters
    ----------
    image : (side, side) float32
        Counts; NaN where there are none. North is up, east left.
    mask : (side, side) uint8
        1 saturated, 2 bad, 4 cosmic ray: what a file tells, which may be nothing.
    facts : dict
        filter, wavelength_um, mjd, x0, y0 (where the source is looked for, px from 0), saturation (counts), fwhm_arcsec
        (true), sky and noise (counts), flux (counts of the primary), snr (of the primary, with the PSF known),
        light (of all stars, relative to the primary's), x, y (of all stars, px).
    """

    image: Image
    mask: Mask
    facts: dict[str, Any]

    def plane(self, survey: Survey, rng: np.random.Generator) -> Plane:
        """Return it as it is ingested and stacked; half of the headers tell a FWHM, good to some per cent."""
        told = float(self.facts["fwhm_arcsec"] * np.exp(rng.normal(0, 0.06))) if rng.random() < 0.5 else np.nan
        place, name = (self.facts["x0"], self.facts["y0"]), self.facts["filter"]
        struck = hits(self.image, survey.filter(name).fwhm_arcsec / survey.pixscale)
        mask = self.mask | np.where(struck, np.uint8(COSMIC_RAY), np.uint8(0))
        return Plane(self.image, name, *place, mask, None, told, self.facts["mjd"])


@lru_cache
def grid(survey: str) -> Grid:
    """Return what a survey's stamps are drawn on: finer where its pixels do not sample its point-spread function.

    Parameters
    ----------
    survey : str
        Name.
    """
    told = surveys.get(survey)
    finest = min(one.fwhm_arcsec for one in told.filters)
    return Grid(told.side, told.pixscale, 2 if finest < 5 * told.pixscale else 1, 16 if told.side > 64 else 32)


@lru_cache
def _pixel(on: Grid, width: float) -> NDArray[np.float32]:
    return on.pixel(width)


def _spectrum(on: Grid, seen: Exposure) -> Spectrum:
    """Return the spectrum of a point as the detector's pixels show it."""
    if seen.air is not None:
        return air(on, seen.air) * _pixel(on, seen.native)
    assert seen.telescope is not None  # a point is spread by the one or the other
    found = vacuum(on, seen.telescope, seen.wavelength, seen.number) * _pixel(on, seen.native)
    kx, ky = on.frequencies()
    factor = np.float32(-2 * np.pi**2 * seen.jitter**2)
    return found * (np.exp(factor * kx * kx) * np.exp(factor * ky * ky))


def point(on: Grid, seen: Exposure) -> tuple[Spectrum, float]:
    """Return what a point looks like in an exposure, and how much light the primary has.

    Parameters
    ----------
    on : Grid
        That of the survey.
    seen : Exposure
        The point-spread function, the signal to noise of the primary and the background.

    Returns
    -------
    spectrum : Spectrum
        Of unit flux, as the detector's pixels show it.
    flux : float
        Electrons.
    """
    spread = _spectrum(on, seen)
    return spread, _electrons(seen.snr, seen.sky + seen.read_noise**2, 1 / power(on, spread))


def _electrons(snr: float, background: float, area: float) -> float:
    """Return the light that gives a star a signal to noise over an effective area of pixels."""
    square = snr * snr
    return float((square + np.sqrt(square * square + 4 * square * background * area)) / 2)


def places(on: Grid, scene: Scene, seen: Exposure) -> tuple[Floats, Floats]:
    """Return where the stars of a scene are in an exposure: x and y, px from 0; east is left.

    Parameters
    ----------
    on : Grid
        That of the survey.
    scene : Scene
        What there is.
    seen : Exposure
        One of it.
    """
    east, north = scene.sky.east.copy(), scene.sky.north.copy()
    own = 1 + scene.sky.label
    east[:own] += seen.moved[0]
    north[:own] += seen.moved[1]
    middle = (on.side - 1) / 2
    x = middle + seen.centre[0] - (east + scene.offset[0] + seen.shift[0]) / on.pixscale
    y = middle + seen.centre[1] + (north + scene.offset[1] + seen.shift[1]) / on.pixscale
    return x, y


def _galaxy(on: Grid, told: Galaxy, place: tuple[float, float], flux: float) -> Spectrum:
    """Return the spectrum of a galaxy, some of its light in clumps."""
    x, y = place[0] - told.east / on.pixscale, place[1] + told.north / on.pixscale
    e = 1 - told.ratio
    e1, e2 = np.array([e * np.cos(2 * told.angle)]), np.array([e * np.sin(2 * told.angle)])
    matrix = ellipse(e1, e2, np.array([told.radius]))[0]
    weight = np.concatenate([EXPONENTIAL.weight * (1 - told.bulge), DEVAUCOULEURS.weight * told.bulge])
    profile = Profile(weight, np.concatenate([EXPONENTIAL.variance, DEVAUCOULEURS.variance]))
    one = np.ones(1)
    found = radial(on, profile, matrix) * points(on, x * one, y * one, flux * (1 - told.knots) * one)
    if told.knots:
        rng = np.random.default_rng(told.seed)
        count = int(rng.integers(2, 8))
        full = np.array([[matrix[0], matrix[1]], [matrix[1], matrix[2]]])
        dx, dy = np.linalg.cholesky(full) @ rng.normal(0, 0.8, (2, count)) / on.pixscale
        share = rng.dirichlet(np.ones(count))
        found += points(on, x + dx, y + dy, flux * told.knots * share)
    return found


def _drawn(on: Grid, scene: Scene, seen: Exposure, flux: float, at: tuple[Floats, Floats]) -> Spectrum:
    """Return the spectrum of all there is, not yet spread; a primary of so much flux."""
    x, y = at
    light, galaxy = flux * scene.sky.light(seen.wavelength), scene.sky.galaxy
    if galaxy is None:
        return points(on, x, y, light)
    flux *= 10 ** (-0.4 * galaxy.mag)
    place = float(x[0]), float(y[0])
    if not scene.sky.alone:
        return points(on, x, y, light) + _galaxy(on, galaxy, place, flux)
    # As much light on more pixels is less signal: in a star's place it gets what makes it as significant.
    flux *= float(np.sqrt(1 + (1.5 * galaxy.radius / seen.fwhm) ** 2 * galaxy.ratio))
    return points(on, x[1:], y[1:], light[1:]) + _galaxy(on, galaxy, place, flux)


def render(scene: Scene, survey: str, filter: str, rng: np.random.Generator) -> Rendered:
    """Draw a stamp.

    Parameters
    ----------
    scene : Scene
        What it shows.
    survey, filter : str
        Whose stamp; the filter is one of the scene's exposures.
    rng : numpy.random.Generator
        Source of photons and blemishes.
    """
    on, seen = grid(survey), scene.exposures[filter]
    spread, flux = point(on, seen)
    background = seen.sky + seen.read_noise**2
    x, y = places(on, scene, seen)
    light = scene.sky.light(seen.wavelength)
    # What is resampled afterwards moves by as much again.
    dx, dy = seen.resampled
    drawn = _drawn(on, scene, seen, flux, (x - dx, y - dy))
    pixels = image(on, spread * drawn)
    peak = _peak(pixels, float(x[0]), float(y[0]))
    middle = (np.arange(on.side, dtype=np.float32) - on.side / 2) / on.side
    slope = seen.gradient[0] * middle + seen.gradient[1] * middle[:, None]
    pixels += np.float32(np.sqrt(background)) * slope
    pixels += np.float32(seen.sky)
    noise = rng.standard_normal(pixels.shape, np.float32)
    pixels += np.sqrt(np.maximum(pixels, 0) + np.float32(seen.read_noise**2)) * noise
    mask = np.zeros(pixels.shape, np.uint8)
    _spoil(pixels, mask, seen, (float(x[0]), float(y[0])), peak, rng)
    facts = {
        "filter": filter, "wavelength_um": seen.wavelength, "mjd": seen.mjd, "x0": (on.side - 1) / 2 + seen.centre[0],
        "y0": (on.side - 1) / 2 + seen.centre[1], "fwhm_arcsec": seen.fwhm, "flux": flux * seen.unit,
        "noise": np.sqrt(background) * seen.unit, "sky": seen.sky * seen.unit * seen.pedestal, "snr": seen.snr,
        "saturation": _level(seen, peak) * seen.unit, "light": light, "x": x, "y": y,
    }  # fmt: skip
    pixels -= np.float32(0 if seen.pedestal else seen.sky)
    pixels *= np.float32(seen.unit)
    return Rendered(pixels, mask, facts)


def _peak(pixels: Image, x: float, y: float) -> float:
    """Return the largest value near a place."""
    row, column = (int(np.clip(round(place), 2, len(pixels) - 3)) for place in (y, x))
    return float(pixels[row - 2 : row + 3, column - 2 : column + 3].max())


def _level(seen: Exposure, peak: float) -> float:
    """Return how many electrons a pixel holds: exposures are chosen so that the source is below it, or it is not."""
    if not seen.saturated:
        return max(seen.saturation, 1.3 * peak + 2 * seen.sky)
    return seen.sky + max(seen.saturated * peak, 8 * float(np.sqrt(seen.sky + seen.read_noise**2)))


def _spoil(
    pixels: Image, mask: Mask, seen: Exposure, place: tuple[float, float], peak: float, rng: np.random.Generator
) -> None:
    """Add what spoils a stamp, in place."""
    side, noise = len(pixels), float(np.sqrt(seen.sky + seen.read_noise**2))
    for _ in range(seen.cosmic_rays):
        blemishes.cosmic_ray(pixels, mask, noise, tuple(rng.uniform(0, side, 2)), rng)
    if seen.artefact:
        reach = 2.5 / surveys.get("SDSS").pixscale if side == 64 else 30
        near = place[0] + rng.normal(0, reach / 2), place[1] + rng.normal(0, reach / 2)
        which = rng.random()
        if which < 0.55:
            blemishes.cosmic_ray(pixels, mask, noise + 0.02 * peak, near, rng)
        elif which < 0.8:
            column = int(np.clip(near[0], 0, side - 1))
            blemishes.bad_column(pixels, mask, noise, column, rng)
        else:
            blemishes.trail(pixels, noise * 10 ** rng.uniform(0, 1.5), 4.0, near, rng)
    blemishes.saturate(pixels, mask, _level(seen, peak), seen.style)
    _resample(pixels, mask, seen)
    if seen.cut:
        blemishes.cut(pixels, mask, seen.cut, rng)
    if not seen.told:
        mask[:] = 0
    mask[np.isnan(pixels)] |= np.uint8(blemishes.BAD)


def _resample(pixels: Image, mask: Mask, seen: Exposure) -> None:
    """Interpolate linearly between pixels and smooth, in place, which leaves noise that is correlated."""
    for axis, part in ((1, seen.resampled[0]), (0, seen.resampled[1])):
        if part:
            pixels += np.float32(part) * (np.roll(pixels, 1, axis) - pixels)
    if seen.smoothed:
        # Three taps with the variance of the Gaussian; wide ones twice.
        times = 1 + int(seen.smoothed > 0.6)
        side = np.float32(min(seen.smoothed**2 / times / 2, 0.3))
        for axis in (0, 1) * times:
            pixels += side * (np.roll(pixels, 1, axis) + np.roll(pixels, -1, axis) - 2 * pixels)
    if mask.any() and (any(seen.resampled) or seen.smoothed):
        for axis in (0, 1):
            mask |= np.roll(mask, 1, axis)


def stacked(description: Description, survey: str, seed: int, n: int) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Draw, render and stack sources.

    Parameters
    ----------
    description : Description
        How widely.
    survey : str
        Which, as the description calls it.
    seed : int
        Number of the part.
    n : int
        How many.

    Returns
    -------
    stacks : (n, side, side) float32
        Counts less the sky; NaN where there are none.
    index : pandas.DataFrame
        Columns of `catalogs.stamps.LESSONS`; row counts from 0.
    """
    made = [
        one_stacked(description, scene, seed, number) for number, scene in enumerate(draw(description, survey, seed, n))
    ]
    index = pd.DataFrame([row for _, row in made]).assign(row=np.arange(n))
    return np.stack([stack for stack, _ in made]), index[LESSONS.names]


def filters_of(description: Description, scene: Scene, seed: int, number: int) -> tuple[list[Plane], list[Rendered]]:
    """Render the filters that `one_stacked` stacks.

    Parameters
    ----------
    description, scene, seed, number
        As there.

    Returns
    -------
    list of Plane
        What is told of each, which is not all true.
    list of Rendered
        The same with the truth.
    """
    survey = surveys.get(scene.survey)
    rng = np.random.default_rng([description.seed, crc32(scene.survey.encode()), seed, number, 1])
    seen = [render(scene, scene.survey, name, rng) for name in scene.exposures]
    return [one.plane(survey, rng) for one in seen], seen


def one_stacked(description: Description, scene: Scene, seed: int, number: int) -> tuple[Image, dict[str, Any]]:
    """Render and stack one source.

    Parameters
    ----------
    description : Description
        What it was drawn by.
    scene : Scene
        What it shows.
    seed, number : int
        Of the part, and in it.

    Returns
    -------
    image : (side, side) float32
        As of `stacked`.
    row : dict
        Columns of `catalogs.stamps.LESSONS` but row.
    """
    planes, seen = filters_of(description, scene, seed, number)
    done = stack_source(planes, surveys.get(scene.survey))
    return done.image, {"source_id": scene.name} | done.facts | truth(
        scene.sky, [one.facts for one in seen], description.weightless
    )
