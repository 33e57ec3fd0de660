"""An image and what is known of it: pixels, variance, mask, where it looks and when."""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

__all__ = ["UNUSABLE", "Bit", "Facts", "Frame", "Pixels", "bits_around"]

#: Pixels of an image: (ny, nx) float32.
Pixels = NDArray[np.float32]


class Bit(IntFlag):
    """What is wrong with a pixel; 0: nothing. The same bits stand in the stores, the footprint and the candidates."""

    BAD = 1  #: no number, on the list of bad pixels, or bad by the survey's own data-quality plane
    SATURATED = 2  #: at or over the level of saturation, its bleed trail included
    COSMIC_RAY = 4  #: hit by a particle: found here, or marked in the survey's data-quality plane
    TRAIL = 8  #: on the trail of a satellite or aircraft
    HOT = 16  #: hot or dead: unlike its neighbours by more than any star is
    EDGE = 32  #: outside the good area; of a difference, not in both images, or the PSF is cut off
    WEAK = 64  #: usable with care by the survey's data-quality plane (e.g. a ghost, a persistent charge)


#: Pixels that carry no information on the sky.
UNUSABLE = Bit.BAD | Bit.SATURATED | Bit.COSMIC_RAY | Bit.TRAIL | Bit.HOT | Bit.EDGE


@dataclass(frozen=True)
class Facts:
    """What is known of an image beside its pixels; what a header does not say is None or estimated, and said so.

    Parameters
    ----------
    survey, mission, instrument, ccd, filter : str
        Where it is from, by the header; empty if the header does not say. `mission` is what pairing compares.
    mjd_mid : float or None
        Middle of the exposure, d, in `time_scale` (``utc``, ``tdb`` …).
    time_scale : str
        Name of the time scale.
    exptime_s : float or None
        Exposure, s.
    gain : float
        Electrons a count.
    read_noise : float
        Electrons (RMS) a pixel.
    saturation : float or None
        Level from which pixels are saturated, counts.
    zp_ab : float or None
        AB magnitude of one count (over the whole exposure); None if unknown, never guessed.
    unit : str
        What a count is: ``electron``, ``adu``.
    file, extension, sha256 : str, int, str
        Where the pixels came from.
    estimated : tuple of str
        Names of the facts that were estimated from the pixels or assumed, ``gain``, ``read_noise`` …
    """

    survey: str = "generic"
    mission: str = ""
    instrument: str = ""
    ccd: str = ""
    filter: str = ""
    mjd_mid: float | None = None
    time_scale: str = "utc"
    exptime_s: float | None = None
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float | None = None
    zp_ab: float | None = None
    unit: str = "adu"
    file: str = ""
    extension: int = 0
    sha256: str = ""
    estimated: tuple[str, ...] = ()


@dataclass
class Frame:
    """An image, whole or a part of one.

    Parameters
    ----------
    data : (ny, nx) float32
        Counts, sky included, finite everywhere (what is masked holds some number that does no harm).
    variance : (ny, nx) float32
        Variance of `data`, counts²: sky, source and read noise; finite and positive everywhere.
    mask : (ny, nx) uint16
        `Bit`.
    wcs : astropy.wcs.WCS
        0-based pixel → ICRS, distortions included.
    facts : Facts
        The rest.
    """

    data: Pixels
    variance: Pixels
    mask: NDArray[np.uint16]
    wcs: WCS
    facts: Facts

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ny, nx = self.data.shape
        return ny, nx


def bits_around(
    mask: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> NDArray[np.int32]:
    """Return the bits of all pixels within a radius of places, the nearest one at least; off the frame is an edge.

    Parameters
    ----------
    mask : (ny, nx) uint16
        `Bit`.
    x, y : (n,) float64
        Places, px; what is no number is off the frame.
    radius : float
        Pixels.
    """
    reach = int(np.ceil(radius)) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    x, y = np.nan_to_num(x, nan=-1e6), np.nan_to_num(y, nan=-1e6)
    columns, rows = np.rint(x).astype(int)[:, None] + dx, np.rint(y).astype(int)[:, None] + dy
    near = np.hypot(columns - x[:, None], rows - y[:, None]) <= max(radius, 0.75)
    ny, nx = mask.shape
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    values = np.where(inside, mask[rows.clip(0, ny - 1), columns.clip(0, nx - 1)], int(Bit.EDGE))
    known = sum(int(bit) for bit in Bit)
    return np.bitwise_or.reduce(np.where(near, values, 0), axis=1, initial=0).astype(np.int32) & np.int32(known)
