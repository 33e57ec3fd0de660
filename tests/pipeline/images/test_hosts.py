"""Nearest sources and hosts, checked against ellipses that are known."""

import numpy as np
import pandas as pd
import pytest

from pipeline.images.frame import Bit
from pipeline.images.hosts import directional_radius, surroundings


def sources(**columns):
    table = {"x": [10.0, 50.0, 60.0], "y": [10.0, 50.0, 50.0], "flux": [7.0, 500.0, 5.0]}
    table |= {"is_star": [True, False, False], "a": [2.0, 10.0, 1.0], "b": [2.0, 4.0, 1.0], "theta": [0.0, 0.5, 0.0]}
    return pd.DataFrame(table | columns)


def test_the_radius_of_an_ellipse_is_its_axes_where_they_point():
    a, b, theta = np.array([3.0]), np.array([1.0]), np.array([0.4])
    radii = [directional_radius(a, b, theta, theta + angle)[0] for angle in (0, np.pi / 2, np.pi, 0.3)]
    assert radii[:3] == pytest.approx([3, 1, 3])
    x, y = radii[3] * np.cos(0.3), radii[3] * np.sin(0.3)
    assert (x / 3) ** 2 + y**2 == pytest.approx(1)


def test_a_large_galaxy_is_the_host_of_what_lies_nearer_to_a_small_one():
    along = np.array([50 + 20 * np.cos(0.5), 50 + 20 * np.sin(0.5)])
    x = np.array([along[0], 50 - 20 * np.sin(0.5), 56.0, 10.5, 300.0])
    y = np.array([along[1], 50 + 20 * np.cos(0.5), 50.0, 10.0, 300.0])
    table = surroundings(x, y, sources(), 0.5)
    assert table["host_dlr"].tolist()[:2] == pytest.approx([2.0, 5.0])
    assert table["host_sep_arcsec"].tolist()[:2] == pytest.approx([10.0, 10.0])
    # 4 px from the small one (4 radii), 6 px from the large one (less than 1).
    assert table["host_sep_arcsec"][2] == pytest.approx(3.0) and table["host_dlr"][2] < 1
    assert table["ref_sep_arcsec"][2] == pytest.approx(2.0) and table["ref_flux"][2] == 5
    assert table["ref_is_star"].tolist() == [False, False, False, True, False]
    assert table.loc[3:, ["host_sep_arcsec", "host_dlr"]].isna().all(axis=None)


def test_axes_follow_from_fwhm_and_ellipticity_and_nothing_is_near_nothing():
    given = sources().drop(columns=["a", "b"])
    e = 0.6
    table = given.assign(fwhm=2.3548200450309493 * np.sqrt(10 * 4.0), ellipticity=e)
    x, y = np.array([50 + 20 * np.cos(0.5)]), np.array([50 + 20 * np.sin(0.5)])
    both = surroundings(x, y, table, 0.5), surroundings(x, y, sources(), 0.5)
    assert both[0]["host_dlr"][0] == pytest.approx(both[1]["host_dlr"][0])
    empty = surroundings(x, y, sources().iloc[:0], 0.5)
    assert empty.isna().all(axis=None) and len(empty) == 1 and len(surroundings(x[:0], y[:0], sources(), 1.0)) == 0
    stars = surroundings(x, y, sources(is_star=[True] * 3), 1.0)
    assert stars["host_dlr"].isna().all() and stars["ref_sep_arcsec"].notna().all()


@pytest.mark.parametrize("bit", [Bit.SATURATED, Bit.COSMIC_RAY])
def test_what_is_cut_off_or_hit_is_neither_host_nor_star(bit):
    x, y = np.array([56.0, 10.5, 52.0]), np.array([50.0, 10.0, 50.0])
    table = surroundings(x, y, sources(mask=[0, 0, int(bit | Bit.WEAK)]), 0.5)
    # The small galaxy is nearest still, but nobody says what it is, and the large one is the host.
    assert table["ref_sep_arcsec"][0] == pytest.approx(2.0) and table["ref_is_star"].isna().tolist() == [1, 0, 0]
    assert table["ref_is_star"].tolist()[1:] == [True, False] and table["host_sep_arcsec"][0] == pytest.approx(3.0)
    none = surroundings(x, y, sources(mask=[int(bit)] * 3), 0.5)
    assert none[["host_dlr", "ref_is_star"]].isna().all(axis=None) and none["ref_sep_arcsec"].notna().all()
    kept = surroundings(x, y, sources(mask=[int(Bit.WEAK)] * 3), 0.5)
    pd.testing.assert_frame_equal(kept, surroundings(x, y, sources(), 0.5))
