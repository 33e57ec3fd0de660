"""The job that scores stamps, as people meet it: what it refuses, what it would do, what it made."""

import json

import pandas as pd

from catalogs.query import query
from models.registry import Registry
from tests.jobs.test_cli import run
from tests.models import toy_visual


def fill(workspace):
    toy_visual.stacked(workspace, "pan-starrs", 0, {"7": 0, "b": 1, "c": -1})
    toy_visual.stacked(workspace, "unwise", 0, {"7": 0})
    toy_visual.measured(workspace, 0, ["b"])


def test_what_is_missing_is_refused_and_a_dry_run_makes_nothing(workspace):
    options = ("--workspace", workspace)
    result = run("score_stamps", *options, "--model", "visualbinary@00000000", "--dry-run")
    assert result.exit_code == 2 and "visualbinary" in result.output
    toy_visual.save(workspace)
    result = run("score_stamps", *options, "--dry-run")
    assert result.exit_code == 3 and "run ingest_stamps" in result.output
    fill(workspace)
    assert run("score_stamps", *options, "--prior", 2, "--dry-run").exit_code == 2
    assert run("score_stamps", *options, "--model", "eb", "--dry-run").exit_code == 2
    before = [entry.path for entry in workspace.list()]
    result = run("score_stamps", *options, "--dry-run")
    assert result.exit_code == 0 and "in 2 partitions" in result.output, result.output
    assert [entry.path for entry in workspace.list()] == before


def test_stacks_become_a_catalogue_that_all_jobs_open(ray_cluster, workspace, tmp_path):
    model = toy_visual.save(workspace)
    fill(workspace)
    options = ("--workspace", workspace)
    result = run("score_stamps", *options, "--workers", 1, "--prior", 0.2, "--runtime", "torch")
    assert result.exit_code == 0 and "4 inputs: 2 done, 1 nothing, 1 rejected" in result.output, result.output
    assert "sources are of the tier double" in result.output
    rows = query(workspace, "visual_binaries", min_score=0.0)
    assert rows["source_id"].tolist() == ["7", "b"]
    assert (rows["prior"] == 0.2).all() and set(rows["model_id"]) == {model}
    result = run("query", *options, "--catalog", "visual_binaries", "--id", "b", "--id", "nobody")
    assert result.exit_code == 0 and "p_double" in result.output and "not in visual_binaries: nobody" in result.output
    clean = query(workspace, "visual_binaries", clean=True)
    assert clean["tier"].isin(["double"]).all() and (clean["flags"] & 2 == 0).all()

    told = json.loads(run("explain", *options, "7").output)
    assert told["row"]["source_id"] == "7" and len(told["filters"]) == 3
    assert sorted(told["surveys"]) == ["Pan-STARRS", "unWISE"]
    seen = told["surveys"]["Pan-STARRS"]
    assert seen["scored"]["runtime"]["runtime"] == "torch" and not seen["stacked"]["stale"]
    stamps = seen["ingested"][0]["stamps"]
    assert [one["file"] for one in stamps] == ["7_Pan-STARRS_g.fits", "7_Pan-STARRS_r.fits"]
    assert told["measures"]["manifest"] is None and told["model"]["card"].startswith("models/visualbinary/")
    assert told["why"][0].startswith(f"{told['row']['tier']}: p_double ") and len(told["why"]) == 2
    assert told["why"][1].startswith("Pan-STARRS alone: p ")
    measured = json.loads(run("explain", *options, "b").output)
    assert measured["measures"]["stale"] is False and any("fits alone: p_fit 0.99" in one for one in measured["why"])

    nobody = run("explain", *options, "8")
    assert nobody.exit_code == 3 and "was its sector ingested" in nobody.output

    for name in ("rows.csv", "rows.ecsv", "rows.vot"):
        result = run("export", *options, "--catalog", "visual_binaries", tmp_path / name)
        assert result.exit_code == 0 and "2 rows" in result.output, result.output
    assert pd.read_csv(tmp_path / "rows.csv")["surveys_used"].tolist() == ["Pan-STARRS unWISE", "Pan-STARRS"]

    shown = run("status", *options).output
    assert f"score_stamps {model}" in shown and "measure_stamps" in shown
    listed = run("status", *options, "--outcomes", "score_stamps").output
    assert "c Pan-STARRS" in listed and "no_pixels" in listed and "7 unWISE" in listed

    Registry(workspace).set_alias("visualbinary", "candidate", model)
    result = run("promote", *options, "visualbinary@candidate")
    assert result.exit_code == 0 and f"2 rows of {model}" in result.output, result.output
