"""From segments to a star table on a real Ray: exactly once, in any order, with the same bytes."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from catalogs.folder import Folder
from catalogs.query import query
from models import pool, predict
from models.files import score_files
from models.registry import Registry
from models.score import Score
from models.spec import get_spec
from pipeline import manifest, recipes
from pipeline.errors import Corrupt, Mismatch, Missing, ModelNotFound
from pipeline.lightcurves import combine
from pipeline.settings import IngestSettings, PreprocessSettings, ScoreSettings, SystemsSettings
from pipeline.simulate.spoc import write_archive

FP32 = ScoreSettings(precision="fp32")
POOL = (2, 0.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, dask_client):
    """Return a workspace with two preprocessed sectors of five stars, and a model of random weights in production."""
    folder = tmp_path_factory.mktemp("score")
    write_archive(folder / "archive", [1, 2], 5, seed=6)
    workspace = Folder(folder / "workspace")
    list(recipes.ingest_sectors(dask_client, workspace, Folder(folder / "archive"), None, IngestSettings()))
    list(recipes.preprocess_sectors(dask_client, workspace, None, PreprocessSettings(recipe="calnet")))
    save(workspace, 1, "production")
    return workspace


def save(workspace, seed, alias):
    torch.manual_seed(seed)
    registry = Registry(workspace)
    made = registry.save("calnet", get_spec("calnet").network().state_dict(), {"metrics": {}}, {})
    registry.set_alias("calnet", alias, made)
    return made


@pytest.fixture
def workspace(prepared, tmp_path):
    """Return a copy of the prepared workspace."""
    return copied(prepared, tmp_path)


@pytest.fixture(scope="module")
def scored_once(prepared, ray_cluster, tmp_path_factory):
    """Return a workspace whose two sectors were scored together, and the report of that."""
    workspace = copied(prepared, tmp_path_factory.mktemp("scored"))
    return workspace, score(workspace)


@pytest.fixture
def scored(scored_once, tmp_path):
    """Return a copy of the scored workspace."""
    return copied(scored_once[0], tmp_path / "scored")


def copied(workspace, folder):
    shutil.copytree(workspace.root, folder / "workspace")
    return Folder(folder / "workspace")


def catalogs(workspace):
    return {entry.path: workspace.read(entry.path) for entry in workspace.list("catalogs")}


def score(workspace, sectors=None, model="calnet", settings=FP32, **options):
    return next(iter(all_of(workspace, sectors, model, settings, **options)))


def all_of(workspace, sectors=None, model="calnet", settings=FP32, **options):
    """Score without looking for ephemerides: random weights would make every star a candidate."""
    wanted = predict.Wanted(SystemsSettings(min_p=1.0))
    return list(predict.score_sectors(workspace, model, sectors, settings, POOL, wanted=wanted, **options))


def test_one_row_a_segment_one_row_a_star(scored_once):
    workspace, report = scored_once
    assert report.exit_status == 0 and report.partitions == 2
    stars = pd.read_parquet(workspace.url(combine.CURRENT))
    scores = query(workspace, "eclipsing_binary_scores")
    assert len(stars) == 5 and stars["tic_id"].is_monotonic_increasing
    assert len(scores) == report.rows == stars["n_segments"].sum()
    assert all(list(sectors) == [1, 2] for sectors in stars["sectors"])
    for star in stars.itertuples():
        own = scores[scores["tic_id"] == star.tic_id]["score"]
        odds = np.log(own / (1 - own)).mean()
        assert star.p_eb == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-9) and star.score_max == own.max()
    key = stars["manifest_key"][0]
    assert manifest.read(workspace, *key.split("/", 1)).objects[0].path.endswith("snapshot-000001.parquet")


def test_any_order_gives_the_same_table(ray_cluster, scored, prepared, tmp_path):
    made = [scored]
    for order in ([[1], [2]], [[2], [1]]):
        copy = copied(prepared, tmp_path / f"copy-{len(made)}")
        for sectors in order:
            score(copy, sectors)
        made.append(copy)
    tables = [copy.read(combine.CURRENT) for copy in made]
    assert tables[0] == tables[1] == tables[2]
    segments = [{p: d for p, d in catalogs(copy).items() if "_scores/" in p} for copy in made]
    assert segments[0] == segments[1] == segments[2]
    assert len(combine.snapshots(made[1], Registry(made[1]).resolve("calnet").id)) == 2
    earlier = query(made[1], as_of=1)
    assert all(list(sectors) == [1] for sectors in earlier["sectors"])


def test_scored_once(scored, monkeypatch):
    before = catalogs(scored)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_ledger", lambda: pytest.fail("actors are started for what is done"))
        report = score(scored)
        assert report.skipped == report.partitions == 2 and catalogs(scored) == before
        with pytest.raises(Mismatch, match="precision was 'fp32', is 'auto'"):
            score(scored, settings=ScoreSettings())
    report = score(scored, overwrite=True)
    assert report.skipped == 0 and catalogs(scored) == before


def test_a_candidate_is_scored_beside_and_published_by_promotion(scored):
    workspace = scored
    production = workspace.read(combine.CURRENT)
    candidate = save(workspace, 2, "candidate")
    score(workspace, model="calnet@candidate")
    assert workspace.read(combine.CURRENT) == production
    stars = query(workspace, model=candidate)
    assert set(stars["model_id"]) == {candidate} and len(stars) == 5


def test_what_is_missing_or_unfit_is_refused(ray_cluster, workspace, dask_client):
    with pytest.raises(ModelNotFound, match="candidate"):
        score(workspace, model="calnet@candidate")
    manifest.discard(workspace, "preprocess", "curves/s0002/part-00000")
    with pytest.raises(Missing, match="curves/s0002/part-00000"):
        score(workspace)
    assert score(workspace, allow_missing=True).partitions == 1
    robust = PreprocessSettings(recipe="robust")
    list(recipes.preprocess_sectors(dask_client, workspace, [2], robust, overwrite=True))
    with pytest.raises(Mismatch, match="--recipe calnet"):
        score(workspace)


def test_a_partition_that_fails_is_reported_and_the_rest_goes_on(ray_cluster, workspace):
    entry = Registry(workspace).resolve("calnet")
    path = "curves/s0002.zarr/curve/c/0/0"
    data = bytearray(workspace.read(path))
    data[1000] ^= 1
    workspace.write(path, bytes(data))
    stage = Score(workspace, entry, ["s0001", "s0002"], FP32, "cpu")
    (good, bad) = stage.keys()
    report = pool.run(stage, *POOL)
    assert report.exit_status == 1 and list(report.failures) == [str(bad)]
    assert manifest.read(workspace, "score", good) is not None
    workspace.remove("curves/s0002.segments/part-00000.parquet")
    with pytest.raises(Corrupt, match="--sectors 2 --overwrite"):
        pool.run(stage, *POOL)


def test_files_without_a_workspace_score_alike(scored, prepared, tmp_path):
    workspace = scored
    files = sorted((tmp_path / "../" / prepared.root).parent.glob("archive/s001/*.fits"))[:2]
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"nothing")
    found = score_files(workspace, "calnet", [*files, broken], FP32)
    scores = query(workspace, "eclipsing_binary_scores", where="sector = 1")
    for star in found.iloc[:-1].itertuples():
        own = scores.loc[scores["tic_id"] == star.tic_id, "score"]
        odds = np.log(own / (1 - own)).mean()
        assert star.p_eb == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-6) and list(star.scores) == list(own.round(3))
    assert found.iloc[-1]["note"].startswith("not_fits")
