"""The picture of a difference: drawn from small copies, the same bytes each time, of anything from nothing to much."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.images.frame import Bit
from pipeline.images.panel import EDGES, counts, panel, thumbnail


def scene(n=30):
    rng = np.random.default_rng(3)
    images = [rng.normal(100, 3, (300, 400)).astype(np.float32) for _ in range(2)]
    images.append(images[0] - images[1])
    images[0][:20] = np.nan
    table = pd.DataFrame({"x": rng.uniform(0, 399, n), "y": rng.uniform(0, 299, n), "snr": rng.normal(0, 9, n)})
    table["flags"] = np.where(np.arange(n) % 3 == 0, 4, 0)
    return images, table, rng.normal(0, 1, (n, 3, 21, 21)).astype(np.float32)


def draw(images, table, triplets, histogram):
    facts = {"robust std of S_corr, blank": "1.003", "pixels beyond 5 / −5": "12 / 3"}
    return panel([thumbnail(i) for i in images], images[0].shape, histogram, table, triplets, "a − b", facts)


def test_the_same_difference_gives_the_same_picture():
    images, table, triplets = scene()
    histogram = counts(images[2] / 4.2, np.zeros(images[2].shape, np.uint16))
    one, other = (draw(images, table, triplets, histogram) for _ in range(2))
    assert one.png == other.png and one.size == (1300, 960) and "20 candidates without and 10 with" in one.alt
    pixels = np.asarray(Image.open(io.BytesIO(one.png)).convert("RGB")).astype(int)
    assert pixels.std() > 20
    # Fewer candidates make another picture, and none at all still make one.
    assert draw(images, table.iloc[:5], triplets[:5], histogram).png != one.png
    empty = draw([np.full((50, 60), np.nan, np.float32)] * 3, table.iloc[:0], triplets[:0], np.zeros(200, int))
    assert "0 candidates" in empty.alt


def test_small_copies_are_means_and_tiles_add_up():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    image[0, 0] = np.nan
    assert thumbnail(image, 2) == pytest.approx(np.array([[(1 + 4 + 5) / 3, 4.5], [8.5, 10.5]]))
    assert np.array_equal(thumbnail(image, 10), image, equal_nan=True)
    rng = np.random.default_rng(1)
    score, mask = rng.normal(0, 1, (64, 64)).astype(np.float32), np.zeros((64, 64), np.uint16)
    score[0, :3], mask[1, 0], mask[1, 1] = (50, -50, np.nan), Bit.SATURATED, Bit.WEAK
    whole = counts(score, mask)
    assert whole.sum() == 64 * 64 - 2 and whole[-1] == whole[0] == 1 and len(whole) == len(EDGES) - 1
    assert np.array_equal(whole, counts(score[:32], mask[:32]) + counts(score[32:], mask[32:]))
