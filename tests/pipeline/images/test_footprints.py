"""Footprints: how much of one another covers, anywhere on the sky, whichever way its corners go."""

import numpy as np
import pytest

from pipeline.images.footprints import contains, overlap


def square(ra=10.0, dec=0.0, size=1.0, turn=0.0):
    """Return a square of `size` degrees at a place, with its corners on great circles."""
    half = np.tan(np.deg2rad(size / 2))
    plane = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    c, s = np.cos(turn), np.sin(turn)
    x, y = plane @ np.array([[c, s], [-s, c]])[0], plane @ np.array([[c, s], [-s, c]])[1]
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    middle = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0])
    north = np.cross(middle, east)
    points = middle + x[:, None] * east + y[:, None] * north
    points /= np.linalg.norm(points, axis=1)[:, None]
    return np.stack([np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) % 360, np.rad2deg(np.arcsin(points[:, 2]))], 1)


@pytest.mark.parametrize(("ra", "dec"), [(10, 0), (0.0, 30), (359.9, -60), (123, 89.9), (5, -90)])
def test_shares_are_right_at_the_meridian_and_at_the_poles(ra, dec):
    whole = square(ra, dec)
    assert overlap(whole, whole) == pytest.approx(1)
    assert overlap(whole, whole[::-1]) == pytest.approx(1)
    assert overlap(whole, square(ra, dec, 0.5)) == pytest.approx(0.25, rel=1e-3)
    assert overlap(square(ra, dec, 0.5), whole) == pytest.approx(1)
    assert overlap(whole, square(ra, dec, 1, np.pi / 4)) == pytest.approx(2 * (np.sqrt(2) - 1), rel=1e-3)
    assert overlap(whole, square((ra + 180) % 360, -dec)) == 0
    inside = contains(whole, [ra, (ra + 180) % 360], [dec, -dec])
    assert inside.tolist() == [True, False]


def test_shifted_squares_cover_what_is_left():
    for shift in (0.0, 0.25, 0.7, 1.0, 2.0):
        assert overlap(square(), square(10 + shift)) == pytest.approx(max(0, 1 - shift), abs=1e-3)
    assert contains(square(), [10.49, 10.51, 9.51, 10.0], [0.0, 0, 0.49, 0.51]).tolist() == [True, False, True, False]
    assert overlap(square(), np.full(8, np.nan)) == 0 and overlap(np.zeros(8), square()) == 0
