"""Numbers of a triplet are what was put into it."""

import numpy as np
import pytest

from catalogs.monitor import BINS, INPUTS
from models.inputs import statistics
from models.planes import SIZE


def made(fwhm: float = 3.0, noise: float = 2.0, sky: float = 0.0, count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(3)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    star = 100 * noise * np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)
    pixels = noise * rng.normal(size=(count, 3, SIZE, SIZE)) + sky
    pixels[:, 0] += star
    pixels[:, 2] += star
    pixels[:, 1] = 0.5 * (pixels[:, 1] - sky)
    return pixels.astype(np.float32)


@pytest.mark.parametrize("fwhm", [2.0, 3.0, 6.0])
def test_noise_sky_width_and_peak_are_measured(fwhm: float) -> None:
    found = statistics(made(fwhm, noise=4.0, sky=40.0)).median()
    assert list(found.index) == [one.name for one in INPUTS]
    assert found["fwhm_science"] == pytest.approx(fwhm, rel=0.05)
    assert found["noise_science"] == pytest.approx(np.log10(4), abs=0.05)
    assert found["noise_ratio"] == pytest.approx(np.log10(2), abs=0.05)
    assert np.sinh(found["sky_science"]) == pytest.approx(10, rel=0.1) and found["sky_reference"] < 0.3
    assert found["peak"] == pytest.approx(2, abs=0.05) and found["missing"] == 0


def test_blank_sky_has_no_width_and_what_is_missing_is_nan() -> None:
    pixels = made()
    pixels[0, 1] = np.nan
    pixels[1] = np.nan
    pixels[2, :, :, 40:] = np.nan
    found = statistics(pixels)
    assert found["fwhm_reference"].isna().all()
    assert found.loc[0, ["noise_reference", "sky_reference", "noise_ratio"]].isna().all()
    assert np.isfinite(found.loc[0, ["noise_science", "peak"]].to_numpy(float)).all()
    assert found.loc[1].drop("missing").isna().all() and found.loc[1, "missing"] == 1
    assert found.loc[2, "missing"] == pytest.approx(23 / SIZE) and np.isfinite(found.loc[2, "fwhm_science"])
    assert statistics(pixels[:0]).shape == (0, len(INPUTS))
    assert statistics(pixels[3:, :, :31, :33]).notna().drop(columns="fwhm_reference").all(axis=None)


def test_a_histogram_counts_every_number_once() -> None:
    one = INPUTS[0]
    counts = one.counts(np.array([-5.0, 0.0, 0.5, 1.0, 7.0, np.nan, np.inf, -np.inf]))
    assert len(counts) == BINS and counts.sum() == 7
    assert counts[0] == 3 and counts[-1] == 3 and counts[BINS // 2] == 1 and len(one.edges) == BINS + 1
