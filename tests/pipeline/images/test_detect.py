"""Peaks: both signs, between pixels, one for each source, none twice at the border of bands."""

import numpy as np
import pytest

from pipeline.images.detect import detect
from pipeline.images.features import position_error
from pipeline.images.subtract import Band, Tiles, subtract
from tests.pipeline.images.pairs import matched, subtracted


def quiet(significance):
    """Return a band of which only the significance and the tiles are of use."""
    found = matched(True, 5)[3]
    ny, nx = significance.shape
    one = np.ones((ny, nx), np.float32)
    tiles = Tiles(found, (ny, nx), 512)
    return Band(0, ny, 0, one, one, one, significance.astype(np.float32), one, np.zeros((ny, nx), np.uint16), tiles)


def bump(shape, x, y, height, sigma=2.2):
    v, u = np.mgrid[: shape[0], : shape[1]]
    return height * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))


def test_peaks_of_both_signs_are_found_between_pixels():
    shape = (200, 220)
    truth = [(50.3, 60.2, 8.0), (120.0, 61.0, -12.0), (180.45, 150.7, 5.6), (30.0, 150.0, 4.6)]
    found = detect(quiet(sum(bump(shape, *one) for one in truth)))
    assert len(found) == 3
    for x, y, height in truth[:3]:
        row = found.iloc[np.hypot(found["x"] - x, found["y"] - y).argmin()]
        assert abs(row["x"] - x) < 0.1 and abs(row["y"] - y) < 0.1 and row["snr"] == pytest.approx(height, rel=0.03)
        assert row["flux"] == pytest.approx(row["snr"], rel=1e-6) and row["flux_err"] == 1
    assert len(detect(quiet(sum(bump(shape, *one) for one in truth)), 4.0)) == 4


def test_the_flanks_of_a_bright_one_are_no_sources():
    found = matched(True, 5)[3]
    shape = (300, 320)
    band = quiet(np.zeros(shape))
    response = band.tiles.near(160, 150).response
    wave = np.zeros(response.shape, np.float32)
    wave += response
    profile = np.roll(wave, (150, 160), (0, 1))[: shape[0], : shape[1]]
    padded = np.zeros(shape, np.float32)
    padded[: profile.shape[0], : profile.shape[1]] = profile
    alone = detect(quiet(600 * padded))
    assert len(alone) == 1 and alone["snr"][0] == pytest.approx(600, rel=0.01)
    # A faint neighbour is one.
    both = detect(quiet(600 * padded + bump(shape, 160, 132, 40.0)))
    assert len(both) == 2 and found.flux_ratio > 0


def test_two_equal_pixels_are_one_peak():
    image = np.zeros((60, 60))
    image[30, 30] = image[30, 31] = 7.0
    found = detect(quiet(image))
    assert len(found) == 1 and found["x"][0] == pytest.approx(30.5, abs=0.01)


def test_nothing_is_an_empty_table():
    found = detect(quiet(np.zeros((60, 60))))
    assert len(found) == 0 and list(found.columns)[:2] == ["x", "y"] and found["snr"].dtype == float


def test_simulated_transients_are_found_where_they_are():
    field = matched(False, 6, negative=0.4)[0]
    found = detect(subtracted(0, False, 6, negative=0.4))
    pulls = []
    stamp = np.roll(subtracted(0, False, 6, negative=0.4).tiles.near(200, 200).psf_d, (20, 20), (0, 1))[:41, :41]
    for row in field.truth.itertuples():
        near = np.hypot(found["x"] - row.x, found["y"] - row.y)
        one = found.iloc[near.argmin()]
        assert near.min() < 1.5 and np.sign(one["snr"]) == row.sign
        assert one["snr"] == pytest.approx(row.snr_opt, abs=0.15 * abs(row.snr_opt) + 3.0)
        error = position_error(stamp, [one["snr"]])
        pulls += [float((one["x"] - row.x) / error[0][0]), float((one["y"] - row.y) / error[1][0])]
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 2.0


def test_bands_share_no_candidate_and_lose_none():
    _, science, reference, pairing = matched(False, 6, negative=0.4)
    whole = detect(subtracted(0, False, 6, negative=0.4))
    cut = int(np.rint(whole["y"].iloc[len(whole) // 2]))  # through a peak
    parts = [detect(subtract(science, reference, pairing, y0, y1)) for y0, y1 in ((0, cut), (cut, 400))]
    both = np.concatenate([part[["x", "y", "snr"]].to_numpy() for part in parts])
    sure = whole[whole["snr"].abs() > 6]
    for row in sure.itertuples():
        assert (np.hypot(both[:, 0] - row.x, both[:, 1] - row.y) < 0.5).sum() == 1
    assert parts[1]["y"].min() > cut - 1.01 and parts[0]["y"].max() < cut + 0.01
