"""A stage whose inputs misbehave as they are named; on its own, so that processes that need no more start fast."""

import multiprocessing
import os
import signal
import time

from catalogs.folder import Folder
from pipeline.errors import Stale
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import Settings
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["Toy", "isolated"]


class Toy(Stage):
    """Six partitions with the odd inputs they are given.

    `bad` inputs kill any process, `shy` and `stale` ones all but a child of isolation, where `stale` ones refuse as
    `changed` ones do everywhere; `broken` ones raise an error, and `sleepy` ones never end.
    """

    name = "toy"
    version = 1

    def __init__(self, workspace: Folder, odd: dict[int, list[str]]) -> None:
        super().__init__(workspace, Settings())
        self.odd = odd

    def keys(self) -> list[Key]:
        return [Key("things", "s0001", part) for part in range(6)]

    def upstream(self, key: Key) -> dict[str, str]:
        return {}

    def inputs(self, key: Key) -> list[str]:
        return ["a", *self.odd.get(key.part, []), "b"]

    def probe(self, key: Key, name: str) -> None:
        if name == "bad" or (name in ("shy", "stale") and not isolated()):
            os.kill(os.getpid(), signal.SIGKILL)
        if name in ("stale", "changed"):
            raise Stale(f"{key}: its input has changed")
        if name == "broken":
            raise ValueError("it is broken")
        while name == "sleepy":
            time.sleep(0.05)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        self.workspace.write(f"begun/{key.part}/{isolated()}-{os.getpid()}-{time.monotonic_ns()}", b"")
        for name in self.inputs(key):
            if name not in skip:
                self.probe(key, name)
        path = f"things/{key.part}"
        self.workspace.write(path, b"x")
        outcomes = [skip.get(name) or InputOutcome(name, State.DONE) for name in self.inputs(key)]
        return Product([Object.of(path, b"x")], 1, outcomes)

    def begun(self, where: bool) -> list[int]:
        """Return the partition of every execution that began, by workers or in isolation."""
        paths = [entry.path.split("/") for entry in self.workspace.list("begun")]
        return [int(part) for _, part, process in paths if process.startswith(str(where))]


def isolated() -> bool:
    return multiprocessing.parent_process() is not None
