"""What comes next: by uncertainty, by rank, by novelty that learns from answers; never what is labelled."""

import numpy as np
import pandas as pd
import pytest

from catalogs.review import append, labels
from models.queue import QUEUES, UNUSUAL, answers, axes, features, isolation, line_up, strangeness
from pipeline.errors import UsageError

PRODUCT = "transient_candidates"


def table(p, **more):
    """Return items a, b, … with probabilities."""
    names = [chr(ord("a") + number) for number in range(len(p))]
    columns = {"item_id": names, "p": p, "threshold": 0.5, "novelty": np.nan, "ood": False} | more
    return pd.DataFrame(columns)


def names(items, queue, given, **more):
    """Return the names of the items in order."""
    return "".join(line_up(items, queue, given, **more)["item_id"])


@pytest.fixture
def say(workspace):
    """Return a function that adds a label and returns all that stand."""

    def add(item="", label="real", who="ada", kind=None):
        if item:
            append(workspace, PRODUCT, [{"item_id": item, "label": label, "who": who, "type": kind}])
        return labels(workspace, PRODUCT)

    return add


def test_uncertain_is_what_is_nearest_to_the_threshold(say):
    items = table([0.99, 0.02, 0.5, 0.0, np.nan])
    assert names(items, "uncertain", say()) == "cbad"
    # In odds: at a threshold of 2%, 1% is nearer than 10%.
    assert names(table([0.10, 0.01], threshold=0.02), "uncertain", say()) == "ba"
    assert names(items, "rank", say()) == "acbd"


def test_the_order_does_not_depend_on_the_order_of_rows(say):
    rng = np.random.default_rng(0)
    items = table(np.round(rng.random(24), 1))
    places = features(rng.normal(size=(24, 5)))
    given = say("c", kind=UNUSUAL)
    for queue in QUEUES:
        straight = line_up(items, queue, given, places=places)
        order = rng.permutation(24)
        other = line_up(items.iloc[order], queue, given, places=places[order])
        pd.testing.assert_frame_equal(straight, other)


def test_what_is_labelled_does_not_come_back(say):
    items = table([0.9, 0.8, 0.7, 0.6])
    given = say("a")
    assert names(items, "rank", given, who="ada") == names(items, "rank", given, who="bob") == "bcd"
    given = say("b", "skip")  # of that one nobody has said anything: others are asked
    assert names(items, "rank", given, who="ada") == "cd" and names(items, "rank", given, who="bob") == "bcd"
    given = say("a", "bogus", who="bob")  # and on this one they disagree: a third is asked, first of all
    assert names(items, "rank", given, who="ada") == "cd"
    assert names(items, "rank", given, who="bob") == "bcd"
    assert names(items, "uncertain", given, who="cid") == "adcb"


def test_out_of_distribution_comes_first_where_there_is_no_forest(say):
    items = table([0.9, np.nan, 0.7, 0.1], novelty=[0.99, 0.5, np.nan, 0.1], ood=[False, False, False, True])
    assert names(items, "novel", say()) == "dabc"
    rng = np.random.default_rng(1)
    many = pd.concat([items.assign(item_id=list("wxyz")), table(rng.random(25))], ignore_index=True)
    embeddings = rng.normal(size=(29, 4))
    embeddings[1] = np.nan
    embeddings[10] += 30
    order = names(many, "novel", say(), places=features(embeddings))
    # a forest learns from answers, the model's own limit does not
    assert order[0] == "g" and order[-1] == "x" and len(order) == 29


def test_no_such_queue(say):
    with pytest.raises(UsageError, match="no queue 'best'; there are uncertain, novel, rank"):
        line_up(table([0.5]), "best", say())


def test_an_empty_table_is_an_empty_queue(say):
    for queue in QUEUES:
        assert line_up(table([]), queue, say(), places=np.zeros((0, 8))).empty
        assert len(line_up(table([0.5, 0.6]), queue, say(), places=np.zeros((2, 0)))) == 2


def test_answers_are_what_counts(say):
    say("a", kind=UNUSUAL)
    say("b", "bogus")
    say("c", "skip")
    say("d", kind=UNUSUAL)
    given = say("d", "bogus", who="bob")
    assert list(answers(pd.Series(list("abcdx")), given)) == [1, -1, 0, 0, 0]


def test_axes_are_the_main_ones():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 20))
    found = axes(rows)
    assert found.shape == (500, 3) and np.allclose(np.cov(found.T), np.eye(3), atol=1e-6)
    assert axes(np.ones((9, 4))).shape == (9, 0)


def test_features_of_what_has_none():
    assert features(np.full((30, 4), np.nan)).shape == (30, 0)
    rows = np.random.default_rng(4).normal(size=(40, 4))
    rows[3] = np.nan
    rows[7] += 9
    found = features(rows)
    assert np.isnan(found[3]).all() and np.isfinite(np.delete(found, 3, 0)).all()
    assert np.nanargmax(found[:, -1]) == 7 and found.shape == (40, 5)


def crowd(seed, many=3000, rare=20):
    """Return rows of five ordinary kinds, some of them far out, and a few of a rare one."""
    rng = np.random.default_rng(seed)
    middles, widths = rng.normal(0, 3, (6, 8)), rng.uniform(0.3, 1.5, (6, 8))
    kind = np.r_[rng.integers(0, 5, many), np.full(rare, 5)]
    middles[5] *= 1.6
    widths[5] = 0.4
    far = np.where((kind < 5) & (rng.random(many + rare) < 0.03), 5.0, 1.0)[:, None]
    return middles[kind] + far * widths[kind] * rng.normal(size=(many + rare, 8)), kind == 5


def test_the_forest_learns_from_the_answers():
    embeddings, is_rare = crowd(3)
    static = is_rare[np.argsort(-isolation(embeddings), kind="stable")[:30]].sum()
    rows = features(embeddings)
    said = np.zeros(len(rows), np.int8)
    for _ in range(30):
        score = np.where(said == 0, strangeness(rows, said), -np.inf)
        best = int(np.argmax(score))
        said[best] = 1 if is_rare[best] else -1
    assert (said == 1).sum() >= 12 and static <= 4
    assert (strangeness(rows, said) == strangeness(rows, said)).all()


def test_where_all_is_called_unusual_there_is_no_plane():
    rows = features(np.random.default_rng(7).normal(size=(40, 4)))
    assert np.isfinite(strangeness(rows, np.ones(40, np.int8))).all()


def test_one_answer_shows_the_way_to_what_differs_along_a_single_axis():
    rng = np.random.default_rng(6)
    embeddings = rng.normal(size=(4000, 24))
    is_rare = np.arange(4000) >= 3970
    embeddings[is_rare, 23] += 6
    rows = features(embeddings)
    said = np.zeros(4000, np.int8)
    said[3999] = 1
    for _ in range(29):
        best = int(np.argmax(np.where(said == 0, strangeness(rows, said), -np.inf)))
        said[best] = 1 if is_rare[best] else -1
    assert (said > 0).sum() >= 20
