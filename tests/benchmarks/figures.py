"""How a benchmark prints: what was measured, against what was asked."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time

__all__ = ["Timing", "figure", "heading", "timed"]


@dataclass
class Timing:
    """CPU and wall seconds of a piece of work; CPU of all threads of this process."""

    cpu: float = field(default=0.0)
    wall: float = field(default=0.0)


@contextmanager
def timed() -> Iterator[Timing]:
    """Yield a `Timing` that is filled when the block ends."""
    timing = Timing()
    cpu, wall = process_time(), perf_counter()
    yield timing
    timing.cpu, timing.wall = process_time() - cpu, perf_counter() - wall


def heading(text: str) -> None:
    """Print the title of a benchmark and the machine it runs on."""
    load = os.getloadavg()[0]
    print(f"\n== {text}  ({os.cpu_count()} cores, {platform.processor() or platform.machine()}, load {load:.1f})")


def figure(what: str, value: float, asked: str, met: bool | None, note: str = "") -> None:
    """Print one line: the figure, the figure asked, whether it is met."""
    verdict = {True: "met", False: "SHORT", None: ""}[met]
    print(f"{what:<58} {value:>10.4g}   asked {asked:<16} {verdict:<6} {note}", flush=True)
