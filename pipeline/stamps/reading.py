"""Stamp files under guard: pixels, the words of the header, and nothing else whatever the bytes are."""

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from catalogs.folder import Folder
from pipeline.archive import MAX_BYTES, Source
from pipeline.errors import Reason, Rejected
from pipeline.fits import Hdu, Header, hdus
from pipeline.stamps import quality
from pipeline.stamps.light import BAD, SATURATED, Mask

__all__ = ["Delivered", "read"]

_MIN_SIDE, _MAX_SIDE = 8, 8192
_KINDS = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}

#: Asinh magnitudes of Pan-STARRS images: 2.5 log10 e (Waters et al. 2020, ApJS 251, 4).
_POGSON = 2.5 * np.log10(np.e)

_WEIGHTS = frozenset({"WHT", "WEIGHT"})

#: EXTNAMEs of what lies beside an image and is none.
_BESIDE = quality.NAMES | _WEIGHTS | {"ERR", "ERROR", "SIGMA", "VAR", "VARIANCE", "IVAR", "INVVAR", "CON", "CTX"}

_EXPTIME = ("EXPTIME", "EXPOSURE", "TEXPTIME", "TOTEXPT", "EXP_TIME")
_FWHM = ("FWHM", "PSF_FWHM", "PSFFWHM", "FWHM_ARC", "SEEING")
# Those of a count before those of a count a second.
_ZERO = ("MAGZERO", "MAGZP", "MAGZPT", "MAG_ZP", "ZPT", "ZP", "PHOTZP")
#: BUNIT → AB magnitude of one: nanomaggies, SDSS data model of frame files (m = 22.5 - 2.5 log10 f).
_UNITS = {"nanomaggy": 22.5, "nanomaggies": 22.5, "nanomaggie": 22.5, "nmgy": 22.5}
#: BUNIT of counts of the whole exposure, and of those a second, that PHOTFLAM is for.
_COUNTS = {"electrons", "electron", "e-", "counts", "count", "dn"}
_SATURATED = ("SATURATE", "SATLEVEL", "SATURVAL", "SATURAT")
_START = ("MJD-OBS", "MJD_OBS", "MJD", "OBSMJD", "EXPSTART", "MJDSTART")
_MIDDLE = ("MJD-MID", "MJD_MID", "MJDMID", "MJD-AVG", "EXPMID")


@dataclass(frozen=True, eq=False)
class Delivered:
    """A stamp as it came.

    Parameters
    ----------
    image : (ny, nx) float32
        Counts; NaN where there is no pixel, or one that the file's own quality plane calls bad.
    mask : (ny, nx) uint8
        1 saturated, 4 cosmic ray by that plane.
    headers : tuple of Header
        Of the image, and of the file.
    sha256 : str
        Of the bytes as stored.
    size : int
        Stored bytes.
    """

    image: NDArray[np.float32]
    mask: Mask
    headers: tuple[Header, ...]
    sha256: str
    size: int

    def card(self, *keys: str) -> str | float | None:
        """Return the first value that is there, in the image's header or the file's; what does not parse is not."""
        for key in keys:
            for header in self.headers:
                try:
                    value = header.value(key)
                except Rejected:
                    continue
                if isinstance(value, str) and value.strip():
                    return value.strip()
                if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
                    return float(value)
        return None

    def number(self, *keys: str, low: float = -np.inf, high: float = np.inf) -> float:
        """Return the first number within bounds, which are exclusive; else NaN. Numbers may stand in quotes."""
        for key in keys:
            value = self.card(key)
            try:
                number = float(value) if value is not None else np.nan
            except ValueError:
                continue
            if low < number < high:
                return number
        return np.nan

    @property
    def facts(self) -> dict[str, float]:
        """What the header tells of the exposure, as in the table STAMPS; NaN where it does not."""
        exptime = self.number(*_EXPTIME, low=0, high=1e7)
        middle = self.number(*_MIDDLE, low=3e4, high=9e4)
        start = self.number(*_START, low=3e4, high=9e4)
        if np.isnan(start) or start == int(start):
            dated = _mjd(str(self.card("DATE-OBS", "DATE_OBS", "DATEOBS") or ""))
            whole = np.isnan(dated) or dated == int(dated)
            start = dated if np.isnan(start) or not whole else start
        if np.isnan(middle):
            middle = start + (0.0 if np.isnan(exptime) or exptime > 1e5 else exptime / 2 / 86400)
        return {
            "mjd": middle,
            "exptime_s": exptime,
            "fwhm_arcsec": self.number(*_FWHM, low=0, high=100),
            "saturation": self.number(*_SATURATED, low=0, high=1e12),
            "zeropoint": self._zeropoint(exptime),
        }

    def _zeropoint(self, exptime: float) -> float:
        """Return the magnitude of one count, AB unless a card says it itself; NaN where the header leaves doubt."""
        unit = re.sub(r"\s", "", str(self.card("BUNIT") or "")).lower()
        told = self.number(*_ZERO, low=0, high=60)
        if np.isnan(told):
            told = _UNITS.get(unit, np.nan)
        if np.isnan(told):
            # What stars of magnitude 0 have: hscPipe's "Magnitude zeropoint, reading catalog".
            told = 2.5 * np.log10(self.number("FLUXMAG0", low=0))
        if np.isnan(told) and unit == "mjy/sr":
            # JWST User Documentation: NIRCam Absolute Flux Calibration and Zeropoints.
            told = -6.10 - 2.5 * np.log10(self.number("PIXAR_SR", low=0, high=1))
        if np.isnan(told) and unit.removesuffix("/s").removesuffix("/sec") in _COUNTS:
            # WFC3 Instrument Handbook 9.3; for one count a second.
            flam, pivot = self.number("PHOTFLAM", low=0, high=1), self.number("PHOTPLAM", low=0, high=1e6)
            told = -2.5 * np.log10(flam) - 5 * np.log10(pivot) - 2.408
            told += 0 if "/" in unit else 2.5 * np.log10(exptime)
        return float(told)

    def words(self) -> Iterator[str]:
        """Yield the header's words for telescope, instrument and survey."""
        for key in ("SURVEY", "TELESCOP", "INSTRUME", "OBSERVAT", "ORIGIN"):
            value = self.card(key)
            if isinstance(value, str):
                yield value


def _mjd(text: str) -> float:
    match = re.match(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?)?", text)
    if not match:
        return np.nan
    try:
        whole = datetime.fromisoformat(match[0][:26])
    except ValueError:
        return np.nan
    return (whole - datetime(1858, 11, 17)).total_seconds() / 86400


def read(archive: Folder, path: str, planned: bool = False) -> Delivered:
    """Read a stamp: the first image of two axes in a file, plain, gzipped or tile-compressed.

    Parameters
    ----------
    archive : Folder
        Where it is.
    path : str
        Its path there.
    planned : bool, default: False
        It was read before.

    Raises
    ------
    Rejected
        If it is no FITS file, damaged, too large, outside the archive, or without an image.
    ArchiveUnreachable
        If the archive cannot be read.
    """
    source = Source(archive, path, whole=True, planned=planned)
    assert source.stored is not None
    found = list(hdus(source))
    chosen = _chosen(found)
    with np.errstate(over="ignore"):  # what float32 does not hold is no number of photons
        image = _linear(_values(source, found, chosen), chosen.header).astype(np.float32)
    image[~np.isfinite(image)] = np.nan
    mask = np.zeros(image.shape, np.uint8)
    for hdu in found:
        if _is_beside(hdu, chosen, _WEIGHTS):
            image[~(_values(source, found, hdu) > 0)] = np.nan
        elif _is_beside(hdu, chosen, quality.NAMES):
            mask |= quality.marked(_values(source, found, hdu), (hdu.header, chosen.header, found[0].header))
    # Where it is saturated, the star is: what is left of that pixel says more than a hole.
    image[(mask & BAD > 0) & (mask & SATURATED == 0)] = np.nan
    headers = tuple(dict.fromkeys((chosen.header, found[0].header)))
    digest = sha256(source.stored).hexdigest()
    return Delivered(image, mask & ~np.uint8(BAD), headers, digest, source.size)


def _chosen(found: list[Hdu]) -> Hdu:
    """Return the first image, or the first that is called SCI."""
    chosen, problem, beside = None, None, ""
    for hdu in found:
        try:
            if not _is_image(hdu.header):
                continue
            if hdu.header.name in _BESIDE:
                beside = beside or f" but {hdu.header.name}"
            elif chosen is None or hdu.header.name == "SCI" != chosen.header.name:
                chosen = hdu
        except Rejected as error:
            problem = problem or error
    if chosen is None:
        raise problem or Rejected(Reason.WRONG_PRODUCT, f"no image of two axes in it{beside}; give FITS images")
    return chosen


def _is_beside(hdu: Hdu, chosen: Hdu, names: frozenset[str]) -> bool:
    """Return whether an HDU is a plane of the image's pixels that is called so; of several chips, the same chip's."""
    try:
        version, own = (one.header.value("EXTVER") for one in (hdu, chosen))
        named = hdu.header.name in names and (None in (version, own) or version == own)
        return named and _is_image(hdu.header) and _axes(hdu.header) == _axes(chosen.header)
    except Rejected:
        return False


def _values(source: Source, found: list[Hdu], hdu: Hdu) -> NDArray[Any]:
    packed = hdu.header.value("ZIMAGE") is True
    return _unpacked(source, found.index(hdu)) if packed else _pixels(source, hdu)


def _axes(header: Header) -> list[int]:
    """Return the lengths of the axes, last first, those of one pixel left out."""
    z = "Z" if header.value("ZIMAGE") is True else ""
    count = header.integer(f"{z}NAXIS", 0, 9)
    return [n for axis in range(count, 0, -1) if (n := header.integer(f"{z}NAXIS{axis}", 0, 1 << 40)) != 1]


def _is_image(header: Header) -> bool:
    kind = header.text("XTENSION", "IMAGE")
    if kind != "IMAGE" and header.value("ZIMAGE") is not True:
        return False
    axes = _axes(header)
    if not axes or 0 in axes:
        return False
    if len(axes) != 2:
        raise Rejected(Reason.WRONG_SHAPE, f"{len(axes)} axes ({' x '.join(map(str, axes[::-1]))}); an image has two")
    if not _MIN_SIDE <= min(axes) <= max(axes) <= _MAX_SIDE:
        what = f"{axes[1]} x {axes[0]} pixels; a stamp has {_MIN_SIDE} to {_MAX_SIDE} a side"
        raise Rejected(Reason.WRONG_SHAPE, what)
    return True


def _pixels(source: Source, hdu: Hdu) -> NDArray[Any]:
    header = hdu.header
    ny, nx = _axes(header)
    kind = np.dtype(_KINDS[header.integer("BITPIX", -64, 64)])
    stored = np.frombuffer(source.read(hdu.data_start, ny * nx * kind.itemsize), kind).reshape(ny, nx)
    scale, zero = header.number("BSCALE", -1e30, 1e30), header.number("BZERO", -1e30, 1e30)
    with np.errstate(all="ignore"):
        values: NDArray[Any] = stored.astype(np.float64)
    if kind.kind in "iu" and header.value("BLANK") is not None:
        values[stored == header.integer("BLANK", -(1 << 63), 1 << 63)] = np.nan
    with np.errstate(all="ignore"):
        return values * (1.0 if np.isnan(scale) else scale) + (0.0 if np.isnan(zero) else zero)


def _unpacked(source: Source, number: int) -> NDArray[Any]:
    """Return the pixels of a tile-compressed image; astropy's decoders raise all kinds at damaged ones."""
    data = bytes(source.read(0, source.length))
    try:
        with warnings.catch_warnings(), fits.open(io.BytesIO(data), memmap=False, output_verify="ignore") as file:
            warnings.simplefilter("ignore")
            values = np.squeeze(np.asarray(file[number].data, np.float64))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 — whatever the bytes are
        raise Rejected(Reason.BAD_COMPRESSION, f"{type(error).__name__}: {str(error)[:200]}") from None
    if values.ndim != 2 or values.size > MAX_BYTES:
        raise Rejected(Reason.WRONG_SHAPE, f"unpacks to {values.shape}")
    return values


def _linear(values: NDArray[Any], header: Header) -> NDArray[Any]:
    """Return counts of what Pan-STARRS stores as asinh magnitudes; anything else as it is."""
    soften, offset = header.number("BSOFTEN", -1e30, 1e30), header.number("BOFFSET", -1e30, 1e30)
    if np.isnan(soften) or np.isnan(offset):
        return values
    with np.errstate(all="ignore"):
        linear: NDArray[Any] = offset + 2 * soften * np.sinh(values / _POGSON)
    return linear
