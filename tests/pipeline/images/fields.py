"""Star fields with known truth, and FITS files of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray


@dataclass
class Field:
    """Counts, and where stars, cosmic rays and a trail are."""

    data: NDArray[np.float32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    rays: NDArray[np.bool_]
    trail: NDArray[np.bool_]


def profile(u: Any, v: Any, fwhm: float, beta: float = 3.5) -> Any:
    """Return a Moffat profile of unit flux."""
    alpha2 = fwhm**2 / (4 * (2 ** (1 / beta) - 1))
    return (beta - 1) / (np.pi * alpha2) * (1 + (u**2 + v**2) / alpha2) ** -beta


def stars(shape: tuple[int, int], x: Any, y: Any, flux: Any, fwhm: float, beta: float = 3.5) -> NDArray[np.float64]:
    """Return an image of stars."""
    ny, nx = shape
    image = np.zeros(shape)
    for a, b, f in zip(x, y, flux, strict=True):
        reach = int(min(6 + 3 * fwhm * (f / 2e3) ** 0.25, 80))
        c, r = round(a), round(b)
        rows, columns = (
            slice(max(0, r - reach), min(ny, r + reach + 1)),
            slice(max(0, c - reach), min(nx, c + reach + 1)),
        )
        v, u = np.mgrid[rows, columns]
        image[rows, columns] += f * profile(u - a, v - b, fwhm, beta)
    return image


def field(
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    fwhm: float = 3.5,
    number: int = 150,
    sky: float = 500.0,
    gain: float = 1.6,
    read_noise: float = 6.0,
    saturation: float = 60000.0,
    rays: int = 0,
    trail: float = 0.0,
    angle: float | None = None,
    brightest: float = 3e5,
) -> Field:
    """Return a field of stars with noise, cosmic rays and, at `trail` times the noise of the sky, a satellite."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    x, y = rng.uniform(0, nx - 1, number), rng.uniform(0, ny - 1, number)
    flux = np.minimum(500 * rng.pareto(0.8, number) + 300, brightest)
    clean = sky + stars(shape, x, y, flux, fwhm)
    noise = np.sqrt(sky / gain + (read_noise / gain) ** 2)
    on_trail = np.zeros(shape, bool)
    if trail:
        theta = rng.uniform(0, np.pi) if angle is None else angle
        x0, y0 = rng.uniform(0.35, 0.65) * nx, rng.uniform(0.35, 0.65) * ny
        v, u = np.mgrid[:ny, :nx]
        away = np.abs((u - x0) * np.sin(theta) - (v - y0) * np.cos(theta))
        clean += trail * noise * np.exp(-4 * np.log(2) * (away / fwhm) ** 2)
        on_trail = away < 0.5 * fwhm
    data = rng.poisson(np.maximum(clean, 0) * gain) / gain + rng.normal(0, read_noise / gain, shape)
    hit = np.zeros(shape, bool)
    for _ in range(rays):
        a, b, t = rng.uniform(5, nx - 6), rng.uniform(5, ny - 6), rng.uniform(0, np.pi)
        for s in np.arange(0, rng.exponential(4) + 1, 0.5):
            c, r = round(a + s * np.cos(t)), round(b + s * np.sin(t))
            if 0 <= c < nx and 0 <= r < ny and not hit[r, c]:
                data[r, c] += rng.uniform(12, 80) * noise
                hit[r, c] = True
    return Field(np.minimum(data, saturation).astype(np.float32), x, y, flux, hit, on_trail)


def header(shape: tuple[int, int], **cards: Any) -> fits.Header:
    """Return a header with a WCS of 0.4 arcsec pixels; `cards` go over it, None takes one away, ``__`` is a dot."""
    ny, nx = shape
    base = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": nx / 2, "CRPIX2": ny / 2, "CRVAL1": 150.0, "CRVAL2": 2.0,
        "CD1_1": -0.4 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.4 / 3600, "RADESYS": "ICRS",
        "DATE-OBS": "2024-03-05T04:00:00", "EXPTIME": 60.0, "FILTER": "r", "TELESCOP": "test",
    }  # fmt: skip
    made = fits.Header()
    for key, value in (base | {k.replace("__", "."): v for k, v in cards.items()}).items():
        if value is not None:
            made[f"HIERARCH {key}" if "." in key else key] = value
    return made


def write(path: Path, data: Any, name: str = "", **cards: Any) -> Path:
    """Write an image to a FITS file (by its ending packed), alone in the primary HDU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU(data, header(np.shape(data)[-2:] if np.ndim(data) > 1 else (1, 1), **cards))
    hdu.writeto(path, overwrite=True)
    return path
