"""The commit log, many manifests at once: on S3 one takes tens of milliseconds, and a mission has thousands."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from catalogs.folder import Folder
from pipeline import manifest

__all__ = ["Commit", "Log", "each"]

_THREADS = 24

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def each(function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
    """Return ``[function(item) for item in items]``, many at a time; for what waits for a disk or a network."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class Commit:
    """What is kept of a manifest: its path, identity and rows, inputs by state, and the manifests it was made from."""

    path: str
    identity: str
    rows: int
    counts: dict[str, int]
    sources: dict[str, str]


class Log:
    """The commit log of a workspace; each manifest is read once, many at a time.

    Parameters
    ----------
    workspace : Folder
        Holds the manifests.
    """

    def __init__(self, workspace: Folder) -> None:
        self.workspace = workspace
        self._seen: dict[str, Commit | None] = {}
        self._stale: dict[str, bool] = {}

    def commits(self, stage: str, product: str) -> dict[str, Commit]:
        """Return key → commit of a stage's partitions below the folder `product`, sorted."""
        paths = manifest.committed(self.workspace, stage, product)
        self._fetch(paths.values())
        return {key: found for key in sorted(paths) if (found := self._seen[paths[key]])}

    def is_stale(self, path: str) -> bool:
        """Return whether anything that a manifest was made from, at any level, is gone or another than it was."""
        if path not in self._stale:
            self._fetch([path])
            commit = self._seen[path]
            self._stale[path] = commit is not None and any(
                self._differs(source, identity) for source, identity in commit.sources.items()
            )
        return self._stale[path]

    def _differs(self, path: str, identity: str) -> bool:
        found = self._seen[path]
        return found is None or found.identity != identity or self.is_stale(path)

    def _fetch(self, paths: Iterable[str]) -> None:
        """Read manifests that were not read yet, and all they were made from, level by level."""
        wanted = [path for path in paths if path not in self._seen]
        while wanted:
            found = each(self._read, wanted)
            self._seen.update(zip(wanted, found, strict=True))
            wanted = sorted({path for commit in found if commit for path in commit.sources} - self._seen.keys())

    def _read(self, path: str) -> Commit | None:
        record = manifest.read(self.workspace, *_stage_and_key(path))
        if record is None:
            return None
        # What is no manifest, a plan or a model, is compared by the stage itself.
        sources = {source: identity for source, identity in record.upstream.items() if source.endswith(".json")}
        return Commit(path, record.identity, record.rows, record.counts, sources)


def _stage_and_key(path: str) -> tuple[str, str]:
    stage, _, key = path.removeprefix("manifest/").removesuffix(".json").partition("/")
    return stage, key
