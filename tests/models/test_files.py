"""What files alone say of their stars is what the catalogue says of them."""

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from catalogs.folder import Folder
from models import spec
from models.files import score_files
from models.registry import Registry
from models.score import Score
from pipeline.lightcurves import combine, plan
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.settings import IngestSettings, PreprocessSettings, ScoreSettings
from pipeline.simulate.lightcurves import observe
from pipeline.simulate.spoc import archive_path, write_spoc
from pipeline.simulate.stars import draw_star, simulated_tic_id
from tests.models.test_injections import CALIBRATION, TRIVIAL, Sharp, execute

SEED, CADENCE = 5, 1800.0
SETTINGS = ScoreSettings(runtime="torch", precision="fp32")


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Return a workspace with two stars in sectors 1 and 2, the stars of its catalogue, and their files."""
    monkeypatch.setitem(spec.SPECS, "trivial", TRIVIAL)
    workspace, archive, settings = Folder(tmp_path / "workspace"), Folder(tmp_path / "archive"), IngestSettings()
    for number, kind in enumerate(("QUIET", "EA")):
        star = replace(draw_star(simulated_tic_id(number, SEED), SEED, kinds=[kind]), tmag=9.0)
        for sector in (1, 2):
            curve = observe(star, sector, SEED, CADENCE)
            write_spoc(tmp_path / "archive" / archive_path(curve), curve)
    names = []
    for sector, found in plan.find(archive, None, settings.pattern).items():
        for name, change in plan.changes(workspace, sector, plan.inspect(archive, found)).items():
            plan.save(workspace, name, change)
            names.append(name)
            execute(Ingest(workspace, archive, name, settings))
            execute(Preprocess(workspace, name, PreprocessSettings(recipe="robust")))
    registry = Registry(workspace)
    card = {"calibration": CALIBRATION.model_dump(mode="json")}
    registry.set_alias("trivial", "production", registry.save("trivial", Sharp().state_dict(), card, {}))
    entry = registry.resolve("trivial")
    execute(Score(workspace, entry, names, SETTINGS, "cpu"))
    stars = combine.draft(workspace, entry.id, entry.sha256, CALIBRATION).stars
    return workspace, stars.set_index("tic_id"), sorted((tmp_path / "archive").rglob("*.fits"))


def test_files_get_the_catalogues_probabilities(scored, tmp_path):
    workspace, stars, files = scored
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"nothing")
    found = score_files(workspace, "trivial", [broken, *files], SETTINGS)
    assert found["tic_id"].tolist() == [*stars.index, pd.NA] and found["note"][2].startswith("not_fits")
    assert found["sectors"].tolist()[:2] == [[1, 2]] * 2 and found["files"][2] == ["broken.fits"]
    own = found.iloc[:2].set_index("tic_id")
    assert own["tier"].tolist() == stars["tier"].tolist() and set(own["p_prior"]) == {CALIBRATION.prior}
    for name in ("p_eb", "p_ea", "p_beta", "p_ew", "p_ell", "morph", "morph_err"):
        np.testing.assert_allclose(own[name].astype(float), stars[name], atol=1e-6)
    assert [len(scores) for scores in own["scores"]] == own["n_segments"].tolist() and not own["note"].any()
    half = score_files(workspace, "trivial", files[:1], SETTINGS)
    assert half["sectors"].tolist() == [[1]]


def test_without_a_single_score_there_are_notes_and_the_job_prints_them(scored, tmp_path):
    workspace = scored[0]
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"nothing")
    job = importlib.import_module("jobs.score_sectors").main
    result = CliRunner().invoke(
        job, ["--workspace", workspace.root, "--model", "trivial", "--runtime", "torch", "--files", str(broken)]
    )
    assert result.exit_code == 0 and "not_fits" in result.output and "p_eb" in result.output
