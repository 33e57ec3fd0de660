"""Vetting pages of a catalogue: by rank, whole whatever fails, linked both ways, and none of an older catalogue."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from catalogs import schema, write
from catalogs.folder import Folder
from cluster.address import DASK_ADDRESS
from pipeline import recipes
from pipeline.errors import Missing
from pipeline.lightcurves import atlas, snapshot
from pipeline.lightcurves.page import PATH, write_report
from pipeline.settings import IngestSettings
from pipeline.simulate.spoc import write_archive
from tests.rows import star

NOWHERE = 987_654_321  # a star without a light curve
ORIGIN = {
    "catalog_release": "r",
    "manifest_key": "combine/r",
    "model_id": "eb-0123abcd",
    "model_sha256": "0123abcd" * 8,
    "stage_version": 1,
    "settings_hash": "0",
}
SYSTEM = {
    "period": 2.5,
    "period_flag": "exact",
    "epoch": 1339.0,
    "n_primary": 9,
    "n_secondary": 9,
    "phase_2": 0.4,
    "depth_1": 0.1,
    "depth_2": 0.05,
    "duration_1_h": 4.0,
    "duration_2_h": 4.0,
    "odd_even_sigma": 0.3,
    "flags": 32,
}


def publish(workspace, rows):
    """Write rows as the catalogue people open."""
    whole = dict.fromkeys(("n_primary", "n_secondary", "flags"), "Int64")
    table = pa.Table.from_pandas(pd.DataFrame(rows).assign(**ORIGIN).astype(whole), preserve_index=False)
    write.write(workspace, snapshot.CURRENT, table, schema.STARS)


@pytest.fixture(scope="module")
def made(tmp_path_factory, dask_client):
    """Return a workspace with six stars, and the rows of a catalogue: five candidates, one of two systems."""
    top = tmp_path_factory.mktemp("atlas")
    write_archive(top / "archive", [1], 6, seed=1)
    workspace = Folder(top / "workspace")
    list(recipes.ingest_sectors(dask_client, workspace, Folder(top / "archive"), None, IngestSettings()))
    stars = pd.read_csv(top / "archive/truth.csv")["tic_id"].tolist()
    chances = (0.2, 0.95, 0.9, 0.8, 0.7)
    rows = [star(p) | {"tic_id": tic} | (SYSTEM if p > 0.75 else {}) for p, tic in zip(chances, stars, strict=False)]
    rows[2] |= {"flags": 8 | 32, "known_in": "prsa2022; calnet"}
    rows.append(rows[1] | {"eb_id": 2, "period": 7.1, "n_primary": 3, "depth_2": np.nan})
    rows.append(star(0.6) | {"tic_id": NOWHERE, "ra": 10.0, "dec": -5.0})
    publish(workspace, rows)
    return workspace, rows


def test_candidates_are_ranked_and_know_where_their_light_curves_are(made):
    workspace, rows = made
    found = atlas.tasks(workspace, 200)
    assert [task.key for task in found] == [
        *((rows[1]["tic_id"], 1), (rows[1]["tic_id"], 2)),
        *((row["tic_id"], 1) for row in (rows[2], rows[3], rows[4])),
        (NOWHERE, 1),
    ]
    assert [len(task.sources) for task in found] == [1, 1, 1, 1, 1, 0]
    assert [len(task.ephemerides) for task in found] == [2, 2, 1, 1, 0, 0]
    second = found[1].ephemerides[1]
    assert (second.eb_id, second.period, second.n_primary) == (2, 7.1, 3) and np.isnan(second.depth_2)
    assert [task.neighbours[1] for task in found] == [*(task.name for task in found[1:]), ""]
    assert [task.rank for task in atlas.tasks(workspace, 2)] == [1, 2] and atlas.tasks(workspace, 0) == []


def test_pages_are_drawn_on_workers_and_lead_to_the_report_and_back(made, dask_client):
    workspace, _ = made
    workspace.write(f"{atlas.PATH}/000009-tic5-1.html", b"of an older catalogue")
    tasks = atlas.tasks(workspace, 200)
    report, pages = recipes.draw_candidates(dask_client, workspace, tasks)
    assert report.counts == {"done": 5, "failed": 1} and report.exit_status == 1
    (failed,) = report.failures
    assert str(NOWHERE) in failed and "Missing" in report.failures[failed]
    there = [entry.path for entry in workspace.child(atlas.PATH).files()]
    assert there == sorted([*(task.name for task in tasks), "index.html"])
    texts = [workspace.read(f"{atlas.PATH}/{task.name}").decode() for task in tasks]
    assert [text.count("data:image/png") for text in texts] == [3, 3, 3, 3, 3, 0]
    assert "It could not be drawn. Missing" in texts[-1] and 'rel="prev"' in texts[-1]
    assert "so that it could not be vetted" in texts[-2] and "Known: prsa2022; calnet." in texts[2]
    index = workspace.read(f"{atlas.PATH}/index.html").decode()
    assert 'href="../eclipsing_binaries.html" rel="up"' in index and index.count(">yes<") == 3

    write_report(workspace, pages=pages)
    html = workspace.read(PATH).decode()
    assert 'href="candidates/index.html">vetting pages of 6 candidates' in html
    assert all(f'href="candidates/{task.name}"' in html for task in tasks)
    assert "Sky map of 1 stars." in html and "clean systems" in html
    write_report(workspace)
    assert "candidates/index.html" not in workspace.read(PATH).decode()


def test_the_same_catalogue_gives_the_same_pages(made, tmp_path):
    workspace, _ = made
    task = atlas.tasks(workspace, 1)[0]
    assert atlas.draw(workspace, [task]) == [(task.name, "")]
    before = workspace.read(f"{atlas.PATH}/{task.name}")
    assert atlas.draw(workspace, [replace(task)]) == [(task.name, "")]
    assert workspace.read(f"{atlas.PATH}/{task.name}") == before


def test_the_job_draws_as_many_as_it_is_told(made, dask_client, monkeypatch):
    workspace, _ = made
    monkeypatch.setenv(DASK_ADDRESS, dask_client.scheduler.address)
    card = {"name": "eb", "weights_sha256": ORIGIN["model_sha256"]}
    workspace.write("models/eb/0123abcd/card.json", json.dumps(card).encode())
    job = importlib.import_module("jobs.report").main
    result = CliRunner().invoke(job, ["--workspace", workspace.root, "--pages", "2"])
    assert result.exit_code == 0 and "2 done" in result.output, result.output
    assert len(workspace.child(atlas.PATH).files()) == 3
    result = CliRunner().invoke(job, ["--workspace", workspace.root, "--pages", "0"])
    assert result.exit_code == 0 and "done" not in result.output, result.output
    assert "vetting pages" not in workspace.read(PATH).decode()


def test_without_a_catalogue_there_is_nothing_to_draw(workspace):
    with pytest.raises(Missing, match="run score_sectors"):
        atlas.tasks(workspace, 9)
