"""Kinds of binaries, weighed anew."""

import numpy as np
import pytest

from catalogs.binaries import KINDS
from pipeline.lightcurves.kinds import fit_kinds, share_out


def test_without_a_fit_shares_stay_and_add_up() -> None:
    shares = np.array([[0.2, 0.1, 0.1], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    weighed = share_out(shares)
    np.testing.assert_allclose(weighed[:2], [[0.5, 0.25, 0.25], [1 / 3] * 3])
    np.testing.assert_allclose(weighed.sum(axis=1), 1)
    assert weighed[2, 0] == pytest.approx(1, abs=1e-5)


def test_a_network_biased_towards_one_kind_is_put_right() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 6000)
    # The posterior of three overlapping Gaussians, then with the odds of the second kind ten times too high.
    x = rng.normal(truth, 0.4)
    honest = np.exp(-0.5 * ((x[:, None] - np.arange(3)) / 0.4) ** 2)
    biased = honest * (1.0, 10.0, 1.0)
    kinds = np.array([*KINDS])[truth]
    slope, offsets = fit_kinds(biased[::2], kinds[::2])
    assert slope == pytest.approx(1, abs=0.1)
    assert offsets == pytest.approx((0, -np.log(10), 0), abs=0.25)
    told = share_out(biased[1::2], slope, offsets)
    np.testing.assert_allclose(told, honest[1::2] / honest[1::2].sum(axis=1, keepdims=True), atol=0.06)
    # Of the stars told to be EB with 0.4 to 0.6, about half are.
    near = (told[:, 1] > 0.4) & (told[:, 1] < 0.6)
    assert np.mean(truth[1::2][near] == 1) == pytest.approx(0.5, abs=0.1)


def test_without_every_kind_nothing_is_learnt() -> None:
    assert fit_kinds(np.ones((4, 3)), np.array(["EA", "EA", "EW", "other"])) == (1.0, (0.0, 0.0, 0.0))
