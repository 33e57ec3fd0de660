"""Files that arrive become rows, once, and what is half written is waited for: on a real Ray."""

import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest

from catalogs.query import query
from models import watch
from pipeline.alerts.arrivals import Arrivals
from pipeline.images.status import outcomes
from pipeline.report import Report
from pipeline.settings import CandidateScoreSettings
from tests.models import toy_realbogus
from tests.pipeline.alerts import made

SETTINGS = CandidateScoreSettings(precision="fp32", runtime="torch", batch_size=16)


@pytest.fixture
def night(workspace, tmp_path, monkeypatch):
    """Return a folder of two files, and what watches it once and returns the report and what was said."""
    toy_realbogus.save(workspace)
    folder = tmp_path / "night"
    folder.mkdir()
    monkeypatch.setattr(watch, "Arrivals", partial(Arrivals, patience=4.0))
    (folder / "a.avro").write_bytes(made.avro([made.alert() | {"candid": number} for number in range(1, 4)]))
    (folder / "b.parquet").write_bytes(made.rubin((30, 38)))

    def once(**options):
        said = []
        report = watch.watch(workspace, "realbogus", folder, SETTINGS, (1, 0.0), 0.2, True, said.append, **options)
        return report, said

    return folder, once


def test_what_arrives_is_scored_once_and_said(ray_cluster, workspace, night):
    folder, once = night
    report, said = once()
    assert report.exit_status == 0 and report.counts["done"] == 5
    assert sorted(line.split(";")[0] for line in said) == ["a.avro: 3 rows", "b.parquet: 2 rows"]
    assert all("p95 of" in line for line in said) and "latency: p95 of 2 files" in report.notes[0]
    assert len(query(workspace, "transient_candidates")) == 5

    whole = made.avro([made.alert() | {"candid": 7}])
    (folder / "c.avro").write_bytes(whole[:5000])
    (folder / "never.avro").write_bytes(whole[:9000])

    def finish():
        time.sleep(1.0)
        (folder / "c.avro").write_bytes(whole)

    threading.Thread(target=finish).start()
    report, said = once()
    assert [line.split(";")[0] for line in said] == ["c.avro: 1 rows", "never.avro: 1 rejected (packet_truncated)"]
    assert report.skipped == 1 and len(query(workspace, "transient_candidates")) == 6
    found = outcomes(workspace, "score_candidates").set_index("input")
    assert found.loc["never.avro#0", "state"] == "rejected" and (found["state"] == "done").sum() == 6
    assert once()[1] == [], "nothing is scored or said twice"


def test_no_catalogue_is_made_of_what_failed_in_part(monkeypatch):
    monkeypatch.setattr(watch, "catalogue", lambda workspace, entry: [f"the catalogue of {entry}"])
    report = Report("score_candidates", "x")
    state = SimpleNamespace(changed=True, published=0.0, cost=0.0, workspace=None, entry="m", report=report)
    watch._Watch.publish(state, now=True)
    assert report.notes == ["the catalogue of m"] and not state.changed
    report.failures["x/part-00000"] = "the process died"
    state.changed = True
    watch._Watch.publish(state, now=True)
    assert report.notes == ["no catalogue was made, as 1 partitions failed"]
