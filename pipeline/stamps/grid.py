"""A stamp as delivered → the grid of its survey: north up, east left, arcseconds kept, the source in its middle."""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipeline.errors import Reason, Rejected
from pipeline.stamps.light import BAD, COSMIC_RAY, SATURATED, Mask
from pipeline.stamps.reading import Delivered
from pipeline.stamps.surveys import Survey

__all__ = ["Cut", "Sight", "cut", "sight"]

#: A file's pixels are taken as they are where they differ by less from the survey's in size, and from north in angle.
_SCALE, _DEGREES = 0.01, 0.1

_WCS_CARD = re.compile(
    rb"(CTYPE|CRVAL|CRPIX|CDELT|CROTA|CUNIT)[12] |(CD|PC)([12]_[12] |00[12]00[12]=)|PV\d+_\d+ |"
    rb"(A|B|AP|BP)_(ORDER|\d_\d) |(LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|WCSAXES) "
)
#: The matrix in all its spellings, those of Pan-STARRS (PC001001) too: of several, all but the first are left over.
_MATRICES = tuple(re.compile(text) for text in (rb"CD._", rb"CD00", rb"PC._", rb"PC00"))
_SOURCE_CARDS = (("RA_OBJ", "DEC_OBJ"), ("OBJRA", "OBJDEC"), ("RA_SRC", "DEC_SRC"), ("SRC_RA", "SRC_DEC"),
                 ("SOURCERA", "SOURCEDE"), ("OBJCTRA", "OBJCTDEC"))  # fmt: skip
_POINTING_CARDS = (("RA_TARG", "DEC_TARG"), ("TARG_RA", "TARG_DEC"), ("RA", "DEC"))
_SCALE_CARDS = ("PIXSCALE", "PIXSCAL1", "PIXELSCL", "PIXSCL", "SECPIX", "SECPIX1", "SCALE", "PIXAR_SC", "PLATESCL")


@dataclass(frozen=True)
class Sight:
    """Where a file looks.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or None
        Of the image; None where the header tells a scale or a place only.
    pixscale : float
        Arcsec a pixel.
    ra, dec : float
        Source by the header, else the middle of the image, deg, ICRS; NaN if unknown.
    rank : int
        How good that is: 0 the header's word for the source, 1 for where the telescope looked, which is the middle of
        the image, 2 the middle of the image, 3 the same of one that is cut, 4 unknown.
    """

    wcs: WCS | None
    pixscale: float
    ra: float
    dec: float
    rank: int

    def place(self, ra: float, dec: float, shape: tuple[int, int]) -> tuple[float, float]:
        """Return the pixel of a place on the sky, from 0; the middle of the image where there is no WCS."""
        if self.wcs is None or np.isnan(ra):
            return (shape[1] - 1) / 2, (shape[0] - 1) / 2
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                x, y = self.wcs.all_world2pix(*_of_frame(self.wcs, ra, dec), 0, quiet=True)
        except Exception as error:  # noqa: BLE001 — of wcslib, for places that its projection does not hold
            raise Rejected(Reason.OFF_CENTRE, f"RA {ra:.6f}, Dec {dec:.6f} is not on it: {error}") from None
        return float(x), float(y)

    def axes(self, x: float, y: float) -> NDArray[np.float64]:
        """Return the matrix that turns (x, y) steps in px at a pixel into (west, north) steps in arcsec."""
        if self.wcs is None:
            return np.eye(2) * self.pixscale
        around_x, around_y = x + np.array([0, 0.5, -0.5, 0, 0]), y + np.array([0, 0, 0, 0.5, -0.5])
        ra, dec = _sky(self.wcs, around_x, around_y)
        west, north = _tangent(ra, dec, float(ra[0]), float(dec[0]))
        return np.array([[west[1] - west[2], west[3] - west[4]], [north[1] - north[2], north[3] - north[4]]])


def _tangent(ra: Any, dec: Any, ra0: float, dec0: float) -> tuple[Any, Any]:
    """Return west and north in the tangent plane at (ra0, dec0), arcsec."""
    a, d, d0 = np.radians(np.asarray(ra) - ra0), np.radians(dec), np.radians(dec0)
    below = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    east = np.cos(d) * np.sin(a) / below
    north = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / below
    return -np.degrees(east) * 3600, np.degrees(north) * 3600


def _is_plain(wcs: WCS) -> bool:
    system = str(wcs.wcs.radesys)
    return str(wcs.wcs.ctype[0]).startswith("RA") and not system.startswith("FK4") and not 0 < wcs.wcs.equinox < 1999


def _of_frame(wcs: WCS, ra: float, dec: float) -> tuple[float, float]:
    """Return a place of ICRS in the frame of a WCS."""
    if _is_plain(wcs):
        return (ra, dec) if wcs.wcs.lng == 0 else (dec, ra)
    from astropy.coordinates import SkyCoord

    there = SkyCoord(ra, dec, unit="deg").transform_to(wcs_to_celestial_frame(wcs)).spherical
    pair = float(there.lon.deg), float(there.lat.deg)
    return pair if wcs.wcs.lng == 0 else pair[::-1]


def _sky(wcs: WCS, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return RA and Dec, ICRS, of pixels."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        pair = [np.atleast_1d(one) for one in wcs.all_pix2world(x, y, 0)]
        lon, lat = pair if wcs.wcs.lng == 0 else pair[::-1]
        if not _is_plain(wcs):
            found = wcs.pixel_to_world(x, y).icrs
            lon, lat = np.atleast_1d(found.ra.deg), np.atleast_1d(found.dec.deg)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def sight(delivered: Delivered, survey: Survey, assumed: float | None = None) -> Sight:
    """Return where a file looks.

    Parameters
    ----------
    delivered : Delivered
        The file.
    survey : Survey
        Whose pixel scale is taken where the header tells a position but no scale.
    assumed : float, optional
        Arcsec a pixel of files whose header tells neither.

    Raises
    ------
    Rejected
        With `Reason.NO_WCS` if nothing tells where it looks and how far a pixel reaches, or what does makes no sense.
    """
    ny, nx = delivered.image.shape
    middle = ((nx - 1) / 2, (ny - 1) / 2)
    wcs = _wcs(delivered)
    told = [pair for cards in _SOURCE_CARDS if (pair := _pair(delivered, cards)) is not None]
    pointed = [pair for cards in _POINTING_CARDS if (pair := _pair(delivered, cards)) is not None]
    if wcs is None:
        scale = delivered.number(*_SCALE_CARDS, low=1e-3, high=1e2)
        if np.isnan(scale):
            degrees = abs(delivered.number("CDELT2", "CD2_2", low=-0.03, high=0.03))
            scale = degrees * 3600 if degrees > 3e-7 else np.nan
        if np.isnan(scale) and not told and not pointed and assumed is None:
            cure = "write its WCS, or PIXSCALE (arcsec), into the header, or set `pixscale` in [stamps]"
            raise Rejected(Reason.NO_WCS, f"no WCS, no pixel scale, no position in the header; {cure}")
        if np.isnan(scale):
            scale = assumed or survey.pixscale
        ra, dec = (told + pointed or [(np.nan, np.nan)])[0]
        return Sight(None, scale, ra, dec, 0 if told else 1 if pointed else 4)
    first = Sight(wcs, np.nan, 0.0, 0.0, 4)
    scale = float(np.sqrt(abs(np.linalg.det(first.axes(*middle)))))
    ra0, dec0 = (float(one[0]) for one in _sky(wcs, *middle))
    if not (1e-3 < scale < 1e2 and np.isfinite(ra0) and abs(dec0) <= 90):
        raise Rejected(
            Reason.NO_WCS, f"WCS of {scale:g} arcsec a pixel around RA {ra0:g}, Dec {dec0:g}; solve it again"
        )
    reach = scale * max(nx, ny) / 2
    for pair in told:
        if max(abs(float(one)) for one in _tangent(*pair, ra0, dec0)) < 3 * reach:
            return Sight(wcs, scale, *pair, 0)
    for pair in pointed:
        if max(abs(float(one)) for one in _tangent(*pair, ra0, dec0)) < min(0.2 * reach, 5.0):
            return Sight(wcs, scale, *pair, 1)
    return Sight(wcs, scale, ra0 % 360, dec0, 2 if min(nx, ny) > 0.9 * max(nx, ny) else 3)


def _pair(delivered: Delivered, cards: tuple[str, str]) -> tuple[float, float] | None:
    values = [delivered.card(key) for key in cards]
    try:
        pair = [float(value) for value in values if value is not None]
    except ValueError:
        try:
            pair = [Angle(str(values[0]), units.hourangle).deg, Angle(str(values[1]), units.deg).deg]
        except Exception:  # noqa: BLE001 — of astropy's parser, for words that are no angles
            return None
    if len(pair) < 2 or not (0 <= pair[0] <= 360 and abs(pair[1]) <= 90):
        return None
    return pair[0] % 360, pair[1]


def _wcs(delivered: Delivered) -> WCS | None:
    """Return a header's celestial WCS, or None if it names none."""
    for header in delivered.headers:
        cards = [header.raw[at : at + 80] for at in range(0, len(header.raw), 80)]
        known = [card for card in dict.fromkeys(cards) if _WCS_CARD.match(card[:9])]
        there = [matrix for matrix in _MATRICES if any(matrix.match(card) for card in known)]
        own = b"".join(card for card in known if not any(matrix.match(card) for matrix in there[1:]))
        if b"CTYPE1" not in own or b"CRVAL1" not in own:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wcs = WCS(fits.Header.fromstring(own.decode("ascii")), naxis=2)
                celestial = wcs.has_celestial
        except Exception as error:  # noqa: BLE001 — whatever the cards hold: astropy and wcslib raise all kinds
            what = str(error).splitlines()[0][:200] if str(error) else ""
            raise Rejected(Reason.NO_WCS, f"{type(error).__name__}: {what}; solve the field again") from None
        if celestial:
            return wcs
    return None


@dataclass(frozen=True, eq=False)
class Cut:
    """A stamp on its survey's grid.

    Parameters
    ----------
    image : (side, side) float32
        Counts as delivered; NaN where there is no pixel.
    mask : (side, side) uint8
        As of `pipeline.stamps.light`.
    x0, y0 : float
        Place of the source, px.
    pixscale : float
        Arcsec a cell.
    is_resampled : bool
        Its pixels are not those delivered, or they were turned.
    """

    image: NDArray[np.float32]
    mask: Mask
    x0: float
    y0: float
    pixscale: float
    is_resampled: bool


def cut(
    image: NDArray[np.float32], spoilt: Mask, place: tuple[float, float], axes: NDArray[np.float64],
    survey: Survey,
) -> Cut:  # fmt: skip
    """Cut what a survey keeps around a source out of an image.

    Turns of 90° and mirror images are undone without loss; other angles and pixel scales are resampled: cells that are
    larger than the pixels sum them up, so that flux is kept, smaller ones come from cubic splines.

    Parameters
    ----------
    image : (ny, nx) float32
        As delivered.
    spoilt : (ny, nx) uint8
        1 saturated, 4 cosmic ray.
    place : tuple of float
        Pixel of the source.
    axes : (2, 2) float
        From steps in px to (west, north) in arcsec, see `Sight.axes`.
    survey : Survey
        Its grid is made.
    """
    image, spoilt, place, axes, turned = _upright(image, spoilt, place, axes)
    scale = float(np.sqrt(abs(np.linalg.det(axes))))
    off = np.abs(axes / survey.pixscale - np.eye(2))
    angle = np.degrees(np.arctan2(abs(axes[0, 1] - axes[1, 0]), axes[0, 0] + axes[1, 1]))
    if off.diagonal().max() < _SCALE and angle < _DEGREES:
        stamp, mask, x0, y0 = _window(image, spoilt, place, survey.side)
        return Cut(stamp, mask, x0, y0, scale, turned)
    stamp, mask = _resampled(image, spoilt, place, axes, survey)
    middle = (survey.side - 1) / 2
    return Cut(stamp, mask, middle, middle, survey.pixscale, True)


def _upright(image: Any, spoilt: Any, place: tuple[float, float], axes: Any) -> tuple[Any, Any, Any, Any, bool]:
    """Turn by 90° and mirror until x goes west and y north, as far as that does."""
    turned = False
    x, y = place
    if abs(axes[0, 1]) + abs(axes[1, 0]) > abs(axes[0, 0]) + abs(axes[1, 1]):
        image, spoilt, (x, y), axes, turned = image.T, spoilt.T, (y, x), axes[:, ::-1], True
    if axes[0, 0] < 0:
        image, spoilt, x = image[:, ::-1], spoilt[:, ::-1], image.shape[1] - 1 - x
        axes, turned = axes * np.array([-1, 1]), True
    if axes[1, 1] < 0:
        image, spoilt, y = image[::-1], spoilt[::-1], image.shape[0] - 1 - y
        axes, turned = axes * np.array([1, -1]), True
    return image, spoilt, (x, y), axes, turned


def _window(
    image: NDArray[np.float32], spoilt: Mask, place: tuple[float, float], side: int
) -> tuple[NDArray[np.float32], Mask, float, float]:
    """Return the pixels around a place as they are, the place at most half a pixel from the middle."""
    ny, nx = image.shape
    left, low = (int(np.floor(at - (side - 1) / 2 + 0.5)) for at in place)
    stamp = np.full((side, side), np.nan, np.float32)
    mask = np.full((side, side), BAD, np.uint8)
    rows, columns = slice(max(0, low), min(ny, low + side)), slice(max(0, left), min(nx, left + side))
    if rows.start < rows.stop and columns.start < columns.stop:
        there = (slice(rows.start - low, rows.stop - low), slice(columns.start - left, columns.stop - left))
        stamp[there] = image[rows, columns]
        mask[there] = np.where(np.isfinite(stamp[there]), 0, BAD) | spoilt[rows, columns]
    return stamp, mask, place[0] - left, place[1] - low


def _resampled(
    image: NDArray[np.float32], spoilt: Mask, place: tuple[float, float], axes: NDArray[np.float64],
    survey: Survey,
) -> tuple[NDArray[np.float32], Mask]:  # fmt: skip
    inverse = np.linalg.inv(axes)
    ratio = survey.pixscale / float(np.sqrt(abs(np.linalg.det(axes))))
    # Cells are sampled in so many places a side that every pixel below them counts.
    fine = 1 if ratio < 1.05 else min(2 * int(np.ceil(ratio)), 64)
    reach = int(np.ceil(np.abs(inverse).sum(axis=1).max() * survey.field / 2)) + 8
    near, flat, (x, y) = _near(image, spoilt, place, reach)
    good = np.isfinite(near)
    level = np.float32(np.median(near[good])) if good.any() else np.float32(0)
    filled = np.where(good, near, level)
    steps = ((np.arange(survey.side * fine) + 0.5) / fine - survey.side / 2) * survey.pixscale
    west, north = np.meshgrid(steps, steps)
    columns = x + inverse[0, 0] * west + inverse[0, 1] * north
    rows = y + inverse[1, 0] * west + inverse[1, 1] * north
    where = np.stack([rows, columns])
    shape = (survey.side, fine, survey.side, fine)
    # Splines would ring around single photons, and what rings passes for noise.
    order = 1 if np.mean(filled == level) > 0.3 else 3
    values = map_coordinates(filled, where, np.float32, order, mode="nearest").reshape(shape).mean((1, 3)) * ratio**2
    share = map_coordinates(good.astype(np.float32), where, np.float32, 1, mode="constant").reshape(shape).mean((1, 3))
    missing = share < 0.9
    mask = np.where(missing, BAD, 0)
    for bit in (SATURATED, COSMIC_RAY):
        if (flat & bit).any():
            there = (flat & bit > 0).astype(np.float32)
            share = map_coordinates(there, where, np.float32, 1, mode="constant").reshape(shape).mean((1, 3))
            mask |= np.where(share > 0.1, bit, 0)
    return np.where(missing, np.nan, values).astype(np.float32), mask.astype(np.uint8)


def _near(
    image: NDArray[np.float32], spoilt: Mask, place: tuple[float, float], reach: int
) -> tuple[NDArray[np.float32], Mask, tuple[float, float]]:
    """Return what lies within reach of a place: nothing is gained by splines of a whole field."""
    ny, nx = image.shape
    left, low = max(0, round(place[0]) - reach), max(0, round(place[1]) - reach)
    right, top = min(nx, round(place[0]) + reach + 1), min(ny, round(place[1]) + reach + 1)
    part = (slice(low, top), slice(left, right))
    return image[part], spoilt[part], (place[0] - left, place[1] - low)
