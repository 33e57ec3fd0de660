"""Transients put into a real image by its own PSF, to measure how many of a significance are found.

    truth = places.draw(…)                             where: on blank sky, on disks and cores of galaxies
    truth["flux"] = fluxes(error, …)                   how bright, by the noise of the plain subtraction
    science = inject(science, reference, match, …)     the image with them in it; subtracted and searched as any
    truth = seen(truth, band)                          what they are worth in that subtraction
    completeness(truth, candidates, fwhm)

Candidates of that image are marked (`mark`) and stay beside the result: they are in no release.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.spatial import cKDTree

from pipeline.images import align, efficiency
from pipeline.images.forced import interpolate
from pipeline.images.frame import UNUSABLE, Bit, Facts, Frame, Pixels
from pipeline.images.match import Match
from pipeline.images.subtract import Band
from pipeline.images.view import Image, transfer

__all__ = ["Injected", "completeness", "fluxes", "inject", "mark", "seen"]


# Of the power of a smoothing: what of it is not undone.
_FLOOR = 1e-3


class Injected:
    """An image with transients in it: a `pipeline.images.view.Image`.

    Parameters
    ----------
    image : Image
        The real one.
    x0, y0 : (n,) int
        First column and row of each stamp, which may lie outside in part.
    light, expected : sequence of (m, m) float32
        Counts of each, with and without the noise of their photons.
    """

    def __init__(
        self,
        image: Image,
        x0: NDArray[np.int64],
        y0: NDArray[np.int64],
        light: Sequence[Pixels],
        expected: Sequence[Pixels],
    ) -> None:
        self._image, self._x0, self._y0, self._light, self._expected = image, x0, y0, light, expected

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return self._image.facts

    @property
    def wcs(self) -> WCS:
        """Pixel → sky."""
        return self._image.wcs

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._image.shape

    @property
    def sky(self) -> float:
        """Level of the sky, counts."""
        return self._image.sky

    @property
    def sky_rms(self) -> float:
        """Scatter of the sky's pixels, counts."""
        return self._image.sky_rms

    def read(self, y0: int, y1: int, x0: int, x1: int) -> Frame:
        """Return a rectangle of it, the same light in it whichever rectangle is asked for."""
        frame = self._image.read(y0, y1, x0, x1)
        data, variance, mask = frame.data.copy(), frame.variance.copy(), frame.mask.copy()
        ny, nx = frame.shape
        for left, top, light, expected in zip(self._x0 - x0, self._y0 - y0, self._light, self._expected, strict=True):
            m = len(light)
            rows, columns = slice(max(0, top), min(ny, top + m)), slice(max(0, left), min(nx, left + m))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            part = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
            data[rows, columns] += light[part]
            variance[rows, columns] += expected[part] / np.float32(self.facts.gain)
            if self.facts.saturation is not None:
                full = (data[rows, columns] >= self.facts.saturation) & (light[part] > 0)
                mask[rows, columns][full] |= np.uint16(Bit.SATURATED)
        return Frame(data, variance, mask, frame.wcs, frame.facts)


def inject(
    science: Image,
    reference: Image,
    match: Match,
    positions: NDArray[np.float64],
    flux: NDArray[np.float64],
    rng: np.random.Generator,
) -> Injected:
    """Put transients into a science image.

    Parameters
    ----------
    science, reference : Image
        The pair.
    match : Match
        What was measured of it: the way between the two, and the science image's PSF at every place.
    positions : (n, 2) float64
        x and y on the reference, px.
    flux : (n,) float64
        Science counts, above 0.
    rng : numpy.random.Generator
        Noise of the photons.

    Returns
    -------
    Injected
        The science image with them.

    Raises
    ------
    ValueError
        If a flux is not above 0: what fades is in the reference.
    """
    flux = np.asarray(flux, float)
    if not (flux > 0).all():
        raise ValueError(f"injected fluxes are above 0; the least is {flux.min():g}")
    x, y = np.asarray(positions, float).reshape(-1, 2).T
    warp = match.warp(science, reference)
    xs, ys = warp(x, y) if len(x) else (x, y)
    there = np.isfinite(xs) & np.isfinite(ys)
    x, y, flux, xs, ys = (values[there] for values in (x, y, flux, xs, ys))
    inverse = np.linalg.inv(warp.jacobian(x, y)) if len(x) else np.zeros((0, 2, 2))
    gain = science.facts.gain
    x0, y0, light, expected = [], [], [], []
    for k in range(len(x)):
        psf = _sharpened(match.science_psf.at(x[k], y[k]), match.smoothing)
        stamp, left, top = _stamp(psf, inverse[k], xs[k], ys[k])
        counts = np.maximum(flux[k] * stamp, 0)
        x0.append(left)
        y0.append(top)
        expected.append(counts.astype(np.float32))
        light.append((rng.poisson(counts * gain) / gain).astype(np.float32))
    return Injected(science, np.array(x0, np.int64), np.array(y0, np.int64), light, expected)


def _sharpened(psf: Pixels, sigma: float) -> Pixels:
    """Return the PSF that is this one once an image is convolved with the Gaussian that subtraction smooths it by."""
    if sigma == 0:
        return psf
    m = len(psf)
    blur = transfer((2 * m, 2 * m), sigma)
    spectrum = np.fft.rfft2(psf, (2 * m, 2 * m)) * blur / (blur**2 + _FLOOR)
    sharp = np.fft.irfft2(spectrum, (2 * m, 2 * m))[:m, :m].astype(np.float32)
    return np.asarray(sharp / sharp.sum())


def _stamp(psf: Pixels, inverse: NDArray[np.float64], xs: float, ys: float) -> tuple[NDArray[np.float64], int, int]:
    """Return the PSF, measured on the reference's pixels, on those of the science image, with its first pixel."""
    half = psf.shape[0] // 2
    reach = int(np.ceil(half * np.abs(np.linalg.inv(inverse)).sum(axis=1).max()))
    left, top = round(xs) - reach, round(ys) - reach
    grid = np.arange(2 * reach + 1, dtype=float)
    dx, dy = np.meshgrid(left + grid - xs, top + grid - ys)
    sx, sy = (half + row[0] * dx + row[1] * dy for row in inverse)
    out, variance, mask = (np.empty(dx.shape, kind) for kind in (np.float32, np.float32, np.uint16))
    coefficients = spline_filter(psf, align.DEGREE, np.float32, "mirror")
    align.sample(coefficients, psf, np.zeros(psf.shape, np.uint16), sx, sy, out, variance, mask)
    return out.astype(float) * abs(float(np.linalg.det(inverse))), left, top


def fluxes(
    error: NDArray[np.floating], gain: float, rng: np.random.Generator, snr: tuple[float, float] = (3.0, 20.0)
) -> NDArray[np.float64]:
    """Return fluxes that make transients about as significant as wanted, uniformly in the logarithm.

    Parameters
    ----------
    error : (n,) ndarray
        Of a flux at each place in the plain subtraction, science counts.
    gain : float
        Of the science image, electrons a count.
    rng : numpy.random.Generator
        Source of chance.
    snr : tuple of float
        Limits of the significance.

    Returns
    -------
    (n,) float64
        Science counts.
    """
    strength = snr[0] * (snr[1] / snr[0]) ** rng.random(len(error))
    # Its own photons: s² = f² / (e² + c f) with c the share of its light's noise that the filter passes, about 1 / gain
    # of half of it.
    own = strength**2 / (2 * gain)
    return np.asarray((own + np.sqrt(own**2 + 4 * (strength * error) ** 2)) / 2)


def seen(truth: pd.DataFrame, band: Band) -> pd.DataFrame:
    """Say what injected transients are worth in a subtraction of the image they are in.

    Parameters
    ----------
    truth : pandas.DataFrame
        x, y (px of the reference), flux.
    band : Band
        That subtraction.

    Returns
    -------
    pandas.DataFrame
        Those in the band's rows, with snr_opt (flux over the error of a flux there, by PSFs and variances as measured,
        their own photons included), forced_flux and usable.
    """
    rows = truth[(truth["y"] >= band.y0 - 0.5) & (truth["y"] < band.y1 - 0.5)].copy()
    x, y = rows["x"].to_numpy(), rows["y"].to_numpy() - band.top
    error = interpolate(band.flux_err, x, y)
    ny, nx = band.mask.shape
    column, row = np.clip(np.rint(x), 0, nx - 1).astype(int), np.clip(np.rint(y), 0, ny - 1).astype(int)
    rows["snr_opt"] = rows["flux"].to_numpy() / error
    rows["forced_flux"] = interpolate(band.significance * band.flux_err, x, y)
    rows["usable"] = ((band.mask[row, column] & np.uint16(UNUSABLE)) == 0) & np.isfinite(error)
    return rows


def completeness(truth: pd.DataFrame, candidates: pd.DataFrame, fwhm: float, threshold: float = 5.0) -> pd.DataFrame:
    """Count what was found.

    Parameters
    ----------
    truth : pandas.DataFrame
        As `seen` returns it, of one band or of all.
    candidates : pandas.DataFrame
        Of the same image: x, y (px of the reference), snr, flags.
    fwhm : float
        Of the science image, px of the reference.
    threshold : float
        Candidates have at least this |snr|.

    Returns
    -------
    pandas.DataFrame
        By environment and bin of S/N_opt: injected, masked, expected, recovered, unflagged, and ratio (recovered over
        expected) with its 95% binomial interval low, high.
    """
    table = efficiency.counted(truth, candidates, fwhm, truth["usable"].to_numpy(bool), threshold)
    return efficiency.compared(table)


def mark(candidates: pd.DataFrame, truth: pd.DataFrame, fwhm: float) -> pd.DataFrame:
    """Mark the candidates that are injected transients.

    Parameters
    ----------
    candidates : pandas.DataFrame
        x, y (px of the reference).
    truth : pandas.DataFrame
        x, y of what was injected.
    fwhm : float
        Of the science image, px of the reference.

    Returns
    -------
    pandas.DataFrame
        With is_injected.
    """
    near = np.zeros(len(candidates), bool)
    if len(candidates) and len(truth):
        distance, _ = cKDTree(truth[["x", "y"]].to_numpy(float)).query(candidates[["x", "y"]].to_numpy(float))
        near = distance <= max(1.0, 0.5 * fwhm)
    return candidates.assign(is_injected=near)
