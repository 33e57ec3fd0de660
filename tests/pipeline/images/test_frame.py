"""Bits around places: of all pixels within the radius and of no others, with an edge where the frame ends."""

import numpy as np

from pipeline.images.frame import Bit, bits_around


def test_bits_are_those_within_the_radius_and_an_edge_off_the_frame():
    mask = np.zeros((20, 30), np.uint16)
    mask[10, 12], mask[10, 13], mask[5, 5] = Bit.HOT, Bit.BAD, Bit.WEAK | 1 << 12
    x = np.array([10.0, 10.4, 5.4, 1.0, 1.4, 28.5, np.nan, 100.0])
    y = np.array([10.0, 10.0, 5.4, 10.0, 10.0, 10.0, 3.0, 3.0])
    expected = [Bit.HOT, Bit.HOT, Bit.WEAK, Bit.EDGE, 0, Bit.EDGE, Bit.EDGE, Bit.EDGE]
    assert bits_around(mask, x, y, 2.0).tolist() == expected
    assert bits_around(mask, x[:3], y[:3], 0.0).tolist() == [0, 0, Bit.WEAK]  # the nearest pixel at least
    assert len(bits_around(mask, x[:0], y[:0], 2.0)) == 0
