"""Light curves to test on: real ones, and a plain simulator."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from catalogs.folder import Folder
from pipeline.lightcurves import tess
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.star import Observation, StarCurves

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def real(shared_data: Path) -> list[Columns]:
    """Return every seventh real 2-min light curve: time, flux, quality, error, as in the file."""
    curves = []
    for path in sorted((shared_data / "lightcurves" / "tess_2min").glob("*/*.fits"))[::7]:
        with fits.open(path, memmap=False) as hdus:
            table = hdus[1].data
            names = {"time": "TIME", "flux": "PDCSAP_FLUX", "quality": "QUALITY", "error": "PDCSAP_FLUX_ERR"}
            curves.append({name: np.array(table[column]) for name, column in names.items()})
    return curves


@pytest.fixture(scope="session")
def times() -> Callable[..., np.ndarray]:
    """Return a function that makes barycentric times (BTJD) of n cadences of some seconds, with one gap."""

    def make(n: int, cadence_s: float = 120, gap: float = 0.0) -> np.ndarray:
        t = 1325 + np.arange(n) * cadence_s / 86400
        t += 3e-3 * np.sin(2 * np.pi * t / 365)
        t[n // 2 :] += gap
        return t

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    """Return random numbers, the same in every run."""
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def make_ephemeris() -> Callable[..., Ephemeris]:
    """Return a function that makes an ephemeris, missing where nothing is said."""

    def make(**values: object) -> Ephemeris:
        blank = {field.name: np.nan for field in fields(Ephemeris)}
        plain = {"eb_id": 1, "period_flag": "exact", "p_period": 1.0, "n_primary": 9, "n_secondary": 0}
        return Ephemeris(**{**blank, **plain, "period_err": 1e-4, "depth_1_err": 1e-4, **values})

    return make


@pytest.fixture(scope="session")
def make_star() -> Callable[..., StarCurves]:
    """Return a function that makes a 2-min star of `days` with a dip function of time and a source of its light.

    Pointing wanders and shakes, the photocentre follows it, drifts, and moves away from a source `off` pixels (column,
    row) away that loses the light; noise of flux and photocentre is part white, part correlated over an hour.
    """

    def make(
        lost: Callable[[np.ndarray], np.ndarray],
        *,
        seed: int = 0,
        noise: float = 1e-3,
        off: tuple[float, float] = (0.0, 0.0),
        sectors: int = 1,
        days: float = 27.0,
        crowdsap: float = 0.98,
        wiggle: Callable[[np.ndarray], np.ndarray] = np.zeros_like,
        **facts: float,
    ) -> StarCurves:
        rng = np.random.default_rng(seed)

        def red(size: int) -> np.ndarray:
            return np.convolve(rng.normal(0, 1, size + 29), np.ones(30) / 30**0.5, "valid")

        observations = []
        for sector in range(1, sectors + 1):
            time = 1325 + 27.4 * (sector - 1) + np.arange(0, days, 1 / 720)
            time = time[np.abs(time - time.mean()) > 0.6]
            quality = np.where(np.mod(np.arange(len(time)), 1800) < 5, 32, 0).astype(np.int32)
            d = lost(time)
            flux = 1e4 * (1 - d + wiggle(time) + rng.normal(0, noise, len(time)) + 0.2 * noise * red(len(time)))
            motion = 0.02 * np.sin(time / 3)[:, None] + 0.003 * rng.normal(0, 1, (len(time), 2))
            u = crowdsap * d / (1 - crowdsap * d)
            place = 1.1 * motion + 0.004 * ((time - 1330) / 10)[:, None] ** 2 - u[:, None] * np.array(off)
            place += 2e-3 * rng.normal(0, 1, place.shape) + 2e-4 * np.stack([red(len(time)), red(len(time))], axis=1)
            observations.append(
                Observation(
                    sector,
                    120.0,
                    time,
                    flux,
                    np.full(len(time), 1e4 * noise),
                    quality,
                    1,
                    1,
                    crowdsap,
                    0.9,
                    100 + place[:, 0],
                    200 + place[:, 1],
                    motion[:, 0],
                    motion[:, 1],
                    100 + rng.normal(0, 1, len(time)),
                )
            )
        return StarCurves(1, tuple(observations), tmag=10.0, **facts)

    return make


@pytest.fixture(scope="session")
def trapezoid() -> Callable[..., Callable[[np.ndarray], np.ndarray]]:
    """Return a function that makes dips: depth, period, epoch, full width in hours, and flat share of the width."""

    def make(depth: float, period: float, epoch: float, hours: float, flat: float = 0.5) -> Callable:
        def lost(time: np.ndarray) -> np.ndarray:
            x = np.abs((time - epoch + period / 2) % period - period / 2) / (hours / 48)
            return depth * np.clip((1 - x) / max(1 - flat, 1e-6), 0, 1)

        return lost

    return make


@pytest.fixture(scope="session")
def real_star(shared_data: Path) -> Callable[[int], StarCurves]:
    """Return a function that reads all real 2-min light curves of a star."""
    folder = Folder(shared_data / "lightcurves" / "tess_2min")
    table = pd.read_csv(shared_data / "lightcurves" / "tess_2min_labels.csv")

    def read(tic_id: int) -> StarCurves:
        files = [name.partition("/")[2] for name in table.loc[table["TIC"] == tic_id, "file"]]
        curves = sorted((tess.read(folder, name) for name in files), key=lambda curve: curve.facts.sector)
        facts = curves[-1].facts
        places = {name: getattr(facts, name) for name in ("ra", "dec", "pmra", "pmdec", "tmag", "teff", "radius")}
        return StarCurves(facts.tic_id, tuple(_observation(curve) for curve in curves), **places)

    return read


def _observation(curve: tess.LightCurve) -> Observation:
    timed, facts = np.isfinite(curve.columns["time"]), curve.facts
    names = [field.name for field in fields(Observation) if field.name in curve.columns and field.name != "quality"]
    columns = {name: curve.columns[name][timed].astype(np.float64) for name in names}
    place = {name: getattr(facts, name) for name in ("sector", "camera", "ccd", "crowdsap", "flfrcsap")}
    return Observation(cadence_s=float(facts.cadence_s), quality=curve.columns["quality"][timed], **place, **columns)
