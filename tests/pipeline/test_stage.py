import os
import signal

import pytest

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Corrupt, Mismatch, Stale
from pipeline.isolate import execute_isolated, killers
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import Settings
from pipeline.stage import InputOutcome, Product, Stage, State

KEY = Key("things", "s0001", 0)


class Toy(Stage):
    """Writes the names of its inputs; input `bad` kills the process."""

    name = "toy"
    version = 1

    class Options(Settings):
        greeting: str = "hello"

    def __init__(self, workspace, settings=None, names=("a", "b"), source="1", text="x"):
        super().__init__(workspace, settings or self.Options())
        self.names, self.source, self.text = list(names), source, text

    def keys(self):
        return [KEY]

    def upstream(self, key):
        return {"source": self.source}

    def inputs(self, key):
        return self.names

    def probe(self, key, name):
        if name.startswith("bad"):
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, key, skip):
        for name in self.names:
            if name not in skip:
                self.probe(key, name)
        data = f"{self.text} {self.settings.greeting}".encode()
        self.workspace.write("things/0", data)
        outcomes = [skip.get(name) or InputOutcome(name, State.DONE) for name in self.names]
        return Product([Object.of("things/0", data)], len(self.names), outcomes)


def test_a_committed_partition_is_not_made_again(tmp_path):
    stage = Toy(Folder(tmp_path))
    first, second = stage.execute(KEY), stage.execute(KEY)
    assert first.counts["done"] == 2 and not first.skipped
    assert second.skipped and second.counts == first.counts
    record = manifest.read(stage.workspace, "toy", KEY)
    assert record and {item.path for item in record.objects} == {"things/0", "outcomes/toy/s0001/part-00000.parquet"}
    assert record.provenance["finished"] >= record.provenance["started"]


def test_a_rerun_that_differs_says_in_what_and_refuses(tmp_path):
    folder = Folder(tmp_path)
    Toy(folder).execute(KEY)
    with pytest.raises(Mismatch, match="greeting was 'hello', is 'hi'"):
        Toy(folder, Toy.Options(greeting="hi")).execute(KEY)
    with pytest.raises(Stale, match="source"):
        Toy(folder, source="2").execute(KEY)
    newer = type("Newer", (Toy,), {"version": 2})
    with pytest.raises(Mismatch, match="version 1"):
        newer(folder).execute(KEY)


def test_what_was_written_is_read_back(tmp_path, monkeypatch):
    stage = Toy(Folder(tmp_path))
    real = Folder.write

    def damage(self, path, data):
        real(self, path, data[:-1] if path == "things/0" else data)

    monkeypatch.setattr(Folder, "write", damage)
    with pytest.raises(Corrupt, match="things/0"):
        stage.execute(KEY)
    assert manifest.read(stage.workspace, "toy", KEY) is None


def test_the_loser_of_a_race_keeps_the_winners_commit(tmp_path):
    stage = Toy(Folder(tmp_path))
    stage.execute(KEY)
    record = manifest.read(stage.workspace, "toy", KEY)
    again = manifest.Record(**(vars(record) | {"provenance": {"started": "later"}}))
    assert manifest.commit(stage.workspace, again).identity == record.identity
    assert manifest.read(stage.workspace, "toy", KEY).provenance == record.provenance
    other = manifest.Record(**(vars(record) | {"rows": 99}))
    with pytest.raises(Corrupt, match="different bytes"):
        manifest.commit(stage.workspace, other)
    assert manifest.read(stage.workspace, "toy", KEY) is None  # whose bytes lie there cannot be told


def test_an_input_without_outcome_fails_the_job(tmp_path):
    class Forgetful(Toy):
        def run(self, key, skip):
            product = super().run(key, skip)
            return Product(product.objects, product.rows, product.outcomes[:1])

    with pytest.raises(AssertionError, match="exactly one outcome"):
        Forgetful(Folder(tmp_path)).execute(KEY)


def test_only_the_killer_fails(tmp_path):
    stage = Toy(Folder(tmp_path), names=("a", "bad-1", "b", "bad-2"))
    assert set(killers(stage, KEY)) == {"bad-1", "bad-2"}
    outcome = execute_isolated(stage, KEY)
    assert outcome.counts == {"done": 2, "nothing": 0, "rejected": 0, "failed": 2}


class Unlucky(Toy):
    """Killed so often from outside while it is at an input called `unlucky`; one called `broken` crashes."""

    often = 2

    def probe(self, key, name):
        if name not in ("unlucky", "broken"):
            return
        path = f"tries/{name}-{len(self.workspace.list('tries/'))}"
        self.workspace.write(path, b"")
        if name == "broken":
            os.kill(os.getpid(), signal.SIGSEGV)
        if len(self.workspace.list("tries/")) <= self.often:
            os.kill(os.getpid(), signal.SIGKILL)


def tries(stage):
    return [entry.path for entry in stage.workspace.list("tries/")]


def test_a_kill_from_outside_is_no_input_s_fault_a_crash_is(tmp_path):
    stage = Unlucky(Folder(tmp_path / "killed"), names=("a", "unlucky", "b"))
    assert killers(stage, KEY) == {} and len(tries(stage)) == 3
    stage = Unlucky(Folder(tmp_path / "crashed"), names=("a", "broken", "b"))
    assert set(killers(stage, KEY)) == {"broken"} and len(tries(stage)) == 1


class Stillborn(Toy):
    """Cannot be had in another process."""

    def __setstate__(self, state):
        raise RuntimeError("no such stage here")


def test_what_dies_before_it_has_begun_blames_no_input(tmp_path):
    with pytest.raises(ChildProcessError, match="before it had begun"):
        killers(Stillborn(Folder(tmp_path)), KEY)


def test_a_partition_is_tried_on_while_others_kill_it(tmp_path, monkeypatch):
    stage = Unlucky(Folder(tmp_path), names=("a", "unlucky", "b"))
    stage.often = 6
    monkeypatch.setattr("pipeline.isolate.killers", lambda *args: {})
    assert execute_isolated(stage, KEY).counts["done"] == 3 and len(tries(stage)) == 7


def test_discarding_removes_the_manifest_first(tmp_path, monkeypatch):
    stage = Toy(Folder(tmp_path))
    stage.execute(KEY)
    removed = []
    real = Folder.remove
    monkeypatch.setattr(Folder, "remove", lambda self, path: (removed.append(path), real(self, path)))
    manifest.discard(stage.workspace, "toy", KEY)
    assert removed[0] == manifest.path("toy", KEY) and not stage.workspace.exists("things/0")
