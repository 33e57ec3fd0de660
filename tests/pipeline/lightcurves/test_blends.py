"""Blend groups: one binary in several apertures, in any order of rows, and never two binaries."""

import numpy as np
import pandas as pd
import pytest

from catalogs.binaries import Flag
from pipeline.lightcurves.blends import blend_groups

ARCMIN = 1 / 60


@pytest.fixture
def rows():
    """Return a source with a wing neighbour, one at half its period, a lone twin far away, and others."""
    return pd.DataFrame(
        {
            "tic_id": [50, 10, 30, 40, 60, 70],
            "ra": [100.0, 100 + 1 * ARCMIN, 100 - 1.5 * ARCMIN, 100 + 9 * ARCMIN, 100.0, 359.999],
            "dec": [0.0, 0.5 * ARCMIN, 0.0, 0.0, 1 * ARCMIN, -20.0],
            "tmag": [9.0, 12.0, 13.0, 9.0, 10.0, 11.0],
            "period": [3.1, 3.10005, 1.55001, 3.1, 2.9, 0.4],
            "period_err": [1e-4, 2e-4, 2e-4, 1e-4, 1e-4, 1e-5],
            "epoch": [1340.0, 1343.101, 1340.002, 1340.0, 1340.0, 1340.0],
            "depth_1": [0.3, 0.05, 0.06, 0.3, 0.2, 0.3],
            "crowdsap": [0.95, 0.7, 0.6, 0.99, 0.9, 0.9],
        }
    )


def test_neighbours_with_one_ephemeris_share_the_group_of_their_source(rows):
    found = blend_groups(rows)
    assert found["blend_group"].dropna().tolist() == [10, 10, 10]
    assert found["source_tic_id"].dropna().tolist() == [50, 50, 50]
    assert found.index[found["blend_group"].notna()].tolist() == [0, 1, 2]
    assert str(found["blend_group"].dtype) == "Int64"


def test_the_order_of_rows_does_not_matter(rows, rng):
    expected = blend_groups(rows)
    for _ in range(5):
        shuffled = rows.sample(frac=1, random_state=rng)
        pd.testing.assert_frame_equal(blend_groups(shuffled).sort_index(), expected)


@pytest.mark.parametrize(
    "change", [{"epoch": 1340.9}, {"period": 3.11}, {"ra": 100.2}, {"period": np.nan}, {"tic_id": 50}]
)
def test_other_phase_period_place_or_the_star_itself_are_no_blend(rows, change):
    pair = rows.iloc[:2].copy()
    pair.loc[1, list(change)] = list(change.values())
    assert blend_groups(pair)["blend_group"].isna().all()


def test_what_cannot_be_the_source_stands_back(rows):
    pair = rows.iloc[:2].copy()
    impossible = pair.assign(depth_1=[1.4, 0.05])
    assert blend_groups(impossible)["source_tic_id"].tolist() == [10, 10]
    shifted = pair.assign(flags=pd.array([int(Flag.CENTROID_SHIFT | Flag.ODD_EVEN), None], "Int32"))
    assert blend_groups(shifted)["source_tic_id"].tolist() == [10, 10]
    # A significant shift may be that of a saturated star, or smaller than its own uncertainty: the flag weighs it.
    weighed = pair.assign(centroid_shift_sigma=[8.0, np.nan], flags=[int(Flag.ODD_EVEN), 0])
    assert blend_groups(weighed)["source_tic_id"].tolist() == [50, 50]
    # Both apertures see all of it: the star that most of the light belongs to.
    shared = pair.assign(depth_1=[0.01, 0.01 * 10 ** (0.4 * 3)], crowdsap=[0.94, 0.06])
    assert blend_groups(shared)["source_tic_id"].tolist() == [50, 50]


@pytest.mark.parametrize(
    ("flags", "change", "same"),
    [
        (("lower_limit", "lower_limit"), {"period": [13.0, 9.0]}, True),  # limits of one eclipse differ
        (("lower_limit", "lower_limit"), {"period": [13.0, 13.0], "epoch": [1340.0, 1353.0]}, False),
        (("lower_limit", "lower_limit"), {"period": [13.0, 13.0], "duration_1_h": [6.0, 2.0]}, False),
        (("lower_limit", "lower_limit"), {"period": [13.0, 13.0], "duration_1_h": [6.0, np.nan]}, False),
        (("exact", "lower_limit"), {"period": [15.0, 11.0], "epoch": [1340.0, 1355.02]}, True),
        (("exact", "lower_limit"), {"period": [15.0, 15.0], "epoch": [1340.0, 1347.5]}, False),
        (("exact", "exact"), {"period": [3.1, 3.1]}, True),
    ],
)
def test_a_lower_limit_is_no_period(rows, flags, change, same):
    pair = rows.iloc[:2].assign(
        **{"period_flag": flags, "epoch": [1340.0, 1340.02], "duration_1_h": [6.0, 5.0], **change}
    )
    assert blend_groups(pair)["blend_group"].notna().tolist() == [same, same]


def test_across_the_zero_of_right_ascension_and_with_nothing_there(rows):
    pair = rows.iloc[:2].assign(ra=[359.999, 0.001])
    assert blend_groups(pair)["blend_group"].notna().all()
    assert blend_groups(rows.iloc[:0]).empty
    assert blend_groups(rows.iloc[:1])["blend_group"].isna().all()


def test_chance_groups_are_few_among_many(rng):
    n = 20_000
    crowd = pd.DataFrame(
        {
            "tic_id": rng.permutation(n) + 1,
            "ra": rng.uniform(0, 24, n),
            "dec": rng.uniform(0, 24, n),
            "tmag": rng.uniform(8, 14, n),
            "period": 10 ** rng.uniform(-0.6, 1.2, n),
            "period_err": 2e-4,
            "epoch": rng.uniform(1340, 1342, n),
            "depth_1": rng.uniform(0.01, 0.5, n),
            "crowdsap": rng.uniform(0.6, 1, n),
        }
    )
    assert blend_groups(crowd)["blend_group"].notna().sum() < 20
