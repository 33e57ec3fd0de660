"""Flags and gaps of real sectors, as they ship and as a simulated sector has them."""

import numpy as np
import pytest

from pipeline.simulate.flags import NO_PDCSAP, NO_SAP, NO_TIME, derive, patterns, unroll
from pipeline.simulate.sector import DESATURATION, sector_clock, sector_span

SECTORS = (1, 2, 4, 5, 6, 8, 9, 17, 31, 52, 59, 63, 65)


def runs_of(values):
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return np.stack([values[starts], np.diff(np.r_[starts, values.size])], axis=1).tolist()


def test_patterns_are_of_sectors_not_of_stars():
    assert tuple(sorted(patterns())) == SECTORS
    for found in patterns().values():
        for pattern in found:
            value = unroll(pattern)
            assert not (value & (64 | 256 | 512 | 1024)).any() and runs_of(value) == pattern["runs"]
            missing = [(value & bit) != 0 for bit in (NO_TIME, NO_SAP, NO_PDCSAP)]
            assert np.all(missing[0] <= missing[1]) and np.all(missing[1] <= missing[2])
        assert len({tuple((unroll(p) & NO_TIME).tolist()) for p in found}) == 1  # gaps are the whole sector's


@pytest.mark.parametrize("sector", SECTORS)
def test_simulated_sectors_have_the_runs_of_their_source(sector):
    for camera, ccd in ((1, 1), (4, 4)):
        clock = sector_clock(sector, 120.0, camera, ccd)
        value = clock.quality | NO_TIME * clock.gap | NO_SAP * clock.no_sap | NO_PDCSAP * clock.no_pdcsap
        assert runs_of(value) in [pattern["runs"] for pattern in patterns()[sector]]
        assert clock.cadenceno[0] == sector_span(sector)[0] == patterns()[sector][0]["first"]


def test_other_sectors_take_a_real_ones_pattern():
    known = [pattern["runs"] for found in patterns().values() for pattern in found]
    clock = sector_clock(40, 120.0)
    assert runs_of(clock.quality | NO_TIME * clock.gap | NO_SAP * clock.no_sap | NO_PDCSAP * clock.no_pdcsap) in known
    assert np.array_equal(clock.gap, sector_clock(40, 120.0, 3, 2).gap)


@pytest.mark.parametrize("cadence_s", [20.0, 200.0, 600.0, 1800.0])
def test_other_cadences_lose_the_same_time(cadence_s):
    two, other = sector_clock(1, 120.0), sector_clock(1, cadence_s)
    days = [clock.gap.sum() * step / 86400 for clock, step in ((two, 120.0), (other, cadence_s))]
    assert days[1] == pytest.approx(days[0], abs=0.15)
    dumped = two.time[(two.quality & DESATURATION) != 0]
    flagged = other.time[(other.quality & DESATURATION) != 0]
    assert all(np.abs(flagged - time).min() <= (cadence_s / 2 + 61) / 86400 for time in dumped)
    assert other.no_pdcsap[(other.quality & DESATURATION) != 0].all()
    assert other.no_pdcsap.mean() < two.no_pdcsap.mean() + 0.05


def test_the_shipped_patterns_are_the_real_files(shared_data):
    assert derive(shared_data / "lightcurves" / "tess_2min") == [p for s in sorted(patterns()) for p in patterns()[s]]
