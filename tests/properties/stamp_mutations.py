"""Stamps that astronomers meet and nobody wants: odd pixels, odd WCS, odd facts, odd names, most of them sound FITS."""

import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from tests.pipeline.stamps.files import DEC, RA, stars, wcs

__all__ = ["cards", "mutations", "pixels"]

_SIDE, _SCALE = 64, 0.396

#: Keyword → nonsense; what FITS cannot hold stands in quotes.
CARDS: dict[str, list[Any]] = {
    "CTYPE1": ["GLON-TAN", "RA---XXX", "RA---SIN", "DEC--TAN", "LINEAR", "", "RA---TAN-SIP", 7],
    "CRVAL1": ["NaN", 1e30, -1e30, 720.0, "north", None],
    "CRVAL2": [90.0, -90.0, 91.0, "NaN", 1e300, None],
    "CRPIX1": [1e9, -1e30, "NaN", 0.0, None],
    "CD1_1": [0.0, 1e-30, 1e30, "NaN", 1.0, None],
    "CD2_2": [0.0, -1e-4, 1e10, "x"],
    "CUNIT1": ["furlong", "arcsec", 3],
    "LONPOLE": [1e10, "NaN"],
    "RADESYS": ["FK4", "GALACTIC", "XYZ", 5],
    "EQUINOX": [1950.0, -1e9, "NaN", "J2000"],
    "A_ORDER": [2, 99, -1, "x"],
    "WCSAXES": [0, 3, 99],
    "RA_OBJ": [RA + 0.0035, RA + 0.5, -5.0, 400.0, "NaN", "10:00:24.0", "x"],
    "DEC_OBJ": [DEC + 0.0034, 91.0, "NaN", "+02:12:00"],
    "TELESCOP": ["HST", "JWST", "Pan-STARRS", "GALEX", "", 7, "nobody"],
    "SURVEY": ["2MASS", "SDSS", "unWISE and SDSS"],
    "EXPTIME": [-1.0, 0.0, 1e30, "NaN", "long"],
    "SATURATE": [0.0, -5.0, 1e-30, 101.0, 1e300, "NaN"],
    "FWHM": [1e-30, 0.01, 99.0, 1e30, "NaN"],
    "MJD-OBS": ["NaN", -1.0, 1e30, 89999.9, "yesterday"],
    "DATE-OBS": ["9999-99-99", "0001-01-01", "x", 7],
    "MAGZP": ["NaN", -1.0, 1e300, 59.9],
    "BSCALE": [0.0, 1e30, -1.0, "NaN"],
    "BZERO": [1e30, "NaN"],
    "BSOFTEN": [1.0, 0.0, 1e30],
    "BOFFSET": [0.0, 1e30, "NaN"],
    "PIXSCALE": [0.0, -1.0, 1e30, "NaN"],
}

#: Names of files, the ones of no use too.
NAMES = (
    "nameless.fits", "no_survey_here.fits", "7_UKIDSS_K.fits", "_SDSS_r.fits", "SDSS_r.fits", "a_SDSS_.fits",
    "b_SDSS_r_more_words_behind.fits", "c_SDSS_nofilter.fits", "d_stacked_SDSS.fits", "e/SDSS/SDSS_r.fits",
    "f/f/f/g_SDSS_r.fits", "'quotes\"_SDSS_r.fits", "new\nline_SDSS_r.fits", "ünï¢ødé 星_SDSS_r.fits",
    "-rf_SDSS_r.fits", "right\u202eleft_SDSS_r.fits", "x" * 230 + "_SDSS_r.fits", "$(x);&|*?[a]_SDSS_r.fits",
    "back\\slash_SDSS_r.fits", "percent%2e%2e%2f_SDSS_r.fits", "SDSS/SDSS/SDSS_SDSS.fits", "stack_r_ra999_dec99_x.fits",
    "stack_r_ra150.1_dec2.2_arcsec60.fits", "HST_SDSS_Pan-STARRS.fits", "n.SDSS.r.fits", "o_sdss_R.FITS",
)  # fmt: skip


def pixels(number: int) -> tuple[str, NDArray[Any]]:
    """Return a name and an image: of each sort one, then the same with other noise."""
    rng = np.random.default_rng(number)
    good = stars((_SIDE, _SIDE), [(31.5, 31.5, 5000.0)], 3.2, seed=number)
    y, x = np.mgrid[:_SIDE, :_SIDE] - 31.5
    hole, few = good.copy(), np.full_like(good, np.nan)
    hole[np.hypot(x, y) < 8] = np.nan
    few[30:34, 30:34] = good[30:34, 30:34]
    clean = stars((_SIDE, _SIDE), [(31.5, 31.5, 5000.0)], 3.2, noise=0.0)
    spot = np.zeros_like(good)
    spot[31, 31] = 1.0
    made: dict[str, NDArray[Any]] = {
        "good": good, "NaN": good * np.nan, "hole": hole, "few": few, "zero": good * 0, "constant": good * 0 + 7.5,
        "clean": clean, "spot": spot, "negative": -good, "infinite": np.where(x == 0.5, np.inf, good),
        "all infinite": good * 0 + np.inf, "huge": (good * 1e34).astype(np.float32), "tiny": good * 1e-38,
        "largest": np.where(np.hypot(x, y) < 3, np.float32(3.4e38), good), "wide": good.astype(">f8") * 1e200,
        "checkers": np.where((x + y) % 2, 1.0, -1.0), "ramp": x + 100.0 * y, "step": np.where(x > 0, 1e6, 0.0),
        "whole": good.astype(np.int16), "flat top": np.minimum(good * 100, 2e4),
        "diagonal": np.where(x == y, good, np.nan), "half": np.where(x > 4, np.nan, good),
        "stripes": np.where(y.astype(int) % 2, np.nan, good),
        "hits": np.where(rng.random(good.shape) < 0.2, 1e6, good), "two values": np.where(x > 0, 1.0, 2.0),
        "bytes": np.clip(good, 0, 255).astype(np.uint8), "cube": np.stack([good] * 3), "one row": good[:1],
        "small": good[28:36, 28:36], "too small": good[29:36, 29:36], "strip": good[28:37], "line": good[31],
        "beside": stars((_SIDE, _SIDE), [(55, 55, 1e5)], 3.2, seed=number), "crowd": stars(
            (_SIDE, _SIDE), [(*place, 4000.0) for place in rng.uniform(0, _SIDE, (60, 2))], 3.2, seed=number),
        "noise": rng.normal(0, 1, good.shape), "galaxy": 5e3 * np.exp(-np.hypot(x, y) / 9) + good * 0.01,
    }  # fmt: skip
    name = list(made)[number % len(made)]
    return name, made[name]


def cards(number: int) -> dict[str, Any]:
    """Return cards that are nonsense: one of each kind first, then two at random."""
    every = [(key, value) for key, values in CARDS.items() for value in values]
    rng = np.random.default_rng(number)
    chosen = [every[number]] if number < len(every) else [every[at] for at in rng.integers(0, len(every), 2)]
    return dict(chosen)


def mutations(n: int) -> Iterator[tuple[str, bytes]]:
    """Yield paths and bytes of `n` files, the same ones whenever asked.

    Of four files one has odd pixels, two odd cards, the last an odd name or goes with another's odd cards.
    """
    shape = (_SIDE, _SIDE)
    good = stars(shape, [(31.5, 31.5, 5000.0)], 3.2)
    counts = [itertools.count() for _ in range(3)]
    for number in range(n):
        kind = (0, 1, 1, 2)[number % 4]
        at = next(counts[kind])
        image, own, name = good, dict[str, Any](), f"m{number:04d}_SDSS_r.fits"
        if kind == 0:
            _, image = pixels(at)
            own = wcs((image.shape * 2)[-2:], _SCALE)
        elif kind == 1:
            own = wcs(shape, _SCALE) | cards(at)
        else:
            own = wcs(shape, _SCALE) | {"RA_OBJ": RA, "DEC_OBJ": DEC}
            name = NAMES[at] if at < len(NAMES) else f"m{number - 1:04d}_SDSS_g.fits"
        yield name, _file(image, own)


def _file(image: NDArray[Any], own: dict[str, Any]) -> bytes:
    hdu = fits.PrimaryHDU(image)
    scaled = {key: value for key, value in own.items() if key in ("BSCALE", "BZERO")}
    hdu.header.update({key: value for key, value in own.items() if key not in scaled and value is not None})
    for key, value in own.items():
        if value is None:
            hdu.header.pop(key, None)
    stored = io.BytesIO()
    hdu.writeto(stored, output_verify="ignore")
    data = stored.getvalue()
    # Behind astropy's back: it would scale the pixels to match.
    return _before_end(data, scaled) if scaled else data


def _before_end(data: bytes, added: dict[str, Any]) -> bytes:
    at = next(at for at in range(0, len(data), 80) if data[at : at + 8] == b"END     ")
    text = b"".join(f"{key:8s}= {value!r:>20}".encode().ljust(80) for key, value in added.items())
    block = 2880 - at % 2880
    assert len(text) + 80 <= block
    return data[:at] + (text + b"END".ljust(80)).ljust(block) + data[at + block :]
