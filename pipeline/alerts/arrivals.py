"""Files of alerts as they arrive in a folder: each is handed out once, when it is complete.

A file is complete when it ends as its format does and did not change between two looks; or, whatever it is, when it
has not changed for so long that nobody writes it any more: then it is read as it is, and rejected with the reason.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.alerts.plan import find

__all__ = ["Arrival", "Arrivals", "is_whole"]

_HEADER = 4 << 20  # in which an Avro file's mark is
_MARK = 16


class Arrival(NamedTuple):
    """A complete file: its name in the folder, its path, and when it arrived (`time.time`, s)."""

    name: str
    path: Path
    arrived: float


@dataclass
class _Seen:
    mark: tuple[int, int]  # size, time of change
    since: float  # that it is seen so
    given: bool = False


class Arrivals:
    """What arrives in a folder and those inside it.

    Parameters
    ----------
    folder : path
        Looked through anew each time.
    patience : float, default: 60
        Seconds after which a file that is not whole and does not change is hopeless.
    """

    def __init__(self, folder: str | Path, patience: float = 60.0) -> None:
        self.folder = Path(folder)
        self.patience = patience
        self.began = time.time()
        self._seen: dict[Path, _Seen] = {}

    @property
    def waiting(self) -> int:
        """How many files are there that are not complete yet."""
        return sum(not seen.given for seen in self._seen.values())

    def ready(self) -> list[Arrival]:
        """Return the files that are complete now and were not before; one that changes later is a new one.

        The first look at what is there already hands out nothing that has just been written.
        """
        now, found = time.time(), find([self.folder])
        self._seen = {path: seen for _, path in found if (seen := self._seen.get(path))}
        return [arrival for name, path in found if (arrival := self._look(name, path, now))]

    def _look(self, name: str, path: Path, now: float) -> Arrival | None:
        try:
            status = os.stat(path)
            mark = (status.st_size, status.st_mtime_ns)
            seen = self._seen.get(path)
            if seen is None or seen.mark != mark:
                seen = self._seen[path] = _Seen(mark, max(status.st_ctime, self.began))
                rested = now - status.st_ctime > 1.0  # renamed or changed within this second: look again
            else:
                rested = True
            if seen.given or not rested or not (now - status.st_ctime > self.patience or is_whole(path)):
                return None
        except OSError:  # gone again, or not to be read yet
            return None
        seen.given = True
        return Arrival(name, path, seen.since)


def is_whole(path: str | Path) -> bool:
    """Return whether a file ends as its format does: Parquet, Avro or JSON; what is none of these cannot be told.

    Parameters
    ----------
    path : path
        The file.
    """
    with open(path, "rb") as file:
        head = file.read(_HEADER)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _MARK))
        tail = file.read()
    if head.startswith(b"PAR1"):
        return size > 12 and tail.endswith(b"PAR1")
    if head.startswith(b"Obj\x01"):  # the mark that ends the header ends every block
        return size > 2 * _MARK and tail in head[: min(len(head), size - _MARK)]
    if head.lstrip()[:1] in (b"{", b"["):
        return tail.rstrip()[-1:] in (b"}", b"]")
    return False
