"""What a band of a pair gives: its peaks, measured, as rows of the catalogue of candidates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.candidates import CANDIDATES, FrameFlag
from pipeline.images import candidates, hosts
from pipeline.images.align import Warp
from pipeline.images.detect import detect
from pipeline.images.features import measure
from pipeline.images.match import Match
from pipeline.images.subtract import Band
from pipeline.images.zogy import Filters

__all__ = ["Pair", "frame_flags", "harvest"]

#: Half of the side of the stamps by which candidates are measured, px.
_HALF = 24

#: Peaks that are measured at a time: what bounds memory on crowded frames.
_BATCH = 512

#: Electrons of sky in the area of a PSF below which noise is not Gaussian.
LOW_COUNTS = 20.0

#: Variation of a PSF over the field, relative, that tiles do not follow everywhere.
VARIES = 0.12

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
    assumed = any(psf.beta > 0 and psf.n_stars < 3 for psf in (match.science_psf, match.reference_psf))
    told = {
        FrameFlag.UNDERSAMPLED: match.smoothing > 0,
        FrameFlag.LOW_COUNTS: electrons < LOW_COUNTS,
        FrameFlag.GAIN_ESTIMATED: bool(guessed),
        FrameFlag.FEW_STARS: match.n_stars < FEW_STARS,
        FrameFlag.ALIGNMENT: bool(np.max(match.rms) > 0.1),
        FrameFlag.NO_DATE: pair.ref_after_event is None,
        FrameFlag.PSF_ASSUMED: assumed,
        FrameFlag.PSF_VARIES: max(match.science_psf.variation, match.reference_psf.variation) > VARIES,
        FrameFlag.NO_ZERO_POINT: science["zp_ab"] is None,
    }
    return FrameFlag(sum(flag for flag, holds in told.items() if holds))


def harvest(band: Band, pair: Pair, threshold: float) -> pd.DataFrame:
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
    return _described(table, pair)


def _stamp(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle of an image whose origin is pixel (0, 0)."""
    half = min(_HALF, image.shape[0] // 2 - 1)
    return np.roll(image, (half, half), (0, 1))[: 2 * half + 1, : 2 * half + 1]


def _features(band: Band, peaks: pd.DataFrame) -> pd.DataFrame:
    """Measure the peaks, each with the PSF of its tile."""
    if not len(peaks):
        point = np.ones((1, 1), np.float32)
        nothing = Filters((128, 128), point, point, 1.0, 1.0, 1.0)
        stamp = _stamp(nothing.psf_d)
        return measure(peaks, band.difference, band.significance, band.mask, stamp)
    shifted = peaks.assign(y=peaks["y"] - band.top)
    corners = _corners(band, peaks)
    parts = []
    for corner in dict.fromkeys(corners):
        which = [other == corner for other in corners]
        # One tile's filters at a time: those of all tiles would not fit into memory.
        filters = band.tiles.near(*peaks.loc[which, ["x", "y"]].iloc[0])
        own = shifted[which]
        stamps = [_stamp(image) for image in (filters.psf_d, filters.delta_n, filters.delta_r)]
        for start in range(0, len(own), _BATCH):
            parts.append(
                measure(own.iloc[start : start + _BATCH], band.difference, band.significance, band.mask, stamps[0],
                        delta_n=stamps[1], delta_r=stamps[2], others=shifted)
            )  # fmt: skip
    return pd.concat(parts).sort_index()


def _corners(band: Band, peaks: pd.DataFrame) -> list[tuple[int, int]]:
    """Return which tile each peak is in; one for all where one PSF does."""
    if band.tiles.constant:
        return [(0, 0)] * len(peaks)
    size = band.tiles.size
    columns, rows = (((peaks[name].to_numpy() + size // 2) // size).astype(int) for name in ("x", "y"))
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def _described(table: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """Return the rows of the catalogue, null where something is not known yet."""
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    x_sci, y_sci = pair.warp(x, y) if len(x) else (x, y)
    near = hosts.surroundings(x, y, pair.sources, float(pair.reference["pixscale"]))
    told = pd.concat([table, near.set_index(table.index)], axis=1).assign(x_sci=x_sci, y_sci=y_sci)
    match = pair.match
    shared = candidates.Pair(
        pair.pair_id, pair.science, pair.reference, float(pair.reference["pixscale"]), 1 / match.flux_ratio,
        align_rms_px=float(np.sqrt((match.rms**2).mean())), overlap=match.overlap, frame_flags=int(frame_flags(pair)),
    )  # fmt: skip
    out = candidates.candidates(told, shared, pair.warp.reference)
    # A list may name a pair whose dates the headers have wrong; the plan of pairs knows.
    out = out.assign(ref_after_event=pair.ref_after_event)
    missing = {name: None for name in CANDIDATES.names if name not in out}
    out = out.assign(**missing)[CANDIDATES.names]
    return out if len(out) else CANDIDATES.empty().to_pandas()
