"""One cadence a star and sector, and everywhere the same: the one that was scored."""

import pandas as pd

from pipeline.lightcurves.scored import one_a_sector
from pipeline.partition import CADENCES

CURVES = pd.DataFrame(
    [
        *[(5, 1, 120.0), (5, 1, 20.0), (5, 1, 1800.0), (5, 2, 600.0), (5, 2, 1800.0), (5, 3, 20.0), (5, 3, 120.0)],
        *[(6, 1, 1800.0), (6, 2, 120.0)],
    ],
    columns=["tic_id", "sector", "cadence_s"],
)


def chosen(*args):
    return [tuple(row) for row in one_a_sector(*args).itertuples(index=False)]


def test_of_several_cadences_the_first_is_taken():
    assert list(CADENCES)[:4] == [120, 20, 1800, 600]
    assert chosen(CURVES) == [(5, 1, 120), (5, 2, 1800), (5, 3, 120), (6, 1, 1800), (6, 2, 120)]
    assert chosen(CURVES.iloc[:0]) == []


def test_what_was_scored_decides():
    # The light curves that come first had no segment to be scored in sectors 1 and 2; sector 3 had none at all.
    segments = pd.DataFrame(
        [(5, 1, 20.0), (5, 1, 20.0), (5, 2, 600.0), (6, 2, 120.0)], columns=["tic_id", "sector", "cadence_s"]
    )
    assert chosen(CURVES, segments) == [(5, 1, 20), (5, 2, 600), (5, 3, 120), (6, 1, 1800), (6, 2, 120)]
