"""What a service scores is in the log, whatever it is and however much."""

import logging
import time

import numpy as np
import pytest

from models import monitor, service_journal
from models.scorer import Scores
from models.service_journal import Journal
from tests.models import toy_realbogus

MODEL = "realbogus-00000000"


def told(count, p=0.5):
    """Return scores of so many triplets."""
    column = np.full(count, float(p))
    return Scores(column, column, column, column, column, column, column, np.zeros(count, bool), np.zeros((count, 0)))


def test_of_too_many_the_scores_are_logged_alone(workspace, monkeypatch):
    monkeypatch.setattr(service_journal, "_MOST", 5)
    journal = Journal(workspace)
    for _ in range(3):  # nobody takes note yet
        journal.scored(MODEL, toy_realbogus.triplets(4), told(4), [{"tier": "real"}] * 4)
    journal.start()
    journal.stop()
    log = monitor.Log(workspace, MODEL).rows()
    assert log["n"].tolist() == log["n_real"].tolist() == [12]
    assert np.sum(log["n_by_peak"][0]) == 4 and np.sum(log["n_by_logit"][0]) == 12 and journal._waiting == 0


def test_names_that_senders_make_up_are_bounded(workspace, monkeypatch):
    monkeypatch.setattr(service_journal, "_STRATA", 3)
    journal = Journal(workspace)
    rows = [{"survey": "lsst", "filter": f"x{number}", "mjd_mid": 6e4, "tier": "bogus"} for number in range(9)]
    journal.scored(MODEL, toy_realbogus.triplets(9), told(9), rows)
    journal.start()
    journal.stop()
    log = monitor.Log(workspace, MODEL).rows()
    assert sorted(log["filter"]) == ["", "x0", "x1", "x2"] and log["n"].sum() == 9


def test_what_has_no_score_is_refused_and_a_full_disk_stops_nothing(workspace, monkeypatch, caplog):
    def full(*_):
        raise OSError("no space left")

    journal = Journal(workspace, every=0.05)
    scores = told(2)
    scores.p_real[0] = np.nan
    with monkeypatch.context() as patched, caplog.at_level(logging.CRITICAL):
        patched.setattr(monitor, "log", full)
        journal.scored(MODEL, toy_realbogus.triplets(2), scores, [{"tier": ""}, {"tier": "real"}])
        journal.start()
        while not journal._written:
            time.sleep(0.01)
    journal.refused(MODEL, "cutout_jpeg")
    journal.stop()
    log = monitor.Log(workspace, MODEL).rows()
    assert log["n"].tolist() == [1] and log["refused"].tolist() == ['{"cutout_jpeg": 1, "cutout_values": 1}']


def test_nothing_scored_is_nothing_written(workspace):
    journal = Journal(workspace)
    journal.start()
    journal.stop()
    assert not workspace.list(monitor.PRODUCT)
    with pytest.raises(RuntimeError):
        journal.start()
