"""What does not change between two frames: stars and galaxies in random places."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure
from pipeline.simulate.optics import Optics, ellipse, stretched
from pipeline.simulate.profiles import DEVAUCOULEURS, EXPONENTIAL, Floats

__all__ = ["Population", "area", "draw_scene", "light", "snr"]

# A bulge's half-light radius over its disk's.
_BULGE = 0.3


@dataclass(frozen=True)
class Population:
    """What stars and galaxies there are.

    Parameters
    ----------
    stars, galaxies : float
        How many in 10^6 pixels.
    star_slope, galaxy_slope : float
        γ of N(> flux) ∝ flux^-γ.
    faintest, brightest : float
        Limits of the stars' fluxes: significance in the reference, and peak over saturation in the science frame.
    galaxy_snr : tuple of float
        Limits of the galaxies' fluxes: significance in the reference if they were points.
    half_light : tuple of float
        Limits of disks' half-light radii, px of the reference, uniform in their logarithm.
    """

    stars: float = 1000.0
    galaxies: float = 300.0
    star_slope: float = 0.5
    galaxy_slope: float = 0.6
    faintest: float = 5.0
    brightest: float = 1.5
    galaxy_snr: tuple[float, float] = (20.0, 3000.0)
    half_light: tuple[float, float] = (1.0, 8.0)


def area(optics: Optics) -> float:
    """Return the equivalent area of a point's noise: 1 / Σ P².

    Parameters
    ----------
    optics : Optics
        Of the frame.

    Returns
    -------
    float
        Px.
    """
    profile = optics.profile
    pairs = profile.variance[:, None] + profile.variance[None, :]
    return float(2 * np.pi * optics.fwhm**2 / (np.outer(profile.weight, profile.weight) / pairs).sum())


def snr(flux: Floats, half_light: Floats, optics: Optics, exposure: Exposure) -> Floats:
    """Return about how significant sources are in a frame.

    Parameters
    ----------
    flux : (n,) float64
        Counts in that frame.
    half_light : (n,) float64
        Px; 0 for stars.
    optics : Optics
        Of the frame.
    exposure : Exposure
        Its noise.

    Returns
    -------
    (n,) float64
        Flux over its standard deviation.
    """
    noise = exposure.sky / exposure.gain + (exposure.read_noise / exposure.gain) ** 2
    return np.asarray(flux / np.sqrt(flux / exposure.gain + noise * (area(optics) + 4 * np.pi * half_light**2)))


def draw_scene(
    population: Population,
    box: tuple[float, float, float, float],
    science: tuple[Exposure, Optics],
    reference: tuple[Exposure, Optics],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw stars and galaxies.

    Parameters
    ----------
    population : Population
        How many, how bright.
    box : tuple of float
        Least and largest x, least and largest y, px of the reference.
    science, reference : tuple of Exposure and Optics
        The frames: what is faint and what is bright in them.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    pandas.DataFrame
        x, y (px of the reference), flux (counts of the scene), kind (``star``, ``galaxy``), half_light (px), e1, e2,
        bulge (share of the flux).
    """
    extent = (box[1] - box[0]) * (box[3] - box[2]) / 1e6
    n_stars, n_galaxies = rng.poisson(population.stars * extent), rng.poisson(population.galaxies * extent)
    count = n_stars + n_galaxies
    star = np.arange(count) < n_stars
    # The flux whose noise is the background's alone, in counts of the scene.
    noise = reference[0].sky / reference[0].gain + (reference[0].read_noise / reference[0].gain) ** 2
    unit = np.sqrt(noise * area(reference[1])) / reference[0].scale
    full = science[0].saturation / science[0].scale / float(_peak(science[1], np.zeros(1))[0])
    half_light = population.half_light[0] * (population.half_light[1] / population.half_light[0]) ** rng.random(count)
    half_light = np.where(star, 0.0, half_light)
    chance = rng.random(count)
    flux = np.where(
        star,
        _power(chance, population.star_slope, population.faintest * unit, population.brightest * full),
        _power(chance, population.galaxy_slope, *(unit * limit for limit in population.galaxy_snr)),
    )
    # A third of a full well at most, in either frame: the cores of hosts are to be seen.
    for exposure, optics in (science, reference):
        limit = (exposure.saturation - exposure.sky) / 3 / exposure.scale / _peak(optics, half_light)
        flux = np.where(star, flux, np.minimum(flux, limit))
    e, angle = rng.uniform(0, 0.6, count) * ~star, rng.uniform(0, 2 * np.pi, count)
    return pd.DataFrame(
        {
            "x": rng.uniform(box[0], box[1], count),
            "y": rng.uniform(box[2], box[3], count),
            "flux": flux,
            "kind": np.where(star, "star", "galaxy"),
            "half_light": half_light,
            "e1": e * np.cos(angle),
            "e2": e * np.sin(angle),
            "bulge": rng.uniform(0, 0.5, count) * ~star,
        }
    )


def _peak(optics: Optics, half_light: Floats) -> Floats:
    """At least the share of a source's light in its brightest pixel."""
    profile = optics.profile
    own = (half_light / 2.5) ** 2  # the Gaussian that is as bright in the middle as a disk with some bulge
    return (profile.weight / (2 * np.pi * (profile.variance * optics.fwhm**2 + own[:, None] + 1 / 12))).sum(axis=1)


def _power(chance: Floats, slope: float, low: float, high: float) -> Floats:
    return np.asarray(low * (1 - chance * (1 - (high / low) ** -slope)) ** (-1 / slope))


def light(scene: pd.DataFrame, x: Floats, y: Floats, jacobian: Floats, exposure: Exposure, optics: Optics) -> Floats:
    """Draw a scene through a frame's optics.

    Parameters
    ----------
    scene : pandas.DataFrame
        As of `draw_scene`.
    x, y : (n,) float64
        Where its sources are in the frame, px.
    jacobian : (n, 2, 2) float64
        How the pixels of the reference lie there.
    exposure : Exposure
        Of the frame.
    optics : Optics
        Of the frame.

    Returns
    -------
    (ny, nx) float64
        Counts without sky.
    """
    image = np.zeros(optics.shape)
    matrices = optics.matrices(x, y)
    counts = scene["flux"].to_numpy() * exposure.scale
    faint = 1e-3 * np.sqrt(exposure.sky / exposure.gain + (exposure.read_noise / exposure.gain) ** 2)
    star = (scene["kind"] == "star").to_numpy()
    render(image, x[star], y[star], counts[star], optics.profile, matrices[star], faint)
    disk = stretched(ellipse(*(scene[name].to_numpy() for name in ("e1", "e2", "half_light"))), jacobian)[~star]
    bulge = scene["bulge"].to_numpy()[~star]
    place = x[~star], y[~star]
    for own, share, shapes in ((EXPONENTIAL, 1 - bulge, disk), (DEVAUCOULEURS, bulge, disk * _BULGE**2)):
        render(image, *place, counts[~star] * share, optics.profile, matrices[~star], faint, own, shapes)
    return image
