"""Candidates and alerts become rows of one catalogue: every input once, the same bytes in any order."""

import shutil
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from catalogs import review, schema, write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.query import query
from catalogs.supernovae import Selection
from catalogs.transient_candidates import TRANSIENT_CANDIDATES, tier
from jobs import promote as promotion
from models import night
from models.alerts import ScoreAlerts
from models.registry import Registry
from models.scorer import Scorer
from pipeline import candidates, manifest, stores
from pipeline.alerts.cutouts import triplet
from pipeline.alerts.packets import read
from pipeline.errors import Mismatch, Missing, ModelNotFound
from pipeline.images import coverage, supernovae, triplets
from pipeline.images.difference import DIFFERENCE, part_path
from pipeline.images.sampling import rescale, sampled
from pipeline.images.status import outcomes
from pipeline.partition import Key
from pipeline.settings import AssociateSettings, CandidateScoreSettings, SelectSettings
from tests.models import toy_realbogus
from tests.models.toy_service import ask, service
from tests.pipeline.alerts import made
from tests.pipeline.images import sky

FP32 = CandidateScoreSettings(precision="fp32", runtime="torch", batch_size=16)


def alerts(folder, count=5):
    """Write alerts of two surveys in three files, one of a damaged alert beside a good one, and one of none."""
    folder.mkdir(exist_ok=True)
    many = [made.alert(drb=number / 10) | {"candid": number} for number in range(1, count + 1)]
    jpeg = {"fileName": "x", "stampData": b"\xff\xd8\xff\xe0" + bytes(99)}
    (folder / "a.avro").write_bytes(made.avro([*many, many[0] | {"candid": 99, "cutoutTemplate": jpeg}]))
    (folder / "b.avro").write_bytes(made.avro([many[1] | {"objectId": "ZTF24again"}, many[2]]))
    (folder / "c.parquet").write_bytes(made.rubin((30, 38)))
    (folder / "d.json").write_bytes(b"not json")
    return folder


def run(workspace, source, settings=FP32, order=1, model="realbogus"):
    """Score in this process, without Ray; return the outcomes."""
    stage = night.planned(workspace, model, source, settings)
    for key in stage.keys()[::order]:
        stage.execute(key)
    night.catalogue(workspace, stage.entry)
    return stage


def published(workspace):
    return workspace.read(candidates.CURRENT)


@pytest.fixture
def toy(workspace):
    """Return a workspace with a model in production."""
    toy_realbogus.save(workspace)
    return workspace


def test_every_alert_has_one_outcome_and_those_scored_a_row(toy, tmp_path):
    stage = run(toy, [alerts(tmp_path / "night")])
    found = outcomes(toy, "score_candidates").set_index("input")
    assert found["state"].value_counts().to_dict() == {"done": 7, "rejected": 2, "nothing": 2}
    assert found.loc["a.avro#5", "reason"] == "cutout_jpeg" and found.loc["d.json#0", "reason"].startswith("packet_")
    twice = found[found["reason"] == "duplicate"]
    assert {name[0] for name in twice.index} in ({"a"}, {"b"}) and len(twice) == 2
    rows = query(toy, "transient_candidates")
    assert len(rows) == 7 and set(rows["survey"]) == {"ztf", "lsst"} and set(rows["model_id"]) == {stage.entry.id}
    scorer = Scorer.load(toy, settings=FP32)
    packets = {f"{packet.survey}:{packet.candid}": packet for name in ("a.avro", "c.parquet")
               for packet in read(tmp_path / "night" / name)}  # fmt: skip
    for row in rows.itertuples():
        packet = packets[row.candidate_id]
        pixels = triplet(packet, centred=True)[None]
        if row.survey == "lsst":  # its PSF is 7.8 pixels wide here
            pixels = rescale(pixels, 3 / (row.seeing_arcsec / row.pixscale))
        found = scorer.score(pixels)
        assert row.p_real == pytest.approx(found.p_real[0], abs=1e-6)
        assert row.novelty == pytest.approx(found.novelty[0], abs=1e-5)
        assert row.p_transient + row.p_variable + row.p_mover == pytest.approx(1)
        assert row.threshold == scorer.threshold and row.p_prior < row.p_real
    assert rows.set_index("candidate_id").loc["ztf:3", "drb"] == pytest.approx(0.3)
    assert rows["review_label"].isna().all() and len(query(toy, "transient_candidates", clean=True)) <= 7


def test_other_pixels_are_resampled_and_ours_are_not(toy, tmp_path):
    stage = run(toy, [alerts(tmp_path / "night")])
    (key,) = stage.keys()
    (lot,) = stage.lots(key, {})
    ours = lot.fwhm_px < 6
    pixels, factor = sampled(lot.pixels, lot.fwhm_px, FP32)
    assert np.array_equal(pixels[ours], lot.pixels[ours], equal_nan=True) and 0 < ours.sum() < len(ours)
    assert (factor[ours] == 1).all() and factor[~ours] == pytest.approx(3 / lot.fwhm_px[~ours])
    wide, _ = sampled(lot.pixels, np.full(len(ours), 12.0), FP32)
    assert np.array_equal(wide, rescale(lot.pixels, 0.25), equal_nan=True)
    assert sampled(lot.pixels, np.full(len(lot.names), np.nan), FP32)[0] is lot.pixels


def test_any_order_of_files_and_partitions_gives_the_same_bytes(toy, tmp_path):
    folder = alerts(tmp_path / "night")
    small = FP32.model_copy(update={"part_mb": 1e-3})
    files = sorted(folder.iterdir())
    tables = []
    for number, (steps, settings, order) in enumerate(
        [
            ([[folder]], FP32, 1),
            ([[folder]], small, -1),
            ([[file] for file in files[::-1]], FP32, 1),
            ([files[2:], files], small, 1),
        ]
    ):
        workspace = Folder(tmp_path / f"copy-{number}")
        shutil.copytree(toy.root, workspace.root)
        for source in steps:
            run(workspace, source, settings, order)
        tables.append(published(workspace))
    assert len(set(tables)) == 1


def test_scored_once_and_never_by_other_settings(toy, tmp_path):
    folder = alerts(tmp_path / "night")
    stage = run(toy, [folder])
    shutil.copytree(folder, tmp_path / "moved")
    shutil.rmtree(folder)
    again = night.planned(toy, "realbogus", [tmp_path / "moved"], FP32)
    (key,) = again.keys()
    assert [key] == stage.keys() and again.execute(key).skipped
    other = night.planned(toy, "realbogus", [tmp_path / "moved"], FP32.model_copy(update={"prior": 0.01}))
    with pytest.raises(Mismatch, match=r"prior was None, is 0\.01"):
        other.execute(other.keys()[0])


def test_a_file_that_changes_or_goes_after_it_was_planned(toy, tmp_path):
    folder = alerts(tmp_path / "night")
    stage = night.planned(toy, "realbogus", [folder], FP32)
    (folder / "c.parquet").write_bytes(b"something else")
    (key,) = stage.keys()
    assert stage.execute(key).counts["rejected"] == 3
    assert outcomes(toy, "score_candidates").set_index("input").loc["c.parquet#0", "reason"] == "changed"
    manifest.discard(toy, stage.name, key)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        stage.execute(key)


def test_a_model_of_something_else_is_refused(toy, tmp_path):
    with pytest.raises(Missing, match="no differences"):
        night.planned(toy, "realbogus", None, FP32)
    with pytest.raises(ModelNotFound):
        night.planned(toy, "realbogus@candidate", [tmp_path], FP32)


def test_tiers_are_by_odds():
    found = tier([0.9, 0.5, 0.4999, 0.1, 0.09, 1.0, 0.0], 0.5, 10)
    assert found.tolist() == ["real", "real", "uncertain", "uncertain", "bogus", "real", "bogus"]
    assert tier([0.0, 1.0], 1.0, 10).tolist() == ["bogus", "real"]


@pytest.fixture
def differences(toy):
    """Return a workspace with differences and candidates; the second band of each pair has one without triplet."""
    sky.build(toy)
    table = write.read(toy, "catalogs/candidates.parquet", CANDIDATES)
    for pair in sorted(set(table["pair_id"].to_pylist())):
        own = table.filter(pa.compute.equal(table["pair_id"], pair))
        write.write(toy, part_path(pair, 0), own, CANDIDATES)
        odd = own.slice(0, 1).to_pylist()[0] | {"candidate_id": f"{pair} odd", "triplet_row": None}
        write.write(toy, part_path(pair, 1), CANDIDATES.of([odd]), CANDIDATES)
    return toy


def test_candidates_of_differences_are_scored_and_selected_by_it(differences):
    stage = run(differences, None)
    rows = query(differences, "transient_candidates").set_index("candidate_id")
    known = query(differences, "candidates").set_index("candidate_id")
    assert sorted(rows.index) == sorted(known.index)
    assert outcomes(differences, "score_candidates")["state"].value_counts().to_dict() == {"done": 11, "nothing": 3}
    pair = sky.epoch_pair(1)
    pixels = stores.read(differences, triplets.path(pair), [triplets.NAME], slice(0, 16))[triplets.NAME]
    own = known[known["pair_id"] == pair]
    expected = stage.scorer.score(pixels[own["triplet_row"].to_numpy(int)]).p_real
    assert rows.loc[own.index, "p_real"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert (rows.loc[own.index, "snr"] == own["snr"]).all() and rows["packet_file"].isna().all()

    measure = partial(coverage.photographed, differences)
    options = AssociateSettings.load(None, "associate"), SelectSettings.load(None, "select")
    supernovae.combine(differences, measure, *options)
    objects = supernovae.read(differences).objects
    assert objects["p_real"].notna().all() and set(objects["model_id"]) == {stage.entry.id}
    low = (objects["selection"] & int(Selection.LOW_P_REAL)) != 0
    assert (low == (objects["p_real"] < rows["threshold"].iloc[0])).all()
    assert not (objects["selection"] & int(Selection.NO_P_REAL)).any()
    supernovae.combine(differences, measure, options[0], SelectSettings(p_real=1.0))
    assert (supernovae.read(differences).objects["selection"] & int(Selection.LOW_P_REAL)).all()


def test_bands_that_are_missing_are_refused_unless_partial_and_stale_scores_are_left_out(differences):
    run(differences, None)
    band = Key("differences", sky.epoch_pair(0), 1)
    record = manifest.read(differences, DIFFERENCE, band)
    differences.remove(manifest.path(DIFFERENCE, band))
    with pytest.raises(Missing, match=f"{band.where} band 1"):
        night.planned(differences, "realbogus", None, FP32)
    assert len(night.planned(differences, "realbogus", None, FP32, allow_missing=True).keys()) == 5
    entry = Registry(differences).resolve("realbogus")
    _, notes = candidates.combine(differences, entry.id, entry.sha256)
    assert len(notes) == 1 and "left out, stale" in notes[0] and record is not None


def test_the_catalogue_tells_what_counts_of_the_labels(toy, tmp_path):
    folder = alerts(tmp_path / "night")
    run(toy, [folder])
    given = "1 real ada, 1 real bob, 1 bogus cid, 2 real ada, 2 bogus bob, 3 bogus ada, 3 skip bob, 4 skip bob"
    said = [one.split() for one in given.split(", ")]
    rows = [{"item_id": f"ztf:{number}", "label": label, "who": who} for number, label, who in said]
    review.append(toy, "transient_candidates", rows)
    run(toy, [folder])
    rows = query(toy, "transient_candidates").set_index("candidate_id")
    found = rows["review_label"].dropna().to_dict()
    assert found == {"ztf:1": "real", "ztf:2": "disputed", "ztf:3": "bogus"}
    assert rows.loc["ztf:1", "reviewed_by"] == "ada, bob" and rows.loc["ztf:3", "reviewed_by"] == "ada"


def test_the_catalogue_follows_a_promotion_by_any_way(toy, tmp_path):
    folder = alerts(tmp_path / "night")
    first = run(toy, [folder]).entry.id
    before = published(toy)
    second = toy_realbogus.save(toy, seed=2, alias="candidate")
    third = toy_realbogus.save(toy, seed=3, alias=None)
    rows = write.read(toy, candidates.CURRENT).to_pandas()
    run(toy, [folder], model="realbogus@candidate")
    assert published(toy) == before

    def promote(*words):
        result = CliRunner().invoke(promotion.main, ["--workspace", toy.root, *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert f"7 rows of {second}" in promote("realbogus@candidate")
    assert set(write.read(toy, candidates.CURRENT)["model_id"].to_pylist()) == {second}
    assert f"7 rows of {first}" in promote("realbogus", "--rollback") and published(toy) == before
    moved = ask(service(toy), ("POST", "/models/realbogus/promote", {}), ("POST", "/models/realbogus/rollback", {}))
    assert second in moved[0].json()["catalogue"] and first in moved[1].json()["catalogue"]
    assert published(toy) == before and candidates.with_scores(toy, rows)[1] is not None
    said = promote(f"realbogus@{third}")
    assert f"still shows {first}" in said and "jobs.score_candidates --workspace" in said
    with pytest.raises(Missing, match=f"is by {first}, but {third} is in production"):
        candidates.with_scores(toy, rows)


def test_on_ray_the_bytes_are_the_same_and_another_model_stands_beside(ray_cluster, toy, tmp_path):
    folder = alerts(tmp_path / "night")
    single = Folder(tmp_path / "single")
    shutil.copytree(toy.root, single.root)
    run(single, [folder])
    small = FP32.model_copy(update={"part_mb": 1e-3})
    (report,) = night.score_candidates(toy, "realbogus", [folder], small, (2, 0.0))
    assert report.exit_status == 0 and report.partitions > 3 and report.counts["rejected"] == 2, str(report)
    assert published(toy) == published(single)
    other = toy_realbogus.save(toy, seed=2, alias="candidate")
    (report,) = night.score_candidates(toy, "realbogus@candidate", [folder], small, (1, 0.0))
    assert "is not in production" in report.notes[-1] and published(toy) == published(single)
    assert set(query(toy, "transient_candidates", model=other)["model_id"]) == {other}
    (report,) = night.score_candidates(toy, "realbogus", [folder], small, (2, 0.0), overwrite=True)
    assert report.skipped == 0 and published(toy) == published(single)


def test_the_table_takes_no_more_nulls_than_needed():
    needed = {"candidate_id", "survey", "p_real", "tier", "ood", "threshold", "model_id"}
    assert not any(TRANSIENT_CANDIDATES[name].nullable for name in needed)
    assert schema.TABLES["transient_candidates"] is TRANSIENT_CANDIDATES
    assert issubclass(ScoreAlerts, night.ScoreCandidates)
