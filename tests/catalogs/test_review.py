"""Labels: added only, by many at once, undone by who gave them, and what counts of them."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from threading import Thread

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io.votable.ucd import parse_ucd
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import review, write
from catalogs.folder import Folder
from catalogs.review import Ledger, append, consensus, current, labels, merge, reviewed, training_labels, undo
from catalogs.schema import LABELS
from catalogs.table import SchemaError

PRODUCT = "transient_candidates"


def say(workspace, item, label, who="ada", **more):
    """Add one label."""
    return append(workspace, PRODUCT, [{"item_id": item, "label": label, "who": who} | more])[0]


def told(workspace):
    """Return (item, who) → label."""
    found = labels(workspace, PRODUCT)
    return dict(zip(zip(found["item_id"], found["who"]), found["label"]))


def test_the_table_is_described():
    for column in LABELS.columns:
        assert column.meaning and parse_ucd(column.ucd, check_controlled_vocabulary=True), column.name
    LABELS.check(LABELS.empty())


def test_a_label_keeps_all_that_was_given(workspace):
    assert labels(workspace, PRODUCT).empty
    name = say(workspace, "ztf:1", "real", " Ada ", type="transient", model_id="realbogus-0123abcd", p=0.6,
               why="uncertain")  # fmt: skip
    (row,) = labels(workspace, PRODUCT).to_dict("records")
    when = row.pop("when")
    assert row == {
        "label_id": name, "product": PRODUCT, "item_id": "ztf:1", "label": "real", "type": "transient", "who": "Ada",
        "model_id": "realbogus-0123abcd", "p": 0.6, "why": "uncertain", "undoes": None,
    }  # fmt: skip
    assert pd.Timestamp(when).tz is not None and name.startswith(when[:4])
    assert [entry.path for entry in workspace.list("labels")] == [f"labels/{PRODUCT}/{name}.parquet"]


def test_who_changes_their_mind_or_takes_it_back(workspace):
    say(workspace, "a", "real")
    say(workspace, "b", "bogus", type="dipole")
    say(workspace, "a", "bogus")
    assert told(workspace) == {("a", "ada"): "bogus", ("b", "ada"): "bogus"}
    assert undo(workspace, PRODUCT, "ada")["label"] == "bogus"
    assert told(workspace) == {("a", "ada"): "real", ("b", "ada"): "bogus"}
    assert undo(workspace, PRODUCT, "ada")["item_id"] == "b"
    assert undo(workspace, PRODUCT, "bob") is None
    assert undo(workspace, PRODUCT, "ada")["item_id"] == "a"
    assert undo(workspace, PRODUCT, "ada") is None and not told(workspace)
    assert len(Ledger(workspace, PRODUCT).rows()) == 6  # nothing is ever removed


def test_nobody_can_take_back_what_another_said(workspace):
    name = say(workspace, "a", "real", "ada")
    say(workspace, "a", "undo", "bob", undoes=name)
    assert told(workspace) == {("a", "ada"): "real"}


def test_the_majority_counts(workspace):
    for who, label, kind in (("ada", "real", "mover"), ("bob", "bogus", None), ("cid", "skip", None)):
        say(workspace, "a", label, who, type=kind)
    (tie,) = consensus(labels(workspace, PRODUCT)).to_dict("records")
    assert (tie["label"], tie["type"], tie["reviewers"], tie["who"]) == ("disputed", None, 2, "ada, bob")
    assert training_labels(workspace).empty
    say(workspace, "a", "real", "cid", type="mover")
    say(workspace, "b", "bogus", "dan")
    say(workspace, "c", "skip", "dan")
    (a, b) = consensus(labels(workspace, PRODUCT)).to_dict("records")
    assert (a["label"], a["type"], a["reviewers"], a["who"]) == ("real", "mover", 3, "ada, cid")
    assert (b["item_id"], b["label"], b["type"]) == ("b", "bogus", None)
    assert training_labels(workspace).to_dict("list") == {
        "candidate_id": ["a", "b"], "label": [1, 0], "type": ["mover", None]
    }  # fmt: skip


def plain(given):
    """Return what counts of each item by a loop over items, as the module's description says it."""
    found = []
    for name in sorted(set(given["item_id"])):
        rows = [row for row in given[given["item_id"] == name].to_dict("records") if row["label"] != "skip"]
        if not rows:
            continue
        votes = Counter(row["label"] for row in rows).most_common()
        label = "disputed" if len(votes) == 2 and votes[0][1] == votes[1][1] else votes[0][0]
        agreed = [row for row in rows if label in ("disputed", row["label"])]
        kinds = Counter(row["type"] for row in agreed if row["type"] is not None).most_common()
        clear = label != "disputed" and kinds and (len(kinds) == 1 or kinds[0][1] > kinds[1][1])
        who = ", ".join(sorted(row["who"] for row in agreed))
        found.append((name, label, kinds[0][0] if clear else None, len(rows), who, max(row["when"] for row in agreed)))
    return found


def test_ten_thousand_labels_count_as_one_by_one():
    rng = np.random.default_rng(5)
    count = 30_000
    said = pd.DataFrame({
        "item_id": rng.choice([f"c{n}" for n in range(1200)], count),
        "who": rng.choice([f"w{n}" for n in range(12)], count),
        "label": rng.choice(["real", "bogus", "skip"], count),
        "type": rng.choice(["mover", "dipole", "hot", ""], count),
        "when": [f"2026-01-01T{n:06d}Z" for n in rng.permutation(count)],
    }).drop_duplicates(["item_id", "who"], keep="last")  # fmt: skip
    said["type"] = said["type"].astype(object).where(said["type"] != "", None)
    assert len(said) > 10_000
    made = consensus(said)
    assert list(made.itertuples(index=False, name=None)) == plain(said)
    assert {"real", "bogus", "disputed"} == set(made["label"]) and made["type"].isna().any()
    empty = consensus(said.iloc[:0])
    assert list(empty) == list(made) and not len(empty) and empty["reviewers"].dtype == made["reviewers"].dtype


def test_catalogues_receive_what_counts(workspace):
    say(workspace, "a", "real", "ada")
    say(workspace, "TIC 7", "bogus", "bob")
    said = labels(workspace, PRODUCT)
    table = pd.DataFrame({"candidate_id": ["x", "a"], "review_label": ["old", "old"]}, index=[4, 9])
    made = reviewed(table, said)
    assert list(made["review_label"]) == [None, "real"] and list(made["reviewed_by"]) == [None, "ada"]
    assert made["reviewed_at"][9] == said["when"][0] and list(table["review_label"]) == ["old", "old"]
    stars = pd.DataFrame({"tic_id": [7, 8]})
    made = reviewed(stars, said, "TIC " + stars["tic_id"].astype(str))
    assert list(made["review_label"]) == ["bogus", None]
    assert list(reviewed(table.iloc[:0], said)["reviewed_by"]) == []
    assert list(reviewed(table, said.iloc[:0])["reviewed_by"]) == [None, None]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"label": "maybe"}, "label is 'maybe'; give real|bogus|skip|undo"),
        ({"who": "  "}, "who is ''"),
        ({"who": None}, "who is None"),
        ({"who": "a\nb"}, "who is"),
        ({"who": "x" * 81}, "who is"),
        ({"item_id": "\ud800"}, "item_id is"),
        ({"item_id": ""}, "item_id is ''"),
        ({"type": "Type II"}, "type is 'Type II'"),
        ({"label": "undo"}, "names the label that it undoes"),
        ({"undoes": "x"}, "names the label that it undoes"),
        ({"colour": "red"}, "colour is no column"),
    ],
)
def test_what_makes_no_sense_is_refused_whole(workspace, wrong, says):
    good = {"item_id": "a", "label": "real", "who": "ada"}
    with pytest.raises(review.LabelError, match="label") as error:
        append(workspace, PRODUCT, [good, good | wrong])
    assert says in str(error.value)
    assert not workspace.list("labels")


def test_products_are_names(workspace):
    for name in ("../x", "", "a/b"):
        with pytest.raises(review.LabelError):
            Ledger(workspace, name)


def test_a_damaged_file_is_named(workspace):
    name = say(workspace, "a", "real")
    path = f"labels/{PRODUCT}/{name}.parquet"
    workspace.write(path, workspace.read(path)[:-9])
    with pytest.raises(SchemaError, match=name):
        labels(workspace, PRODUCT)


def _say_many(root, who, count):
    folder = Folder(root)
    for number in range(count):
        say(folder, f"item{number}", "real" if number % 2 else "bogus", who)


def test_reviewers_at_once_in_threads_and_processes_lose_nothing(workspace):
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_say_many, args=(workspace.root, f"process{n}", 40)) for n in range(2)]
    threads = [Thread(target=_say_many, args=(workspace.root, f"thread{n}", 40)) for n in range(3)]
    for one in (*children, *threads):
        one.start()
    ledger, seen = Ledger(workspace, PRODUCT), 0
    while any(one.is_alive() for one in (*children, *threads)):
        merge(workspace, PRODUCT)
        now = len(ledger.rows())
        assert now >= seen  # nor is anything hidden meanwhile
        seen = now
    for one in (*children, *threads):
        one.join()
    assert not any(child.exitcode for child in children)
    assert len(ledger.rows()) == 200 and set(labels(workspace, PRODUCT)["who"].value_counts()) == {40}
    assert merge(workspace, PRODUCT) and len(workspace.list("labels", ".parquet")) == 1
    assert len(Ledger(workspace, PRODUCT).rows()) == 200


def _say_for_ever(root, pipe):
    folder = Folder(root)
    for number in range(100_000):
        name = say(folder, f"item{number}", "real", "eve")
        os.write(pipe, f"{name}\n".encode())
        if number % 7 == 6:
            merge(folder, PRODUCT)


def test_killed_at_any_moment_all_that_was_told_is_there(workspace):
    for delay in (0.02, 0.06, 0.11, 0.17):
        reads, writes = os.pipe()
        child = multiprocessing.get_context("fork").Process(target=_say_for_ever, args=(workspace.root, writes))
        child.start()
        os.close(writes)
        promised = os.read(reads, 31)  # it has begun
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while piece := os.read(reads, 65536):
            promised += piece
        os.close(reads)
        there = set(Ledger(workspace, PRODUCT).rows()["label_id"])
        assert {line for line in promised.decode().split() if len(line) == 33} <= there


def test_merging_changes_nothing(workspace):
    for number in range(5):
        say(workspace, f"i{number}", "real", f"who{number}", p=0.5 if number else None)
    undo(workspace, PRODUCT, "who1")
    before = Ledger(workspace, PRODUCT).rows()
    assert merge(workspace, PRODUCT) == 6 and merge(workspace, PRODUCT) == 1
    (entry,) = workspace.list("labels", ".parquet")
    assert write.read(workspace, entry.path, LABELS).num_rows == 6
    pd.testing.assert_frame_equal(Ledger(workspace, PRODUCT).rows(), before)
    # A merge that was killed before it removed anything: each label is there twice, and counts once.
    one = write.read(workspace, entry.path, LABELS).slice(0, 1)
    write.write(workspace, f"labels/{PRODUCT}/{one['label_id'][0]}.parquet", one, LABELS)
    pd.testing.assert_frame_equal(Ledger(workspace, PRODUCT).rows(), before)


def test_only_what_is_new_is_read(workspace, monkeypatch):
    read, opened = write.read, []
    monkeypatch.setattr(
        review.write, "read", lambda folder, path, schema: opened.append(path) or read(folder, path, schema)
    )
    ledger, names = Ledger(workspace, PRODUCT), []
    for number in range(4):
        names.append(say(workspace, f"i{number}", "real"))
        assert list(ledger.rows()["label_id"]) == names and opened == [f"{name}.parquet" for name in names]
    late = (
        ledger.rows()
        .iloc[[1]]
        .assign(label_id="20200101T000000000000-000000000000", when="2020-01-01T00:00:00.000000Z")
    )
    write.write(workspace, f"labels/{PRODUCT}/late.parquet", pa.Table.from_pandas(late, preserve_index=False), LABELS)
    assert list(ledger.rows()["label_id"]) == [late["label_id"].iloc[0], *names]
    before, opened[:] = ledger.rows(), []
    assert merge(workspace, PRODUCT, 9, ledger) == 5 and len(workspace.list("labels")) == 5  # too few
    assert merge(workspace, PRODUCT, 5, ledger) == 5 and not opened
    pd.testing.assert_frame_equal(ledger.rows(), before)
    assert len(opened) == 1 and opened[0].startswith("merged-")


def test_merged_by_another_before_it_is_read_back(workspace, monkeypatch):
    names = [say(workspace, f"i{number}", "real") for number in range(3)]
    whole = review.write.write

    def slow(folder, path, table, schema):
        monkeypatch.setattr(review.write, "write", whole)
        say(workspace, "late", "real", "bob")
        folder.write(path, write.to_bytes(table, schema))
        merge(workspace, PRODUCT)
        return folder.read(path)  # it is gone

    monkeypatch.setattr(review.write, "write", slow)
    assert merge(workspace, PRODUCT) == 3
    assert set(names) < set(Ledger(workspace, PRODUCT).rows()["label_id"]) and len(told(workspace)) == 4


def test_labels_lie_on_s3_too(s3_folder):
    say(s3_folder, "a", "real")
    say(s3_folder, "b", "bogus")
    assert merge(s3_folder, PRODUCT) == 2 and len(labels(s3_folder, PRODUCT)) == 2


EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["real", "bogus", "skip", "undo"])),
    max_size=12,
)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_what_stands_is_what_a_stack_of_each_reviewer_says(events):
    stacks, rows = {"a": [], "b": []}, []
    for number, (who, item, label) in enumerate(events):
        row = dict.fromkeys(LABELS.names) | {"label_id": f"{number}", "item_id": item, "label": label, "who": who}
        row |= {"when": f"{number:02d}", "p": 0.0}
        if label == "undo":
            if not stacks[who]:
                continue
            row["undoes"] = stacks[who].pop()[0]
        else:
            stacks[who].append((row["label_id"], item, label))
        rows.append(row)
    found = current(pd.DataFrame(rows, columns=LABELS.names))
    wanted = {(item, who): label for who, stack in stacks.items() for _, item, label in stack}
    assert dict(zip(zip(found["item_id"], found["who"]), found["label"])) == wanted
    assert pa.Table.from_pandas(found).num_rows == len(wanted)
