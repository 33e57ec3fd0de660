"""Where an image lies on the sky: its WCS, checked, as text that holds all of it, and what follows from it."""

import base64
import warnings
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, utils
from numpy.typing import NDArray

from pipeline.errors import Reason, Rejected

__all__ = ["footprint", "pixel_scale", "read_wcs", "sliced", "text_of", "wcs_from"]

_CURE = "solve the field (e.g. with astrometry.net) and ingest the file with its WCS"
_LOOKUPS = ("det2im1", "det2im2", "cpdis1", "cpdis2")
_MAX_ORDER = 9
_MAX_NODES = 1 << 22


def read_wcs(header: fits.Header, hdus: fits.HDUList, shape: tuple[int, int]) -> WCS:
    """Return the WCS of an image, distortions and lookup tables included.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image.
    hdus : astropy.io.fits.HDUList
        The file, which may hold the lookup tables of the distortions.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    astropy.wcs.WCS
        0-based pixel → right ascension and declination, deg.

    Raises
    ------
    Rejected
        With `Reason.NO_WCS` if there is none, it is not in RA and Dec of J2000, or it makes no sense.
    """
    for key in ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"):
        order = header.get(key, 0)
        if not isinstance(order, int | float) or not 0 <= order <= _MAX_ORDER:
            raise Rejected(Reason.NO_WCS, f"{key} = {order!r} is no order of a distortion; {_CURE}")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            wcs = WCS(_plain(header), fobj=_tables(hdus), naxis=2)
            _check(wcs, shape)
    except Rejected:
        raise
    except Exception as error:  # noqa: BLE001 — whatever the cards hold: astropy and wcslib raise all kinds
        raise Rejected(Reason.NO_WCS, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}; {_CURE}") from None
    return wcs


def _plain(header: fits.Header) -> fits.Header:
    """Return a header without SCAMP's PV cards where there is SIP, too: wcslib would apply both."""
    plain = header.copy()
    if "SIP" in str(plain.get("CTYPE1", "")):
        for key in [key for key in plain if key.startswith("PV")]:
            plain.remove(key, ignore_missing=True)
    return plain


def _tables(hdus: fits.HDUList) -> fits.HDUList:
    """Return the lookup tables of distortions alone: astropy asks for them by name."""
    wanted = [hdu for hdu in hdus if hdu.name in ("D2IMARR", "WCSDVARR") and 0 < hdu.size < _MAX_NODES]
    return fits.HDUList([fits.PrimaryHDU(), *(hdu.copy() for hdu in wanted)])


def _check(wcs: WCS, shape: tuple[int, int]) -> None:
    if not wcs.has_celestial or wcs.wcs.lng != 0 or wcs.wcs.lat != 1:
        kinds = ", ".join(str(kind) for kind in wcs.wcs.ctype) or "none"
        raise Rejected(Reason.NO_WCS, f"no celestial WCS (CTYPE {kinds}); {_CURE}")
    if not str(wcs.wcs.ctype[0]).startswith("RA") or wcs.wcs.radesys.startswith("FK4") or _is_old(wcs):
        system = f"{wcs.wcs.ctype[0]}, {wcs.wcs.radesys} {wcs.wcs.equinox:g}"
        raise Rejected(Reason.NO_WCS, f"WCS in {system}: only RA and Dec of J2000 or ICRS are read; {_CURE}")
    scale = pixel_scale(wcs)
    corners = footprint(wcs, shape)
    if not 1e-3 < scale < 1e3 or not np.isfinite(corners).all():
        raise Rejected(Reason.NO_WCS, f"WCS of {scale:g} arcsec a pixel, corners {corners}; {_CURE}")


def _is_old(wcs: WCS) -> bool:
    return bool(np.isfinite(wcs.wcs.equinox) and abs(wcs.wcs.equinox - 2000) > 1)


def pixel_scale(wcs: WCS) -> float:
    """Return the side of a pixel, arcsec: the root of its area at the reference point."""
    return float(np.sqrt(utils.proj_plane_pixel_area(wcs)) * 3600)


def footprint(wcs: WCS, shape: tuple[int, int]) -> list[float]:
    """Return right ascension and declination of the four corners of the outermost pixels, in turn, deg."""
    ny, nx = shape
    x, y = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]), np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
    ra, dec = wcs.all_pix2world(x, y, 0)
    return [float(value) for pair in zip(ra, dec, strict=True) for value in pair]


def sliced(wcs: WCS, y0: int, x0: int) -> WCS:
    """Return the WCS of the part of an image that begins at row `y0` and column `x0`."""
    return wcs.slice((slice(y0, None), slice(x0, None))) if y0 or x0 else wcs.deepcopy()


def text_of(wcs: WCS) -> str:
    """Return a WCS as text: its header, card by card, then a line for each lookup table. See `wcs_from`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = wcs.to_header(relax=True)
    lines = [card.image for card in header.cards if card.keyword not in ("DATE-OBS", "MJD-OBS", "COMMENT", "HISTORY")]
    for name in _LOOKUPS:
        table = getattr(wcs, name)
        if table is not None:
            data = np.asarray(table.data, ">f4")
            places = [repr(float(v)) for v in (*table.crpix, *table.crval, *table.cdelt)]
            sizes = [str(n) for n in data.shape]
            lines.append(" ".join(["LOOKUP", name, *sizes, *places, base64.b64encode(data.tobytes()).decode()]))
    return "\n".join(line.rstrip() for line in lines)


def wcs_from(text: str) -> WCS:
    """Return the WCS that `text_of` wrote as `text`."""
    lines = text.split("\n")
    cards = "".join(line.ljust(80) for line in lines if not line.startswith("LOOKUP "))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(fits.Header.fromstring(cards), naxis=2)
    for line in lines:
        if line.startswith("LOOKUP "):
            setattr(wcs, line.split()[1], _lookup(line.split()[2:]))
    return wcs


def _lookup(words: list[str]) -> Any:
    ny, nx = int(words[0]), int(words[1])
    places = [float(word) for word in words[2:8]]
    data: NDArray[np.float32] = np.frombuffer(base64.b64decode(words[8]), ">f4").reshape(ny, nx).astype(np.float32)
    return DistortionLookupTable(data, tuple(places[0:2]), tuple(places[2:4]), tuple(places[4:6]))
