"""Candidates become a catalogue of objects with light curves: the right numbers, and the same bytes in any order."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import Sip

from catalogs.query import QueryError, query
from catalogs.supernovae import Selection, tally
from catalogs.transients import Transients
from pipeline import manifest
from pipeline.errors import Missing, Stale
from pipeline.images import coverage, gallery, image, supernovae
from pipeline.images.difference import DIFFERENCE
from pipeline.partition import Key
from pipeline.recipes import select_supernovae
from pipeline.settings import AssociateSettings, SelectSettings
from tests.pipeline.images import sky

ASSOCIATION, SELECTION = AssociateSettings.load(None, "associate"), SelectSettings.load(None, "select")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a workspace with its catalogue and pages, and the reports."""
    workspace = sky.build(sky.empty(tmp_path_factory.mktemp("sky")))
    return workspace, list(select_supernovae(None, workspace, ASSOCIATION, SELECTION))


def names(tables):
    """Return object_id → name in `sky`."""
    first = tables.members.sort_values("candidate_id").drop_duplicates("object_id")
    return dict(zip(first["object_id"], first["candidate_id"].str[:-2], strict=True))


def combine(workspace, **options):
    return supernovae.combine(workspace, partial(coverage.photographed, workspace), ASSOCIATION, SELECTION, **options)


def test_light_curves_are_what_the_differences_say(made):
    tables = supernovae.read(made[0])
    assert sorted(names(tables).values()) == sorted(sky.OBJECTS)
    curves = tables.curves.assign(name=tables.curves["object_id"].map(names(tables)))
    for name, (_, seen, truth) in sky.OBJECTS.items():
        own = curves[curves["name"] == name].sort_values("mjd_mid")
        assert own["mjd_mid"].tolist() == [60000.0, 60005.0, 60010.0]
        assert own["flux"].tolist() == pytest.approx(np.array(truth) * sky.ERROR, abs=0.03), name
        assert own["candidate_id"].isna().tolist() == [snr is None for snr in seen]
        assert own["flux_limit"].notna().tolist() == [snr < 3 for snr in truth]
        assert ((own["flags"] & 32) != 0).all() == (name == "at the edge")
    objects = tables.objects.assign(name=tables.objects["object_id"].map(names(tables))).set_index("name")
    assert objects.loc["grows", ["n_det", "n_nondet"]].tolist() == [2, 1] and objects.loc["once", "n_nondet"] == 2
    bits = {name: Selection(int(value)) for name, value in objects["selection"].items()}
    assert bits["grows"] == bits["second band"] == Selection.NO_P_REAL
    assert bits["once"] == Selection.NO_P_REAL | Selection.UNCONFIRMED and Selection.SPOILED in bits["at the edge"]
    assert dict(tally(objects["selection"]))[Selection.UNCONFIRMED] == 2


def test_epochs_in_any_order_give_the_same_bytes_and_old_states_stay(tmp_path, made):
    workspace = sky.empty(tmp_path / "other")
    for epochs in ((2,), (0, 1)):
        sky.build(workspace, epochs)
        combine(workspace)
    for name in ("supernova_candidates", "forced_photometry", "supernova_detections"):
        path = f"catalogs/{name}.parquet"
        assert workspace.read(path) == made[0].read(path), name
    assert query(workspace, "supernova_candidates", as_of=1)["n_det"].max() == 1
    assert len(query(workspace, "supernova_candidates", as_of=2)) == 5
    before = {entry.path for entry in workspace.list("")}
    assert combine(workspace)["supernova_candidates"] == 5
    assert {entry.path for entry in workspace.list("")} == before
    # Another limit is another state; the first one again is no new one, but the newest.
    strict = SELECTION.model_copy(update={"gap_minutes": 8 * 1440.0})
    supernovae.combine(workspace, partial(coverage.photographed, workspace), ASSOCIATION, strict)
    assert workspace.read(supernovae.CURRENT) != made[0].read(supernovae.CURRENT)
    combine(workspace)
    assert workspace.read(supernovae.CURRENT) == made[0].read(supernovae.CURRENT)


def test_lists_name_and_cut_objects(tmp_path):
    workspace = sky.build(sky.empty(tmp_path))
    places = {name: sky.WCS.all_pix2world(*place, 0) for name, (place, _, _) in sky.OBJECTS.items()}
    known = pd.DataFrame([("SN 2026a", *map(float, places["grows"]), "Ia")], columns=["name", "ra", "dec", "kind"])
    ra, dec = places["second band"]
    variables = pd.DataFrame({"ra": [float(ra)], "dec": [float(dec)]})
    ra, dec = places["once"]
    movers = pd.DataFrame({"name": "x", "mjd": [60004.9, 60005.1], "ra": float(ra), "dec": float(dec)})
    combine(workspace, lists=supernovae.Lists(variables, movers, (Transients(known, 0),)))
    tables = supernovae.read(workspace)
    objects = tables.objects.assign(name=tables.objects["object_id"].map(names(tables))).set_index("name")
    assert objects["known_name"].dropna().to_dict() == {"grows": "SN 2026a"}
    assert Selection.KNOWN_VARIABLE in Selection(int(objects.loc["second band", "selection"]))
    assert Selection.SOLAR_SYSTEM in Selection(int(objects.loc["once", "selection"]))
    assert query(workspace, "supernova_candidates", ids="SN 2026a")["n_det"].tolist() == [2]


def test_bands_that_are_not_committed_say_nothing(tmp_path):
    workspace = sky.build(sky.empty(tmp_path))
    workspace.remove(manifest.path(DIFFERENCE, Key("differences", sky.epoch_pair(1), 1)))
    frames = coverage.coverage(workspace).frames
    place = [np.array([float(value)]) for value in sky.WCS.all_pix2world(90.0, 500.2, 0)]
    found = coverage.measure(workspace, frames.iloc[1], *place)
    assert np.isnan(found["flux"][0]) and found["flags"][0] == 0
    assert coverage.measure(workspace, frames.iloc[0], *place)["snr"][0] == pytest.approx(20, abs=0.02)
    off = coverage.measure(workspace, frames.iloc[0], np.array([151.0]), np.array([2.2]))
    assert np.isnan(off["flux"][0]) and off["flags"][0] == 0


def test_the_science_image_of_a_pair_is_the_one_that_its_name_says():
    for science, reference in (("a-0-ff", "b-0-ee"), ("a-0-ff-1-ee", "a-0-ff"), ("a-0-ff", "a-0-ff-1-ee")):
        for used in ([science, reference], [reference, science]):
            assert coverage._science(f"{science}-{reference}", used) == science


def test_places_far_off_a_distorted_image_are_nowhere(tmp_path, monkeypatch):
    workspace = sky.build(sky.empty(tmp_path), (1,))
    frame = coverage.coverage(workspace).frames.iloc[0]
    distorted = sky.WCS.deepcopy()
    distorted.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    terms = np.zeros((4, 4))
    terms[3, 0] = terms[1, 2] = -4e-6
    distorted.sip = Sip(terms, np.zeros((4, 4)), None, None, distorted.wcs.crpix)
    monkeypatch.setattr(coverage, "wcs_from", lambda text: distorted)
    x, y = np.array([90.0, 5.0]), np.array([500.2, 20.0])
    ra, dec = (np.r_[place, off] for place, off in zip(distorted.all_pix2world(x, y, 0), (149.8, 2.2), strict=True))
    found = coverage.measure(workspace, frame, ra, dec)
    assert found["snr"][0] == pytest.approx(30, abs=0.05) and found["snr"][1] == pytest.approx(0, abs=0.05)
    assert np.isnan(found["flux"][2]) and found["flags"][2] == 0


def test_what_is_missing_or_has_changed_is_refused(tmp_path):
    workspace = sky.empty(tmp_path)
    with pytest.raises(Missing, match="run difference_images"):
        combine(workspace)
    with pytest.raises(Missing, match="run select_supernovae"):
        supernovae.read(workspace)
    sky.build(workspace)
    workspace.remove(manifest.path(image.STAGE, image.key_of("sim/e1-0-aa")))
    with pytest.raises(Stale, match="have changed since"):
        combine(workspace)


def test_new_catalogues_are_asked_by_name_and_cone(made):
    workspace = made[0]
    tables = supernovae.read(workspace)
    name = {value: key for key, value in names(tables).items()}["grows"]
    assert query(workspace, "forced_photometry", ids=name)["flux"].notna().tolist() == [True] * 3
    members = query(workspace, "candidates", ids=[name, "nobody"])
    assert members["candidate_id"].tolist() == ["grows-1", "grows-2"] and set(members["object_id"]) == {name}
    assert members.attrs["notes"] == ["not in candidates: nobody"]
    assert members["selection"].tolist() == [int(Selection.NO_P_REAL)] * 2
    ra, dec = (float(value) for value in sky.WCS.all_pix2world(64.3, 200.6, 0))
    near = query(workspace, "supernova_candidates", cone=(ra, dec, 1 / 3600))
    assert near["object_id"].tolist() == [name] and near["separation"][0] < 1e-5
    assert len(query(workspace, "supernova_candidates", clean=True)) == 3
    assert (
        len(query(workspace, "candidates", clean=True)) == 8
        and query(workspace, "candidates", as_of=1)["object_id"].isna().all()
    )
    assert query(workspace, "candidates", min_score=0.5).empty
    with pytest.raises(QueryError, match="nothing to judge by"):
        query(workspace, "forced_photometry", clean=True)


def test_pages_show_every_selected_object_and_old_ones_go(made):
    workspace, reports = made
    assert [report.exit_status for report in reports] == [0, 0] and reports[1].rows == 3
    pages = {entry.path.rpartition("/")[2] for entry in workspace.list(gallery.PATH)}
    tables = supernovae.read(workspace)
    chosen = {key for key, value in names(tables).items() if value in ("grows", "between windows", "second band")}
    assert pages == {"index.html", *(f"{name}.html" for name in chosen)}
    index = workspace.read(f"{gallery.PATH}/index.html").decode()
    assert (
        'class="sortable"' in index
        and index.count("data:image/png") == 3
        and "nan" not in index.lower().split("base64")[0]
    )
    one = workspace.read(f"{gallery.PATH}/{sorted(chosen)[0]}.html").decode()
    assert one.count("data:image/png") == 2 and "No model has scored it." in one
    list(select_supernovae(None, workspace, ASSOCIATION, SELECTION, pages=1))
    assert len(list(workspace.list(gallery.PATH))) == 2
