"""Candidates of our own differences → scores, a partition each of their bands."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs import write
from catalogs.candidates import CANDIDATES
from models.candidates import COLUMNS, LOT, Lot, ScoreCandidates
from pipeline import candidates, manifest, stores
from pipeline.images import triplets
from pipeline.images.difference import DIFFERENCE, difference_path, part_path
from pipeline.partition import Key
from pipeline.stage import InputOutcome, State

__all__ = ["ScoreDifferences"]

Row = dict[str, Any]


class ScoreDifferences(ScoreCandidates):
    """Scores for the candidates of the workspace's own differences, a partition each of their bands."""

    def keys(self) -> list[Key]:
        """Return a partition for every band that is subtracted, sorted."""
        bands = map(Key.parse, manifest.committed(self.workspace, DIFFERENCE, "differences"))
        folder = candidates.folder(self.entry.id)
        return sorted(Key(folder.product, f"{folder.where}/differences/{band.where}", band.part) for band in bands)

    def missing(self) -> list[str]:
        """Return the bands that are not subtracted, of pairs of which some are."""
        done: dict[str, set[int]] = {}
        for key in self.keys():
            done.setdefault(_band(key).where, set()).add(key.part)
        found = []
        for pair, parts in sorted(done.items()):
            shape = stores.shape(self.workspace, difference_path(pair))
            count = -(-int(shape["ny"]) // int(shape["rows_per_partition"]))
            found += [f"{pair} band {part}" for part in sorted(set(range(count)) - parts)]
        return found

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of the difference and of the model."""
        return self.require(DIFFERENCE, _band(key)) | {f"model/{self.entry.id}": self.entry.sha256}

    def sources(self, key: Key) -> list[Any]:
        """Return the difference."""
        return sorted(self.require(DIFFERENCE, _band(key)).items())

    def listed(self, key: Key) -> list[str]:
        """Return the candidates of a band."""
        names: list[str] = self._table(key)["candidate_id"].to_pylist()
        return names

    def lots(self, key: Key, skip: dict[str, InputOutcome]) -> Iterator[Lot]:
        """Yield the candidates of a band."""
        without, rows = list[InputOutcome](), list[Row]()
        for row in self._table(key).to_pylist():
            name = row["candidate_id"]
            if row["triplet_row"] is not None:
                rows.append({**{name: value for name, value in row.items() if name in COLUMNS}, "input": name})
            elif name not in skip:
                without.append(InputOutcome(name, State.NOTHING, "no_triplet", "too many candidates in this band"))
        rows.sort(key=lambda row: row["triplet_row"])
        yield Lot([], np.empty((0, 3, 1, 1), np.float32), np.empty(0), [], without)
        for first in range(0, len(rows), LOT):
            some = [row for row in rows[first : first + LOT] if row["candidate_id"] not in skip]
            if some:
                yield self._lot(key, some)

    def _lot(self, key: Key, rows: list[Row]) -> Lot:
        first, last = rows[0]["triplet_row"], rows[-1]["triplet_row"]
        store = triplets.path(_band(key).where)
        found = stores.read(self.workspace, store, [triplets.NAME], slice(first, last + 1))[triplets.NAME]
        pixels = found[[row["triplet_row"] - first for row in rows]]
        known = [(row["seeing_arcsec"], row["pixscale"]) for row in rows]
        fwhm = np.array([np.nan if None in pair else pair[0] / pair[1] for pair in known])
        return Lot([row["candidate_id"] for row in rows], pixels, fwhm, rows, [])

    def _table(self, key: Key) -> pa.Table:
        band = _band(key)
        return write.read(self.workspace, part_path(band.where, band.part), CANDIDATES)


def _band(key: Key) -> Key:
    """Return the band of a difference that a partition of scores is made from."""
    return Key("differences", key.where.split("/differences/", 1)[1], key.part)
