"""Where a workspace stands: counted from manifests, stale through all levels; a row is walked back to its file."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest, recipes
from pipeline.commits import Log
from pipeline.errors import Missing, Stale
from pipeline.lightcurves import accounts, combine, estimate, lineage, status
from pipeline.manifest import Record
from pipeline.settings import IngestSettings, PreprocessSettings
from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.spoc import write_archive
from pipeline.stage import State
from tests.rows import star

MODEL = {"model_id": "calnet-0123abcd", "model_sha256": "0123abcd" * 8}
SCORED = f"eclipsing_binary_scores/model={MODEL['model_id']}/sector=0001/part-00000"


@pytest.fixture(scope="module")
def made(tmp_path_factory, dask_client):
    """Return a workspace with one sector preprocessed, and its archive."""
    top = tmp_path_factory.mktemp("status")
    write_archive(top / "archive", [1], 3, seed=2)
    write_damaged(top / "archive", 1, seed=3)
    workspace, archive = Folder(top / "workspace"), Folder(top / "archive")
    list(recipes.ingest_sectors(dask_client, workspace, archive, None, IngestSettings()))
    list(recipes.preprocess_sectors(dask_client, workspace, None, PreprocessSettings(recipe="calnet")))
    return workspace, archive


@pytest.fixture
def scored(made, tmp_path):
    """Return a copy of it with made-up scores, a catalogue and a model's card."""
    workspace = Folder(tmp_path / "workspace")
    for entry in made[0].list():
        workspace.write(entry.path, made[0].read(entry.path))
    curves = manifest.read(workspace, "preprocess", "curves/s0001/part-00000")
    index = write.read(workspace, "curves/s0001.segments/part-00000.parquet", schema.SEGMENTS).to_pandas()
    origin = MODEL | {"catalog_release": "r", "stage_version": 1, "settings_hash": "0"}
    columns = ["sector", "cadence_s", "tic_id", "segment", "t_start", "t_end"]
    scores = index[columns].assign(score=0.5, manifest_key=f"score/{SCORED}", **origin)
    save(workspace, f"catalogs/{SCORED}.parquet", scores, schema.SCORES)
    outcomes = [{"input": f"TIC {row.tic_id} segment {row.segment}", "state": "done"} for row in index.itertuples()]
    table = pa.Table.from_pylist(outcomes, schema.OUTCOMES.arrow_schema())
    where = f"model={MODEL['model_id']}/sector=0001"
    write.write(workspace, f"outcomes/score/{where}/part-00000.parquet", table, schema.OUTCOMES)
    counts = {str(state): len(index) if state is State.DONE else 0 for state in State}
    upstream = {curves_path(): curves.identity}
    details = {"runtime": "by hand"}
    manifest.commit(workspace, Record("score", 1, SCORED, {}, "0", upstream, [], len(index), counts, details))
    stars = index.groupby("tic_id", as_index=False)[["ra", "dec", "tmag", "gls_period"]].first()
    stars = pd.DataFrame([row | star() | origin for row in stars.to_dict("records")])
    save(workspace, combine.CURRENT, stars.assign(manifest_key="combine/none"), schema.STARS)
    data = {"labels": {"file": "eb.csv"}, "sets": [{"file": "x.parquet", "sha256": "7a"}], "partitions": {}}
    card = {"data": data, "settings": {"epochs": 2}, "rehearsal": {"id": "calnet-1"}}
    workspace.write("models/calnet/0123abcd/card.json", json.dumps(card).encode())
    return workspace


def curves_path():
    return "manifest/preprocess/curves/s0001/part-00000.json"


def save(workspace, path, frame, table):
    write.write(workspace, path, pa.Table.from_pandas(frame, preserve_index=False), table)


def change(workspace, stage, key):
    """Commit a partition anew, as another version makes it."""
    path = manifest.path(stage, key)
    workspace.write(path, json.dumps(json.loads(workspace.read(path)) | {"version": 99}).encode())


def test_what_changed_two_levels_up_is_stale(scored):
    def stale():
        return status.status(scored).set_index("stage")["stale"].to_dict()

    score = f"score {MODEL['model_id']}"
    assert stale() == {"ingest": 0, "preprocess": 0, score: 0}
    status.check_complete(scored, ["s0001"], "preprocess")
    change(scored, "ingest", "lightcurves/s0001/part-00000")
    assert stale() == {"ingest": 0, "preprocess": 1, score: 1}
    status.check_complete(scored, ["s0001"], "ingest")
    with pytest.raises(Stale, match=r"curves/s0001/part-00000; run preprocess_sectors .*--overwrite"):
        status.check_complete(scored, ["s0001"], "preprocess")
    with pytest.raises(Stale):
        estimate.segments(scored, None, "score", set(), 1)
    assert "1 stale" in accounts.summary(accounts.take(scored, MODEL["model_id"])).text


def test_each_manifest_is_read_once(scored, monkeypatch):
    reads = []
    read = Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, path, *rest: reads.append(path) or read(self, path, *rest))
    log = Log(scored)
    for _ in range(2):
        assert len(log.commits("score", "eclipsing_binary_scores")) == 1
        assert not log.is_stale(f"manifest/score/{SCORED}.json")
    assert len(reads) == len(set(reads)) == 3


def test_accounts_read_tables_only_where_something_is_wrong(scored):
    for path in ("preprocess/s0001", f"score/model={MODEL['model_id']}"):
        scored.remove_tree(f"outcomes/{path}")
    taken = accounts.take(scored, MODEL["model_id"])
    assert taken.stages["done"].tolist()[:2] == [5, 4] and taken.stages["rejected"].tolist() == [8, 0, 0, 0]
    assert len(taken.bad) == 8 and taken.bad["reason"].notna().all()


def test_outcomes_of_scoring(scored):
    found = status.outcomes(scored, "score")
    assert set(found["model"]) == {MODEL["model_id"]} and set(found["state"]) == {"done"} and len(found)
    assert status.outcomes(scored, "score", [2]).empty


def test_explain_leads_to_file_settings_scores_and_model(scored, made):
    tic_id = int(status.outcomes(scored, "score")["input"][0].split()[1])
    found = lineage.explain(scored, tic_id)
    assert found["row"]["tic_id"] == tic_id and json.dumps(found)
    model = found["model"]
    assert model["card"] == "models/calnet/0123abcd/card.json" and model["settings"] == {"epochs": 2}
    assert model["data"] == {"labels": {"file": "eb.csv"}, "sets": [{"file": "x.parquet", "sha256": "7a"}]}
    assert model["rehearsal"] == {"id": "calnet-1"}
    (source,) = found["sources"]
    assert source["address"] == made[1].url(source["file"]) and len(source["sha256"]) == 64
    assert source["preprocess"]["manifest"] == curves_path() and not source["preprocess"]["stale"]
    (score,) = source["scores"]
    assert score["runtime"] == "by hand" and score["manifest"] == f"manifest/score/{SCORED}.json"
    assert [row["score"] for row in score["segments"]] == [0.5] * len(source["segments"])


def test_an_estimate_refuses_what_the_run_would_refuse(made, workspace):
    with pytest.raises(Missing, match="run ingest_sectors"):
        estimate.segments(workspace, None, "preprocess", set(), 1)
    with pytest.raises(Missing, match=r"sectors 64, 65 not ingested; .*leave --sectors out, .*--partial"):
        estimate.segments(made[0], [1, 64, 65], "preprocess", set(), 1)
    assert estimate.segments(made[0], [1, 64, 65], "preprocess", set(), 1, allow_missing=True).inputs == 7
    done = status.committed_parts(made[0], "preprocess")
    assert estimate.segments(made[0], None, "preprocess", done, 1).partitions == 0
    assert estimate.segments(made[0], None, "preprocess", set(), 1).inputs == 7  # two of them turn out to be bad
