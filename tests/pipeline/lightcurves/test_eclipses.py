"""Fits of eclipses."""

import numpy as np
import pytest

from pipeline.lightcurves.eclipses import fit_events, fit_shape
from pipeline.lightcurves.profile import Profile
from pipeline.lightcurves.series import Series

PERIOD, EPOCH = 3.9, 1.3


def series(truth: Profile, noise: float = 3e-4, days: float = 24.0) -> Series:
    """Return eclipses of one kind at 2 minutes."""
    time = np.arange(0, days, 120 / 86400)
    exposure = np.full(time.size, 120 / 86400)
    offset = (time - EPOCH + PERIOD / 2) % PERIOD - PERIOD / 2
    flux = 1 - truth.loss(offset, exposure) + np.random.default_rng(4).normal(0, noise, time.size)
    return Series(time, flux, np.full(time.size, noise), exposure, np.zeros(time.size, np.int64))


@pytest.mark.parametrize(("ratio", "impact"), [(1.0, 0.0), (1.0, 0.3), (0.5, 0.2), (1.8, 0.6)])
def test_the_depth_is_that_at_mid_eclipse(ratio: float, impact: float) -> None:
    truth = Profile(0.5, 0.25, ratio, impact)
    light = series(truth)
    shape = fit_shape(light, PERIOD, EPOCH, Profile(0.43, 0.24), PERIOD / 2)
    assert shape is not None
    assert shape.depth == pytest.approx(0.5, abs=0.01)  # of twins the sharpest part is lost in the bins
    assert abs(shape.shift) < 1e-4


def test_every_eclipse_has_a_time_and_a_depth() -> None:
    truth = Profile(0.2, 0.25, 0.6, 0.3)
    light = series(truth)
    events = fit_events(light, PERIOD, EPOCH, truth, PERIOD / 2)
    assert events.number.tolist() == list(range(6))
    assert np.all(np.abs(events.shift) < 4.5 * events.shift_err) and np.all(events.shift_err < 1e-4)
    np.testing.assert_allclose(events.depth, 0.2, atol=4.5 * events.depth_err.max())
    # Half of the third eclipse is not in the data: it has no time; a whole one that is not there is no event.
    hidden = (np.abs(light.time - EPOCH - 2 * PERIOD - 0.1) < 0.1) | (np.abs(light.time - EPOCH - 4 * PERIOD) < 0.3)
    fewer = fit_events(light.where(~hidden), PERIOD, EPOCH, truth, PERIOD / 2)
    assert fewer.number.tolist() == [0, 1, 2, 3, 5]
    assert np.isnan(fewer.shift[2]) and np.isfinite(np.delete(fewer.shift, 2)).all()


def test_where_nothing_is_seen_there_are_no_events() -> None:
    light = series(Profile(0.2, 0.25))
    assert fit_events(light.where(light.time < 0.5), PERIOD, EPOCH, Profile(0.2, 0.25), PERIOD / 2).number.size == 0
