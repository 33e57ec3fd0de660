"""One image of a source, and the pixels of it that are fitted."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline.stamps.descent import model
from pipeline.stamps.psf import Psf, nominal
from pipeline.stamps.surveys import REACH

__all__ = ["Picture", "Stamp", "picture", "scatter"]

Array = NDArray[np.float64]

#: FWHM beyond REACH to which pixels around the source are fitted.
_BEYOND = 1.5

#: Good pixels within one FWHM of the source without which nothing can be said.
_LEAST = 3

#: Pixels of sky from which its correlation is told.
_ENOUGH = 600

#: Pixels beyond which those further than so many FWHM from all stars are thinned.
_MANY, _NEAR = 2000, 5.0


@dataclass(frozen=True, eq=False)
class Stamp:
    """An image of a source, north up and east left.

    Parameters
    ----------
    image : (y, x) float32
        Counts; NaN where there are none.
    mask : (y, x) uint8
        0 where a pixel is good.
    noise : float
        Scatter of the sky a pixel, counts; NaN: to be measured.
    survey, filter : str
        What it is an image of.
    pixscale : float
        Arcsec a pixel.
    x0, y0 : float
        Where the source is, px from 0, pixel centres whole.
    mjd : float
        Middle of the exposure; NaN: unknown.
    fwhm : float
        Of the PSF, arcsec.
    measured : bool
        The FWHM is measured, and not the survey's nominal one.
    gain : float
        Electrons a count, for the source's own noise; NaN: it follows from the residuals.
    able : bool
        The survey can resolve 2.5 arcsec.
    zeropoint : float
        Magnitude of one count; NaN: unknown.
    oriented : bool
        North is up indeed; else nobody knows.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    noise: float
    survey: str
    filter: str
    pixscale: float
    x0: float
    y0: float
    mjd: float = float("nan")
    fwhm: float = float("nan")
    measured: bool = False
    gain: float = float("nan")
    able: bool = True
    zeropoint: float = float("nan")
    oriented: bool = True

    @property
    def psf(self) -> Psf:
        """What its header says of the PSF."""
        return nominal(self.fwhm / self.pixscale, self.measured)


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels around a source that are fitted.

    Parameters
    ----------
    px, py : (n,) float64
        Where they are in the stamp.
    value : (n,) float64
        Counts above the sky, over the noise of the sky.
    variance : (n,) float64
        Of that: one for the sky, and what the source adds.
    index : (y, x) int64
        Number of each pixel of the stamp among them, -1 for the others.
    scale : float
        Arcsec a pixel.
    x0, y0 : float
        Where the source is expected, px.
    psf : Psf
        What is expected of the PSF.
    unit : float
        Counts that `value` counts by.
    gain : float
        What a unit of flux adds to the variance; NaN: to be found.
    correlation : float
        By how much the noise of pixels scatters more, over a star's width, than theirs tells; `unit` has it in it.
    """

    px: Array
    py: Array
    value: Array
    variance: Array
    index: NDArray[np.int64]
    scale: float
    x0: float
    y0: float
    psf: Psf
    unit: float
    gain: float = float("nan")
    correlation: float = 1.0
    pixels: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", np.stack([self.px, self.py, self.value, 1 / self.variance]))

    def modelled(self, places: Array, theta: Array, fluxes: Array) -> Array:
        """Return what stars put on the pixels, (n,), in units of the noise."""
        return np.asarray(model(self.px, self.py, places, theta, fluxes, self.psf.rest))

    def weighed(self, model: Array, gain: float, error: float) -> "Picture":
        """Return the same with the variances of a model: of its photons, and of a PSF with a relative error."""
        return replace(self, variance=1 + gain * np.maximum(model, 0) + (error * model) ** 2)

    def thinned(self, points: Array) -> "Picture":
        """Return the same with all pixels near points (n, 2) and some of the others, where there are very many."""
        if self.px.size <= _MANY:
            return self
        near = np.zeros(self.px.size, bool)
        for x, y in points:
            near |= np.hypot(self.px - x, self.py - y) < _NEAR * self.psf.fwhm
        # What is far from all stars tells of the sky alone; every sixteenth pixel does too.
        kept = near | ((self.px % 4 == 0) & (self.py % 4 == 0))
        index = np.full(self.index.shape, -1, np.int64)
        index[self.py[kept].astype(int), self.px[kept].astype(int)] = np.arange(kept.sum())
        return replace(self, px=self.px[kept], py=self.py[kept], value=self.value[kept], variance=self.variance[kept],
                       index=index)  # fmt: skip


def scatter(values: Array) -> tuple[float, float]:
    """Return the median of values and their scatter, outliers and stars (bright ones) apart."""
    middle = float(np.median(values))
    for _ in range(3):
        below = middle - values[values <= middle]
        width = 1.4826 * float(np.median(below)) if below.size else 0.0
        kept = values[np.abs(values - middle) < 3 * width] if width > 0 else values
        middle = float(np.median(kept))
    return middle, width


def _correlation(image: Array, good: NDArray[np.bool_], fwhm: float) -> float:
    """Return by how much the sky scatters more, over a star's width, than pixels that know nothing of one another."""
    if good.sum() < _ENOUGH:
        return 1.0
    sky, noise = scatter(image[good])
    width = max(fwhm / 2.355, 0.5)
    clipped = np.where(good, np.clip(image - sky, -4 * noise, 4 * noise), 0)
    share = gaussian_filter(good.astype(float), width, truncate=3)
    smooth = gaussian_filter(clipped, width, truncate=3)[share > 0.99]
    if smooth.size < _ENOUGH or noise == 0:
        return 1.0
    _, spread = scatter(smooth)
    # The sum of the squares of a Gaussian's weights, on pixels.
    axis = np.exp(-0.5 * (np.arange(-20, 21) / width) ** 2)
    return float(np.clip(spread / noise / ((axis**2).sum() / axis.sum() ** 2), 1.0, 4.0))


def picture(stamp: Stamp, psf: Psf | None = None) -> Picture | None:
    """Return the pixels of a stamp that are fitted.

    Parameters
    ----------
    stamp : Stamp
        The image.
    psf : Psf, optional
        What is expected of its PSF; default what its header says.

    Returns
    -------
    Picture or None
        None if too little of the source is there.
    """
    psf = stamp.psf if psf is None else psf
    image = np.asarray(stamp.image, float)
    good = np.isfinite(image) & (np.asarray(stamp.mask) == 0)
    y, x = (axis.astype(float) for axis in np.indices(image.shape))
    distance = np.hypot(x - stamp.x0, y - stamp.y0)
    if (good & (distance < max(psf.fwhm, 1.5))).sum() < _LEAST:
        return None
    outside = image[good & (distance > 2 * psf.fwhm)]
    sky, noise = scatter(outside if outside.size > 50 else image[good])
    noise = stamp.noise if np.isfinite(stamp.noise) and stamp.noise > 0 else noise
    if not noise > 0:
        return None
    correlation = _correlation(image, good & (distance > 2 * psf.fwhm), psf.fwhm)
    noise *= correlation
    near = good & (distance < REACH / stamp.pixscale + _BEYOND * psf.fwhm)
    index = np.full(image.shape, -1, np.int64)
    index[near] = np.arange(near.sum())
    value = (image[near] - sky) / noise
    gain = 1 / (stamp.gain * noise) if np.isfinite(stamp.gain) and stamp.gain > 0 else float("nan")
    return Picture(x[near], y[near], value, np.ones(value.size), index, stamp.pixscale,
                   float(stamp.x0), float(stamp.y0), psf, noise, gain, correlation)  # fmt: skip
