"""Progress of long work: a bar on a terminal, plain log lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Tick", "track"]


@dataclass
class Tick:
    """What `track` hands out: call it with the number of pieces just finished and a word on them."""

    label: str
    total: int
    bar: Progress | None
    interval_s: float = 10.0

    def __post_init__(self) -> None:
        self.done = 0
        self._started = self._said = time.monotonic()
        self._task = self.bar.add_task(self.label, total=self.total, note="") if self.bar else None

    def __call__(self, pieces: int = 1, note: str = "") -> None:
        self.done += pieces
        if self.bar is not None and self._task is not None:
            self.bar.update(self._task, advance=pieces, note=note)
            return
        now = time.monotonic()
        if now - self._said >= self.interval_s:
            self._said = now
            rate = self.done / max(now - self._started, 1e-9)
            left = (self.total - self.done) / rate
            print(f"{self.label}: {self.done}/{self.total}, {left:.0f} s to go  {note}".rstrip(), flush=True)


@contextmanager
def track(label: str, total: int) -> Iterator[Tick]:
    """Yield a `Tick` for `total` pieces of work.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        How many pieces there are.
    """
    if not sys.stderr.isatty():
        yield Tick(label, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Tick(label, total, bar)
