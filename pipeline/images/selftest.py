"""Whether a significance is one: how S_corr is spread where nothing has changed."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter, uniform_filter
from scipy.spatial import cKDTree

from pipeline.images.background import level
from pipeline.images.frame import UNUSABLE, Pixels
from pipeline.images.match import Match
from pipeline.images.spread import Spread
from pipeline.images.subtract import Band
from pipeline.images.view import Image

__all__ = ["SelfTest", "Zero", "both", "calibrated", "examine"]

#: Sources as bright as this in both images are tested by themselves.
BRIGHT = 50.0

#: Pixels of blank sky that a noise is trusted from.
_ENOUGH = 5_000

#: Pixels of bright sources that tell what they leave, and by how much more than their noise they may scatter without
#: that being held against the PSFs.
_MANY, EXCUSED = 300, 1.4

#: What the robust spread may be on blank sky and on sources, and how many pixels a million may be beyond ±5. Noise
#: alone puts less than one there; a supernova of S/N 20 puts fifty, but all of one sign.
BLANK, SOURCES, BEYOND = (0.95, 1.05), (0.85, 1.3), 60.0

#: What a noise may be wrong by, and what bright stars may leave of their flux, before a difference is not to be trusted
#: even though S_corr was made right for both.
NOISE, PSF_ERROR = (0.7, 1.4), 0.01

#: Pixels beyond 5 sigma that one bad place makes.
_SOME = 20

#: How far from zero the median of S_corr may be on blank sky.
OFFSET = 0.3


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Counts that add over the bands of an image.

    Parameters
    ----------
    blank, sources : Spread
        Of S_corr far from every source, and within one FWHM of bright stars: what is new at the heart of a galaxy is
        no fault of the subtraction.
    pixels : int
        Pixels that could be used.
    """

    blank: Spread
    sources: Spread
    pixels: int

    def __add__(self, other: "SelfTest") -> "SelfTest":
        """Add counts."""
        return SelfTest(self.blank + other.blank, self.sources + other.sources, self.pixels + other.pixels)

    @property
    def excess(self) -> float:
        """Pixels of blank sky a million beyond 5 sigma, of the sign that has fewer; 0 where they are but a few."""
        fewer = min(self.blank.beyond)
        return 1e6 * fewer / max(self.blank.size, 1) if fewer >= _SOME else 0.0

    @property
    def fails(self) -> bool:
        """Whether blank sky is not spread by one around zero, or sources, if there are any, not by about one."""
        blank = not BLANK[0] <= self.blank.std <= BLANK[1] or abs(self.blank.median) > OFFSET
        return blank or (self.sources.size > 200 and not SOURCES[0] <= self.sources.std <= SOURCES[1])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            name: {"counts": _sparse(spread.counts), "beyond": list(spread.beyond)}
            for name, spread in (("blank", self.blank), ("sources", self.sources))
        } | {"pixels": self.pixels}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "SelfTest":
        """Return what `to_dict` wrote."""
        blank, sources = (
            Spread(_dense(raw[name]["counts"]), (raw[name]["beyond"][0], raw[name]["beyond"][1]))
            for name in ("blank", "sources")
        )
        return cls(blank, sources, raw["pixels"])


def _sparse(counts: NDArray[np.int64]) -> list[list[int]]:
    return [[int(k), int(counts[k])] for k in np.flatnonzero(counts)]


def _dense(pairs: list[list[int]]) -> NDArray[np.int64]:
    counts = np.zeros_like(Spread.of(np.zeros(0)).counts)
    for place, count in pairs:
        counts[place] = count
    return counts


def both(science: Image, reference: Image, match: Match, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the sources of science image (`one`) and reference (`other`): x, y on the reference, snr, bright, star.

    `bright` are unharmed sources of the reference with S/N over `BRIGHT` in both images, `star` those of them that are.
    """
    warp = match.warp(science, reference)
    x, y = warp.inverse(one["x"].to_numpy(), one["y"].to_numpy()) if len(one) else (np.zeros(0), np.zeros(0))
    mine = pd.DataFrame({"x": x, "y": y, "snr": one["snr"].to_numpy(), "bright": False, "star": False})
    mine = mine[np.isfinite(mine["x"]) & np.isfinite(mine["y"])]
    theirs = other[["x", "y", "snr"]].assign(bright=False, star=False)
    if len(mine) and len(theirs):
        distance, nearest = cKDTree(mine[["x", "y"]].to_numpy()).query(theirs[["x", "y"]].to_numpy())
        unharmed = (other["mask"].to_numpy() & int(UNUSABLE)) == 0
        bright = (distance < 2) & (mine["snr"].to_numpy()[nearest] > BRIGHT) & (theirs["snr"].to_numpy() > BRIGHT)
        theirs["bright"] = bright & unharmed
        theirs["star"] = theirs["bright"] & other["is_star"].to_numpy()
    return pd.concat([mine, theirs], ignore_index=True)


@dataclass(frozen=True)
class Zero:
    """What was made right of a band's S_corr.

    Parameters
    ----------
    noise : float
        By what the noise was too small.
    offset : float
        The largest that blank sky was away from zero anywhere, σ.
    psf_error : float
        What bright sources leave of themselves beyond their noise, relative to their flux; 0 if nothing.
    """

    noise: float
    offset: float
    psf_error: float

    @property
    def fails(self) -> bool:
        """Whether so much had to be made right that what it says now proves nothing."""
        return not NOISE[0] <= self.noise <= NOISE[1] or self.psf_error > PSF_ERROR


def calibrated(band: Band, sources: pd.DataFrame, fwhm: float, mesh: int = 128) -> tuple[Band, Zero]:
    """Return a band with S_corr of blank sky around zero and spread by one, and what it was before.

    The variance planes say what single pixels scatter. On the scale of a PSF it is more where a survey's own resampling
    or stacking has correlated them, and less where both images share exposures; and a hundredth of the sky's noise that
    its level is wrong by in each pixel adds up over a PSF. Where bright sources leave more than their noise because the
    PSFs are not what the stars said, that share of their flux is noise, too: a significance that did not know it would
    find them all.

    Parameters
    ----------
    band : Band
        Subtracted.
    sources : DataFrame
        From `both`.
    fwhm : float
        Of the wider PSF, px.
    mesh : int
        Pixels a side of the boxes in which the zero is measured.
    """
    good = (band.mask & int(UNUSABLE)) == 0
    blank = quiet(good, sources, fwhm, band.top, band.tiles.shape[0])
    if blank.sum() < _ENOUGH:
        return band, Zero(1.0, 0.0, 0.0)
    zero = level(band.significance, blank, mesh)
    low, high = np.percentile((band.significance - zero)[blank], [15.87, 84.13])
    scale = np.float32((high - low) / 2)
    significance, error = (band.significance - zero) / scale, band.flux_err * scale
    light = _light(band, fwhm) / error
    # Stars alone: what is new at the heart of a galaxy is not held against the PSF.
    share = _share(significance, light, _cores(good, sources[sources["star"]], fwhm, band.top) & good)
    if share > 0:
        more = np.sqrt(1 + (np.float32(share) * light) ** 2)
        significance, error = significance / more, error * more
    difference = band.difference - level(band.difference, blank, mesh)
    found = replace(band, significance=significance, flux_err=error, difference=difference)
    return found, Zero(float(scale), float(np.abs(zero).max()), share)


def _light(band: Band, fwhm: float) -> Pixels:
    """Return about the flux that a point source at each pixel of the science image would have, counts."""
    sigma = fwhm / 2.3548
    # A Gaussian of unit sum is matched to the PSF: 4πσ² is one over the sum of its squares.
    light: Pixels = gaussian_filter(band.science, sigma, truncate=3) * np.float32(4 * np.pi * sigma**2)
    # Flat over a PSF: an error that fell off as the light does would move the peaks of S to where it is small.
    flat: Pixels = maximum_filter(np.maximum(light, 0), 2 * round(fwhm) + 1)
    return flat


def _cores(good: NDArray[np.bool_], sources: pd.DataFrame, fwhm: float, y0: int) -> NDArray[np.bool_]:
    """Return which pixels are within one FWHM of bright sources."""
    cores = np.zeros(good.shape, bool)
    near = sources[sources["bright"]]
    _disks(cores, near["x"].to_numpy(), near["y"].to_numpy() - y0, np.full(len(near), fwhm))
    return cores


def _share(significance: Pixels, light: Pixels, cores: NDArray[np.bool_]) -> float:
    """Return the share ε of bright sources' light that makes S / √(1 + ε² light²) spread by one on them."""
    s, t = significance[cores], light[cores]
    s, t = s[t > BRIGHT / 2], t[t > BRIGHT / 2]

    def width(share: float) -> float:
        low, high = np.percentile(s / np.sqrt(1 + (share * t) ** 2), [15.87, 84.13])
        return float(high - low) / 2

    if len(s) < _MANY or width(0.0) < EXCUSED:
        return 0.0
    low, high = 0.0, 0.3
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > 1 else (low, middle)
    return high


def examine(band: Band, sources: pd.DataFrame, fwhm: float) -> SelfTest:
    """Test a band.

    Parameters
    ----------
    band : Band
        Subtracted.
    sources : DataFrame
        Sources of both images: x, y (px of the reference), snr, bright (in both images, unharmed).
    fwhm : float
        Of the wider PSF, px.
    """
    rows = slice(band.y0 - band.top, band.y1 - band.top)
    good = (band.mask[rows] & int(UNUSABLE)) == 0
    s = band.significance[rows]
    blank = quiet(good, sources, fwhm, band.y0, band.tiles.shape[0])
    cores = _cores(good, sources[sources["star"]], fwhm, band.y0)
    return SelfTest(Spread.of(s[blank]), Spread.of(s[cores & good]), int(good.sum()))


def quiet(good: NDArray[np.bool_], sources: pd.DataFrame, fwhm: float, y0: int, ny: int) -> NDArray[np.bool_]:
    """Return which pixels of rows from `y0` on, of `ny`, are blank sky: far from sources and from what is no good."""
    near = np.zeros(good.shape, bool)
    brightness = np.log10(np.maximum(sources["snr"].to_numpy(), 5.0) / 5.0)
    _disks(near, sources["x"].to_numpy(), sources["y"].to_numpy() - y0, fwhm * (1.5 + 1.2 * brightness))
    # What was filled has its variance; only where much is missing, as around a saturated star, the rest suffers.
    away = ~binary_dilation(uniform_filter((~good).astype(np.float32), 7) > 0.3, iterations=round(2 * fwhm)) & good
    # The image's own edges: beyond them there is nothing to compare with.
    away[:, :12] = away[:, -12:] = False
    rows = np.arange(y0, y0 + len(good))
    away[(rows < 12) | (rows >= ny - 12)] = False
    return np.asarray(away & ~near)


def _disks(image: NDArray[np.bool_], x: NDArray[Any], y: NDArray[Any], radius: NDArray[Any]) -> None:
    """Set what is within the radii of places; in place."""
    ny, nx = image.shape
    for cx, cy, r in zip(x, y, radius, strict=True):
        rows = slice(max(0, int(cy - r)), max(0, min(ny, int(cy + r) + 2)))
        columns = slice(max(0, int(cx - r)), max(0, min(nx, int(cx + r) + 2)))
        dy = np.arange(rows.start, rows.stop) - cy
        dx = np.arange(columns.start, columns.stop) - cx
        image[rows, columns] |= dy[:, None] ** 2 + dx**2 <= r * r
