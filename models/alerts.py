"""Alerts of files → scores, a partition each of what is planned together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.folder import Folder
from models.candidates import COLUMNS, LOT, Lot, ScoreCandidates
from models.registry import Entry
from pipeline import candidates
from pipeline.alerts.batches import Batch, gather
from pipeline.alerts.packets import Packet, Unread, read
from pipeline.alerts.plan import File
from pipeline.errors import Reason
from pipeline.partition import Key
from pipeline.settings import CandidateScoreSettings, digest
from pipeline.stage import InputOutcome, State

__all__ = ["ScoreAlerts"]

#: Column of an alert → of the catalogue, where they differ.
_PACKET = {"drbversion": "drb_version"}

Row = dict[str, Any]


class ScoreAlerts(ScoreCandidates):
    """Scores for the alerts of files.

    Parameters
    ----------
    workspace, entry, settings, device
        As of `ScoreCandidates`.
    parts : mapping
        Number of a partition → its files, of `pipeline.alerts.plan.Plan`.
    """

    def __init__(
        self, workspace: Folder, entry: Entry, settings: CandidateScoreSettings, device: str,
        parts: Mapping[int, Sequence[File]],
    ) -> None:  # fmt: skip
        super().__init__(workspace, entry, settings, device)
        self.parts = dict(parts)

    def keys(self) -> list[Key]:
        """Return one key a partition of the plan, sorted."""
        return [self.key(number) for number in sorted(self.parts)]

    def key(self, number: int) -> Key:
        """Return the key of a partition."""
        folder = candidates.folder(self.entry.id)
        return Key(folder.product, f"{folder.where}/alerts", number)

    def upstream(self, key: Key) -> dict[str, str]:
        """Return what the files hold, and the model."""
        contents = [[file.name, file.sha256, file.first, file.stop] for file in self.parts[key.part]]
        return {"alerts": digest(contents), f"model/{self.entry.id}": self.entry.sha256}

    def sources(self, key: Key) -> list[Any]:
        """Return the files by their contents."""
        return sorted([file.sha256, file.first, file.stop] for file in self.parts[key.part])

    @property
    def origin(self) -> dict[str, str]:
        """Where the files lie."""
        return {
            "alerts": ", ".join(
                sorted({str(Path(file.path).parent) for part in self.parts.values() for file in part})[:5]
            )
        }

    def listed(self, key: Key) -> list[str]:
        """Return the alerts of a partition's files, read or not."""
        return [packet.where for packet in _packets(self.parts[key.part])]

    def lots(self, key: Key, skip: dict[str, InputOutcome]) -> Iterator[Lot]:
        """Yield the alerts of a partition.

        Yields
        ------
        Lot
            Of `LOT` candidates at most.
        """
        files = {file.name: file for file in self.parts[key.part]}
        names: list[str] = []
        self.found = None
        packets = (packet for packet in _noted(_packets(self.parts[key.part]), names) if packet.where not in skip)
        # Ours look at the middle pixel; what ZTF pads at the edge of a chip is not the candidate's fault.
        for batch in gather(packets, LOT, centred=True):
            scored = [row["where"] for row in batch.rows]
            fwhm = np.array([row["fwhm_px"] for row in batch.rows], float)
            yield Lot(scored, batch.triplets, fwhm, [_row(row, files) for row in batch.rows], _refused(batch))
        self.found = key, names


def _noted(packets: Iterable[Packet | Unread], names: list[str]) -> Iterator[Packet | Unread]:
    """Pass alerts on, and put their names down before anything is done with them."""
    for packet in packets:
        names.append(packet.where)
        yield packet


def _packets(files: Iterable[File]) -> Iterator[Packet | Unread]:
    """Yield the alerts of files, each named by its file and row."""
    for file in files:
        if not file.is_unchanged():
            yield Unread(f"{file.name}#{file.first}", str(Reason.CHANGED), "not the file it was when it was planned")
            continue
        count = 0
        for packet in islice(read(file.path), file.first, None if file.stop < 0 else file.stop):
            yield replace(packet, where=f"{file.name}#{file.first + count}")
            count += 1
        if not count and not file.first:
            yield Unread(f"{file.name}#0", str(Reason.EMPTY), "no alert in it")


def _row(facts: Row, files: Mapping[str, File]) -> Row:
    name, _, number = facts["where"].rpartition("#")
    row = {_PACKET.get(key, key): value for key, value in facts.items()}
    found = {key: value for key, value in row.items() if key in COLUMNS}
    return found | {
        "packet_file": name, "packet_row": int(number), "packet_sha256": files[name].sha256, "is_injected": False,
        "input": facts["where"],
    }  # fmt: skip


def _refused(batch: Batch) -> list[InputOutcome]:
    return [InputOutcome(one.where, State.REJECTED, str(one.reason), one.message) for one in batch.refused]
