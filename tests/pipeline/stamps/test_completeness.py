"""What share of simulated pairs is found."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from catalogs.stamps import EVERY
from pipeline.metrics import wilson
from pipeline.stamps import completeness

THRESHOLD = 0.7


@pytest.fixture(scope="module")
def lessons():
    """Pairs of which all are found whose separation is more than a fifth of an arcsec a magnitude, and single stars."""
    rng = np.random.default_rng(1)
    n = 24_000
    rows = pd.DataFrame({
        "survey": rng.choice(["SDSS", "Pan-STARRS", "HST"], n), "label": rng.integers(0, 2, n),
        "sep_arcsec": rng.uniform(0.1, 2.5, n), "delta_mag": rng.uniform(0, 5, n), "snr_1": rng.uniform(5, 600, n),
    })  # fmt: skip
    found = rows["sep_arcsec"] > np.where(rows["survey"] == "HST", 0.1, 0.3) * rows["delta_mag"]
    return rows.assign(p=np.where(found & (rows["label"] == 1), 0.9, 0.1))


@pytest.fixture(scope="module")
def table(lessons):
    return completeness.table(lessons, THRESHOLD)


def test_a_bin_counts_its_own_pairs(lessons, table):
    rows = table[(table["survey"] == "SDSS") & (table["borrowed"] == 0)]
    row = rows.sort_values("own").iloc[-1]
    own = lessons[(lessons["survey"] == "SDSS") & (lessons["label"] == 1)]
    for name, column in (("sep", "sep_arcsec"), ("dm", "delta_mag"), ("snr", "snr_1")):
        own = own[(own[column] >= row[f"{name}_low"]) & (own[column] < row[f"{name}_high"])]
    assert row["own"] == row["pairs"] == len(own) > completeness.ENOUGH
    assert row["found"] == (own["p"] >= THRESHOLD).sum()
    assert row["completeness"] == pytest.approx(row["found"] / row["pairs"])
    assert (row["lower"], row["upper"]) == pytest.approx(wilson(int(row["found"]), int(row["pairs"])))


def test_a_group_is_all_its_surveys_together(lessons, table):
    pairs = lessons[(lessons["label"] == 1) & (lessons["snr_1"] >= 5)]
    for group, own in table.groupby("group"):
        whole, single = own[own["survey"] == EVERY], own[own["survey"] != EVERY]
        assert whole["own"].sum() == single["own"].sum() > 0, group
    assert table[table["survey"] == EVERY]["own"].sum() == len(pairs)
    assert not table.duplicated(["group", "survey", "sep_low", "dm_low", "snr_low"]).any()


def test_few_pairs_borrow_and_too_few_have_no_share(lessons):
    pairs = lessons[lessons["label"] == 1]
    own = completeness.table(pairs[pairs["survey"] == "SDSS"].head(400), THRESHOLD)
    assert (own["borrowed"] > 0).any() and (own["pairs"] >= own["own"]).all()
    assert own["completeness"].isna().equals(own["pairs"] < completeness.ENOUGH)
    assert not len(completeness.table(pairs.iloc[:0], THRESHOLD))


def test_the_threshold_may_stand_in_the_rows(lessons, table):
    found = completeness.table(lessons.assign(threshold=THRESHOLD))
    pd.testing.assert_frame_equal(found, table)
    none = completeness.table(lessons, 0.95)
    assert none["found"].sum() == 0 < table["found"].sum()


def test_look_up(table):
    found = completeness.of(table, ["HST", "SDSS", "SDSS"], [100, 100, 9000], [0.6, 0.6, 2.2], [3.5, 3.5, 0.2])
    assert found[0] > 0.95 and found[1] == 0 and found[2] == 1
    assert np.isnan(completeness.of(table, "SDSS", [3.0, 50.0, 50.0], [1.0, 3.0, 1.0], [1.0, 1.0, 7.0])).all()
    mean = completeness.of(table, "SDSS", 100.0, np.nan, np.nan)
    assert 0.5 < mean[0] < 0.8  # of all pairs: 1 - (0.3 * 2.5 - 0.1) / 2.4 is 0.73
    one = completeness.of(table, "SDSS", 100.0, 1.2, np.nan)
    assert one[0] == pytest.approx(1.2 / 0.3 / 5, abs=0.06)
    group = table[(table["survey"] == "SDSS")]["group"].iloc[0]
    same = [name for name in ("SkyMapper", "ZTF", "DECaLS") if completeness.surveys.group(name) == group]
    rows = completeness.of(table, same or ["SDSS"], 100.0, 1.2, 0.7)
    assert np.isfinite(rows).all()  # of a survey that was not simulated: its group's
    assert np.isnan(completeness.of(table, "nobody", 100.0, 1.2, 0.7)).all()
    assert completeness.of(table, "sdss dr17", 100.0, 1.2, 0.7) == completeness.of(table, "SDSS", 100.0, 1.2, 0.7)


def test_what_is_written_is_read_and_drawn(workspace, table):
    where = "catalogs/visual_binaries/model=visualbinary-0123abcd"
    assert completeness.read(workspace, where) is None
    completeness.write(workspace, where, table)
    mixed = table.sample(frac=1, random_state=1)
    assert workspace.read(f"{where}/completeness.parquet") == completeness.to_bytes(mixed)
    back = completeness.read(workspace, where)
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    picture = completeness.draw(back)
    assert picture.png == workspace.read(f"{where}/completeness.png")  # the same table gives the same picture
    assert "HST" in picture.alt and "group" in picture.alt
    assert Image.open(io.BytesIO(picture.png)).size == picture.size
    assert completeness.draw(table.iloc[:0]).png[:4] == b"\x89PNG"
