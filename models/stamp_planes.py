"""Stacks of stamps → what networks see: the middle cell by cell, all of it, and what is known of both.

Counts of one survey mean nothing in another; over the noise of their own sky they do. How wide stars are, and how many
arcsec a cell has, the network is told: a cell of HST is a twentieth of one of ZTF.
"""

import numpy as np
from numpy.typing import NDArray

from catalogs.stamps import StampFlag

__all__ = ["AROUND", "COLUMNS", "FACTS", "MIDDLE", "USUAL_FWHM", "USUAL_SCALE", "WHOLE", "poster_planes", "prepare"]

Floats = NDArray[np.float32]

#: Cells on a side: of the middle as it is, of all of it, of a coarse stack, each of whose cells stands for four.
MIDDLE, WHOLE, AROUND = 32, 128, 64

#: Columns of the index of stacks (`catalogs.stamps`) that are looked at, in this order.
COLUMNS = (
    "pixscale", "noise", "fwhm_arcsec", "wavelength_um", "n_filters", "ellipticity", "centroid_shift", "flags", "x0",
    "y0",
)  # fmt: skip

#: What the network is told of a stack beside its pixels; the first three are the scales of its views.
FACTS = (
    "log_pixscale", "log_step", "log_fwhm_cells", "log_fwhm", "log_wavelength", "filters", "ellipticity", "shift",
    "compared", "saturated",
)  # fmt: skip

_MOST = 1e5  # sigma

#: What logarithms are taken over: arcsec a cell; cells, and the FWHM where it is not known.
USUAL_SCALE, USUAL_FWHM = 0.25, 3.0


def prepare(stack: NDArray[np.floating], known: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Return what the network of visual binaries sees of stacks.

    Parameters
    ----------
    stack : (n, side, side) array
        Counts over the sky; NaN where there are no pixels. North up, east left.
    known : (n, 10) array
        `COLUMNS` of the index.

    Returns
    -------
    middle : (n, 1, 32, 32) float32
        The cells around the source over the noise; where there are none, what is opposite of them, else 0.
    around : (n, 1, 128, 128) float32
        All cells likewise; those of a stack of 64 cells on a side are there four times, and of one of 256 or more so
        many are averaged that it fits.
    facts : (n, 10) float32
        `FACTS`.
    """
    about = dict(zip(COLUMNS, np.asarray(known, np.float64).T, strict=True))
    pixels = np.asarray(stack, np.float32)
    pixels = np.where(np.isfinite(pixels), pixels, np.nan)
    noise = _noise(pixels, about["noise"])
    scaled = np.clip(pixels / noise[:, None, None], -_MOST, _MOST)
    side = pixels.shape[-1]
    x, y = (np.where(np.isfinite(about[name]), about[name], (side - 1) / 2) for name in ("x0", "y0"))
    middle = np.nan_to_num(_filled(_cut(scaled, x, y, MIDDLE)))
    factor, times = max(1, side // WHOLE), 1 if side >= WHOLE else WHOLE // AROUND
    around = np.nan_to_num(_filled(_cut(scaled, x, y, WHOLE * factor // times)))
    if factor > 1:
        around = around.reshape(len(around), WHOLE, factor, WHOLE, factor).mean((2, 4), dtype=np.float32) * factor
    around = around.repeat(times, 1).repeat(times, 2)
    return middle[:, None], around[:, None], _facts(about, factor * (WHOLE // AROUND) // times)


def poster_planes(stack: NDArray[np.floating], known: NDArray[np.floating]) -> Floats:
    """Return what the poster's network sees of stacks: the pixels alone, from 0 to 1.

    Parameters
    ----------
    stack, known : array
        As for `prepare`; of what is known nothing but the place is looked at.

    Returns
    -------
    (n, 1, 64, 64) float32
        Square root of the pixels, the faintest hundredth 0, the brightest one 1.
    """
    _, whole, _ = prepare(stack, known)
    shape = (len(whole), 1, AROUND, WHOLE // AROUND, AROUND, WHOLE // AROUND)
    around = whole.reshape(shape).mean((3, 5), dtype=np.float32)
    low, high = (np.quantile(around, share, axis=(2, 3), keepdims=True) for share in (0.01, 1.0))
    return np.sqrt(np.clip((around - low) / np.maximum(high - low, 1e-6), 0, 1)).astype(np.float32)


def _noise(pixels: Floats, told: NDArray[np.float64]) -> Floats:
    """Return the noise of the sky of each stack: as told, else the scatter of its dimmer pixels."""
    noise = np.where(np.isfinite(told) & (told > 0), told, np.nan)
    if (absent := ~np.isfinite(noise)).any():
        with np.errstate(invalid="ignore"):
            flat = pixels[absent].reshape(int(absent.sum()), -1)
            some = [row[np.isfinite(row)] for row in flat]
        spread = [np.diff(np.quantile(row, (0.1587, 0.5)))[0] if len(row) else 0 for row in some]
        noise[absent] = [value if value > 0 else 1.0 for value in spread]
    return noise.astype(np.float32)


def _cut(pixels: Floats, x: NDArray[np.float64], y: NDArray[np.float64], size: int) -> Floats:
    """Return (n, size, size) around places; NaN where there are no pixels."""
    padded = np.pad(pixels, ((0, 0), (size, size), (size, size)), constant_values=np.nan)
    most = padded.shape[-1] - size
    left, low = (np.clip(np.rint(at - (size - 1) / 2).astype(int) + size, 0, most) for at in (x, y))
    steps, rows = np.arange(size), np.arange(len(pixels))
    return padded[rows[:, None, None], low[:, None, None] + steps[:, None], left[:, None, None] + steps]


def _filled(pixels: Floats) -> Floats:
    """Return pixels; where there are none, those opposite of the middle."""
    return np.where(np.isfinite(pixels), pixels, pixels[:, ::-1, ::-1])


def _facts(about: dict[str, NDArray[np.float64]], factor: int) -> Floats:
    """Return `FACTS`, each of about the size of 1, what is not known as 0; `factor` cells on a side are one step."""
    pixscale = np.where(about["pixscale"] > 0, about["pixscale"], np.nan)
    fwhm = np.where(about["fwhm_arcsec"] > 0, about["fwhm_arcsec"], USUAL_FWHM * pixscale)
    wavelength = np.where(about["wavelength_um"] > 0, about["wavelength_um"], np.nan)
    saturated = np.nan_to_num(about["flags"]).astype(np.int64) & int(StampFlag.SATURATED) > 0
    shift = about["centroid_shift"] / fwhm
    columns = (
        np.log(pixscale / USUAL_SCALE), np.log(factor * pixscale / USUAL_SCALE), np.log(fwhm / pixscale / USUAL_FWHM),
        np.log(fwhm), np.log(wavelength),
        np.minimum(about["n_filters"], 5) / 5, about["ellipticity"], np.minimum(shift, 2),
        np.isfinite(shift).astype(float), saturated.astype(float),
    )  # fmt: skip
    return np.nan_to_num(np.stack(columns, 1)).astype(np.float32)
