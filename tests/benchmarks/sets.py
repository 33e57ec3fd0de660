"""Simulated sets that benchmarks judge on: where they are kept, and what is not there of them made."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.partition import Key
from pipeline.stage import Stage


@contextmanager
def kept() -> Iterator[Folder]:
    """Yield the workspace that SKYSIFT_BENCHMARK names, else one that is gone afterwards."""
    if folder := os.environ.get("SKYSIFT_BENCHMARK"):
        yield Folder(folder)
        return
    with tempfile.TemporaryDirectory(prefix="skysift-benchmark-") as folder:
        yield Folder(folder)


def complete(stage: Stage, keys: Sequence[Key] | None = None) -> None:
    """Make the partitions of a set, or some of them, that are not there."""
    wanted = stage.keys() if keys is None else keys
    if missing := [key for key in wanted if manifest.read(stage.workspace, stage.name, key) is None]:
        stage.prepare()
        for key in missing:
            stage.execute(key)
