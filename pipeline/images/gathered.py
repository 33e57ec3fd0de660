"""Labelled triplets that are there already, of alerts or of a workspace's candidates → a store to learn from."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.triplets import TRIPLETS
from pipeline import manifest, stores
from pipeline.alerts import facts
from pipeline.alerts.cutouts import triplet
from pipeline.alerts.packets import Packet, read
from pipeline.alerts.refusals import BadCutout, Unread
from pipeline.alerts.surveys import sky_cell
from pipeline.errors import Missing, UsageError
from pipeline.images import triplets
from pipeline.images.difference import DIFFERENCE, part_path
from pipeline.images.frame import Pixels
from pipeline.images.sampling import sampled
from pipeline.images.training import CAPACITY, index_path, of_objects, store_path
from pipeline.images.verdicts import Verdicts
from pipeline.manifest import Object, checksum
from pipeline.partition import Key
from pipeline.settings import SamplingSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["AlertTriplets", "Gathered", "Source", "StoredTriplets"]

#: What vouches for an alert (`pipeline.alerts.witnesses`) → kind of the candidate.
_VOUCHED = {"solar_system": "mover", "variable": "variable", "tns": "transient", "counterpart": ""}

Rows = list[dict[str, Any]]


class Source(Protocol):
    """Where triplets with labels are."""

    @property
    def name(self) -> str:
        """Of the store; the same for the same triplets and labels."""

    @property
    def identity(self) -> dict[str, str]:
        """What it is made from → checksum."""

    def parts(self) -> int:
        """Return in how many partitions it is written."""

    def part(
        self, number: int, skip: Collection[str] = ()
    ) -> tuple[pd.DataFrame, Pixels, list[InputOutcome]]:  # fmt: skip
        """Return index (without rows), triplets and what became of the inputs of a partition but those to skip."""

    def inputs(self, number: int) -> list[str]:
        """Return the names of the inputs of a partition."""


class AlertTriplets:
    """Alert packets with labels; those without are passed by.

    Parameters
    ----------
    paths : list of Path
        Files of them.
    told : Verdicts
        Who says what is real.
    optional : bool
        None of them need have a label.
    """

    def __init__(self, paths: list[Path], told: Verdicts, optional: bool = False) -> None:
        self.told = told
        # Of files without a labelled alert nothing depends, and there may be many.
        found = {path: rows for path in paths if (rows := self._labelled(path))}
        self.paths = list(found)
        self._places = [(number, row) for number, rows in enumerate(found.values()) for row in rows]
        self.identity = {str(n): checksum(path) for n, path in enumerate(self.paths)} | {"labels": told.identity}
        self.name = f"alerts-{digest(self.identity)[:8]}"
        if not found and not optional:
            cure = "labels name candidates as SURVEY:CANDID or CANDID"
            raise UsageError(f"{paths[0]}: no alert of {len(paths)} files has a label ({told.rule}); {cure}")

    def parts(self) -> int:
        """Return in how many partitions it is written."""
        return -(-len(self._places) // CAPACITY)

    def inputs(self, number: int) -> list[str]:
        """Return the alerts of a partition by file and row."""
        return [f"{self.paths[path].name}#{row}" for path, row in self._own(number)]

    def part(
        self, number: int, skip: Collection[str] = ()
    ) -> tuple[pd.DataFrame, Pixels, list[InputOutcome]]:  # fmt: skip
        """Return index, triplets and what became of the alerts of a partition but those to skip."""
        wanted = {(path, row) for path, row in self._own(number) if f"{self.paths[path].name}#{row}" not in skip}
        rows: Rows = []
        cut: list[Pixels] = []
        outcomes = []
        for path in sorted({path for path, _ in wanted}):
            for row, packet in enumerate(read(self.paths[path])):
                if (path, row) not in wanted:
                    continue
                name = f"{self.paths[path].name}#{row}"
                try:
                    assert not isinstance(packet, Unread)
                    # The candidate in the middle, as ours are.
                    cut.append(triplet(packet, centred=True))
                    rows.append(self._row(packet))
                    outcomes.append(InputOutcome(name, State.DONE))
                except BadCutout as error:
                    outcomes.append(InputOutcome(name, State.REJECTED, str(error.reason), str(error)))
        return _index(rows), _stacked(cut), outcomes

    def _labelled(self, path: Path) -> list[int]:
        packets = enumerate(read(path))
        return [row for row, packet in packets if isinstance(packet, Packet) and self._said(packet) is not None]

    def _own(self, number: int) -> list[tuple[int, int]]:
        return self._places[number * CAPACITY : (number + 1) * CAPACITY]

    def _said(self, packet: Packet) -> tuple[int, str] | None:
        if self.told.rule == "witness":
            vouched = facts.row(packet)["witness"]
            return None if vouched is None else (1, _VOUCHED.get(vouched, ""))
        return self.told.of(f"{packet.survey}:{packet.candid}", packet.candid)

    def _row(self, packet: Packet) -> dict[str, Any]:
        told, said = facts.row(packet), self._said(packet)
        assert said is not None
        place = (told["ra"], told["dec"])
        cell = "" if None in place else sky_cell(*place)
        # Where nothing tells the field apart, an object is one.
        own = told["field"] or cell or told["candidate_id"]
        return told | {
            "field": f"{packet.survey}:{own}", "object_id": told["object_id"] or told["candidate_id"],
            "seeing_px": told["fwhm_px"], "label": said[0], "kind": said[1],
        }  # fmt: skip


class StoredTriplets:
    """Candidates of a workspace with labels.

    Parameters
    ----------
    workspace : Folder
        With differences.
    told : Verdicts
        Who says what is real.
    optional : bool
        There may be none.
    """

    def __init__(self, workspace: Folder, told: Verdicts, optional: bool = False) -> None:
        self.workspace, self.told = workspace, told
        found = sorted(manifest.committed(workspace, DIFFERENCE))
        if not found and not optional:
            raise Missing(f"{workspace}: no image is differenced; run python -m jobs.difference_images")
        self.identity = {"labels": told.identity}
        self._bands: list[tuple[Key, pd.DataFrame]] = []
        for name in found:
            key, table = Key.parse(name), self._labelled(Key.parse(name))
            if len(table):
                record = manifest.read(workspace, DIFFERENCE, key)
                assert record is not None
                self.identity[name] = digest([[one.path, one.sha256] for one in record.objects])
                self._bands += [(key, table[n : n + CAPACITY]) for n in range(0, len(table), CAPACITY)]
        if not self._bands and not optional:
            raise UsageError(f"{workspace}: none of its candidates has a label ({told.rule}); label some first")
        self.name = f"candidates-{digest(self.identity)[:8]}"

    def parts(self) -> int:
        """Return in how many partitions it is written."""
        return len(self._bands)

    def inputs(self, number: int) -> list[str]:
        """Return the band of a pair."""
        return [f"{self._bands[number][0]}"]

    def part(
        self, number: int, skip: Collection[str] = ()
    ) -> tuple[pd.DataFrame, Pixels, list[InputOutcome]]:  # fmt: skip
        """Return index, triplets and what became of the candidates of a partition, a band that is the one input."""
        key, table = self._bands[number]
        if f"{key}" in skip:
            return _index([]), _stacked([]), []
        low, high = int(table["triplet_row"].min()), int(table["triplet_row"].max())
        store = triplets.path(key.where)
        pixels = stores.read(self.workspace, store, [triplets.NAME], slice(low, high + 1))[triplets.NAME]
        seen = {"seeing_px": table["seeing_arcsec"], "ref_seeing_px": table["ref_seeing_arcsec"]}
        table = table.assign(**{name: value / table["pixscale"] for name, value in seen.items()})
        cells = [sky_cell(ra, dec) or key.where for ra, dec in zip(table["ra"], table["dec"], strict=True)]
        table["field"] = [f"{survey}:{cell}" for survey, cell in zip(table["survey"], cells, strict=True)]
        table["object_id"] = table["object_id"].fillna(table["candidate_id"])
        chosen = pixels[table["triplet_row"].to_numpy(np.int64) - low]
        return _index(table.to_dict("records")), chosen, [InputOutcome(str(key), State.DONE)]

    def _labelled(self, key: Key) -> pd.DataFrame:
        table = write.read(self.workspace, part_path(key.where, key.part), CANDIDATES).to_pandas()
        said: list[tuple[int, str] | None] = [self.told.of(name) for name in table["candidate_id"]]
        if self.told.rule.startswith("injected"):
            other = (0, "") if self.told.rule == "injected-else-bogus" else None
            said = [(1, "transient") if injected else other for injected in table["is_injected"]]
        known = np.array([one is not None for one in said], bool) & table["triplet_row"].notna().to_numpy()
        labels = [one for one, good in zip(said, known, strict=True) if good and one is not None]
        found = table[known].assign(label=[one[0] for one in labels], kind=[one[1] for one in labels])
        return found.sort_values("triplet_row")


class Gathered(Stage):
    """Triplets with labels out of one source, in pixels in which stars are as wide as networks know them.

    Parameters
    ----------
    workspace : Folder
        Receives the store.
    name : str
        Of the set that it is for.
    source : Source
        Where they are.
    settings : SamplingSettings, optional
        Which widths of stars are kept.
    """

    name = "gathered_set"
    version = 1

    settings: SamplingSettings

    def __init__(self, workspace: Folder, name: str, source: Source, settings: SamplingSettings | None = None) -> None:
        super().__init__(workspace, settings or SamplingSettings())  # type: ignore[call-arg]
        self.source = source
        self.where = f"{name}-{source.name}"

    @property
    def identity(self) -> dict[str, str]:
        """What it is made from → checksum."""
        return self.source.identity

    def describe(self) -> dict[str, Any]:
        """Return what the set is made of, for a model's card: store, triplets, sha256."""
        return {"store": store_path(self.where)} | of_objects(self)

    def keys(self) -> list[Key]:
        """Return the partitions of the source."""
        return [Key("training", self.where, part) for part in range(self.source.parts())]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the checksums of what the source is made from."""
        return self.source.identity

    def inputs(self, key: Key) -> list[str]:
        """Return the inputs of a partition."""
        return self.source.inputs(key.part)

    def prepare(self) -> None:
        """Create the store."""
        layout = replace(triplets.template(capacity=CAPACITY), attrs={"title": f"triplets of {self.where}"})
        if self.keys():
            stores.create(self.workspace, store_path(self.where), layout, len(self.keys()))

    def probe(self, key: Key, name: str) -> None:
        """Gather one input and forget it."""
        self.source.part(key.part, {other for other in self.inputs(key) if other != name})

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Gather a partition and write it."""
        table, pixels, outcomes = self.source.part(key.part, skip)
        outcomes += skip.values()
        pixels, factor = sampled(pixels, table["seeing_px"].to_numpy(float), self.settings)
        for name, scale in (("seeing_px", factor), ("ref_seeing_px", factor), ("pixscale", 1 / factor)):
            table[name] = table[name].astype(float) * scale
        table["row"] = key.part * CAPACITY + np.arange(len(table))
        arrow = pa.Table.from_pandas(table[TRIPLETS.names], TRIPLETS.arrow_schema(), preserve_index=False)
        written = [Object(*write.write(self.workspace, index_path(key), arrow, TRIPLETS))]
        if len(table):
            written += stores.write(self.workspace, store_path(self.where), key.part, {triplets.NAME: pixels})
        return Product(written, len(table), outcomes)


def _index(rows: Rows) -> pd.DataFrame:
    """Return rows of an index with what they do not have missing, or empty."""
    table = pd.DataFrame(rows)
    texts = {"ccd": "", "filter": "", "kind": "", "environment": ""}
    for name in TRIPLETS.names:
        if name not in table:
            table[name] = texts.get(name) if name != "weight" else 1.0
    for name, value in texts.items():
        table[name] = table[name].fillna(value)
    return table.astype({"flags": "Int32"})


def _stacked(cut: list[Pixels]) -> Pixels:
    shape = (0, len(triplets.CHANNELS), triplets.SIZE, triplets.SIZE)
    return np.stack(cut) if cut else np.empty(shape, np.float32)
