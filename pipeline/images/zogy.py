"""Proper image subtraction: the difference of two images, and where it is significant.

Notation and equations are those of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27), ZOGY below: N is the new (science) image,
R the reference, P their point-spread functions (PSFs), F their flux scales, σ their background noises. Here F_N = 1, so
that fluxes are in science counts, and F_R is how many reference counts a science count is.
"""

from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.images.frame import Pixels

__all__ = ["Filters", "Subtraction"]

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
        unit = science_noise
        s_n, s_r = 1.0, reference_noise / (unit * flux_ratio)
        p_n, p_r = _spectrum(science_psf, shape), _spectrum(reference_psf, shape)
        one = np.ones((1, 1), np.float32)
        t_n = one if science_transfer is None else science_transfer
        t_r = one if reference_transfer is None else reference_transfer
        n2, r2 = _power(p_n), _power(p_r)
        noise = np.float32(s_n**2) * t_n**2 * r2 + np.float32(s_r**2) * t_r**2 * n2
        # Where both PSFs have no power there is nothing to be learnt; the floor keeps 0/0 out.
        noise += np.float32(1e-9 * (s_n**2 + s_r**2))
        root = 1 / np.sqrt(noise)
        f_d = 1 / np.hypot(s_n, s_r)
        #: D / F_D of ZOGY eq. 13, in counts of the science image.
        self._d_n, self._d_r = p_r * root / f_d, p_n * root / (f_d * flux_ratio)
        #: S = k_N ⊗ N − k_R ⊗ R, eqs. 28 and 29; here of N in counts and R in its own.
        weight = 1 / noise
        k_n, k_r = np.conj(p_n) * (r2 * weight), np.conj(p_r) * (n2 * weight)
        self._k_n, self._k_r = k_n, k_r / np.float32(flux_ratio)
        self._blurred = self._k_n * t_n, self._k_r * t_r
        self._v_n, self._v_r = (_square(kernel, shape) for kernel in self._blurred)
        #: V of blank sky. Rounding in single precision must not take it far below, where a bright source is near.
        self._v_sky = float(science_noise**2 * self._v_n[0, 0].real + reference_noise**2 * self._v_r[0, 0].real)
        power = n2 * r2 * weight
        self.flux_scale = float(_mean(power, shape[1]))
        self._psf_d = p_n * p_r * root / f_d
        self._power = power

    @property
    def psf_d(self) -> Pixels:
        """P_D (eq. 14), centred on pixel (0, 0), of sum one."""
        return _image(self._psf_d, self.shape)

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
        n, r = _forward(science), _forward(reference)
        difference = _image(self._d_n * n - self._d_r * r, self.shape)
        s_n, s_r = _image(self._k_n * n, self.shape), _image(self._k_r * r, self.shape)
        v = self._variance(science_variance, reference_variance)
        significance, error = np.empty_like(s_n), np.empty_like(s_n)
        low = np.float32(0.5 * self._v_sky)
        _significance(s_n, s_r, v, low, jitter[0] ** 2, jitter[1] ** 2, self.flux_scale, significance, error)
        return Subtraction(difference, significance, error)


    def _variance(self, science: Pixels, reference: Pixels) -> Pixels:
        """Return V(S_N) + V(S_R) (eqs. 26–27)."""
        if max(float(science.max() / np.median(science)), float(reference.max() / np.median(reference))) < _RANGE:
            return _image(self._v_n * _forward(science) + self._v_r * _forward(reference), self.shape)
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


def _power(spectrum: Spectrum) -> Pixels:
    return spectrum.real**2 + spectrum.imag**2


def _square(kernel: Spectrum, shape: tuple[int, int]) -> Spectrum:
    """Return the transform of a kernel squared pixel by pixel, what its noise is filtered with (eqs. 26, 27)."""
    image = _image(kernel, shape)
    return _forward(image * image)


def _mean(power: Pixels, nx: int) -> float:
    """Return the mean over all Fourier modes of what is known on the half-plane."""
    total = 2 * power.sum(dtype=np.float64) - power[:, 0].sum(dtype=np.float64)
    if nx % 2 == 0:
        total -= power[:, -1].sum(dtype=np.float64)
    return float(total / (power.shape[0] * nx))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _significance(s_n, s_r, v, low, jitter_x, jitter_y, flux_scale, significance, error):  # type: ignore[no-untyped-def]
    """Divide S by its noise (eq. 25): of the pixels, and of the registration (eqs. 30–31).

    Only the science image is taken to be shifted, as `jitter` is the error of one against the other.
    """
    ny, nx = s_n.shape
    for y in range(ny):
        up, down = (y + 1) % ny, y - 1
        for x in range(nx):
            dx = 0.5 * (s_n[y, (x + 1) % nx] - s_n[y, x - 1])
            dy = 0.5 * (s_n[up, x] - s_n[down, x])
            noise = np.sqrt(max(v[y, x], low) + jitter_x * dx * dx + jitter_y * dy * dy)
            significance[y, x] = (s_n[y, x] - s_r[y, x]) / noise
            error[y, x] = noise / flux_scale
