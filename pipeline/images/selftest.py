"""Whether a significance is one: how S_corr is spread where nothing has changed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from pipeline.images.frame import UNUSABLE
from pipeline.images.match import Match
from pipeline.images.spread import Spread
from pipeline.images.subtract import Band
from pipeline.images.view import Image

__all__ = ["SelfTest", "both", "calibrated", "examine"]

#: Sources as bright as this in both images are tested by themselves.
BRIGHT = 50.0

#: Pixels of blank sky that a noise is trusted from.
_ENOUGH = 5_000

#: What the robust spread may be on blank sky and on sources, and how many pixels a million may be beyond ±5. Noise alone
#: puts less than one there; a supernova of S/N 20 puts fifty, but all of one sign.
BLANK, SOURCES, BEYOND = (0.95, 1.05), (0.85, 1.3), 60.0


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Counts that add over the bands of an image.

    Parameters
    ----------
    blank, sources : Spread
        Of S_corr far from every source, and within one FWHM of bright ones.
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
        """Pixels of blank sky a million beyond 5 sigma, of the sign that has fewer."""
        return 1e6 * min(self.blank.beyond) / max(self.blank.size, 1)

    @property
    def fails(self) -> bool:
        """Whether the spread on blank sky, or on sources if there are any, is not one."""
        blank = not BLANK[0] <= self.blank.std <= BLANK[1]
        return blank or (self.sources.size > 500 and not SOURCES[0] <= self.sources.std <= SOURCES[1])

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
    """Return the sources of science image (`one`) and reference (`other`) in one table: x, y on the reference, snr, bright.

    `bright` are unharmed sources of the reference with S/N over `BRIGHT` in both images.
    """
    warp = match.warp(science, reference)
    x, y = warp.inverse(one["x"].to_numpy(), one["y"].to_numpy()) if len(one) else (np.zeros(0), np.zeros(0))
    mine = pd.DataFrame({"x": x, "y": y, "snr": one["snr"].to_numpy(), "bright": False})
    mine = mine[np.isfinite(mine["x"]) & np.isfinite(mine["y"])]
    theirs = other[["x", "y", "snr"]].assign(bright=False)
    if len(mine) and len(theirs):
        distance, nearest = cKDTree(mine[["x", "y"]].to_numpy()).query(theirs[["x", "y"]].to_numpy())
        unharmed = (other["mask"].to_numpy() & int(UNUSABLE)) == 0
        bright = (distance < 2) & (mine["snr"].to_numpy()[nearest] > BRIGHT) & (theirs["snr"].to_numpy() > BRIGHT)
        theirs["bright"] = bright & unharmed
    return pd.concat([mine, theirs], ignore_index=True)


def calibrated(band: Band, sources: pd.DataFrame, fwhm: float) -> tuple[Band, float]:
    """Return a band with the noise that makes S_corr of blank sky spread by one, and by what the noise was too small.

    The variance planes say what single pixels scatter. On the scale of a PSF it is more where a survey's own resampling
    or stacking has correlated them; and wings of sources, which a difference does not have, make pixels scatter more.

    Parameters
    ----------
    band : Band
        Subtracted.
    sources : DataFrame
        From `both`.
    fwhm : float
        Of the wider PSF, px.
    """
    rows = slice(band.y0 - band.top, band.y1 - band.top)
    good = (band.mask[rows] & int(UNUSABLE)) == 0
    blank = band.significance[rows][quiet(good, sources, fwhm, band.y0)]
    if len(blank) < _ENOUGH:
        return band, 1.0
    low, high = np.percentile(blank, [15.87, 84.13])
    scale = float((high - low) / 2)
    return band.scaled(scale), scale


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
    blank = quiet(good, sources, fwhm, band.y0)
    cores = np.zeros(good.shape, bool)
    near = sources[sources["bright"]]
    _disks(cores, near["x"].to_numpy(), near["y"].to_numpy() - band.y0, np.full(len(near), fwhm))
    return SelfTest(Spread.of(s[blank]), Spread.of(s[cores & good]), int(good.sum()))


def quiet(good: NDArray[np.bool_], sources: pd.DataFrame, fwhm: float, y0: int) -> NDArray[np.bool_]:
    """Return which pixels of rows from `y0` on are blank sky: far from sources and from pixels that are no good."""
    near = np.zeros(good.shape, bool)
    brightness = np.log10(np.maximum(sources["snr"].to_numpy(), 5.0) / 5.0)
    _disks(near, sources["x"].to_numpy(), sources["y"].to_numpy() - y0, fwhm * (1.5 + 1.2 * brightness))
    away = ~binary_dilation(~good, iterations=max(4, round(1.5 * fwhm)))
    # The image's own edges: beyond them there is nothing to compare with.
    away[:, :12] = away[:, -12:] = False
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
