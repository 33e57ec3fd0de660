"""The job that scores candidates, as people meet it: what it refuses, what it would do, what it did."""

import json

import pytest

from catalogs.query import query
from tests.jobs.test_cli import run
from tests.models import toy_realbogus
from tests.pipeline.alerts import made


@pytest.fixture
def night(tmp_path):
    """Return a folder with a file of three alerts, one of them without a cutout."""
    folder = tmp_path / "night"
    folder.mkdir()
    alerts = [made.alert() | {"candid": number} for number in (1, 2, 3)]
    alerts[2]["cutoutScience"] = None
    (folder / "a.avro").write_bytes(made.avro(alerts))
    return folder


def test_what_makes_no_sense_is_refused_and_a_dry_run_makes_nothing(workspace, night):
    result = run("score_candidates", "--workspace", workspace, "--alerts", night, "--watch", night)
    assert result.exit_code == 2 and "--watch goes without --alerts" in result.output
    result = run("score_candidates", "--workspace", workspace, "--alerts", night / "nothing")
    assert result.exit_code == 2 and "does not exist" in result.output
    toy_realbogus.save(workspace)
    result = run("score_candidates", "--workspace", workspace, "--dry-run")
    assert result.exit_code == 3 and "run difference_images" in result.output
    result = run("score_candidates", "--workspace", workspace, "--prior", 2, "--alerts", night, "--dry-run")
    assert result.exit_code == 2 and "prior" in result.output
    before = [entry.path for entry in workspace.list()]
    result = run("score_candidates", "--workspace", workspace, "--alerts", night, "--dry-run")
    assert result.exit_code == 0 and "in 1 partitions" in result.output, result.output
    assert [entry.path for entry in workspace.list()] == before


def test_alerts_become_a_catalogue_that_query_opens_and_status_explains(ray_cluster, workspace, night):
    model = toy_realbogus.save(workspace)
    options = ("--workspace", workspace)
    result = run("score_candidates", *options, "--workers", 1, "--alerts", night, "--prior", 0.001)
    assert result.exit_code == 0 and "3 inputs: 2 done, 0 nothing, 1 rejected" in result.output, result.output
    rows = query(workspace, "transient_candidates")
    assert set(rows["model_id"]) == {model} and (rows["prior"] == 0.001).all() and (rows["p_prior"] < 0.01).all()
    result = run("query", "--workspace", workspace, "--catalog", "transient_candidates", "--id", "ztf:2")
    assert result.exit_code == 0 and "ztf:2" in result.output and "tier" in result.output
    result = run("status", "--workspace", workspace, "--outcomes", "score_candidates")
    assert result.exit_code == 0 and "cutout_missing" in result.output
    result = run("status", *options)
    assert f"score_candidates {model}, alerts" in result.output and "nothing is ingested" not in result.output
    told = json.loads(run("explain", *options, "ztf:2").output)
    assert told["row"]["candidate_id"] == "ztf:2" and told["snapshot"]["path"].endswith("snapshot-000001.parquet")
    assert told["packet"]["address"] == str(night / "a.avro") and told["packet"]["note"] == "unchanged"
    assert told["packet"]["number"] == 1 and told["packet"]["sha256"] == told["row"]["packet_sha256"]
    assert told["score"]["manifest"].endswith(f"model={model}/alerts/part-00000.json") and told["score"]["runtime"]
    assert told["model"]["card"] == f"models/realbogus/{model.rpartition('-')[2]}/card.json"
    result = run("explain", *options, "ztf:3")  # it was rejected
    assert result.exit_code == 3 and "no candidate ztf:3" in result.output and "transient_candidates" in result.output
    result = run("score_candidates", *options, "--watch", night, "--once", "--poll", 0.1, "--prior", 0.001)
    assert result.exit_code == 0 and "1 partitions (1 before)" in result.output, result.output
