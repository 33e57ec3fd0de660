"""What a candidate looks like: shape, dipole, bits of the mask, neighbours, and whether it is light at all.

All is measured on cutouts of one tile's difference D, whose noise is white (Zackay, Ofek & Gal-Yam 2016, eq. 13), and
scaled by the significance S_corr of the peak, so that noise which S_corr knows of counts here too. A test says that a
candidate is no point source only where noise alone would hardly make one look like that.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from catalogs.candidates import Flag
from pipeline.images.frame import bits_around
from pipeline.images.templates import Amplitudes, amplitudes, cutouts, fwhm, shifted

__all__ = ["Limits", "measure", "position_error"]

_Stamp = NDArray[np.float32]
_Values = NDArray[np.float64]

#: FWHM of a Gaussian over its standard deviation.
_FWHM = 2.3548200450309493

#: FWHM that a candidate may seem to have, in those of the PSF: beyond, moments tell nothing.
_WIDEST = 4.0


@dataclass(frozen=True)
class Limits:
    """From where on a candidate is flagged, and how far is looked.

    Parameters
    ----------
    mask_fwhm : float
        Radius of the aperture in which bits of the mask count, in FWHM of the difference's PSF.
    dipole_fwhm : float
        Radius in which the other sign is looked for.
    neighbour_fwhm : float
        Radius in which neighbours are counted.
    sharp_ratio, sharp_gain : float
        `Flag.SHARP`: signal to noise as a single pixel over that as a point source, and the excess of its square.
    dipole_ratio, dipole_sigma : float
        `Flag.DIPOLE`: the other sign's |S_corr| over the peak's, and in sigmas.
    elongated_gain, elongated_share : float
        `Flag.ELONGATED`: χ² of what second moments leave beside a point source (3 degrees of freedom), and the least
        share of those moments that they are.
    sidelobe_share, sidelobe_fwhm : float
        `Flag.SIDELOBE`: |S_corr| over that of a brighter peak, and its distance.
    """

    mask_fwhm: float = 1.0
    dipole_fwhm: float = 1.5
    neighbour_fwhm: float = 5.0
    sharp_ratio: float = 1.03
    sharp_gain: float = 10.0
    dipole_ratio: float = 0.4
    dipole_sigma: float = 4.0
    elongated_gain: float = 20.0
    elongated_share: float = 0.3
    sidelobe_share: float = 0.05
    sidelobe_fwhm: float = 3.0


def measure(
    peaks: pd.DataFrame,
    difference: _Stamp,
    significance: _Stamp,
    mask: NDArray[np.uint16],
    psf_d: _Stamp,
    *,
    delta_n: _Stamp | None = None,
    delta_r: _Stamp | None = None,
    others: pd.DataFrame | None = None,
    limits: Limits | None = None,
) -> pd.DataFrame:
    """Return the features of the candidates of a tile.

    The arrays have to reach five FWHM beyond the peaks, or end where the frame ends: beyond them is `Flag.EDGE`.

    Parameters
    ----------
    peaks : pandas.DataFrame
        Columns x, y (px of these arrays) and snr (signed S_corr at the peak).
    difference, significance : (ny, nx) float32
        D in any unit and S_corr; what is not finite is left out.
    mask : (ny, nx) uint16
        `Bit` of both images.
    psf_d : (m, m) float32
        P_D, m odd, centred on the middle pixel; any norm.
    delta_n, delta_r : (k, k) float32, optional
        Responses of D to a unit event in the middle pixel of the science and of the reference image.
    others : pandas.DataFrame, optional
        All peaks that may be neighbours (x, y, snr); `peaks` if left out.
    limits : Limits, optional
        Radii and thresholds.

    Returns
    -------
    pandas.DataFrame
        Index as of `peaks`: sharpness, roundness, fwhm (px), ellipticity, dipole, delta_ratio, x_err, y_err (px)
        (NaN where unknown), n_neighbours and flags (`catalogs.candidates.Flag`).
    """
    limits = limits or Limits()
    x, y, snr = (peaks[name].to_numpy(float) for name in ("x", "y", "snr"))
    width = fwhm(psf_d)
    half = int(min(max(np.ceil(2 * width), 4), psf_d.shape[0] // 2))
    data, weight = cutouts(difference, mask, x, y, half)
    data *= np.where(snr < 0, -1, 1)[:, None, None]
    point = amplitudes(data, weight, psf_d, half, reach=0.75, step=0.25)
    flags, ratio = np.zeros(len(x), np.int64), np.full(len(x), np.nan)
    for delta in (delta_n, delta_r):
        if delta is not None:
            event = amplitudes(data, weight, delta, half, reach=1.0, step=0.5)
            ratio = np.fmax(ratio, _over(np.maximum(event.height, 0), point.height))
    flags |= np.where(_is_sharp(ratio, snr, limits), Flag.SHARP, 0)
    frame = _shape(data, weight, psf_d, point, snr, width, half)
    chi2, share = frame.pop("chi2"), frame.pop("share")
    flags |= np.where((chi2 > limits.elongated_gain) & (share > limits.elongated_share), Flag.ELONGATED, 0)
    frame["dipole"], is_dipole = _dipole(significance, x, y, snr, width, limits)
    flags |= np.where(is_dipole, Flag.DIPOLE, 0)
    frame["delta_ratio"] = ratio
    frame["x_err"], frame["y_err"] = position_error(psf_d, snr)
    counts, is_lobe = _neighbours(peaks, peaks if others is None else others, width, limits)
    flags |= np.where(is_lobe, Flag.SIDELOBE, 0) | bits_around(mask, x, y, limits.mask_fwhm * width)
    return pd.DataFrame(frame, index=peaks.index).assign(n_neighbours=counts, flags=flags.astype(np.int32))


def position_error(psf_d: _Stamp, snr: _Values) -> tuple[_Values, _Values]:
    """Return standard errors in x and y, px, of a point source found with a matched filter in white noise.

    σ_x² = Σ P² / (Σ (∂P/∂x)² · snr²), the Cramér-Rao bound (e.g. King 1983, PASP 95, 163).

    Parameters
    ----------
    psf_d : (m, m) float32
        PSF of the difference.
    snr : (n,) array_like
        Signal to noise, of either sign.
    """
    half, step = psf_d.shape[0] // 2, 0.05
    # Differences of whole pixels would take a narrow PSF for a wider one.
    right, left, up, down = shifted(psf_d, half, step * np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    size = 2 * step * float(np.sqrt((psf_d.astype(float) ** 2).sum()))
    scale = np.maximum(np.abs(np.asarray(snr, float)), 1e-6)
    return size / np.sqrt(((right - left) ** 2).sum()) / scale, size / np.sqrt(((up - down) ** 2).sum()) / scale


def _over(above: _Values, below: _Values) -> _Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def _is_sharp(ratio: _Values, snr: _Values, limits: Limits) -> NDArray[np.bool_]:
    """Tell where a single pixel fits better: half the excess of squares is the gain in log likelihood."""
    gain = snr**2 * (ratio**2 - 1)
    return np.asarray((ratio > limits.sharp_ratio) & (gain > limits.sharp_gain))


def _shape(
    data: _Values, weight: _Values, psf_d: _Stamp, point: Amplitudes, snr: _Values, width: float, half: int
) -> dict[str, _Values]:
    """Return moments within a Gaussian as wide as the PSF, centred where a point source fits best.

    Weighting W shrinks a Gaussian's moments Σ to M = (Σ⁻¹ + W⁻¹)⁻¹ (Bernstein & Jarvis 2002, AJ 123, 583). `chi2` tests
    what moments are left when the best point source is taken off: they are linear in D, so that their errors follow.
    """
    models = shifted(psf_d, half, point.offsets)[point.best]
    norm = (models**2 * weight).sum((1, 2))
    # Where all pixels are masked there is no shape: no light follows, and every moment of none is unknown.
    model = models * np.divide(point.height, np.sqrt(norm), out=np.zeros_like(norm), where=norm > 0)[:, None, None]
    grid = np.arange(-half, half + 1)
    dx = grid[None, None, :] - point.offsets[point.best, 0][:, None, None]
    dy = grid[None, :, None] - point.offsets[point.best, 1][:, None, None]
    sigma2 = (width / _FWHM) ** 2
    window = np.exp(-0.5 * (dx**2 + dy**2) / sigma2)
    core = np.exp(-(dx**2 + dy**2) / (0.5 * sigma2))
    # Where pixels are masked the point source stands in for them.
    whole = np.where(weight > 0, data, model)
    found, ideal = _moments(whole, window, dx, dy), _moments(model, window, dx, dy)
    kernels = np.stack([window * (dx**2 - dy**2), window * 2 * dx * dy, window * (dx**2 + dy**2 - sigma2)], 1)
    left = np.einsum("nkyx,nyx->nk", kernels, (data - model) * weight)
    # The noise of D, such that the point source has the signal to noise that S_corr says.
    noise = np.abs(point.height) / np.maximum(np.abs(snr), 1e-6)
    error = noise[:, None] * np.sqrt(np.einsum("nkyx,nyx->nk", kernels**2, weight))
    scale = sigma2 * np.maximum(np.abs((window * model).sum((1, 2))), 1e-30)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        chi2 = ((left / error) ** 2).sum(1)
        sharpness = _over((whole * core).sum((1, 2)), (whole * window).sum((1, 2)))
        sharpness = sharpness / _over((model * core).sum((1, 2)), (model * window).sum((1, 2)))
        roundness = 2 * (found[0] - found[1]) / (found[0] + found[1])
        roundness -= 2 * (ideal[0] - ideal[1]) / (ideal[0] + ideal[1])
    sizes, ellipticity = _axes(found, sigma2)
    reference, _ = _axes(ideal, sigma2)
    unit = np.where(reference > 0, width / reference, np.nan)  # so that a point source has the FWHM of the PSF
    return {
        "sharpness": sharpness, "roundness": np.where(np.abs(roundness) < 4, roundness, np.nan),
        "fwhm": sizes * unit, "ellipticity": ellipticity,
        "chi2": np.nan_to_num(chi2), "share": np.sqrt((left**2).sum(1)) / scale,
    }  # fmt: skip


def _moments(image: _Values, window: _Values, dx: _Values, dy: _Values) -> tuple[_Values, _Values, _Values]:
    """Return the weighted second moments xx, yy, xy; NaN where there is no positive light."""
    light = (image * window).sum((1, 2))
    light = np.where(light > 0, light, np.nan)
    xx, yy, xy = ((image * window * kernel).sum((1, 2)) / light for kernel in (dx**2, dy**2, dx * dy))
    return xx, yy, xy


def _axes(moments: tuple[_Values, _Values, _Values], sigma2: float) -> tuple[_Values, _Values]:
    """Return FWHM (px) and 1 − b/a of Gaussians of these moments, the weight taken out; NaN where there is none."""
    xx, yy, xy = moments
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    widest = (_WIDEST**2) * sigma2
    squares = []
    for value in (middle + spread, middle - spread):
        with np.errstate(divide="ignore", invalid="ignore"):
            true = 1 / (1 / value - 1 / sigma2)
        squares.append(np.where((value > 0) & (true > 0) & (true < widest), true, np.nan))
    with np.errstate(invalid="ignore"):
        return _FWHM * (squares[0] * squares[1]) ** 0.25, 1 - np.sqrt(squares[1] / squares[0])


def _dipole(
    significance: _Stamp, x: _Values, y: _Values, snr: _Values, width: float, limits: Limits
) -> tuple[_Values, NDArray[np.bool_]]:
    """Return the other sign's highest |S| over the peak's within a circle, and where that makes a dipole."""
    radius = limits.dipole_fwhm * width
    nearby = _within(significance, x, y, radius)
    other = np.max(np.where(np.isfinite(nearby), -np.sign(snr)[:, None] * nearby, 0), axis=1, initial=0)
    ratio = other / np.maximum(np.abs(snr), 1e-6)
    return ratio, (ratio > limits.dipole_ratio) & (other > limits.dipole_sigma)


def _within(image: NDArray[np.generic], x: _Values, y: _Values, radius: float) -> _Values:
    """Return the pixels within a radius of places, shape (n, k), NaN off the frame."""
    reach = int(np.ceil(radius)) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    columns, rows = np.rint(x).astype(int)[:, None] + dx, np.rint(y).astype(int)[:, None] + dy
    near = np.hypot(columns - x[:, None], rows - y[:, None]) <= max(radius, 0.75)
    ny, nx = image.shape
    near &= (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    values = image[rows.clip(0, ny - 1), columns.clip(0, nx - 1)].astype(float)
    return np.where(near, values, np.nan)


def _neighbours(
    peaks: pd.DataFrame, others: pd.DataFrame, width: float, limits: Limits
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return how many other peaks are near, and which peaks may be part of a brighter one."""
    if not len(peaks):
        return np.zeros(0, np.int32), np.zeros(0, bool)
    here, there = (np.column_stack([frame["x"], frame["y"]]).astype(float) for frame in (peaks, others))
    own, strength = np.abs(peaks["snr"].to_numpy(float)), np.abs(others["snr"].to_numpy(float))
    tree = cKDTree(there)
    near = tree.query_ball_point(here, limits.neighbour_fwhm * width)
    counts = [sum(bool(np.any(there[k] != place)) for k in found) for place, found in zip(here, near, strict=True)]
    close = tree.query_ball_point(here, limits.sidelobe_fwhm * width)
    brightest = np.array([strength[found].max(initial=0) for found in close])
    return np.array(counts, np.int32), own < limits.sidelobe_share * brightest
