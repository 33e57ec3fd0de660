"""Which alert files are scored together: the plan of partitions, of whole small files or of slices of a large one.

It only ever grows. A file is known by its contents: given again, renamed or in another folder, it is where it was.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.folder import Folder
from pipeline.alerts.packets import read
from pipeline.archive import printable
from pipeline.errors import Corrupt, UsageError
from pipeline.manifest import checksum

__all__ = ["File", "Plan", "Planned", "find", "is_alerts"]

#: Folder of the plan in a workspace.
_FOLDER = "alerts/plan"

#: Slices of a large file, at most: each reads over what is before it.
_SLICES = 8

#: Files of a partition, at most.
_FILES = 4096

#: Endings of files that are still being written, or are none of alerts.
_OTHERS = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".swp", ".md", ".txt", ".log")


@dataclass(frozen=True)
class File:
    """A file of alerts, or a slice of one.

    Parameters
    ----------
    name : str
        What it is called in the catalogue: its path in the folder that was given, in printable letters.
    path : str
        Where it was last seen.
    size, mtime_ns : int
        Bytes; when it was last changed.
    sha256 : str
        Of its contents.
    first, stop : int
        Its alerts from the first on, up to the one before stop; stop is -1 for all.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    sha256: str
    first: int = 0
    stop: int = -1

    def is_unchanged(self) -> bool:
        """Return whether the contents at its path are still those; read only if size or time of change differ.

        Raises
        ------
        OSError
            If it is not there any more, or not to be read.
        """
        status = os.stat(self.path)
        if (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns):
            return True
        return status.st_size == self.size and checksum(self.path) == self.sha256


class Planned(NamedTuple):
    """Where a file is in the plan: by its SHA-256, and the partitions that hold it."""

    sha256: str
    parts: frozenset[int]


def find(paths: Iterable[str | Path]) -> list[tuple[str, Path]]:
    """Return name and path of alert files and of all that are in folders, sorted, each once.

    Parameters
    ----------
    paths : iterable of path
        Files, or folders; in these, hidden files and those that are still being written are left out by their names.

    Raises
    ------
    UsageError
        If there is no such file or folder.
    """
    found: dict[Path, str] = {}
    for given in map(Path, paths):
        if given.is_dir():
            for folder, names, files in os.walk(given):
                names[:] = sorted(name for name in names if not name.startswith("."))
                inside = [Path(folder, name) for name in files if is_alerts(name)]
                found.update((path.absolute(), str(path.relative_to(given))) for path in inside if path.is_file())
        elif given.is_file():
            found[given.absolute()] = given.name
        else:
            raise UsageError(f"{given}: no such file or folder of alerts")
    return sorted((printable(name), path) for path, name in found.items())


def is_alerts(name: str) -> bool:
    """Return whether a file may hold alerts, by its name alone."""
    return not name.startswith((".", "_")) and not name.lower().endswith(_OTHERS)


class Plan:
    """The partitions of alert files of a workspace.

    Parameters
    ----------
    workspace : Folder
        Holds the plan.
    """

    def __init__(self, workspace: Folder) -> None:
        self.workspace = workspace
        self.parts: list[tuple[File, ...]] = []
        self._where: dict[str, set[int]] = {}  # sha256 → its partitions
        self._seen: dict[tuple[str, int, int], File] = {}  # path, size and time of change → file
        self._read()

    def add(self, files: Sequence[tuple[str, Path]], part_bytes: float) -> dict[Path, Planned]:
        """Plan files that are not planned yet; return where each of those that are given is.

        Parameters
        ----------
        files : sequence of (name, path)
            As `find` gives them.
        part_bytes : float
            Size of a partition, about.
        """
        asked = [self._file(name, path) for name, path in files]
        given = {file.sha256: file for file in reversed(asked)}
        while True:
            self._read()
            new = [file for file in given.values() if file.sha256 not in self._where]
            parts = _cut(sorted(new, key=lambda file: (file.name, file.sha256)), part_bytes)
            if all(self._create(part) for part in parts):
                break  # else another job has planned something meanwhile
        numbers = {number for sha256 in given for number in self._where[sha256]}
        for number in numbers:  # they may have moved
            self.parts[number] = tuple(
                replace(file, path=now.path, mtime_ns=now.mtime_ns) if (now := given.get(file.sha256)) else file
                for file in self.parts[number]
            )
        return {Path(file.path): Planned(file.sha256, frozenset(self._where[file.sha256])) for file in asked}

    def _file(self, name: str, path: Path) -> File:
        status = path.stat()
        known = self._seen.get((str(path), status.st_size, status.st_mtime_ns))
        sha256 = known.sha256 if known else checksum(path)
        return File(name, str(path), status.st_size, status.st_mtime_ns, sha256)

    def _read(self) -> None:
        while self.workspace.exists(where := f"{_FOLDER}/part-{len(self.parts):05d}.json"):
            try:
                content = json.loads(self.workspace.read(where))
                self._take(tuple(File(**file) for file in content["files"]))
            except (ValueError, TypeError, KeyError) as error:
                raise Corrupt(f"{self.workspace.url(where)}: no plan of alerts ({error}); restore the file") from error

    def _create(self, part: tuple[File, ...]) -> bool:
        data = json.dumps({"files": [asdict(file) for file in part]}, indent=1).encode()
        created = self.workspace.create(f"{_FOLDER}/part-{len(self.parts):05d}.json", data)
        if created:
            self._take(part)
        return created

    def _take(self, part: tuple[File, ...]) -> None:
        for file in part:
            self._where.setdefault(file.sha256, set()).add(len(self.parts))
            self._seen[file.path, file.size, file.mtime_ns] = file
        self.parts.append(part)


def _cut(files: Sequence[File], part_bytes: float) -> list[tuple[File, ...]]:
    """Return files in groups of about a size, no name twice in one; those larger than that in slices of their own."""
    parts: list[tuple[File, ...]] = []
    group: dict[str, File] = {}
    room = part_bytes
    for file in files:
        if file.size > part_bytes:
            parts += [(piece,) for piece in _slices(file, part_bytes)]
            continue
        if group and (file.size > room or file.name in group or len(group) == _FILES):
            parts.append(tuple(group.values()))
            group, room = {}, part_bytes
        group[file.name] = file
        room -= file.size
    return parts + ([tuple(group.values())] if group else [])


def _slices(file: File, part_bytes: float) -> list[File]:
    count = _count(file.path)
    pieces = max(1, min(_SLICES, count, -(-file.size // max(int(part_bytes), 1))))
    cuts = [count * number // pieces for number in range(pieces)]
    return [replace(file, first=a, stop=b) for a, b in zip(cuts, [*cuts[1:], -1], strict=True)]


def _count(path: str) -> int:
    """Return how many alerts a file holds, or could be read of it."""
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            try:
                return int(pq.ParquetFile(file).metadata.num_rows)
            except (pa.ArrowException, OSError):
                return 1  # one alert, which cannot be read
    return sum(1 for _ in read(path))
