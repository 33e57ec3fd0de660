"""Proper image subtraction as plainly as its paper writes it: whole frames, complex transforms, double precision.

What differencing is checked against, and timed beside. Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Result", "zogy"]


@dataclass
class Result:
    """D, S_corr, flux and its error of every pixel; P_D centred on pixel (0, 0); F_D."""

    difference: np.ndarray
    significance: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    psf_d: np.ndarray
    f_d: float


def zogy(new, ref, psf_n, psf_r, noise_n, noise_r, var_n, var_r, f_r, jitter=(0.0, 0.0)) -> Result:  # type: ignore[no-untyped-def]
    """Subtract `ref` from `new`; F_N = 1, F_R = `f_r`; only `new` is taken to be shifted by the jitter."""
    n, r, v_n, v_r = (np.fft.fft2(image.astype(np.float64)) for image in (new, ref, var_n, var_r))
    p_n, p_r = _transform(psf_n, new.shape), _transform(psf_r, new.shape)
    below = noise_n**2 * f_r**2 * np.abs(p_r) ** 2 + noise_r**2 * np.abs(p_n) ** 2
    below = np.maximum(below, 1e-12 * below.max())
    d = (f_r * p_r * n - p_n * r) / np.sqrt(below)  # eq. 13
    f_d = f_r / np.sqrt(noise_n**2 * f_r**2 + noise_r**2)  # eq. 15
    p_d = f_r * p_r * p_n / (f_d * np.sqrt(below))  # eq. 14
    k_r = f_r * np.conj(p_r) * np.abs(p_n) ** 2 / below  # eq. 28
    k_n = f_r**2 * np.conj(p_n) * np.abs(p_r) ** 2 / below  # eq. 29
    s_n = np.fft.ifft2(k_n * n).real
    v = np.fft.ifft2(v_n * np.fft.fft2(np.fft.ifft2(k_n).real ** 2)).real  # eqs. 26 and 27
    v += np.fft.ifft2(v_r * np.fft.fft2(np.fft.ifft2(k_r).real ** 2)).real
    dy, dx = ((np.roll(s_n, -1, axis) - np.roll(s_n, 1, axis)) / 2 for axis in (0, 1))
    v += jitter[0] ** 2 * dx**2 + jitter[1] ** 2 * dy**2  # eq. 30
    f_s = float(np.mean(f_r**2 * np.abs(p_n) ** 2 * np.abs(p_r) ** 2 / below))  # eq. 42
    s = np.fft.ifft2(f_d * d * np.conj(p_d)).real  # eq. 16
    return Result(
        np.fft.ifft2(d).real / f_d, s / np.sqrt(v), s / f_s, np.sqrt(v) / f_s, np.fft.ifft2(p_d).real, float(f_d)
    )


def _transform(psf, shape):  # type: ignore[no-untyped-def]
    image = np.zeros(shape)
    half = psf.shape[0] // 2
    image[: psf.shape[0], : psf.shape[1]] = psf
    return np.fft.fft2(np.roll(image, (-half, -half), (0, 1)))
