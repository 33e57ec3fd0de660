"""From alerts to the catalogue, its embeddings, the log and the labels; and the service says what the batch says."""

import base64
import json

import numpy as np
import pandas as pd
import pytest

from catalogs import review, write
from catalogs.embeddings import EMBEDDINGS
from catalogs.query import query
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from models import monitor, night
from models.alarm import judge
from models.queue import line_up
from models.registry import Registry
from models.review_transients import Transients
from models.spec import get_spec
from pipeline import candidates, manifest
from pipeline.alerts.cutouts import cut
from pipeline.alerts.packets import read
from pipeline.settings import CandidateScoreSettings
from tests.models import toy_realbogus
from tests.models.toy_service import ask, service
from tests.pipeline.alerts import made

FP32 = CandidateScoreSettings(precision="fp32", runtime="torch", batch_size=16)
PRODUCT = TRANSIENT_CANDIDATES.name


def scored(workspace, *files):
    """Score files in this process and make the catalogue; return the stage."""
    stage = night.planned(workspace, "realbogus", files, FP32)
    for key in stage.keys():  # noqa: SIM118
        stage.execute(key)
    night.catalogue(workspace, stage.entry)
    return stage


@pytest.fixture
def files(tmp_path):
    """Return files of ten alerts, one of them twice, one damaged, one cut at the edge of a chip."""
    many = [made.alert(jd=2460411.67 + number % 2) | {"candid": number} for number in range(1, 8)]
    jpeg = {"fileName": "x", "stampData": b"\xff\xd8\xff\xe0" + bytes(99)}
    edge = made.alert((63, 41), (31, 9), xpos=10.0) | {"candid": 50}
    paths = [tmp_path / name for name in ("a.avro", "b.avro", "c.parquet")]
    paths[0].write_bytes(made.avro([*many, many[0] | {"candid": 99, "cutoutTemplate": jpeg}, edge]))
    paths[1].write_bytes(made.avro([many[1] | {"objectId": "ZTF24again"}]))
    paths[2].write_bytes(made.rubin((30, 38)))
    return paths


def test_embeddings_and_log_are_committed_beside_the_scores(workspace, files):
    toy_realbogus.save(workspace)
    stage = scored(workspace, *files)
    (key,) = stage.keys()
    rows = query(workspace, PRODUCT).set_index("candidate_id")
    table = write.read(workspace, f"catalogs/{EMBEDDINGS.name}/{key.where}/part-00000.parquet", EMBEDDINGS).to_pandas()
    assert set(table["candidate_id"]) == set(rows.index) and len(table) == len(rows) == 10
    seen = table.set_index("candidate_id")["embedding"]
    (packet,) = [one for one in read(files[0]) if one.candid == "50"]
    whole = cut(packet, centred=True)
    assert (whole.x, whole.y) == (31, 31) and np.isnan(whole.pixels).any()
    found = stage.scorer.score(whole.pixels[None])
    assert rows.loc["ztf:50", "p_real"] == pytest.approx(found.p_real[0], abs=1e-6)
    assert seen["ztf:50"] == pytest.approx(found.embedding[0], rel=1e-4, abs=1e-5)
    items = Transients(workspace).items()
    places = Transients(workspace).embeddings(items)
    assert places.shape == (10, len(found.embedding[0])) and np.isfinite(places).all()
    assert places[list(items["item_id"]).index("ztf:50")] == pytest.approx(seen["ztf:50"])

    log = monitor.Log(workspace, stage.entry.id).rows()
    assert (
        log["n"].sum() == 10
        and set(log["survey"]) == {"ztf", "lsst", ""}
        and set(log["batch"]) == {"alerts/part-00000"}
    )
    assert [json.loads(text) for text in log["refused"] if text != "{}"] == [{"cutout_jpeg": 1}]
    assert log.loc[log["survey"] == "ztf", "n_images"].sum() == 2  # two nights, one chip
    assert log[["n_real", "n_uncertain", "n_bogus"]].to_numpy().sum() == 10
    assert len(judge(workspace, stage.entry).parts)

    record = manifest.read(workspace, stage.name, key)
    paths = [one.path for one in record.objects]
    assert monitor.path(stage.entry.id, "alerts/part-00000") in paths and len(paths) == 4
    before = {path: workspace.read(path) for path in paths}
    manifest.discard(workspace, stage.name, key)
    scored(workspace, *files)
    assert {path: workspace.read(path) for path in paths} == before


def test_a_model_without_embedding_and_without_reference_is_logged(workspace, files):
    first = Registry(workspace).resolve(f"realbogus@{toy_realbogus.save(workspace)}")
    standing = first.card["standing"] | {"embedding": None}
    registry = Registry(workspace)
    bare = registry.save("realbogus", get_spec("realbogus").network().state_dict(), {"standing": standing}, {})
    registry.set_alias("realbogus", "production", bare)
    stage = scored(workspace, files[2])
    assert stage.entry.id == bare and monitor.Log(workspace, bare).rows()["n"].sum() == 2
    assert not workspace.list(f"catalogs/{EMBEDDINGS.name}", ".parquet")
    assert Transients(workspace).embeddings(Transients(workspace).items()) is None
    (figures,) = ask(service(workspace), ("GET", "/metrics", {}))
    assert "skysift_scored_total{" in figures.text and "skysift_drift_psi{" not in figures.text


def test_a_label_is_in_the_next_catalogue_and_is_not_asked_for_again(workspace, files):
    toy_realbogus.save(workspace)
    stage = scored(workspace, *files)
    before = workspace.read(candidates.CURRENT)
    items = Transients(workspace).items()
    name = line_up(items, "uncertain", review.labels(workspace, PRODUCT))["item_id"][0]
    review.append(workspace, PRODUCT, [{"item_id": name, "label": "bogus", "who": "ada", "type": "dipole"}])
    night.catalogue(workspace, stage.entry)
    rows = query(workspace, PRODUCT).set_index("candidate_id")
    assert rows.loc[name, "review_label"] == "bogus" and rows.loc[name, "reviewed_by"] == "ada"
    assert pd.Timestamp(rows.loc[name, "reviewed_at"]) > pd.Timestamp("2020-01-01", tz="UTC")
    assert rows["review_label"].notna().sum() == 1
    left = line_up(Transients(workspace).items(), "uncertain", review.labels(workspace, PRODUCT), who="bob")
    assert name not in set(left["item_id"]) and len(left) == len(items) - 1
    review.undo(workspace, PRODUCT, "ada")
    night.catalogue(workspace, stage.entry)
    assert workspace.read(candidates.CURRENT) == before


def test_the_service_says_what_the_batch_says(workspace, tmp_path):
    toy_realbogus.save(workspace)

    def encoded(alert, number):
        stamps = {name: {"stampData": base64.b64encode(alert[name]["stampData"]).decode()} for name in alert
                  if name.startswith("cutout")}  # fmt: skip
        return {**alert, "prv_candidates": None, "candid": number, **stamps}

    alerts = [made.alert(), made.alert(fwhm=9.0, seeratio=1.0), made.alert((63, 41), (31, 9), xpos=10.0)]
    path = tmp_path / "night.json"
    path.write_text(json.dumps([encoded(alert, number) for number, alert in enumerate(alerts, 1)]))
    scored(workspace, path)
    rows = query(workspace, PRODUCT).set_index("candidate_id")
    assert rows.loc["ztf:2", "seeing_arcsec"] == pytest.approx(9 * 1.012)
    (answer,) = ask(service(workspace, settings=FP32), ("POST", "/score", {"content": path.read_bytes()}))
    assert [one["id"] for one in answer.json()] == ["ztf:1", "ztf:2", "ztf:3"]
    for one in answer.json():
        same = rows.loc[one["id"]]
        assert one["tier"] == same["tier"] and one["ood"] == same["ood"]
        assert (one["p_real"], one["novelty"]) == pytest.approx((same["p_real"], same["novelty"]), abs=1e-5)
    log = monitor.Log(workspace, Registry(workspace).resolve("realbogus").id).rows()
    mine, other = (log[log["batch"].str.startswith(kind)] for kind in ("service-", "alerts/"))
    same = ["survey", "filter", "season", "n", "n_images", "n_real", "n_uncertain", "n_bogus", "n_ood", "mjd_min"]
    assert len(mine) and mine[same].to_dict("records") == other[same].to_dict("records")
    assert all(np.array_equal(a, b) for a, b in zip(mine["n_by_fwhm_science"], other["n_by_fwhm_science"], strict=True))
