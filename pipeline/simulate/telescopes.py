"""Point-spread functions of telescopes, as spectra: what the air, a pupil and its aberrations do to a point.

On the ground a Moffat profile, stretched, with a halo and some coma and trefoil. In space the Fourier transform of a
pupil with random aberrations; of these there is a bank for every telescope and wavelength, from which is drawn.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.simulate.optics import ellipse
from pipeline.simulate.profiles import Floats, Profile, double_gaussian, moffat
from pipeline.simulate.spectra import Grid, Spectrum, radial

__all__ = ["BANK", "TELESCOPES", "Air", "Telescope", "air", "pupil", "vacuum"]

BANK = 20  #: point-spread functions of a telescope and wavelength

_ARCSEC = np.pi / 648_000


@dataclass(frozen=True)
class Air:
    """A point-spread function that the air makes.

    Parameters
    ----------
    fwhm : float
        Geometric mean of its axes, arcsec.
    beta : float
        Exponent of the Moffat profile.
    ellipticity : tuple of float
        e1, e2: 1 - b/a times cos 2θ and sin 2θ.
    halo : float
        Share of the light in a Gaussian three times as wide.
    skew : tuple of float
        Coma in x and y, trefoil by cosine and sine; of the order of the skewness that they give.
    """

    fwhm: float
    beta: float
    ellipticity: tuple[float, float] = (0.0, 0.0)
    halo: float = 0.0
    skew: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@cache
def _profile(beta: float, halo: float) -> Profile:
    core = moffat(beta)
    if not halo:
        return core
    # Both are in units of the FWHM of the core: a halo changes it by a few per cent at most.
    wide = double_gaussian(0.0, 3.0)
    weight = np.concatenate([core.weight * (1 - halo), [halo]])
    return Profile(weight, np.concatenate([core.variance, [9 * wide.variance[0]]]))


def air(grid: Grid, given: Air) -> Spectrum:
    """Return the spectrum of a point seen through air, not yet of pixels.

    Parameters
    ----------
    grid : Grid
        Its frequencies.
    given : Air
        What it is like.
    """
    e1, e2 = (np.array([one]) for one in given.ellipticity)
    profile = _profile(round(given.beta, 2), round(given.halo, 3))
    found = radial(grid, profile, ellipse(e1, e2, np.array([given.fwhm]))[0]).astype(np.complex64)
    if any(given.skew):
        found *= _skewed(grid, given)
    return found


def _skewed(grid: Grid, given: Air) -> Spectrum:
    """Return the phases of a skew profile: third moments, levelled off where there is hardly any light."""
    kx, ky = (k * np.float32(given.fwhm) for k in grid.frequencies())
    square = kx * kx + ky * ky
    one, other, cosine, sine = (np.float32(3.2 * skew) for skew in given.skew)
    phase = (one * kx + other * ky) * square
    phase += cosine * kx * (kx * kx - 3 * ky * ky) + sine * ky * (3 * kx * kx - ky * ky)
    phase /= 1 + square * square
    turned = np.empty(phase.shape, np.complex64)
    turned.real, turned.imag = np.cos(phase), np.sin(phase)
    return turned


@dataclass(frozen=True)
class Telescope:
    """A telescope above the air: diameter (m), rms of its aberrations (nm) from and to, jitter and pixels (arcsec)."""

    diameter: float
    aberrations: tuple[float, float]
    blur: tuple[float, float]


#: Hubble's as in Krist et al. 2011 (SPIE 8127, Tiny Tim), Webb's as in Perrin et al. 2014 (SPIE 9143) and Rigby et al.
#: 2023 (PASP 135, 048001), Spitzer's as in Fazio et al. 2004 (ApJS 154, 10). The blur holds jitter and charge that
#: diffuses, as σ in arcsec.
TELESCOPES = {
    "hst": Telescope(2.4, (15.0, 60.0), (0.012, 0.028)),
    "jwst": Telescope(6.5, (50.0, 110.0), (0.006, 0.022)),
    "spitzer": Telescope(0.85, (60.0, 250.0), (0.15, 0.40)),
}


def pupil(name: str, x: Floats, y: Floats) -> Floats:
    """Return what a pupil lets through.

    Parameters
    ----------
    name : str
        One of `TELESCOPES`.
    x, y : (n, n) float64
        Places in units of half its diameter.
    """
    r = np.hypot(x, y)
    if name == "jwst":
        return _segments(x, y) * ~_vane(x, y, (90.0, 240.0, 300.0), 0.035)
    if name == "hst":
        open_ = (r < 1) & (r > 0.33) & ~_vane(x, y, (45.0, 135.0, 225.0, 315.0), 0.022)
        for angle in np.radians([90.0, 210.0, 330.0]):
            open_ &= np.hypot(x - 0.89 * np.cos(angle), y - 0.89 * np.sin(angle)) > 0.065
        return open_.astype(float)
    return ((r < 1) & (r > 0.38) & ~_vane(x, y, (90.0, 210.0, 330.0), 0.05)).astype(float)


def _vane(x: Floats, y: Floats, degrees: tuple[float, ...], width: float) -> NDArray[np.bool_]:
    covered = np.zeros(x.shape, bool)
    for angle in np.radians(degrees):
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        covered |= (along > 0) & (np.abs(across) < width / 2)
    return covered


def _middles() -> Floats:
    """Return the middles of Webb's eighteen segments, in units of half its diameter."""
    pitch = 1.327 / 3.25
    axial = [(q, r) for q in range(-2, 3) for r in range(-2, 3) if abs(q + r) <= 2 and (q, r) != (0, 0)]
    return np.array([(pitch * np.sqrt(3) / 2 * q, pitch * (r + q / 2)) for q, r in axial])


def _segments(x: Floats, y: Floats) -> Floats:
    """Return 1 + the number of the segment at a place, 0 where there is none."""
    number = np.zeros(x.shape)
    half = 1.32 / 3.25 / 2
    for i, (u, v) in enumerate(_middles()):
        dx, dy = x - u, y - v
        slant = np.abs(dx) * np.sqrt(3) / 2 + np.abs(dy) / 2
        number[(np.abs(dy) < half) & (slant < half)] = 1 + i
    return number


def _aberrations(name: str, x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """Return optical path differences, nm: low orders, and each of Webb's segments in its own place."""
    r2 = x * x + y * y
    modes = [2 * r2 - 1, x * x - y * y, 2 * x * y, (3 * r2 - 2) * x, (3 * r2 - 2) * y, x * (x * x - 3 * y * y),
             y * (3 * x * x - y * y), 6 * r2 * r2 - 6 * r2 + 1]  # fmt: skip
    low, high = TELESCOPES[name].aberrations
    path = np.tensordot(rng.normal(size=len(modes)) / np.arange(1, 9) ** 0.5, np.stack(modes), 1)
    if name == "jwst":
        number = _segments(x, y).astype(int)
        piston, tip, tilt = (np.concatenate([[0.0], rng.normal(size=18)])[number] for _ in range(3))
        path = path / np.std(path) + 0.7 * (piston + 2 * (tip * x + tilt * y))
    inside = r2 < 1
    return path / np.std(path[inside]) * low * (high / low) ** rng.random()


@lru_cache(maxsize=2000)
def vacuum(grid: Grid, name: str, wavelength: float, number: int) -> Spectrum:
    """Return the spectrum of a point seen from above the air, not yet of pixels.

    Parameters
    ----------
    grid : Grid
        Its frequencies.
    name : str
        One of `TELESCOPES`.
    wavelength : float
        Micrometre.
    number : int
        Which of the bank, from 0; each is turned by another angle, for north is up.
    """
    rng = np.random.default_rng([number, round(wavelength * 1000), *name.encode()])
    told = TELESCOPES[name]
    # So many samples across the pupil that what it repeats, which it does, lies outside.
    finest = 0.92e-6 * wavelength / told.diameter / _ARCSEC
    samples = max(96, int(1.05 * grid.cells * grid.pixscale / finest))
    axis = (np.arange(samples) + 0.5) / samples * 2 - 1
    x, y = np.meshgrid(axis, axis)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    amplitude, path = pupil(name, x, y) > 0, _aberrations(name, x, y, rng)
    size = grid.over * grid.cells
    place = fft.fftfreq(size) * size * grid.pixscale / grid.over * _ARCSEC
    seen = np.zeros((size, size), np.float32)
    for colour in (0.92, 1.0, 1.08):
        one = wavelength * colour * 1e-6
        wave = np.exp(-1j * np.pi * told.diameter / one * np.outer(place, axis)).astype(np.complex64)
        field = (amplitude * np.exp(2e-9j * np.pi / one * path)).astype(np.complex64)
        seen += np.abs(wave @ field @ wave.T) ** 2
    found = fft.rfft2(seen / seen.sum())
    kx, ky = grid.frequencies()
    sigma = rng.uniform(*told.blur)
    found *= np.exp(-2 * np.pi**2 * sigma**2 * (kx * kx + ky * ky))
    return _centred(found.astype(np.complex64), kx, ky)


def _centred(spectrum: Spectrum, kx: NDArray[np.float32], ky: NDArray[np.float32]) -> Spectrum:
    """Return it with its brightest point at the origin: tilt and coma move it."""
    size = len(spectrum)
    fine = fft.irfft2(spectrum, s=(size, size))
    row, column = np.unravel_index(np.argmax(fine), fine.shape)
    near = np.ix_((row + np.arange(-2, 3)) % size, (column + np.arange(-2, 3)) % size)
    weight = np.maximum(fine[near], 0)
    dy = (weight.sum(axis=1) @ np.arange(-2, 3)) / weight.sum() + (row + size // 2) % size - size // 2
    dx = (weight.sum(axis=0) @ np.arange(-2, 3)) / weight.sum() + (column + size // 2) % size - size // 2
    pitch = 1 / (size * ky[1, 0])
    return (spectrum * np.exp(2j * np.pi * pitch * (kx * dx + ky * dy))).astype(np.complex64)
