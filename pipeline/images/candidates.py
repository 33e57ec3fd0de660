"""The rows of the catalogue of candidates that a band of a pair gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.candidates import CANDIDATES, Flag, FrameFlag
from pipeline.images import forced, hosts
from pipeline.images.align import Warp
from pipeline.images.detect import detect
from pipeline.images.features import measure
from pipeline.images.match import Match
from pipeline.images.names import candidate_ids
from pipeline.images.subtract import Band
from pipeline.images.zogy import Filters

__all__ = ["Pair", "frame_flags", "rows"]

#: Half of the side of the stamps by which candidates are measured, px.
_HALF = 24

#: Electrons of sky in the area of a PSF below which noise is not Gaussian.
LOW_COUNTS = 20.0

#: Stars below which PSFs, flux ratio and registration are doubtful.
FEW_STARS = 10


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair as its candidates show it.

    Parameters
    ----------
    pair_id : str
        Identifiers of both images.
    science, reference : mapping
        Facts of the images, as in the table IMAGES.
    match : Match
        What was measured of the pair.
    warp : Warp
        From reference to science pixels.
    sources : pandas.DataFrame
        Sources of the reference, as in IMAGE_SOURCES.
    ref_after_event : bool or None
        Whether the reference is the later one; None if a date is unknown.
    """

    pair_id: str
    science: Mapping[str, Any]
    reference: Mapping[str, Any]
    match: Match
    warp: Warp
    sources: pd.DataFrame
    ref_after_event: bool | None


def frame_flags(pair: Pair) -> FrameFlag:
    """Return what there is to say of both images before they are subtracted."""
    science, reference, match = pair.science, pair.reference, pair.match
    middle = match.science_psf.shape[1] / 2, match.science_psf.shape[0] / 2
    area = 4 * np.pi * (match.science_psf.fwhm(*middle) / 2.3548) ** 2
    electrons = min(float(image["sky_rms"] * image["gain"]) ** 2 for image in (science, reference)) * area
    guessed = {"gain", "read_noise"} & {
        name for image in (science, reference) for name in str(image["estimated"]).split(",")
    }
    assumed = any(0 < psf.beta and psf.n_stars < 3 for psf in (match.science_psf, match.reference_psf))
    told = {
        FrameFlag.UNDERSAMPLED: match.smoothing > 0,
        FrameFlag.LOW_COUNTS: electrons < LOW_COUNTS,
        FrameFlag.GAIN_ESTIMATED: bool(guessed),
        FrameFlag.FEW_STARS: match.n_stars < FEW_STARS,
        FrameFlag.ALIGNMENT: bool(np.max(match.rms) > 0.1),
        FrameFlag.NO_DATE: pair.ref_after_event is None,
        FrameFlag.PSF_ASSUMED: assumed,
        FrameFlag.NO_ZERO_POINT: science["zp_ab"] is None,
    }
    return FrameFlag(sum(flag for flag, holds in told.items() if holds))


def rows(band: Band, pair: Pair, threshold: float) -> pd.DataFrame:
    """Return the candidates of a band, as in the table CANDIDATES but for what only the whole pair knows.

    Parameters
    ----------
    band : Band
        Subtracted and calibrated.
    pair : Pair
        Where it is from.
    threshold : float
        Of |S_corr|.
    """
    peaks = detect(band, threshold)
    table = pd.concat([peaks, _features(band, peaks)], axis=1)
    table = table.loc[:, ~table.columns.duplicated(keep="last")]
    table["flags"] |= _borders(band, table)
    return _described(table, pair)


def _stamp(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle of an image whose origin is pixel (0, 0)."""
    half = min(_HALF, image.shape[0] // 2 - 1)
    return np.roll(image, (half, half), (0, 1))[: 2 * half + 1, : 2 * half + 1]


def _features(band: Band, peaks: pd.DataFrame) -> pd.DataFrame:
    """Measure the peaks, each with the PSF of its tile."""
    if not len(peaks):
        nothing = Filters((128, 128), *[np.ones((1, 1), np.float32)] * 2, 1.0, 1.0, 1.0)
        stamp = _stamp(nothing.psf_d)
        return measure(peaks, band.difference, band.significance, band.mask, stamp)
    shifted = peaks.assign(y=peaks["y"] - band.top)
    tiles = [band.tiles.near(x, y) for x, y in zip(peaks["x"], peaks["y"], strict=True)]
    parts = []
    for filters in dict.fromkeys(tiles):
        own = shifted[[tile is filters for tile in tiles]]
        stamps = [_stamp(image) for image in (filters.psf_d, filters.delta_n, filters.delta_r)]
        parts.append(
            measure(own, band.difference, band.significance, band.mask, stamps[0], delta_n=stamps[1],
                    delta_r=stamps[2], others=shifted)
        )  # fmt: skip
    return pd.concat(parts).sort_index()


def _borders(band: Band, table: pd.DataFrame) -> NDArray[np.int64]:
    """Return the bit of candidates at the very edge of the image: nothing is known of what is beyond."""
    ny, nx = band.tiles.shape
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    reach = 1.0 * band.tiles.match.science_psf.fwhm(nx / 2, ny / 2)
    near = (x < reach) | (y < reach) | (x > nx - 1 - reach) | (y > ny - 1 - reach)
    return np.where(near, int(Flag.EDGE), 0)


def _described(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    ra, dec = (np.asarray(v, float) for v in pair.warp.reference.all_pix2world(x, y, 0)) if len(x) else (x, y)
    x_sci, y_sci = pair.warp(x, y) if len(x) else (x, y)
    science, reference, match = pair.science, pair.reference, pair.match
    scale, zp = float(reference["pixscale"]), science["zp_ab"]
    near = hosts.surroundings(x, y, pair.sources, scale)
    # The reference's counts on the scale of the science image's.
    near["ref_flux"] = near["ref_flux"] / match.flux_ratio
    calibrated = forced.calibrated(table[["flux", "flux_err"]], zp)
    unit = 1.0 if zp is None else 10 ** (0.4 * (23.9 - float(zp)))
    error = table["flux_err"].to_numpy(float)
    measured = {
        "flux": calibrated["flux"].to_numpy(), "flux_err": calibrated["flux_err"].to_numpy(),
        "flux_unit": calibrated["flux_unit"].to_numpy(), "mag_ab": calibrated["mag_ab"].to_numpy(),
        "ra": ra % 360, "dec": dec, "x_sci": x_sci, "y_sci": y_sci,
        "ra_err": table["x_err"].to_numpy() * scale, "dec_err": table["y_err"].to_numpy() * scale,
        "is_positive": table["snr"].to_numpy() > 0,
        "maglim_5sigma": np.full(len(x), np.nan) if zp is None else zp - 2.5 * np.log10(5 * error),
        "fwhm_arcsec": table["fwhm"].to_numpy() * scale,
        "candidate_id": candidate_ids(pair.pair_id, x, y, table["snr"] > 0, ra, dec),
    }  # fmt: skip
    near["ref_flux"] = near["ref_flux"] * unit
    out = table.drop(columns=["fwhm", "x_err", "y_err"]).assign(**measured)
    out = pd.concat([out, near.set_index(out.index)], axis=1).assign(**_told(pair))
    missing = {column.name: None for column in CANDIDATES.columns if column.name not in out}
    return out.assign(**missing)[CANDIDATES.names]


def _told(pair: Pair) -> dict[str, Any]:
    """Return the columns that are the same for all candidates of a pair."""
    science, reference, match = pair.science, pair.reference, pair.match
    half = 0.5 * (reference["exptime_s"] or 0.0) / 86400
    begin, end = ((reference["mjd_mid"] - half, reference["mjd_mid"] + half) if reference["mjd_mid"] else (None, None))
    copied = ("survey", "mission", "instrument", "ccd", "filter", "mjd_mid", "time_scale", "exptime_s", "zp_ab")
    return {name: science[name] for name in copied} | {
        "pair_id": pair.pair_id,
        "science_file": science["file"], "science_sha256": science["sha256"],
        "reference_file": reference["file"], "reference_sha256": reference["sha256"],
        "ref_mjd_min": begin, "ref_mjd_max": end, "ref_after_event": pair.ref_after_event,
        "seeing_arcsec": _arcsec(science), "ref_seeing_arcsec": _arcsec(reference), "pixscale": reference["pixscale"],
        "align_rms_px": float(np.sqrt((match.rms**2).mean())), "overlap": match.overlap,
        "is_injected": False, "selection": 0, "frame_flags": int(frame_flags(pair)),
    }  # fmt: skip


def _arcsec(image: Mapping[str, Any]) -> float | None:
    return None if image["fwhm"] is None else float(image["fwhm"] * image["pixscale"])
