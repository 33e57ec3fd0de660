"""Jobs as people meet them: help, exit status, messages."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext

import pandas as pd
import pytest
import torch
from astropy.table import Table
from click.testing import CliRunner
from obstore.exceptions import BaseError as StoreError

from catalogs import schema, write
from catalogs.folder import Folder
from cluster.address import DASK_ADDRESS
from models.registry import Registry
from pipeline import recipes
from pipeline.settings import IngestSettings
from pipeline.simulate.spoc import write_archive
from tests.rows import star

JOBS = [
    "demo",
    "difference_images",
    "explain",
    "export",
    "export_model",
    "ingest_images",
    "ingest_sectors",
    "preprocess_sectors",
    "promote",
    "query",
    "report",
    "review",
]
JOBS += ["completeness", "crossvalidate", "drift", "evaluate", "recalibrate", "score_candidates", "score_sectors"]
JOBS += ["select_supernovae", "serve", "status", "train"]


def run(name, *options):
    return CliRunner().invoke(importlib.import_module(f"jobs.{name}").main, [str(option) for option in options])


@pytest.fixture
def catalogue(workspace):
    """Return a workspace with a small star table."""
    row = star(0.9, sectors=[1, 2]) | {"ra": 10.0, "dec": -5.0, "tmag": 9.5, "gls_period": 1.5}
    row |= {"catalog_release": "r1", "model_id": "calnet-0a1b2c3d", "model_sha256": "ab" * 32}
    row |= {"stage_version": 1, "settings_hash": "x", "manifest_key": "combine/none"}
    rows = [row | {"tic_id": 7}, row | {"tic_id": 8, "p_eb": 0.2, "tmag": None}]
    write.write(workspace, "catalogs/eclipsing_binaries.parquet", pd_table(rows), schema.STARS)
    return workspace


def pd_table(rows):
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema.STARS.arrow_schema())


@pytest.mark.parametrize("name", JOBS)
def test_help_teaches(name):
    result = run(name, "--help")
    assert result.exit_code == 0 and "Usage" in result.output and "Exit status" in result.output
    assert len(result.output.splitlines()) >= 8


def test_a_job_is_an_executable_file(tree):
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environ["PATH"] = f"{os.path.dirname(sys.executable)}:{environ['PATH']}"
    for name in JOBS:
        assert os.access(tree / "jobs" / f"{name}.py", os.X_OK), name
    command = [tree / "jobs" / "status.py", "--workspace", "nowhere"]
    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "run ingest_sectors" in done.stdout


def test_wrong_usage_is_2_and_says_what_is_right(tmp_path):
    cases = [
        (("ingest_sectors", "--archive", tmp_path, "--sectors", "9-3"), "increasing range"),
        (("ingest_sectors", "--archive", "gs://bucket"), "only local paths and s3://"),
        (("ingest_sectors", "--archive", "/nowhere"), "--archive /nowhere: no such folder"),
        (("ingest_sectors", "--archive", __file__), "a file; give the folder it lies in"),
        (("preprocess_sectors", "--recipe", "own"), "calnet"),
        (("query", "--workspace", tmp_path), "python -m jobs.score_sectors"),
        (("promote", "--workspace", tmp_path, "calnet"), "jobs.train"),
        (("promote", "--workspace", tmp_path, "nosuch@candidate"), "there are: calnet, calnet_published, eb"),
        (("query", "--workspace", tmp_path, "--catalog", "candidates"), "python -m jobs.difference_images"),
        (("query", "--workspace", tmp_path, "--catalog", "supernova_candidates"), "python -m jobs.select_supernovae"),
        (("score_sectors", "--workspace", tmp_path, __file__), "--files a.fits"),
        (("export_model", "--out", tmp_path / "a.bin"), "end in .onnx"),
        (("export_model", "--out", tmp_path / "a.onnx", "--model", "eb"), "--model realbogus"),
        (("score_sectors", "--workspace", tmp_path, "--files"), "--files a.fits"),
    ]
    for options, cure in cases:
        result = run(*options)
        assert result.exit_code == 2 and cure in result.output, result.output


def test_settings_come_from_a_file_and_unknown_ones_are_refused(tmp_path):
    config = tmp_path / "skysift.toml"
    config.write_text('[ingest]\npatern = "*.fits"\n')
    result = run("ingest_sectors", "--archive", tmp_path, "--config", config)
    assert result.exit_code == 2 and "patern" in result.output and "pattern" in result.output


def test_refused_is_3(workspace):
    result = run("explain", "--workspace", workspace, 12)
    assert result.exit_code == 3 and "was its sector ingested" in result.output


def test_a_dry_run_writes_nothing_and_refuses_what_the_run_would(dask_client, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv(DASK_ADDRESS, dask_client.scheduler.address)
    write_archive(tmp_path / "archive", [3], 2, seed=1)
    ingest = ("ingest_sectors", "--archive", tmp_path / "archive", "--workspace", workspace)
    preprocess = ("preprocess_sectors", "--workspace", workspace)
    assert "2 inputs in 1 partitions" in run(*ingest, "--dry-run").output
    assert run(*preprocess, "--dry-run").exit_code == 3 and not os.path.exists(workspace.root)
    assert run(*ingest).exit_code == run(*preprocess).exit_code == 0
    before = workspace.list()
    for command in (ingest, preprocess):
        assert "0 inputs" in run(*command, "--dry-run").output
        assert "2 inputs" in run(*command, "--dry-run", "--overwrite").output
    labels = tmp_path / "labels.csv"
    labels.write_text("tic_id,label\n1,EB\n")
    result = run("train", "--workspace", workspace, "--labels", labels, "--simulated", "0", "--dry-run")
    assert result.exit_code == 2 and "no positive and negative segment in the train fold" in result.output
    assert workspace.list() == before


def test_promote_says_whose_catalogue_is_left(catalogue):
    registry = Registry(catalogue)
    made = registry.save("calnet", {"weight": torch.zeros(1)}, {}, {})
    result = run("promote", "--workspace", catalogue, f"calnet@{made}")
    assert "still shows calnet-0a1b2c3d" in result.output and "jobs.score_sectors --workspace" in result.output


@pytest.mark.parametrize("nominated", [True, False])
def test_train_says_whether_there_is_a_candidate(workspace, monkeypatch, nominated):
    def learn(workspace, name, *rest):
        registry = Registry(workspace)
        made = registry.save(name, {"weight": torch.zeros(1)}, {}, {})
        if nominated:
            registry.set_alias(name, "candidate", made)
        return made

    monkeypatch.setattr("jobs.train.learn", learn)
    monkeypatch.setattr("jobs.options.ray_session", lambda *_: nullcontext((1, 0.0)))
    said = run("train", "--workspace", workspace, *(() if nominated else ("--folds", 5))).output
    assert ("now eb@candidate" in said and "jobs.promote" in said) == nominated
    assert ("of a fold, so no candidate" in said) != nominated


def test_errors_of_disk_and_network_are_one_line(catalogue, monkeypatch):
    for error in (PermissionError(13, "Permission denied", "x"), FileNotFoundError("stray"), StoreError("no\n bucket")):
        monkeypatch.setattr(Folder, "exists", lambda *_, error=error: (_ for _ in ()).throw(error))
        result = run("query", "--workspace", catalogue)
        assert result.exit_code == 1 and len(result.output.splitlines()) == 1, result.output
        assert result.output.startswith(f"error: {type(error).__name__}: ")


def test_a_relative_workspace_is_refused_inside_a_ray_job(monkeypatch):
    config = json.dumps({"metadata": {"job_submission_id": "raysubmit_1"}})
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", config)
    result = run("status", "--workspace", "workspace")
    assert result.exit_code == 2 and "absolute path" in result.output


def test_query_and_export(catalogue, tmp_path):
    result = run("query", "--workspace", catalogue, "--min-score", 0.5, "--columns", "tic_id,p_eb", "--csv")
    assert result.exit_code == 0 and result.output == "tic_id,p_eb\n7,0.9\n"
    assert "no column p_e" in run("query", "--workspace", catalogue, "--columns", "p_e").output
    for ending in ("csv", "ecsv", "vot"):
        target = tmp_path / f"stars.{ending}"
        assert run("export", "--workspace", catalogue, target).exit_code == 0
        read = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "vot": "votable"}[ending]
        assert list(Table.read(target, format=read)["tic_id"]) == [7, 8]
    target = tmp_path / "list.dat"
    assert run("export", "--workspace", catalogue, "--format", "list", target).exit_code == 0
    assert list(Table.read(target, format="ascii.fixed_width_two_line")["TIC"]) == [7, 8]
    assert len(pd.read_parquet(catalogue.url("catalogs/eclipsing_binaries.parquet"))) == 2


def test_status_tells_what_was_rejected(dask_client, workspace, tmp_path):
    write_archive(tmp_path / "archive", [3], 2, seed=1)
    (tmp_path / "archive" / "s003" / "empty.fits").write_bytes(b"")
    list(recipes.ingest_sectors(dask_client, workspace, Folder(tmp_path / "archive"), None, IngestSettings()))
    result = run("status", "--workspace", workspace)
    assert result.exit_code == 0 and "s0003" in result.output
    result = run("status", "--workspace", workspace, "--outcomes", "ingest")
    assert "s003/empty.fits" in result.output and "empty" in result.output
