"""A field at many times: the same sky, and what changes is as bright as the truth says."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.simulate.conditions import FieldSettings
from pipeline.simulate.epochs import EpochSettings, draw_epochs, light_curve
from pipeline.simulate.scene import Population

SMALL = EpochSettings(
    field=FieldSettings(shape=(160, 200), transients=3, snr=(60.0, 90.0), dither=0.0, population=Population(300, 60)),
    days=(0.0, 6.0), variables=0,
)  # fmt: skip


def test_a_light_curve_rises_to_one_and_fades():
    days = np.linspace(-20, 100, 2001)
    flux = light_curve(days, 3.0, 25.0)
    assert flux.max() == pytest.approx(1, abs=1e-4) and flux[0] < 0.01 and flux[-1] < 0.05
    assert 3 < days[flux.argmax()] < 9


def test_the_light_that_changes_is_in_the_images():
    epochs = draw_epochs(3, SMALL)
    assert list(epochs.images) == ["reference", "epoch-1", "epoch-2"] and set(epochs.headers) == set(epochs.images)
    assert epochs.headers["epoch-2"]["MJD-OBS"] - epochs.headers["epoch-1"]["MJD-OBS"] == 6
    assert epochs.truth.groupby("id")["epoch"].nunique().eq(2).all()
    still = draw_epochs(3, replace(SMALL, field=replace(SMALL.field, snr=(1e-6, 2e-6)), movers=0))
    rows = epochs.truth[(epochs.truth["kind"] == "transient")]
    gone = {name: float((epochs.images[name] - still.images[name]).sum()) for name in ("epoch-1", "epoch-2")}
    for name, total in gone.items():
        expected = epochs.truth.loc[epochs.truth["epoch"] == name, "flux"].sum()
        assert total == pytest.approx(expected, abs=6 * np.sqrt(2 * 420 * 160 * 200)), name
    assert len(rows) and draw_epochs(3, SMALL).truth.equals(epochs.truth)


def test_lists_are_what_an_observer_would_have(tmp_path):
    epochs = draw_epochs(4, replace(SMALL, variables=2, field=replace(SMALL.field, population=Population(2000, 60))))
    folder = epochs.write(tmp_path / "field")
    assert {path.name for path in folder.iterdir()} == {
        "reference.fits", "epoch-1.fits", "epoch-2.fits", "truth.csv", "variables.csv", "movers.csv"
    }  # fmt: skip
    way = epochs.ephemerides()
    body = epochs.truth[epochs.truth["kind"] == "mover"]
    assert np.interp(body["mjd"], way["mjd"], way["ra"]) == pytest.approx(body["ra"].to_numpy(), abs=1e-6)
    speed = np.hypot(np.ptp(way["ra"]) * np.cos(np.deg2rad(2.2)), np.ptp(way["dec"])) * 3600 / np.ptp(way["mjd"])
    assert speed == pytest.approx(6, rel=0.01)
