"""Light curves to test on: real ones, and a plain simulator."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

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
