"""One frame: sky, detector and blur, and a scene seen through them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.simulate.optics import Optics
from pipeline.simulate.profiles import Floats, double_gaussian, moffat

__all__ = ["Exposure", "background", "expose", "noise_of", "optics_of"]


@dataclass(frozen=True)
class Exposure:
    """What makes a frame.

    Parameters
    ----------
    fwhm : float
        Px.
    beta : float
        Exponent of the Moffat profile.
    wings : tuple of float, optional
        Instead of a Moffat profile two Gaussians: share of the flux in the wide one, ratio of the widths.
    ellipticity : float, optional
        1 - b/a, in a random direction; random up to 0.1 if None.
    variation, shear : float
        Largest change over the frame of the FWHM (relative) and of the ellipticity.
    scale : float
        Counts for one count of the scene.
    sky : float
        Counts a pixel.
    gradient, curvature : float
        Change of the sky from edge to edge, and from the middle to the edges, relative to `sky`; direction random.
    gain : float
        Electrons a count.
    read_noise : float
        Electrons a pixel.
    saturation : float
        Counts at which a pixel is full.
    exptime : float
        Seconds.
    mjd : float
        Start of the exposure, d (UTC).
    cosmic_rays, hot_pixels, dead_pixels : float
        How many in 10^6 pixels.
    dead_columns, trails, movers : int
        How many on the frame.
    """

    fwhm: float
    beta: float = 3.5
    wings: tuple[float, float] | None = None
    ellipticity: float | None = None
    variation: float = 0.0
    shear: float = 0.0
    scale: float = 1.0
    sky: float = 400.0
    gradient: float = 0.0
    curvature: float = 0.0
    gain: float = 1.5
    read_noise: float = 5.0
    saturation: float = 60000.0
    exptime: float = 60.0
    mjd: float = 60000.25
    cosmic_rays: float = 0.0
    hot_pixels: float = 0.0
    dead_pixels: float = 0.0
    dead_columns: int = 0
    trails: int = 0
    movers: int = 0


def optics_of(exposure: Exposure, shape: tuple[int, int], rng: np.random.Generator) -> Optics:
    """Draw the point-spread function of a frame.

    Parameters
    ----------
    exposure : Exposure
        What it shall be like.
    shape : tuple of int
        Rows and columns.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Optics
        With a direction of its own, and changes over the frame of its own.
    """
    ellipticity, angle, terms = rng.uniform(0, 0.1), rng.uniform(0, 2 * np.pi), rng.normal(size=(3, 5))
    if exposure.ellipticity is not None:
        ellipticity = exposure.ellipticity
    profile = moffat(exposure.beta) if exposure.wings is None else double_gaussian(*exposure.wings)
    along = ellipticity * np.cos(angle), ellipticity * np.sin(angle)
    return Optics(profile, exposure.fwhm, along, shape, exposure.variation, exposure.shear, terms)


def background(exposure: Exposure, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw the sky of a frame.

    Parameters
    ----------
    exposure : Exposure
        Level, gradient and curvature.
    shape : tuple of int
        Rows and columns.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    (ny, nx) float64
        Counts, a plane plus a paraboloid.
    """
    angle, x0, y0 = rng.uniform(0, 2 * np.pi), *rng.uniform(-0.3, 0.3, 2)
    v, u = (np.linspace(-1, 1, size) for size in shape)
    plane = exposure.gradient / 2 * (np.cos(angle) * u[None, :] + np.sin(angle) * v[:, None])
    bowl = exposure.curvature * ((u[None, :] - x0) ** 2 + (v[:, None] - y0) ** 2) / 2
    return np.asarray(exposure.sky * (1 + plane + bowl))


def noise_of(counts: Floats, exposure: Exposure) -> Floats:
    """Return the variance of what a frame without noise will show.

    Parameters
    ----------
    counts : ndarray of float64
        Expected counts, sky included.
    exposure : Exposure
        Gain and read noise.

    Returns
    -------
    ndarray of float64
        Counts².
    """
    return np.maximum(counts, 0) / exposure.gain + (exposure.read_noise / exposure.gain) ** 2


def expose(counts: Floats, exposure: Exposure, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a frame: photons' noise, read noise, and full wells.

    Parameters
    ----------
    counts : (ny, nx) float64
        Expected, sky included.
    exposure : Exposure
        Gain, read noise and saturation.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    (ny, nx) float32
        Counts, nowhere above saturation.
    """
    image = np.empty(counts.shape, np.float32)
    for start in range(0, len(counts), 256):  # large frames are not held several times
        rows = slice(start, start + 256)
        image[rows] = rng.poisson(np.maximum(counts[rows], 0) * exposure.gain)
        image[rows] += exposure.read_noise * rng.standard_normal(image[rows].shape, np.float32)
    image /= np.float32(exposure.gain)
    return np.minimum(image, np.float32(exposure.saturation), out=image)
