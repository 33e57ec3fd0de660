"""The scorer counts what is there, and its counts add."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from pipeline.images.efficiency import poisson, score
from pipeline.images.frame import Bit
from pipeline.images.spread import Spread

SHAPE, FWHM = (400, 500), 4.0
NOISE = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)

TRUTH = pd.DataFrame(
    [
        (50.0, 50.0, 100.0, 1, 4.0, "blank"),
        (100.0, 50.0, 200.0, 1, 6.0, "blank"),
        (150.0, 50.0, 300.0, 1, 8.0, "core"),
        (200.0, 50.0, 900.0, 1, 30.0, "core"),
        (250.0, 50.0, 900.0, -1, -30.0, "disk"),
        (300.0, 50.0, 900.0, 1, 30.0, "disk"),
        (350.0, 50.0, 50.0, 1, 2.0, "disk"),
    ],
    columns=["x", "y", "flux", "sign", "snr_opt", "environment"],
)
CANDIDATES = pd.DataFrame(
    [
        (101.0, 51.0, 6.1, 210.0, 0),  # recovered
        (151.0, 50.0, 7.7, 310.0, 4),  # recovered, flagged
        (151.0, 51.5, 5.2, 250.0, 0),  # another of the same, further away
        (200.0, 51.0, 29.0, 891.0, 0),  # recovered
        (250.0, 50.0, -30.0, -909.0, 0),  # recovered, fading
        (300.0, 51.9, -6.0, -150.0, 0),  # the wrong sign beside a transient: neither
        (52.5, 50.0, 5.5, 150.0, 0),  # too far away: false
        (400.0, 300.0, -5.1, -150.0, 0),  # false
        (410.0, 300.0, 9.0, 350.0, 16),  # false, flagged
        (420.0, 300.0, 4.9, 150.0, 0),  # under the threshold
    ],
    columns=["x", "y", "snr", "flux", "flags"],
)
SOURCES = pd.DataFrame({"x": [200.0, 300.0], "y": [200.0, 200.0], "snr": [80.0, 20.0]})


def scored(**changes):
    return score(TRUTH, CANDIDATES, FWHM, NOISE, SOURCES, **changes)


def test_candidates_are_counted_by_what_explains_them():
    found = scored()
    assert (found.false, found.false_unflagged) == (3, 2)
    table = found.transients
    assert table["injected"].sum() == 6  # one is too faint for any bin
    assert table.loc[("blank", "3-5"), "recovered"] == 0
    assert table.loc[("blank", "5-7"), "recovered"] == 1
    assert table.loc[("core", "7-10"), ["recovered", "unflagged"]].tolist() == [1, 0]
    assert table.loc[("core", ">10"), "recovered"] == 1
    assert table.loc[("disk", ">10"), ["injected", "recovered"]].tolist() == [2, 1]
    assert table.loc[("blank", "3-5"), "expected"] == pytest.approx(norm.cdf(-1))
    assert table.loc[("disk", ">10"), "expected"] == pytest.approx(2)
    np.testing.assert_allclose(found.ratios["core"], 0.99)
    np.testing.assert_allclose(found.ratios["disk"], 1.01)
    assert found.flux_ratios()["core"] == (pytest.approx(0.99), 0.0, 1)


def test_forced_fluxes_need_no_candidate():
    flux = (TRUTH["sign"] * TRUTH["flux"] * 0.98).to_numpy()
    found = scored(forced_flux=flux)
    np.testing.assert_allclose(found.ratios["disk"], [0.98, 0.98])


def test_what_is_masked_or_known_is_not_held_against_it():
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, 180:320] = Bit.TRAIL
    mask[:, :20] = Bit.WEAK  # usable
    found = scored(mask=mask, known=pd.DataFrame({"x": [405.0], "y": [301.0], "radius": [8.0]}))
    assert found.area_mpix == pytest.approx(400 * 360 / 1e6)
    assert found.transients["masked"].sum() == 3 and found.transients["injected"].sum() == 3
    assert found.transients["expected"].sum() == pytest.approx(norm.cdf([-1, 1, 3]).sum())
    assert found.false == 1 and not len(found.ratios["disk"])


def test_pixels_are_told_apart():
    image = NOISE.copy()
    y, x = np.indices(SHAPE)
    image[np.hypot(x - 200, y - 200) <= 12] *= 3
    image[np.hypot(x - 300, y - 200) <= 12] *= 5
    for row in TRUTH.itertuples():
        image[np.hypot(x - row.x, y - row.y) <= 12] += 10
    found = score(TRUTH, CANDIDATES, FWHM, image, SOURCES)
    assert found.cores.size == (np.hypot(x - 200, y - 200) <= 4).sum()
    assert found.cores.std == pytest.approx(3, rel=0.3)
    assert found.blank.std == pytest.approx(1, abs=0.01) and found.blank.beyond == (0, 0)
    assert found.blank.size == image.size - (len(TRUTH) + 2) * (np.hypot(x - 200, y - 200) <= 12).sum()


def test_counts_add():
    one, two = scored(), score(TRUTH.iloc[:2], CANDIDATES.iloc[:1], FWHM, NOISE[:300], SOURCES)
    both = one + two
    assert both.area_mpix == pytest.approx(0.2 + 0.15) and both.false == 3
    assert both.transients.loc[("blank", "5-7"), "recovered"] == 2
    assert both.transients.loc[("disk", ">10"), "injected"] == 2
    assert both.blank.size == one.blank.size + two.blank.size
    bins = both.recovery("bin")
    assert bins.loc["5-7", "injected"] == 2 and bins.loc["5-7", "ratio"] == pytest.approx(1 / norm.cdf(1))
    assert (bins["low"] <= bins["ratio"]).all() and (bins["high"] >= bins["ratio"]).all()
    assert set(both.recovery("environment").index) == {"blank", "core", "disk"}
    rate, low, high = both.false_rate()
    assert rate == pytest.approx(3 / 0.35) and low == pytest.approx(0.6187 / 0.35, rel=1e-3)
    assert both.false_rate(unflagged=True)[0] == pytest.approx(2 / 0.35) and high > rate


def test_an_empty_field_scores_nothing():
    found = score(TRUTH.iloc[:0], CANDIDATES.iloc[:0], FWHM, NOISE, SOURCES.iloc[:0])
    assert (found.false, found.area_mpix) == (0, 0.2) and found.flux_ratios() == {}
    assert (found + scored()).false == 3 and np.isnan(found.cores.std)
    assert score(TRUTH, CANDIDATES.iloc[:0], FWHM, NOISE, SOURCES).recovery("bin")["recovered"].sum() == 0


def test_intervals_of_counts_are_the_exact_ones():
    assert poisson(0) == (0.0, pytest.approx(3.6889, abs=1e-3))
    assert poisson(10) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.39, abs=1e-2))


def test_a_spread_is_that_of_its_values():
    values = np.random.default_rng(2).standard_normal(300_000)
    for scale in (0.25, 1.0, 93.0):
        spread = Spread.of((scale * values).astype(np.float32))
        low, high = np.percentile(scale * values, [15.87, 84.13])
        assert spread.std == pytest.approx((high - low) / 2, rel=1e-3)
    assert spread.beyond == (int((scale * values < -5).sum()), int((scale * values > 5).sum()))
    assert (spread + spread).std == pytest.approx(spread.std) and (spread + spread).size == 600_000
