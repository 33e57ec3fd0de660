"""The page of visual binaries."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.stamps import gallery, showcase
from tests.pipeline.stamps import toy_stacks, toy_visual


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from catalogs.folder import Folder

    folder = Folder(tmp_path_factory.mktemp("workspace"))
    rows = toy_visual.fill(folder)
    return folder, rows, folder.read(gallery.draw_visual(folder, rows, most=1).removeprefix(f"{folder.root}/")).decode()


def test_the_best_and_the_doubtful_have_pictures_and_numbers(page):
    _, _, text = page
    assert text.index(">1. a<") < text.index(">2. c/1<") and ". b<" not in text
    assert text.count("data:image/png;base64,") == 4  # stacks and surfaces of two sources
    assert "1.80″ apart at 30° east of north" in text and "1.810" in text  # of all filters, and of one
    assert 'href="#1-a"' in text and 'id="1-a"' in text
    assert "either may be the brighter one" in text and "a saturated pixel" in text


def test_the_same_catalogue_gives_the_same_page(page):
    folder, rows, text = page
    gallery.draw_visual(folder, rows, most=1)
    assert folder.read(gallery.PATH).decode() == text


def test_a_catalogue_without_measures_is_shown(workspace):
    rows = toy_visual.fill(workspace, measured=False, surveys=["SDSS"])
    text = workspace.read(gallery.PATH if gallery.draw_visual(workspace, rows) else "").decode()
    assert "about 1.8″ apart by the network" in text and "delta_chi2" not in text and "n_components" not in text
    assert [name for name in ("a", "b", "c/1", "d", "e") if f". {name}<" in text] == ["a", "b", "c/1"]
    workspace.remove_tree("stacks")
    gallery.draw_visual(workspace, rows)
    assert "no longer in the workspace" in workspace.read(gallery.PATH).decode()


def test_a_table_of_nullable_types_gives_the_same_page(page):
    folder, rows, text = page
    gallery.draw_visual(folder, rows.convert_dtypes(), most=1)
    assert folder.read(gallery.PATH).decode() == text


def test_nothing_found_is_a_page_too(workspace):
    rows = toy_visual.fill(workspace, measured=False, surveys=["SDSS"])
    gallery.draw_visual(workspace, rows[rows["tier"] == "single"])
    assert "No source is called double." in workspace.read(gallery.PATH).decode()


def test_the_best_come_first_and_the_doubtful_by_their_odds(page):
    _, rows, _ = page
    assert list(gallery.best(rows, 9)["source_id"]) == ["a", "b"]
    assert list(gallery.doubtful(rows, 9)["source_id"]) == ["c/1", "b", "a"]


def test_the_mark_is_where_the_second_star_is(workspace):
    for angle in (30.0, 120.0, 250.0):
        image = toy_stacks.star("SDSS", sep=2.2, pa=angle, dm=0.4)
        east, north = showcase.companion({"sep_arcsec": 2.2, "pa_deg": angle})
        scale, side, _ = toy_stacks.SURVEYS["SDSS"]
        x, y = (side - 1) / 2 - east / scale, (side - 1) / 2 + north / scale
        assert image[round(y), round(x)] > 500
    assert showcase.companion({"sep_arcsec": 1.0}) is None
    assert showcase.companion({"sep_arcsec": float("nan"), "pa_deg": 3.0}) is None


def test_the_stretch_is_the_same_for_every_survey():
    row = {
        "survey": "SDSS",
        "filters": "r",
        "x0": 31.5,
        "y0": 31.5,
        "pixscale": 0.396,
        "noise": 2.0,
        "fwhm_arcsec": 1.3,
    }
    image = toy_stacks.star("SDSS", sep=2.0, dm=3.0)
    seen = showcase._stretched(showcase.Seen(image, row))
    assert seen.max() == 1 and 0 < np.median(seen) < 0.2
    brighter = showcase._stretched(showcase.Seen(image * 7, row | {"noise": 14.0}))
    np.testing.assert_allclose(brighter, seen, atol=1e-6)  # whatever a count is
    nothing = showcase.Seen(np.full((64, 64), np.nan, np.float32), row | {"noise": None, "snr": None})
    assert np.isnan(showcase._stretched(nothing)).all()
    for picture in (showcase.stacks([nothing], None, "x"), showcase.surfaces([nothing], None, "x")):
        assert picture.size[0] > 1000


def test_pictures_are_images_of_a_panel_a_survey(page):
    folder, _, text = page
    seen = showcase.load(folder, showcase.indexed(folder, ["a"]))
    assert [one.row["survey"] for one in seen] == ["HST", "SDSS", "unWISE"]  # the sharpest first
    first = re.search(r"data:image/png;base64,([^\"]+)", text)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.group(1)))).convert("RGBA").convert("RGB"), float)
    ring = np.abs(image - [213, 94, 0]).sum(2) < 90
    assert [bool(part.any()) for part in np.array_split(ring, 4, axis=1)] == [True, True, True, False]


def test_marks_keep_their_colours_in_one_picture_of_all(page):
    folder, _, _ = page
    seen = showcase.load(folder, showcase.indexed(folder, ["a"]))
    whole = showcase.both(seen * 2, (1.0, 1.5), "a")  # six panels: two rows of each sort
    image = np.asarray(Image.open(io.BytesIO(whole.png)).convert("RGBA").convert("RGB"), float)
    assert (np.abs(image - [213, 94, 0]).sum(2) < 90).any(1).sum() > 100
    alone = showcase.stacks(seen, None, "a").size[1] + showcase.surfaces(seen, None, "a").size[1]
    assert whole.size[1] == pytest.approx(2 * alone, abs=4)


def test_a_source_at_the_edge_of_its_stack_is_drawn():
    row = {"survey": "X", "filters": "r", "x0": 63.0, "y0": 0.0, "pixscale": 0.4, "noise": 1.0, "fwhm_arcsec": None}
    one = showcase.Seen(np.ones((64, 64), np.float32), row | {"snr": None})
    assert showcase.stacks([one], (1.0, 1.0), "x").size == showcase.stacks([one], None, "x").size
    assert showcase.surfaces([one], (1.0, 1.0), "x").png[:4] == b"\x89PNG"
