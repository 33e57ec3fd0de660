"""The immutable key of a piece of work, and how an archive is cut into such pieces."""

import re
from dataclasses import dataclass

from pipeline.errors import UsageError

__all__ = ["CADENCES", "Key", "parse_sectors", "partition_size", "where", "where_cadence", "where_sector"]

#: Seconds between cadences → suffix of the store's name. Two-minute targets are the default product.
CADENCES = {120: "", 20: "-fast20", 1800: "-ffi1800", 600: "-ffi600", 200: "-ffi200"}

_PART = re.compile(r"(?P<product>[^/]+)/(?P<where>.+)/part-(?P<part>\d{5,})")


@dataclass(frozen=True, order=True)
class Key:
    """What a task works on: a partition of a product.

    Parameters
    ----------
    product : str
        First folder of its path: ``lightcurves``, ``curves``, ``eclipsing_binary_scores``.
    where : str
        Sector and cadence, ``s0001`` or ``s0001-ffi1800``; for scores ``model=<id>/sector=0001``.
    part : int
        Number of the partition, from 0.
    """

    product: str
    where: str
    part: int

    def __str__(self) -> str:
        return f"{self.product}/{self.where}/part-{self.part:05d}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key printed as `text`."""
        match = _PART.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a partition key such as lightcurves/s0001/part-00007")
        return cls(match["product"], match["where"], int(match["part"]))


def where(sector: int, cadence_s: float) -> str:
    """Return the name of a sector's store: ``s0001`` for two minutes, ``s0001-ffi1800`` for full frames."""
    return f"s{sector:04d}{CADENCES[round(cadence_s)]}"


def where_sector(name: str) -> int:
    """Return the sector in a store's name."""
    return int(name[1:5])


def where_cadence(name: str) -> int:
    """Return the nominal cadence, in seconds, in a store's name."""
    return next(cadence for cadence, suffix in CADENCES.items() if suffix == name[5:])


def partition_size(cadence_s: float) -> int:
    """Return how many targets one partition of a store holds.

    A partition is what one task holds in memory: 256 targets, fewer at 20 s, where a target has six times the rows.
    """
    return 64 if round(cadence_s) == 20 else 256


def parse_sectors(text: str) -> list[int]:
    """Return the sectors named by ranges and lists, such as ``1-13,27``, sorted and without repeats.

    Raises
    ------
    UsageError
        If a piece is neither a number nor a range, or a range runs backwards.
    """
    sectors: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*", piece)
        if not match:
            raise UsageError(f"--sectors {text}: {piece!r} is neither a number nor a range; write 1-13,27")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or first == 0:
            raise UsageError(f"--sectors {text}: {piece!r} is not an increasing range of sectors from 1 on")
        sectors.update(range(first, last + 1))
    return sorted(sectors)
