"""Peaks of a difference with their features → rows of the table of candidates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from numpy.typing import NDArray

from catalogs.candidates import CANDIDATES
from pipeline.images.forced import calibrated, magnitude, microjansky
from pipeline.images.names import candidate_ids

__all__ = ["Pair", "candidates", "sky_errors"]

_Values = NDArray[np.float64]

#: Facts of the science image that its candidates carry.
_TEXTS = ("survey", "mission", "instrument", "ccd", "filter")


@dataclass(frozen=True)
class Pair:
    """What all candidates of a difference share.

    Parameters
    ----------
    pair_id : str
        The pair.
    science, reference : mapping
        Rows of the index of images: file, extension, sha256, survey, mission, instrument, ccd, filter, mjd_mid,
        time_scale, exptime_s, zp_ab, fwhm (px), pixscale (arcsec).
    pixscale : float
        Arcsec a pixel of the difference.
    flux_ratio : float
        Science counts of what is one count in the reference image.
    scorr_std_blank, scorr_std_src, align_rms_px, overlap : float
        The self-test, the alignment, and the share of the science image that is covered; NaN if unknown.
    frame_flags : int
        `catalogs.candidates.FrameFlag`.
    """

    pair_id: str
    science: Mapping[str, Any]
    reference: Mapping[str, Any]
    pixscale: float
    flux_ratio: float = 1.0
    scorr_std_blank: float = float("nan")
    scorr_std_src: float = float("nan")
    align_rms_px: float = float("nan")
    overlap: float = float("nan")
    frame_flags: int = 0


def candidates(peaks: pd.DataFrame, pair: Pair, wcs: WCS | None) -> pd.DataFrame:
    """Return the rows of candidates, but for provenance.

    Parameters
    ----------
    peaks : pandas.DataFrame
        x, y (px of the difference), snr, flux, flux_err (science counts), x_err, y_err (px), and the columns of
        `pipeline.images.features.measure` and `pipeline.images.hosts.surroundings`; x_sci, y_sci, is_injected,
        triplet_row, known_name and others of the table where known.
    pair : Pair
        What they share.
    wcs : astropy.wcs.WCS or None
        0-based pixel of the difference → ICRS.

    Returns
    -------
    pandas.DataFrame
        Columns of `catalogs.candidates.CANDIDATES` in the order of `peaks`; what is not known is missing.
    """
    zp_ab = _known(pair.science.get("zp_ab"))
    table, scale = calibrated(peaks.reset_index(drop=True), zp_ab), 1.0 if zp_ab is None else microjansky(zp_ab)
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    facts = _shared(pair) | _sky(x, y, table, wcs)
    facts["is_positive"] = table["snr"].to_numpy(float) > 0
    facts["mag_ab"] = magnitude(table["flux"].to_numpy(float), zp_ab is not None)
    facts["maglim_5sigma"] = magnitude(5 * table["flux_err"].to_numpy(float), zp_ab is not None)
    if "ref_flux" in table:
        facts["ref_flux"] = table["ref_flux"].to_numpy(float) * pair.flux_ratio * scale
    facts["fwhm_arcsec"] = table["fwhm"].to_numpy(float) * pair.pixscale
    facts["candidate_id"] = candidate_ids(pair.pair_id, x, y, facts["is_positive"], facts["ra"], facts["dec"])
    defaults = {"is_injected": False, "selection": 0}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table}).assign(**facts)
    return table[[name for name in CANDIDATES.names if name in table]]


def _shared(pair: Pair) -> dict[str, Any]:
    science, reference = pair.science, pair.reference
    taken, middle = _known(science.get("mjd_mid")), _known(reference.get("mjd_mid"))
    exposure = _known(reference.get("exptime_s"))
    half = None if exposure is None else exposure / 2 / 86400
    facts: dict[str, Any] = {name: str(science.get(name) or "") for name in _TEXTS}
    for side, image in (("science", science), ("reference", reference)):
        facts |= {f"{side}_{name}": image[name] for name in ("file", "sha256")}
        facts[f"{side}_extension"] = image.get("extension")
    return facts | {
        "pair_id": pair.pair_id, "mjd_mid": taken, "time_scale": str(science.get("time_scale") or "utc"),
        "exptime_s": _known(science.get("exptime_s")), "zp_ab": _known(science.get("zp_ab")),
        # One reference image, from its first to its last photon.
        "ref_mjd_min": None if middle is None or half is None else middle - half,
        "ref_mjd_max": None if middle is None or half is None else middle + half,
        "ref_after_event": None if middle is None or taken is None else middle > taken,
        "seeing_arcsec": _seeing(science), "ref_seeing_arcsec": _seeing(reference), "pixscale": pair.pixscale,
        "scorr_std_blank": pair.scorr_std_blank, "scorr_std_src": pair.scorr_std_src,
        "align_rms_px": pair.align_rms_px, "overlap": pair.overlap, "frame_flags": pair.frame_flags,
    }  # fmt: skip


def _sky(x: _Values, y: _Values, table: pd.DataFrame, wcs: WCS | None) -> dict[str, _Values]:
    names, unknown = ("ra", "dec", "ra_err", "dec_err"), np.full(len(x), np.nan)
    if wcs is None:
        return dict.fromkeys(names, unknown)
    ra, dec = wcs.all_pix2world(x, y, 0) if len(x) else (unknown, unknown)
    errors = sky_errors(wcs, table["x_err"].to_numpy(float), table["y_err"].to_numpy(float))
    return dict(zip(names, (np.asarray(ra) % 360, np.asarray(dec), *errors), strict=True))


def sky_errors(wcs: WCS, x_err: _Values, y_err: _Values) -> tuple[_Values, _Values]:
    """Return standard errors along ra and dec, arcsec, of errors in pixels; distortions are left out.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Pixel → sky.
    x_err, y_err : (n,) float64
        Pixels.
    """
    (xx, xy), (yx, yy) = 3600 * np.asarray(wcs.pixel_scale_matrix)[:2, :2]
    return np.hypot(xx * x_err, xy * y_err), np.hypot(yx * x_err, yy * y_err)


def _seeing(image: Mapping[str, Any]) -> float | None:
    width, scale = _known(image.get("fwhm")), _known(image.get("pixscale"))
    return None if width is None or scale is None else width * scale


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
