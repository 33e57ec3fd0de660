"""Proper image subtraction: the difference of two images, and where it is significant.

Notation and equations are those of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27), ZOGY below: N is the new (science)
image, R the reference, P their point-spread functions (PSFs), F their flux scales, σ their background noises. Here
F_N = 1, so that fluxes are in science counts, and F_R is how many reference counts a science count is.
"""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.images.frame import Pixels

__all__ = ["MARGIN", "Filters", "Subtraction", "divide"]

#: Rows and columns that a tile needs beyond what is used of it: what its edges spoil. No PSF reaches farther.
MARGIN = 32

#: From this ratio of variances on, as beside a saturated star, their transform needs double precision.
_RANGE = 3e3

Spectrum = NDArray[np.complex64]


@dataclass(frozen=True)
class Subtraction:
    """What a subtraction gives, pixel by pixel.

    Parameters
    ----------
    difference : (ny, nx) float32
        D / F_D, science counts: noise is uncorrelated where it was in the images, a source is P_D times its flux.
    significance : (ny, nx) float32
        S_corr: flux of the best point source at each pixel in units of its error; signed.
    flux_err : (ny, nx) float32
        That error, science counts: `significance` · `flux_err` is the flux.
    """

    difference: Pixels
    significance: Pixels
    flux_err: Pixels


class Filters:
    """The linear filters of ZOGY for one pair of PSFs and noises, on one size of tile.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the tiles, margins included.
    science_psf, reference_psf : (m, m) float32
        PSFs, centred on the middle pixel, of sum one; m odd.
    science_noise, reference_noise : float
        Background noise σ_N, σ_R, counts: of the white noise that the image has, or had before it was smoothed.
    flux_ratio : float
        F_R / F_N: reference counts of a source of one science count.
    science_transfer, reference_transfer : (ny, nx // 2 + 1) float32, optional
        By how much a smoothing of the image before subtraction has multiplied each Fourier mode of its noise; without
        it the noise is white.

    Attributes
    ----------
    psf_d : (ny, nx) float32
        P_D, centred on pixel (0, 0), of sum one.
    delta_n, delta_r : (ny, nx) float32
        What a single bright pixel of one count in either image makes of `Subtraction.difference`.
    response : (ny, nx) float32
        What a point source makes of S, one at its place.
    flux_scale : float
        F_S: S of a source of one science count (ZOGY eq. 42's normalisation).
    sky_variance : float
        V of S on blank sky of the noises given.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        science_psf: Pixels,
        reference_psf: Pixels,
        science_noise: float,
        reference_noise: float,
        flux_ratio: float,
        science_transfer: Pixels | None = None,
        reference_transfer: Pixels | None = None,
    ) -> None:
        self.shape = shape
        # The scales of counts and noise are taken out, so that single precision never meets their fourth powers.
        s_r = reference_noise / (science_noise * flux_ratio)
        p_n, p_r = _spectrum(science_psf, shape), _spectrum(reference_psf, shape)
        one = np.ones((1, 1), np.float32)
        t_n = one if science_transfer is None else science_transfer
        t_r = one if reference_transfer is None else reference_transfer
        f_d = 1 / np.hypot(1.0, s_r)
        parts = _weights(p_n, p_r, t_n, t_r, np.float32(s_r**2), np.float32(1 / f_d), np.float32(1 / flux_ratio))
        #: D / F_D of eq. 13 and k of eqs. 28 and 29 for N and R in counts, and the power of P_D.
        self._d_n, self._d_r, self._k_n, self._k_r, self._power = parts
        self._blurred = (self._k_n, self._k_r)
        if t_n is not one or t_r is not one:
            self._blurred = (self._k_n * t_n, self._k_r * t_r)
        self._noise = science_noise**2, reference_noise**2
        nx = shape[1]
        #: V of blank sky, by Parseval's theorem.
        self.sky_variance = sum(v * _mean(_power(k), nx) for v, k in zip(self._noise, self._blurred, strict=True))
        self.flux_scale = _mean(self._power, nx)
        self._p_n = p_n

    @cached_property
    def _squares(self) -> tuple[Spectrum, Spectrum]:
        """Transforms of the kernels of S squared pixel by pixel, what variances are filtered with."""
        return _square(self._blurred[0], self.shape), _square(self._blurred[1], self.shape)

    @property
    def psf_d(self) -> Pixels:
        """P_D (eq. 14), centred on pixel (0, 0), of sum one."""
        return _image(self._d_n * self._p_n, self.shape)

    @property
    def delta_n(self) -> Pixels:
        """The difference that one count in one pixel of the science image makes, centred on pixel (0, 0)."""
        return _image(self._d_n, self.shape)

    @property
    def delta_r(self) -> Pixels:
        """The same of one count in the reference."""
        return _image(-self._d_r, self.shape)

    @property
    def response(self) -> Pixels:
        """S of a point source, one at its place, which is pixel (0, 0)."""
        return _image(self._power / np.float32(self.flux_scale), self.shape)

    def apply(
        self,
        science: Pixels,
        reference: Pixels,
        science_variance: Pixels,
        reference_variance: Pixels,
        jitter: tuple[float, float] = (0.0, 0.0),
    ) -> Subtraction:
        """Subtract one tile.

        Parameters
        ----------
        science, reference : (ny, nx) float32
            Counts above the sky, on one grid of pixels.
        science_variance, reference_variance : (ny, nx) float32
            Variance of each pixel, its source's included (before any smoothing), counts².
        jitter : tuple of float
            σ_x, σ_y of the registration of the two images, px.

        Returns
        -------
        Subtraction
            All of it; margins as wide as the PSFs are spoilt by the tile's edges.
        """
        s, s_n, difference = self.subtract(science, reference, jitter != (0.0, 0.0))
        v = self.variance(science_variance, reference_variance)
        error = np.empty_like(s)
        s_n = np.pad(s_n, 1, "wrap") if len(s_n) > 1 else s_n
        divide(s, s_n, v / self.sky_variance, self.sky_variance, jitter, self.flux_scale, error)
        return Subtraction(difference, s, error)

    def subtract(self, science: Pixels, reference: Pixels, separate: bool = False) -> tuple[Pixels, Pixels, Pixels]:
        """Return S, S_N (one zero unless `separate`) and D / F_D of a tile of counts above the sky."""
        n, r = _forward(science), _forward(reference)
        difference = _image(_minus(self._d_n, n, self._d_r, r), self.shape)
        if not separate:
            return _image(_minus(self._k_n, n, self._k_r, r), self.shape), np.zeros((1, 1), np.float32), difference
        s_n = _image(self._k_n * n, self.shape)
        return s_n - _image(self._k_r * r, self.shape), s_n, difference

    def variance(self, science: Pixels, reference: Pixels) -> Pixels:
        """Return V(S_N) + V(S_R) (eqs. 26–27) of a tile of variances."""
        if science.max() < _RANGE * self._noise[0] and reference.max() < _RANGE * self._noise[1]:
            squares = self._squares
            return _image(_minus(squares[0], _forward(science), -squares[1], _forward(reference)), self.shape)
        kernels = [_square(kernel.astype(np.complex128), self.shape) for kernel in self._blurred]
        planes = [scipy.fft.rfft2(plane.astype(np.float64)) for plane in (science, reference)]
        total = scipy.fft.irfft2(kernels[0] * planes[0] + kernels[1] * planes[1], s=self.shape)
        v: Pixels = total.astype(np.float32)
        return v


def _forward(image: Pixels) -> Spectrum:
    spectrum: Spectrum = scipy.fft.rfft2(image)
    return spectrum


def _image(spectrum: Spectrum, shape: tuple[int, int]) -> Pixels:
    image: Pixels = scipy.fft.irfft2(spectrum, s=shape)
    return image


def _spectrum(psf: Pixels, shape: tuple[int, int]) -> Spectrum:
    """Return the transform of a stamp whose middle pixel goes to (0, 0)."""
    half, (ny, nx) = psf.shape[0] // 2, shape
    image = np.zeros(shape, np.float32)
    cut = psf[max(0, half - ny // 2 + 1) :, max(0, half - nx // 2 + 1) :][: ny - 1, : nx - 1]
    image[: cut.shape[0], : cut.shape[1]] = cut
    return _forward(np.roll(image, (-min(half, ny // 2 - 1), -min(half, nx // 2 - 1)), (0, 1)))


def _square(kernel: Spectrum, shape: tuple[int, int]) -> Spectrum:
    """Return the transform of a kernel squared pixel by pixel, what its noise is filtered with (eqs. 26, 27)."""
    image = _image(kernel, shape)
    return _forward(image * image)


def _power(spectrum: Spectrum) -> Pixels:
    return spectrum.real**2 + spectrum.imag**2


def _mean(power: Pixels, nx: int) -> float:
    """Return the mean over all Fourier modes of what is known on the half-plane."""
    total = 2 * power.sum(dtype=np.float64) - power[:, 0].sum(dtype=np.float64)
    if nx % 2 == 0:
        total -= power[:, -1].sum(dtype=np.float64)
    return float(total / (power.shape[0] * nx))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weights(p_n, p_r, t_n, t_r, ratio, scale, counts):  # type: ignore[no-untyped-def]
    """Return the filters of D for N and R, of S for both, and the power of P_D, at unit noise of N.

    `ratio` is (σ_R / F_R σ_N)², `scale` 1 / F_D, `counts` 1 / F_R.
    """
    ny, nx = p_n.shape
    d_n, d_r, k_n, k_r = np.empty_like(p_n), np.empty_like(p_n), np.empty_like(p_n), np.empty_like(p_n)
    power = np.empty((ny, nx), np.float32)
    white = t_n.shape[0] == 1 and t_r.shape[0] == 1
    # Where both PSFs have no power there is nothing to be learnt; the floor keeps 0/0 out.
    floor = np.float32(1e-9) * (1 + ratio)
    for j in range(ny):
        for i in range(nx):
            n, r = p_n[j, i], p_r[j, i]
            n2, r2 = n.real * n.real + n.imag * n.imag, r.real * r.real + r.imag * r.imag
            if white:
                noise = r2 + ratio * n2 + floor
            else:
                a, b = t_n[j % t_n.shape[0], i % t_n.shape[1]], t_r[j % t_r.shape[0], i % t_r.shape[1]]
                noise = a * a * r2 + ratio * b * b * n2 + floor
            root = scale / np.sqrt(noise)
            d_n[j, i] = r * root
            d_r[j, i] = n * (root * counts)
            k_n[j, i] = np.conj(n) * (r2 / noise)
            k_r[j, i] = np.conj(r) * (n2 / noise * counts)
            power[j, i] = n2 * r2 / noise
    return d_n, d_r, k_n, k_r, power


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _minus(a, n, b, r):  # type: ignore[no-untyped-def]
    """Return a·n − b·r."""
    out = np.empty_like(n)
    for j in range(n.shape[0]):
        for i in range(n.shape[1]):
            out[j, i] = a[j, i] * n[j, i] - b[j, i] * r[j, i]
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def divide(s, s_n, excess, sky, jitter, flux_scale, error):  # type: ignore[no-untyped-def]
    """Divide S by its noise (eq. 25), in place: of the pixels, and of the registration (eqs. 30–31).

    Only the science image is taken to be shifted, as the jitter is the error of one against the other.

    Parameters
    ----------
    s : (ny, nx) float32
        S.
    s_n : (ny + 2, nx + 2) float32
        S_N, with the pixels around; (1, 1) where there is no jitter.
    excess : (ny, nx) float32
        V over that of blank sky. It cannot be far below one: rounding beside a bright source can.
    sky : float
        V of blank sky.
    jitter : tuple of float
        σ_x, σ_y, px.
    flux_scale : float
        F_S.
    error : (ny, nx) float32
        Receives the error of a point source's flux, science counts.
    """
    ny, nx = s.shape
    shaky = s_n.shape[0] > 1
    for y in range(ny):
        for x in range(nx):
            noise = sky * max(excess[y, x], 0.5)
            if shaky:
                dx = 0.5 * (s_n[y + 1, x + 2] - s_n[y + 1, x])
                dy = 0.5 * (s_n[y + 2, x + 1] - s_n[y, x + 1])
                noise += jitter[0] ** 2 * dx * dx + jitter[1] ** 2 * dy * dy
            noise = np.sqrt(noise)
            s[y, x] /= noise
            error[y, x] = noise / flux_scale
