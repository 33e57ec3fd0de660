"""A pair of images, matched: the way between them, their PSFs, how their counts compare, what noise is left."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, spline_filter

from pipeline.images import align
from pipeline.images.align import Coordinates, Warp
from pipeline.images.cutouts import choose, cut, cut_aligned, first_fwhm, middle, scale
from pipeline.images.frame import Bit
from pipeline.images.measurement import measure
from pipeline.images.psf import Psf
from pipeline.images.register import correct, pair_up
from pipeline.images.stars import Stamps, Stars, place, width
from pipeline.images.view import Buffered, Image, Smoothed
from pipeline.images.zogy import MARGIN

__all__ = ["Match", "match"]

#: Correction of the registration below which the science image's stars are not cut out anew, px.
SETTLED = 0.005

#: FWHM below which a PSF is too narrow for its pixels, and the one that it is brought to, px.
UNDERSAMPLED, SAMPLED = 2.0, 2.5


@dataclass(frozen=True, eq=False)
class Match:
    """What is measured of a pair before it is subtracted.

    Parameters
    ----------
    order, correction : int, (2, n) float64
        Polynomial that corrects the WCSs, as in `Warp`.
    offset : (2,) float64
        How far the WCSs are off in the middle of the reference, x and y, reference px: what was corrected.
    rms, jitter : (2,) float64
        Residuals of the stars, and what of them is no error of measurement, reference px.
    overlap : float
        Share of the science image that the reference covers.
    science_psf, reference_psf : Psf
        After resampling, on the reference's pixels.
    flux_ratio, flux_ratio_err : float
        Reference counts of a source of one science count.
    science_noise, reference_noise : float
        Scatter of the sky, counts; the science image's on the reference's pixels.
    smoothing : float
        σ of the Gaussian that both images are convolved with first, px; 0: none is needed.
    n_stars : int
        Stars in both images that the registration is from.
    """

    order: int
    correction: Coordinates
    offset: Coordinates
    rms: Coordinates
    jitter: Coordinates
    overlap: float
    science_psf: Psf
    reference_psf: Psf
    flux_ratio: float
    flux_ratio_err: float
    science_noise: float
    reference_noise: float
    smoothing: float
    n_stars: int

    def warp(self, science: Image, reference: Image) -> Warp:
        """Return the way from reference to science pixels."""
        return Warp(reference.wcs, science.wcs, reference.shape, self.order, self.correction)

    def seen(self, science: Image, reference: Image) -> tuple[Image, Image]:
        """Return the images as they are subtracted: smoothed, if need be."""
        if self.smoothing == 0:
            return science, reference
        native = self.smoothing * scale(self.warp(science, reference))
        return Smoothed(science, native), Smoothed(reference, self.smoothing)

    def to_json(self) -> str:
        """Return it as text."""
        raw: dict[str, Any] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}
        raw["science_psf"], raw["reference_psf"] = self.science_psf.to_json(), self.reference_psf.to_json()
        return json.dumps(raw)

    @classmethod
    def from_json(cls, text: str) -> "Match":
        """Return what `to_json` wrote."""
        raw = json.loads(text)
        for name in ("correction", "offset", "rms", "jitter"):
            raw[name] = np.array(raw[name])
        for name in ("science_psf", "reference_psf"):
            raw[name] = Psf.from_json(raw[name])
        return cls(**raw)


def match(
    science: Image,
    reference: Image,
    science_sources: pd.DataFrame,
    reference_sources: pd.DataFrame,
    science_psf: NDArray[Any] | None = None,
    reference_psf: NDArray[Any] | None = None,
    reach: float = 15.0,
    max_stars: int = 250,
) -> Match:
    """Match a pair.

    Parameters
    ----------
    science, reference : Image
        The images.
    science_sources, reference_sources : DataFrame
        Their sources: x, y, flux, fwhm, snr, mask, is_star.
    science_psf, reference_psf : (m, m) array, optional
        PSFs that are known, instead of measured ones.
    reach : float
        How far the WCSs may be off, science px.
    max_stars : int
        Stars a PSF is measured on, at most.

    Returns
    -------
    Match
        All that subtraction needs.
    """
    warp = Warp(reference.wcs, science.wcs, reference.shape)
    a, b = _ranked(science_sources), _ranked(reference_sources)
    i, j, found = pair_up(warp, a[["x", "y"]].to_numpy()[:3000], b[["x", "y"]].to_numpy()[:3000], reach)
    stars = choose(a.iloc[i], b.iloc[j], reference_sources, reference.shape, max_stars)
    science, reference = Buffered(science), Buffered(reference)
    fwhm_r, fwhm_n = first_fwhm(b), first_fwhm(a) / scale(found)
    fwhm_r = width(cut(reference, stars, b, 10), fwhm_r) or fwhm_r
    fwhm_n = width(cut_aligned(science, found, stars, b, 10), fwhm_n) or fwhm_n
    smoothing = _smoothing(min(fwhm_r, fwhm_n))
    if smoothing:
        science = Buffered(Smoothed(science, smoothing * scale(found)))
        reference = Buffered(Smoothed(reference, smoothing))
        fwhm_r, fwhm_n = (float(np.hypot(fwhm, 2.3548 * smoothing)) for fwhm in (fwhm_r, fwhm_n))
    half_r, half_n = _half(fwhm_r), _half(fwhm_n)
    stamps_r = stamps_n = cut(reference, stars, b, half_r + 2)
    psf_r, on_r = measure(stamps_r, fwhm_r, half_r)
    if reference_psf is not None:
        psf_r = Psf.given(_smoothed(reference_psf, smoothing), reference.shape)
        on_r = place(psf_r, stamps_r, on_r.index, _centres(on_r, stamps_r), fwhm_r)
    rms = jitter = np.zeros(2)
    psf_n, on_n, used = psf_r, on_r, 0
    for _ in range(2):
        stamps_n = cut_aligned(science, found, stars, b, half_n + 2)
        psf_n, on_n = measure(stamps_n, fwhm_n, half_n)
        if science_psf is not None:
            psf_n = Psf.given(_smoothed(_on_grid(science_psf, found), smoothing), reference.shape)
            on_n = place(psf_n, stamps_n, on_n.index, _centres(on_n, stamps_n), fwhm_n)
        _, p, q = np.intersect1d(on_n.index, on_r.index, return_indices=True)
        if not len(p):
            break
        # By the PSFs that are subtracted with: where one is not centred, the other image makes up for it.
        places = np.stack([on_r.x[q], on_r.y[q]], -1)
        offset = np.stack([on_n.x[p] - places[:, 0], on_n.y[p] - places[:, 1]], -1)
        error = np.hypot(_centroid_error(on_n, fwhm_n)[p], _centroid_error(on_r, fwhm_r)[q])
        fit = correct(found, places, offset, error)
        found, rms, jitter, used = fit.warp, fit.rms, fit.jitter, int(fit.used.sum())
        if fit.moved < SETTLED:
            break
    ratio, ratio_err = _flux_ratio(on_n, on_r) or _by_zero_points(science, reference)
    x, y = middle(found)
    area = scale(found) ** 2
    return Match(
        order=found.order,
        correction=found.correction,
        offset=np.linalg.solve(found.jacobian(x, y)[0], np.stack(found.shift(x, y), -1)[0]),
        rms=rms,
        jitter=jitter,
        overlap=_overlap(found, science.shape),
        science_psf=psf_n,
        reference_psf=psf_r,
        flux_ratio=ratio,
        flux_ratio_err=ratio_err,
        # White noise stays white where pixels are magnified, but has less power on the scale of a PSF.
        science_noise=science.sky_rms * float(np.sqrt(area * max(area, 1.0))),
        reference_noise=reference.sky_rms,
        smoothing=smoothing,
        n_stars=used,
    )


def _ranked(sources: pd.DataFrame) -> pd.DataFrame:
    """Return sources that have a place, brightest first; one bad pixel among many does no harm."""
    harmed = sources["mask"] & int(Bit.SATURATED | Bit.EDGE | Bit.TRAIL)
    good = sources[(sources["snr"] > 8) & (harmed == 0)]
    return good.sort_values(["snr", "x", "y"], ascending=[False, True, True], kind="stable").reset_index(drop=True)


def _smoothing(fwhm: float) -> float:
    """Return σ of the Gaussian that brings a PSF to `SAMPLED`, px; 0 if it need not."""
    return 0.0 if fwhm >= UNDERSAMPLED else float(np.sqrt(SAMPLED**2 - fwhm**2) / 2.3548)


def _half(fwhm: float) -> int:
    """Return half of the side of a PSF's stamp: a Moffat profile of β = 3 has 99.7% of its light inside."""
    return int(np.clip(np.ceil(5.5 * fwhm), 10, MARGIN))


def _centroid_error(stars: Stars, fwhm: float) -> NDArray[np.float64]:
    """Return the error of positions, px in each coordinate: σ of the PSF over S/N, and what a PSF's own error adds."""
    return np.asarray(np.hypot(0.6 * fwhm * stars.flux_err / np.maximum(stars.flux, 1e-9), 0.002))


def _centres(stars: Stars, stamps: Stamps) -> NDArray[np.float64]:
    return np.stack([stars.x - stamps.x[stars.index], stars.y - stamps.y[stars.index]], -1)


def _flux_ratio(science: Stars, reference: Stars) -> tuple[float, float] | None:
    """Return reference over science counts of the same stars: weighted mean in the logarithm, clipped; or None."""
    _, p, q = np.intersect1d(science.index, reference.index, return_indices=True)
    ratio = reference.flux[q] / np.maximum(science.flux[p], 1e-9)
    good = (ratio > 0) & (science.flux[p] > 0)
    if not good.any():
        return None
    log = np.log(ratio[good])
    error = np.hypot(reference.flux_err[q] / reference.flux[q], science.flux_err[p] / science.flux[p])[good]
    error = np.hypot(error, 0.003)
    keep, mean = np.ones(len(log), bool), float(np.median(log))
    for _ in range(5):
        weight = keep / error**2
        mean = float((weight * log).sum() / weight.sum())
        off = np.abs(log - mean) / error
        keep = off < 4 * max(1.0, 1.4826 * float(np.median(off)))
    return float(np.exp(mean)), float(np.exp(mean) / np.sqrt((keep / error**2).sum()))


def _by_zero_points(science: Image, reference: Image) -> tuple[float, float]:
    """Return reference over science counts by what the headers say, to 5%; an infinite error if they do not say it."""
    one, other = science.facts.zp_ab, reference.facts.zp_ab
    if one is None or other is None:
        return 1.0, np.inf
    ratio = 10 ** (0.4 * (other - one))
    return ratio, 0.05 * ratio


def _smoothed(stamp: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """Return a PSF as the images are smoothed."""
    image = np.asarray(stamp, np.float32)
    if sigma == 0:
        return image
    return np.asarray(gaussian_filter(np.pad(image, int(np.ceil(4 * sigma))), sigma, truncate=4), np.float32)


def _on_grid(stamp: NDArray[Any], warp: Warp) -> NDArray[np.float32]:
    """Return a PSF of the science image on the reference's pixels."""
    image = np.asarray(stamp, np.float32)
    jacobian = warp.jacobian(*middle(warp))[0]
    half = image.shape[0] // 2
    if np.abs(jacobian - np.eye(2)).max() * half < 1e-3:
        return image
    grid = np.arange(-half, half + 1, dtype=float)
    gx, gy = np.meshgrid(grid, grid)
    sx, sy = half + jacobian[0, 0] * gx + jacobian[0, 1] * gy, half + jacobian[1, 0] * gx + jacobian[1, 1] * gy
    out, variance = np.empty_like(image), np.empty_like(image)
    mask = np.empty(image.shape, np.uint16)
    none = np.zeros(image.shape, np.uint16)
    align.sample(spline_filter(image, align.DEGREE, np.float32, "mirror"), image, none, sx, sy, out, variance, mask)
    return out


def _overlap(warp: Warp, shape: tuple[int, int]) -> float:
    """Return the share of the science image that the reference covers, from a grid on the reference."""
    ny, nx = warp.shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, 64), np.linspace(0, ny - 1, 64))
    xs, ys = warp(x, y)
    covered = float(np.mean((xs > -0.5) & (xs < shape[1] - 0.5) & (ys > -0.5) & (ys < shape[0] - 0.5)))
    return min(1.0, float(covered * ny * nx * scale(warp) ** 2 / (shape[0] * shape[1])))
