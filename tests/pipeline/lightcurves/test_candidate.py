"""Vetting pages: small, standing alone, the same for the same star, and working in a real browser."""

import asyncio
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from catalogs.binaries import Flag
from catalogs.folder import Folder
from pipeline.lightcurves import candidate, panels
from pipeline.lightcurves.candidate import page_path, write_candidate, write_index
from pipeline.lightcurves.events import fold, minima
from tests.browser import chromium, needed, opened


@pytest.fixture(scope="module")
def system(make_star, trapezoid, make_ephemeris):
    """Return a detached binary and its ephemeris."""
    first, second = trapezoid(0.2, 3.1, 1327.2, 5.0, 0.1), trapezoid(0.08, 3.1, 1328.533, 4.0, 0.1)
    ephemeris = make_ephemeris(
        period=3.1, epoch=1327.2, depth_1=0.2, duration_1_h=5.0, depth_2=0.08, duration_2_h=4.0, phase_2=0.43,
        odd_even_sigma=0.4, n_secondary=8,
    )  # fmt: skip
    return make_star(lambda time: first(time) + second(time), sectors=2), ephemeris


def row_of(tic_id, **changes):
    """Return a row as the catalogue has it."""
    row = {"tic_id": tic_id, "eb_id": 1, "p_eb": 0.98765, "p_ea": 0.9, "p_beta": 0.05, "p_ew": 0.04, "p_ell": 0.01}
    row |= {"morph": 0.21, "period": 3.1, "period_flag": "exact", "depth_1": 0.2, "depth_2": 0.08, "tmag": 10.0}
    return row | {"flags": 0, "known_in": ["Prša 2022"], "period_alt": np.nan} | changes


@pytest.fixture(scope="module")
def pages(tmp_path_factory, system):
    """Return a folder with the pages of three candidates and their index."""
    star, ephemeris = system
    folder = Folder(tmp_path_factory.mktemp("vetting"))
    rows = [row_of(11), row_of(22, flags=int(Flag.PLANET_LIKE | Flag.CONTAMINANT_EXCLUDED)), row_of(33, flags=np.nan)]
    names = [page_path(rank, row["tic_id"]) for rank, row in enumerate(rows, 1)]
    for place, row in enumerate(rows):
        around = (names[place - 1] if place else "", names[place + 1] if place + 1 < len(names) else "")
        write_candidate(folder, place + 1, around, star, row, [ephemeris])
    write_index(folder, pd.DataFrame(rows))
    return folder


def test_pages_are_small_and_stand_alone(pages):
    for name in ("index.html", *(page_path(rank, tic) for rank, tic in ((1, 11), (2, 22), (3, 33)))):
        data = pages.read(name)
        text = data.decode()
        assert len(data) < 150_000, name
        # Links lead to other pages; nothing is loaded.
        assert not re.search(r"<(?:link|iframe|object)|src=\"(?!data:)|url\(", text)
        assert "default-src 'none'" in text


def test_a_page_says_what_speaks_for_and_against(pages):
    plain, planet = (pages.read(page_path(rank, tic)).decode() for rank, tic in ((1, 11), (2, 22)))
    assert "No reason to distrust it was found. Known: Prša 2022." in plain
    assert "Reasons to distrust it: may be a transiting planet" in planet and "In its favour, all others" in planet
    assert plain.count("data:image/png") == 3 and "0.9876" in plain
    assert f'href="{page_path(2, 22)}" rel="next"' in plain and 'rel="prev"' not in plain
    index = pages.read("index.html").decode()
    assert index.index("TIC 11") < index.index("TIC 22") < index.index("TIC 33")
    assert "planet like" in index and "contaminant" not in index


def test_a_certain_difference_of_odd_and_even_eclipses_is_told_in_size(make_star, trapezoid, make_ephemeris):
    one, two = trapezoid(0.2, 6.2, 1327.2, 5.0, 0.1), trapezoid(0.19, 6.2, 1330.3, 5.0, 0.1)
    ephemeris = make_ephemeris(period=3.1, epoch=1327.2, depth_1=0.2, duration_1_h=5.0, odd_even_sigma=9.7)
    folded = fold(make_star(lambda time: one(time) + two(time), sectors=2), ephemeris)
    (primary,) = (kind for kind in minima(ephemeris) if kind.kind == 1)
    assert panels._odd_even(folded, primary, ephemeris) == ", odd – even 5.0%, 9.7 σ"
    assert panels._odd_even(folded, primary, replace(ephemeris, odd_even_sigma=np.nan)) == ""


def test_the_same_star_gives_the_same_bytes(system, tmp_path):
    star, ephemeris = system
    folders = [Folder(tmp_path / name) for name in ("a", "b")]
    first, second = (
        folder.read(write_candidate(folder, 1, ("", ""), star, row_of(1), [ephemeris])) for folder in folders
    )
    assert first == second


@pytest.mark.parametrize("case", ["none", "lower limit", "contact", "other system", "no centroid", "hardly any data"])
def test_whatever_is_missing(system, make_ephemeris, tmp_path, case):
    star, ephemeris = system
    ephemerides, row = [ephemeris], row_of(1)
    if case == "none":
        ephemerides = []
    elif case == "lower limit":
        ephemerides = [replace(ephemeris, period_flag="lower_limit", n_primary=1)]
    elif case == "contact":
        values = {"depth_1": 0.2, "depth_2": 0.1, "phase_2": 0.5}
        ephemerides = [make_ephemeris(period=0.31, epoch=1327.2, **values)]
    elif case == "other system":
        ephemerides, row = [ephemeris, replace(ephemeris, eb_id=2, period_alt=5.5)], row_of(1, eb_id=2)
    elif case == "no centroid":
        bare = [replace(one, centroid_col=None, pos_corr_col=None, sap_bkg=None) for one in star.observations]
        star = replace(star, observations=tuple(bare))
    else:
        one = star.observations[0]
        few = {name: getattr(one, name)[:20] for name in ("time", "flux", "flux_err", "quality")}
        star = replace(star, observations=(replace(one, **few, centroid_col=None, pos_corr_col=None, sap_bkg=None),))
    folder = Folder(tmp_path)
    text = folder.read(write_candidate(folder, 1, ("", ""), star, row, ephemerides)).decode()
    assert text.count("data:image/png") >= 2
    assert ("system 2" in text) == (case == "other system")
    assert ("alternative" in text or "5.5 d" in text) == (case == "other system")


def test_the_index_has_pages_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(candidate, "ROWS", 2)
    folder = Folder(tmp_path)
    write_index(folder, pd.DataFrame([row_of(tic) for tic in (5, 6, 7)]))
    assert "TIC 7" not in folder.read("index.html").decode()
    last = folder.read("index-2.html").decode()
    assert "TIC 7" in last and page_path(3, 7) in last and 'href="index.html" rel="prev"' in last
    write_index(Folder(tmp_path / "none"), pd.DataFrame(columns=["tic_id"]))
    assert "index.html" in [entry.path for entry in Folder(tmp_path / "none").files()]


async def look(port, folder):
    """Return what a browser finds on the pages: pictures by page, places that keys lead to, faults."""
    async with opened(port) as browser:
        names = [page_path(rank, tic) for rank, tic in ((1, 11), (2, 22), (3, 33))]
        await browser.call("Page.navigate", url=f"file://{folder.root}/index.html")
        await browser.settle("index.html")
        await browser.evaluate("document.querySelector('tbody a').click()")
        places = [await browser.settle(names[0])]
        script = "[...document.images].map(i => i.complete && i.naturalWidth > 100 && i.getBoundingClientRect().width)"
        pictures = [await browser.evaluate(script)]
        for key, name in (("ArrowRight", names[1]), ("j", names[2]), ("k", names[1]), ("ArrowLeft", names[0])):
            await browser.press(key)
            places.append(await browser.settle(name))
            pictures.append(await browser.evaluate(script))
        # At the first page there is nowhere to go back to.
        await browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
        wide = await browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return places, pictures, browser.faults, wide


@needed
def test_pages_in_a_real_browser(pages, tmp_path):
    with chromium(tmp_path) as devtools:
        places, pictures, faults, wide = asyncio.run(look(devtools, pages))
    assert [place.rpartition("-tic")[2] for place in places] == [f"{n}-1.html" for n in (11, 22, 33, 22, 11)]
    assert all(len(widths) == 3 and all(width and width > 800 for width in widths) for widths in pictures), pictures
    assert not faults, json.dumps(faults)[:2000]
    assert wide
