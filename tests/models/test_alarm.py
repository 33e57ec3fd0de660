"""The job and the metrics say what the log holds."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from catalogs.folder import Folder
from jobs import drift
from models import monitor
from models.alarm import judge, metrics
from models.drift import compare
from models.reference import Reference, learn
from models.registry import Entry, Registry
from models.spec import get_spec
from pipeline.settings import DriftSettings
from tests.models.toy_nights import SURVEYS, candidates, shifted


@pytest.fixture
def entry(workspace: Folder) -> Entry:
    torch.manual_seed(0)
    held_out = candidates(SURVEYS, 60, seed=1, each=12)
    registry = Registry(workspace)
    card = {"drift": learn(held_out).model_dump(mode="json")}
    id = registry.save("realbogus", get_spec("realbogus").network().state_dict(), card, {})
    registry.set_alias("realbogus", "production", id)
    return registry.resolve("realbogus")


def test_the_job_is_silent_then_raises_the_alarm(workspace: Folder, entry: Entry, tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(drift.main, ["--workspace", str(workspace), *options])
        return done.exit_code, done.output

    assert run() == (
        3,
        f"error: {workspace}: {entry.id} has scored nothing yet that is logged; run score_candidates or serve\n",
    )
    for number in range(2):
        batch = candidates(SURVEYS, 20, seed=10 + number, each=12).assign(mjd_mid=60000.0)
        monitor.log(workspace, monitor.summary(entry.id, f"night-{number}", batch))
    status, text = run()
    assert status == 0 and "480 candidates in 2 batches: 0 alarms" in text
    assert workspace.read("reports/drift.png")[:4] == b"\x89PNG"
    wide = candidates([shifted(one, seeing=1.5) for one in SURVEYS], 30, seed=20, each=12).assign(mjd_mid=60100.0)
    monitor.log(workspace, monitor.summary(entry.id, "night-2", wide))
    status, text = run("--out", str(tmp_path / "out"))
    assert status == 1 and "alarm: batch night-2: fwhm_science (inputs) has gone from" in text
    table = pd.read_csv(tmp_path / "out/drift.csv")
    assert set(table["survey"].dropna()) == {"fine", "coarse"} and set(table["batch"].dropna()) == {
        "night-0", "night-1", "night-2",
    }  # fmt: skip
    assert run("--by", "season")[0] == 1 and run("--since", "2023-09-01")[1] and run("--by", "moon")[0] == 2
    assert run("--model", "realbogus@nobody")[0] == 2


def test_metrics_are_those_of_the_verdict(workspace: Folder, entry: Entry) -> None:
    batch = candidates(SURVEYS, 20, seed=10, each=12)
    monitor.log(workspace, monitor.summary(entry.id, "a", batch))
    verdict = judge(workspace, entry)
    families = {one.name: one for one in text_string_to_metric_families(metrics(entry, verdict).decode())}
    assert set(families) == {"skysift_drift_psi", "skysift_drift_alarm", "skysift_scored", "skysift_last_mjd"}
    assert len(families["skysift_drift_psi"].samples) == len(verdict.parts)
    scored = sum(sample.value for sample in families["skysift_scored"].samples)
    assert scored == len(batch)
    assert families["skysift_last_mjd"].samples[0].value == pytest.approx(batch["mjd_mid"].max())
    season = judge(workspace, entry, by="season")
    text = metrics(entry, season).decode()
    found = {sample.labels["season"] for family in text_string_to_metric_families(text)
              for sample in family.samples if family.name == "skysift_drift_psi"}  # fmt: skip
    assert found == set(season.parts["season"].astype(str)) and "" not in found
    # the false alarms are those of both tables together
    lone = compare(Reference.of(entry.card, ""), verdict.log, ("survey",), DriftSettings(psi=1e-9, false_alarms=0.999))
    both = judge(workspace, entry, settings=DriftSettings(psi=1e-9, false_alarms=0.999))
    limit = 0.999 / (len(both.parts) + len(both.batches))
    for table in (both.parts, both.batches):
        assert (~table["is_alarm"] | (table["p"] < limit)).all()
    assert len(lone) == len(both.parts) and lone["is_alarm"].sum() >= both.parts["is_alarm"].sum()
    empty = judge(workspace, entry, since=99_999.0)
    assert not empty.is_alarm and b"skysift_drift_psi{" not in metrics(entry, empty)
