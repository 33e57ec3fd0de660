"""Alerts of many files as batches to score: triplets, what is said of each, and what could not be read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alerts.cutouts import SIZE, Cut, cut
from pipeline.alerts.facts import row
from pipeline.alerts.packets import Packet, read
from pipeline.alerts.refusals import BadCutout, Unread

__all__ = ["Batch", "batches", "gather"]


@dataclass(frozen=True)
class Batch:
    """Some alerts, in the order of their files.

    Parameters
    ----------
    triplets : (n, 3, 63, 63) float32
        Science, template, difference of those that can be scored, in native pixels; NaN where there are none.
    rows : list of dict
        `pipeline.alerts.facts.row` of each, and candidate_x, candidate_y: its place in the triplet, px; cutout_shape:
        rows and columns as sent, such as "63x63".
    refused : list of Unread
        The others, with reasons: together with `rows` every alert is accounted for, once.
    """

    triplets: NDArray[np.float32]
    rows: list[dict[str, Any]]
    refused: list[Unread]


def batches(paths: Iterable[str | Path], size: int, *, centred: bool = False) -> Iterator[Batch]:
    """Read the alerts of files as batches of `size` triplets; the last may have fewer.

    Surveys differ in their pixels. Cutouts of another size than 63 lie in the middle of a triplet of NaN, or are cut
    to it, at their own scale: never scored as they are by a model of another survey's pixels, but resampled first by
    the fwhm_px of their rows.

    Parameters
    ----------
    paths : iterable of str or pathlib.Path
        Files as `pipeline.alerts.packets.read` takes them.
    size : int
        Triplets in a batch.
    centred : bool
        As in `pipeline.alerts.cutouts.cut`: for our own networks; without it as ZTF scores them.
    """
    return gather((packet for path in paths for packet in read(path)), size, centred=centred)


def gather(packets: Iterable[Packet | Unread], size: int, *, centred: bool = False) -> Iterator[Batch]:
    """Put packets into batches, as `batches` does those of files."""
    if size < 1:
        raise ValueError(f"batches of {size}: give 1 or more")
    cuts: list[Cut] = []
    rows: list[dict[str, Any]] = []
    refused: list[Unread] = []
    for packet in packets:
        found = packet if isinstance(packet, Unread) else _cut(packet, centred)
        if isinstance(found, Unread):
            refused.append(found)
        elif isinstance(packet, Packet):
            cuts.append(found)
            shape = f"{found.shape[0]}x{found.shape[1]}"
            rows.append({**row(packet), "candidate_x": found.x, "candidate_y": found.y, "cutout_shape": shape})
        # A file of nothing but damaged alerts must not fill the memory with reasons either.
        if len(cuts) == size or len(refused) >= 16 * size:
            yield _batch(cuts, rows, refused)
            cuts, rows, refused = [], [], []
    if cuts or refused:
        yield _batch(cuts, rows, refused)


def _cut(packet: Packet, centred: bool) -> Cut | Unread:
    try:
        return cut(packet, centred=centred)
    except BadCutout as error:
        known = (packet.survey, packet.candid, packet.object_id)
        return Unread(packet.where, error.reason, error.message, *known)


def _batch(cuts: list[Cut], rows: list[dict[str, Any]], refused: list[Unread]) -> Batch:
    pixels = [found.pixels for found in cuts]
    return Batch(np.stack(pixels) if pixels else np.empty((0, 3, SIZE, SIZE), np.float32), rows, refused)
