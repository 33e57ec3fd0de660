"""One filter's stamp of a source, and what is seen in it: sky, noise, the map of point sources, other stars."""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from catalogs.stamps import StampFlag
from pipeline.stamps.moments import SIGMA, Pixels, gaussian, sky, windowed
from pipeline.stamps.surveys import REACH, Survey

__all__ = ["BAD", "COSMIC_RAY", "SATURATED", "SPOILT", "Light", "Mask", "Plane", "at", "in_words", "stars"]

#: Bits of a mask.
SATURATED, BAD, COSMIC_RAY = 1, 2, 4

#: Least noise of a pixel, in the light of the brightest: a well holds some 10^5 electrons, and none is read to better
#: than one; ten more for stacks. Less is no noise but rounding, or what smoothing and clipping have left of it.
_RANGE = 1e-6

Mask = NDArray[np.uint8]

#: What is wrong near a source.
SPOILT = StampFlag.SATURATED | StampFlag.BAD | StampFlag.COSMIC_RAY | StampFlag.CUT


def in_words(flags: int) -> str | None:
    """Return what bits of `StampFlag` say, None of none."""
    return "; ".join(flag.text for flag in StampFlag if flag & flags) or None


@dataclass(frozen=True)
class Plane:
    """One filter's stamp of a source.

    Parameters
    ----------
    image : (side, side) float
        Counts, sky included; NaN: no pixels.
    filter : str
        Filter.
    x0, y0 : float
        Place of the source by the stamp's WCS, from 0.
    mask : (side, side) uint8, optional
        1 saturated, 2 bad or missing, 4 cosmic ray.
    pixscale : float, optional
        Arcsec a pixel; default the survey's.
    fwhm_arcsec : float
        FWHM of stars where the header tells; else NaN.
    mjd : float
        Middle of the exposure; NaN if unknown.
    flags : int
        Bits of `StampFlag` that hold of it already.
    """

    image: Pixels
    filter: str
    x0: float
    y0: float
    mask: Mask | None = None
    pixscale: float | None = None
    fwhm_arcsec: float = np.nan
    mjd: float = np.nan
    flags: int = 0


@lru_cache(maxsize=64)
def _smoother(side: int, fwhm: float) -> NDArray[np.float64]:
    return gaussian(side, fwhm)


class Light:
    """A plane with its sky taken away, its gaps filled, and the map of the S/N of point sources in it.

    Where there is no noise to be seen, `is_noisy` is false and the noise is the least that there could be.
    """

    def __init__(self, plane: Plane, survey: Survey) -> None:
        self.plane = plane
        self.pixscale = survey.pixscale if plane.pixscale is None else plane.pixscale
        told = plane.fwhm_arcsec
        nominal = survey.filter(plane.filter).fwhm_arcsec
        # Some headers give it in pixels, which are a quarter of an arcsec or so.
        self.told = told if np.isfinite(told) and 0.3 * nominal < told < 2.5 * nominal else np.nan
        # To a hundredth of a pixel, so that filters alike share their matrices; sharper than 1.5 px nothing is.
        self.fwhm = max(round((nominal if np.isnan(self.told) else self.told) / self.pixscale, 2), 1.5)
        image = np.asarray(plane.image, np.float64)
        mask = np.zeros(image.shape, np.uint8) if plane.mask is None else plane.mask
        self.mask = mask | np.where(np.isfinite(image), 0, BAD).astype(np.uint8)
        good = (self.mask & (BAD | COSMIC_RAY)) == 0
        ny, nx = image.shape
        rows, columns = np.arange(ny)[:, None], np.arange(nx)
        self.distance = np.hypot(rows - plane.y0, columns - plane.x0)
        outside = good & (self.distance > min(max(REACH / self.pixscale, 2 * self.fwhm), 0.36 * min(ny, nx)))
        values = image[outside if outside.sum() >= 100 else good]
        self.level, noise = (_clipped(values) or sky(values)) if len(values) else (0.0, 0.0)
        matrix = _smoother(ny, self.fwhm), _smoother(nx, self.fwhm)
        clean = np.where(good, image - self.level, 0.0)
        self.noise = max(noise, _RANGE * float(clean.max(initial=0.0)))
        self.is_noisy = noise == self.noise > 0
        if not good.all():
            with np.errstate(invalid="ignore", divide="ignore"):
                around = (matrix[0] @ clean @ matrix[1].T) / (matrix[0] @ good @ matrix[1].T)
            clean = np.where(good, clean, np.nan_to_num(around, nan=0.0, posinf=0.0, neginf=0.0))
        self.clean = clean
        self.smooth = matrix[0] @ clean @ matrix[1].T
        within = self.distance <= max(REACH / self.pixscale, 2.0)
        self.snr = float(self.smooth[within].max(initial=0.0)) / self.error

    @property
    def error(self) -> float:
        """Standard error of the smoothed image: σ over the root of the noise pixels of a Gaussian, 4πσ²."""
        return max(self.noise, 1e-30) / np.sqrt(4 * np.pi) / (self.fwhm * SIGMA)

    def flux(self, x: float, y: float) -> float:
        """Return the flux of a point source, counts: the matched filter's answer at a place."""
        return 4 * np.pi * (self.fwhm * SIGMA) ** 2 * at(self.smooth, x, y)

    def near(self, x: float, y: float) -> int:
        """Return the flags of what the mask holds within a FWHM of a place."""
        return self.plane.flags & int(SPOILT) | _near(self.mask, x, y, self.fwhm, self.pixscale)


def _clipped(values: Pixels) -> tuple[float, float] | None:
    """Return level and noise of a sky of which all that was below some value was set to it, else None.

    What is left of a normal distribution of which a share was clipped has its quantiles above that share. Photons, of
    which most pixels have none, are told by the gap between none and one.
    """
    if np.mean(values == values.min()) < 0.2:
        return None
    ordered = np.sort(values)
    above = ordered[np.searchsorted(ordered, ordered[0], "right") :] - ordered[0]
    share = 1 - len(above) / len(ordered)
    if share > 0.8 or above[len(above) // 20] > 0.2 * above[len(above) // 2]:
        return None
    shares = share + np.array([0.1, 0.6]) * (1 - share)
    low, high = np.quantile(ordered, shares)
    z_low, z_high = (NormalDist().inv_cdf(float(one)) for one in shares)
    noise = float((high - low) / (z_high - z_low))
    return float(low) - z_low * noise, noise


def at(image: Pixels, x: float, y: float) -> float:
    """Return an image's value between pixels, bilinear; the edge's outside."""
    ny, nx = image.shape
    x, y = min(max(x, 0.0), nx - 1.001), min(max(y, 0.0), ny - 1.001)
    i, j = int(x), int(y)
    u, v = x - i, y - j
    low = (1 - u) * image[j, i] + u * image[j, i + 1]
    return float((1 - v) * low + v * ((1 - u) * image[j + 1, i] + u * image[j + 1, i + 1]))


def _near(mask: Mask, x: float, y: float, fwhm: float, pixscale: float) -> int:
    ny, nx = mask.shape
    rows, columns = np.arange(ny)[:, None] - y, np.arange(nx) - x
    within = rows**2 + columns**2 <= fwhm**2
    flags = 0
    for bit, flag in ((SATURATED, StampFlag.SATURATED), (BAD, StampFlag.BAD), (COSMIC_RAY, StampFlag.COSMIC_RAY)):
        flags |= int(flag) if (mask[within] & bit).any() else 0
    reach = int(REACH / pixscale + fwhm)
    low_x, high_x, low_y, high_y = x - reach, x + reach, y - reach, y + reach
    outside = low_x < -1 or low_y < -1 or high_x > nx or high_y > ny
    if not outside:
        row, column = mask[min(max(round(y), 0), ny - 1)], mask[:, min(max(round(x), 0), nx - 1)]
        ends = (row[max(int(low_x), 0)], row[min(int(high_x), nx - 1)], column[max(int(low_y), 0)],
                column[min(int(high_y), ny - 1)])  # fmt: skip
        outside = any(end & BAD for end in ends)
    return flags | (int(StampFlag.CUT) if outside else 0)


def stars(light: Light) -> NDArray[np.float64]:
    """Return the FWHM, px, of stars in a stamp other than the source and its companions: lone, round and bright."""
    image, core = light.smooth, light.smooth[1:-1, 1:-1]
    ny, nx = image.shape
    peak = core > 25 * light.error
    for sy in (0, 1, 2):
        for sx in (0, 1, 2):
            if (sy, sx) != (1, 1):
                peak = peak & (core >= image[sy : ny - 2 + sy, sx : nx - 2 + sx])
    rows, columns = np.nonzero(peak)
    rows, columns = rows + 1, columns + 1
    order = np.argsort(-image[rows, columns], kind="stable")[:12]
    rows, columns = rows[order], columns[order]
    edge = int(np.ceil(1.5 * light.fwhm))
    widths = []
    for row, column in zip(rows, columns, strict=True):
        near = np.hypot(rows - row, columns - column)
        alone = np.count_nonzero(near < 2.5 * light.fwhm) == 1
        inside = edge <= row < ny - edge and edge <= column < nx - edge
        away = light.distance[row, column] > REACH / light.pixscale + light.fwhm
        if not (alone and inside and away):
            continue
        if light.mask[row - edge : row + edge + 1, column - edge : column + edge + 1].any():
            continue
        shape = windowed(light.clean, float(column), float(row), light.fwhm, adapt=True)
        if shape.ellipticity < 0.25 and 0.6 * light.fwhm < shape.fwhm < 1.6 * light.fwhm:
            widths.append(shape.fwhm)
    return np.array(widths)
