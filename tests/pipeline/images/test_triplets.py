"""Triplets show what is there, say where the frame ends, and lie in the rows that the table names."""

import numpy as np
import pandas as pd
import pytest

from catalogs.candidates import Flag
from catalogs.folder import Folder
from pipeline import stores
from pipeline.images import names, triplets


def frames(ny=100, nx=120):
    y, x = np.mgrid[:ny, :nx].astype(np.float32)
    return [1000 * y + x + 0.1 * k for k in range(3)]


def test_the_middle_pixel_is_the_nearest_one_and_off_frame_is_nan():
    images = frames()
    cut = triplets.cut(images, np.array([50.4, 2.0, 119.0]), np.array([40.6, 99.0, 0.0]), 7)
    assert cut.pixels.shape == (3, 3, 7, 7) and cut.pixels.dtype == np.float32
    assert cut.pixels[0, :, 3, 3].tolist() == [image[41, 50] for image in images]
    assert cut.pixels[0, 1].tolist() == images[1][38:45, 47:54].tolist()
    assert cut.padded.tolist() == [False, True, True]
    assert cut.pixels[1, 2, :4, 1:].tolist() == images[2][96:, :6].tolist()
    assert np.isnan(cut.pixels[1, :, 4:]).all() and np.isnan(cut.pixels[1, :, :, 0]).all()
    assert np.isnan(cut.pixels[2]).sum() == 3 * (49 - 16)


def test_a_window_of_the_frame_gives_the_same_or_is_refused():
    images = frames()
    window = [image[30:70, 20:80] for image in images]
    here = (np.array([50.0]), np.array([50.0]))
    whole = triplets.cut(images, *here, 21)
    part = triplets.cut(window, *here, 21, origin=(20, 30), frame=(100, 120))
    assert np.array_equal(whole.pixels, part.pixels) and not part.padded[0]
    with pytest.raises(ValueError, match="reach beyond the window 60x40"):
        triplets.cut(window, np.array([25.0]), np.array([50.0]), 21, origin=(20, 30), frame=(100, 120))
    with pytest.raises(ValueError, match="no middle pixel"):
        triplets.cut(images, *here, 64)
    assert triplets.cut(images, np.zeros(0), np.zeros(0)).pixels.shape == (0, 3, 63, 63)


def test_rows_are_packed_by_band_good_ones_first_and_the_rest_keeps_its_row_in_the_table(tmp_path):
    table = pd.DataFrame({"candidate_id": list("abcde"), "snr": [6.0, -30, 8, 8, 50], "flags": [0, 0, 0, 0, 4]})
    placed = triplets.assign(table, band=1, capacity=4)
    assert placed["candidate_id"].tolist() == ["b", "c", "d", "a", "e"]
    assert placed["triplet_row"].tolist()[:4] == [4, 5, 6, 7] and placed["triplet_row"].isna().tolist()[4]
    assert placed["flags"].tolist() == [0, 0, 0, 0, int(Flag.COSMIC_RAY | Flag.NO_TRIPLET)]
    shuffled = triplets.assign(table.iloc[::-1], band=1, capacity=4)
    assert shuffled.equals(placed)
    folder, where = Folder(tmp_path), triplets.path("a-b")
    stores.create(folder, where, triplets.template(7, 4), 2)
    cut = triplets.cut(frames(), np.array([50.0, 1, 70, 80]), np.array([50.0, 1, 7, 8]), 7)
    assert len(triplets.write(folder, where, 1, cut.pixels)) == 1 and not triplets.write(
        folder, where, 0, cut.pixels[:0]
    )
    back = stores.read(folder, where, [triplets.NAME], slice(0, 8))[triplets.NAME]
    assert np.array_equal(back[4:], cut.pixels, equal_nan=True) and not back[:4].any()


def test_names_tell_place_and_peak():
    one = names.candidate_ids("p", [1.004, 1.004, 1.004], [2.0] * 3, [True, False, True], [263.9347, 263.9347, np.nan],
                              [4.8325, 4.8325, np.nan])  # fmt: skip
    assert one[0].startswith("J173544.32+044957.0-") and one[0] != one[1] and one[2].startswith("X1.0Y2.0-")
    again = names.candidate_ids("p", [1.0041], [2.0], [True], [263.9347], [4.8325])
    assert again == one[:1] and names.candidate_ids("q", [1.004], [2.0], [True], [263.9347], [4.8325]) != again
    assert names.place_name(359.99999, -0.00001) == "J235959.99-000000.0"
    assert names.place_name(0.0, 90.0) == "J000000.00+900000.0"
