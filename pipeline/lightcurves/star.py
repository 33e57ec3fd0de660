"""One star with its light curves of all sectors: what ephemerides and vetting look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalogs.folder import Folder
from pipeline import stores
from pipeline.errors import Corrupt, Missing, UsageError
from pipeline.lightcurves import ingest
from pipeline.partition import where_cadence, where_sector

__all__ = ["Observation", "StarCurves", "good", "load"]

Floats = NDArray[np.float64]

_CURVES = ("time", "flux", "flux_err", "quality")
_EXTRAS = ("centroid_col", "centroid_row", "pos_corr_col", "pos_corr_row", "sap_bkg")
_PLACE = ("camera", "ccd", "crowdsap", "flfrcsap")
_FACTS = ("ra", "dec", "pmra", "pmdec", "tmag", "teff", "radius")


@dataclass(frozen=True, eq=False)
class Observation:
    """One star in one sector at one cadence; flagged cadences included, those without a time left out.

    Parameters
    ----------
    sector : int
        TESS sector.
    cadence_s : float
        Nominal time between cadences, s.
    time : (n,) float64
        Mid-exposure, BTJD, finite and rising.
    flux, flux_err : (n,) float64
        PDCSAP, e-/s; NaN where there is none.
    quality : (n,) int32
        QUALITY, 0 where nothing is wrong.
    camera, ccd : int
        Where on the sky's side of TESS; −1 if unknown.
    crowdsap, flfrcsap : float
        Share of the aperture's flux that is the star's, and of the star's flux inside the aperture; NaN if unknown.
    centroid_col, centroid_row : (n,) float64 or None
        Flux-weighted centroid, pixels; None where the source has none.
    pos_corr_col, pos_corr_row : (n,) float64 or None
        Motion of the pointing, pixels; None where the source has none.
    sap_bkg : (n,) float64 or None
        Background in the aperture, e-/s; None where the source has none.
    """

    sector: int
    cadence_s: float
    time: Floats
    flux: Floats
    flux_err: Floats
    quality: NDArray[np.int32]
    camera: int = -1
    ccd: int = -1
    crowdsap: float = np.nan
    flfrcsap: float = np.nan
    centroid_col: Floats | None = None
    centroid_row: Floats | None = None
    pos_corr_col: Floats | None = None
    pos_corr_row: Floats | None = None
    sap_bkg: Floats | None = None


@dataclass(frozen=True, eq=False)
class StarCurves:
    """A star and what was observed of it.

    Parameters
    ----------
    tic_id : int
        TESS Input Catalog identifier.
    observations : tuple of Observation
        One a sector, by sector.
    ra, dec : float
        ICRS at epoch J2000, deg.
    pmra, pmdec : float
        Proper motion, mas/yr.
    tmag, teff, radius : float
        TESS magnitude, effective temperature in K, radius in solar radii. NaN, like the others, if unknown.
    """

    tic_id: int
    observations: tuple[Observation, ...]
    ra: float = np.nan
    dec: float = np.nan
    pmra: float = np.nan
    pmdec: float = np.nan
    tmag: float = np.nan
    teff: float = np.nan
    radius: float = np.nan


def good(observation: Observation) -> tuple[Floats, Floats, Floats]:
    """Return the cadences that nothing is wrong with, flux relative to its median.

    Parameters
    ----------
    observation : Observation
        One sector.

    Returns
    -------
    time : (m,) float64
        BTJD, where QUALITY is 0 and the flux is finite. Empty where the median flux is not positive: nothing is
        relative to that.
    flux, flux_err : (m,) float64
        Relative to the median; an error that is missing is the scatter from one cadence to the next.
    """
    kept = (observation.quality == 0) & np.isfinite(observation.time) & np.isfinite(observation.flux)
    time, flux, error = (values[kept] for values in (observation.time, observation.flux, observation.flux_err))
    median = float(np.median(flux)) if len(flux) else 0.0
    if median <= 0:
        return np.empty(0), np.empty(0), np.empty(0)
    known = np.isfinite(error) & (error > 0)
    if not known.all():
        steps = np.abs(np.diff(flux)) if len(flux) > 1 else np.array([np.nan])
        error = np.where(known, error, 1.4826 / np.sqrt(2) * np.median(steps))
    return time, flux / median, error / median


def load(workspace: Folder, sources: Sequence[tuple[str, int]]) -> StarCurves:
    """Read a star from the stores of its sectors.

    Parameters
    ----------
    workspace : Folder
        Holds the light curves.
    sources : sequence of tuple
        Store, ``s0001``, and the star's row in it; one cadence a sector, see `pipeline.lightcurves.scored`.

    Returns
    -------
    StarCurves
        Columns as in the stores, bit for bit, as float64; facts from the last sector that knows them.

    Raises
    ------
    Missing
        If there is no source.
    UsageError
        If there are two of one sector: their photons are the same.
    Corrupt
        If a row holds no light curve, or the rows are of different stars.
    """
    chosen = sorted(sources, key=lambda source: where_sector(source[0]))
    if not chosen:
        raise Missing(f"{workspace}: a star without a single light curve; name its stores and rows")
    if len({where_sector(name) for name, _ in chosen}) < len(chosen):
        names = ", ".join(name for name, _ in chosen)
        raise UsageError(f"{workspace}: {names}: two cadences of a sector have the same photons; name one")
    read = [(name, row, _read(workspace, name, row)) for name, row in chosen]
    tic_id = int(read[0][2]["tic_id"])
    for name, row, data in read:
        if not data["valid"] or int(data["tic_id"]) != tic_id:
            found = f"TIC {int(data['tic_id'])}" if data["valid"] else "nothing"
            where = f"{workspace.url(ingest.store_path(name))}: row {row}"
            raise Corrupt(f"{where} holds {found}, not TIC {tic_id}; ingest that sector with --overwrite")
    facts = {fact: _last(data[fact] for *_, data in read) for fact in _FACTS}
    return StarCurves(tic_id, tuple(_observation(name, data) for name, _, data in read), **facts)


def _read(workspace: Folder, name: str, row: int) -> dict[str, NDArray[np.generic]]:
    names = ["valid", "tic_id", *_FACTS, *_PLACE, *_CURVES, *_EXTRAS]
    data = stores.read(workspace, ingest.store_path(name), names, slice(row, row + 1))
    if not len(data["valid"]):
        raise Corrupt(f"{workspace.url(ingest.store_path(name))}: has no row {row}; ingest that sector anew")
    return {name: values[0] for name, values in data.items()}


def _observation(name: str, data: dict[str, NDArray[np.generic]]) -> Observation:
    timed = np.isfinite(data["time"])
    time, flux, error = (np.asarray(data[column][timed], np.float64) for column in ("time", "flux", "flux_err"))
    extras = {column: np.asarray(data[column][timed], np.float64) for column in _EXTRAS}
    return Observation(
        sector=where_sector(name),
        cadence_s=float(where_cadence(name)),
        time=time,
        flux=flux,
        flux_err=error,
        quality=np.asarray(data["quality"][timed], np.int32),
        camera=int(data["camera"]),
        ccd=int(data["ccd"]),
        crowdsap=float(data["crowdsap"]),
        flfrcsap=float(data["flfrcsap"]),
        # A column that the files lack reads as NaN throughout.
        **{column: values if np.isfinite(values).any() else None for column, values in extras.items()},
    )


def _last(values: object) -> float:
    known = [float(value) for value in values if np.isfinite(value)]  # type: ignore[attr-defined]
    return known[-1] if known else float("nan")
