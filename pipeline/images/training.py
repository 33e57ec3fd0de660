"""Triplets to learn real from bogus: the candidates of simulated fields, with labels by what is true of them.

A partition is eight fields. A field follows, with all its noise and all that goes wrong with it, from the description
of the set, its seed and its number.
"""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.candidates import Flag
from catalogs.folder import Folder
from catalogs.triplets import TRIPLETS
from pipeline import manifest, stores
from pipeline.errors import SkysiftError
from pipeline.images import triplets
from pipeline.images.degraded import subtracted
from pipeline.images.frame import Pixels
from pipeline.images.truth import labelled
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import CandidateSetSettings
from pipeline.simulate.fields import draw
from pipeline.simulate.nights import Night, described, draw_night
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["CAPACITY", "FIELDS", "CandidateSet", "index_path", "of_objects", "read_index", "store_path"]

FIELDS = 8  #: a partition
CAPACITY = 512  #: rows a partition

#: Columns that a candidate brings with it.
_BROUGHT = ["ra", "dec", "snr", "flags", "host_sep_arcsec", "host_dlr"]


def store_path(name: str) -> str:
    """Return where a set lies in the workspace."""
    return f"training/{name}.zarr"


def index_path(key: Key) -> str:
    """Return where the index of a partition of a set lies."""
    return f"training/{key.where}.triplets/part-{key.part:05d}.parquet"


def read_index(workspace: Folder, key: Key) -> pd.DataFrame:
    """Return the index of a partition of a set, with path (of its store) and part."""
    table = write.read(workspace, index_path(key), TRIPLETS).to_pandas()
    return table.assign(path=store_path(key.where), part=key.part)


def of_objects(stage: Stage) -> dict[str, Any]:
    """Return what is committed of a set: triplets, and sha256 over the checksums of all objects.

    Parameters
    ----------
    stage : Stage
        That makes the set.
    """
    digest, rows = sha256(), 0
    keys = stage.keys()
    for key in keys:
        record = manifest.read(stage.workspace, stage.name, key)
        if record is not None:
            rows += record.rows
            for one in record.objects:
                digest.update(f"{one.path} {one.sha256}\n".encode())
    return {"triplets": rows, "sha256": digest.hexdigest()}


class CandidateSet(Stage):
    """Candidates of simulated fields with labels.

    Parameters
    ----------
    workspace : Folder
        Receives the store.
    settings : CandidateSetSettings
        How many fields, seed, description.
    """

    name = "candidate_set"
    version = 1

    settings: CandidateSetSettings

    def __init__(self, workspace: Folder, settings: CandidateSetSettings) -> None:
        super().__init__(workspace, settings)
        found = described(settings.description)
        seed = found.seed if settings.seed is None else settings.seed
        fields = found.fields if settings.fields is None else settings.fields
        self.description = replace(found, seed=seed, fields=-(-fields // FIELDS) * FIELDS)
        self.where = f"{found.name}-{seed}"

    def describe(self) -> dict[str, Any]:
        """Return what the set is made of, for a model's card.

        Returns
        -------
        dict
            store, description (SHA-256 of the file), seed, fields, and of the partitions that are committed: triplets,
            and sha256 over the checksums of all their objects.
        """
        told = {"store": store_path(self.where), "description": self.description.sha256, "seed": self.description.seed}
        return told | {"fields": self.description.fields} | of_objects(self)

    @property
    def identity(self) -> dict[str, str]:
        """What it is made from → checksum."""
        return {"description": self.description.sha256, "seed": str(self.description.seed)}

    def keys(self) -> list[Key]:
        """Return a partition for every eight fields."""
        return [Key("training", self.where, part) for part in range(self.description.fields // FIELDS)]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the checksum of the description."""
        return {"description": self.description.sha256}

    def inputs(self, key: Key) -> list[str]:
        """Return the fields of a partition by number."""
        return [f"field {key.part * FIELDS + number}" for number in range(FIELDS)]

    def prepare(self) -> None:
        """Create the store, or let it grow."""
        layout = replace(triplets.template(capacity=CAPACITY), attrs={"title": f"triplets of {self.where}"})
        stores.create(self.workspace, store_path(self.where), layout, len(self.keys()))

    def probe(self, key: Key, name: str) -> None:
        """Make the triplets of one field."""
        self._made(int(name.removeprefix("field ")))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Make the triplets of some fields and write them with their labels; a field that fails spoils no other."""
        tables: list[pd.DataFrame] = []
        cut: list[Pixels] = []
        outcomes = []
        for name in self.inputs(key):
            if name in skip:
                outcomes.append(skip[name])
                continue
            try:
                table, pixels, left_out = self._made(int(name.removeprefix("field ")))
            except SkysiftError:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this field's
                outcomes.append(InputOutcome(name, State.FAILED, "exception", f"{type(error).__name__}: {error}"))
                continue
            state = State.DONE if len(table) else State.NOTHING
            outcomes.append(InputOutcome(name, state, None, f"{len(table)} triplets, {left_out} candidates left out"))
            tables.append(table)
            cut.append(pixels)
        rows = sum(len(table) for table in tables)
        whole = pd.concat(tables, ignore_index=True) if rows else pd.DataFrame(columns=TRIPLETS.names)
        whole["row"] = key.part * CAPACITY + np.arange(rows)
        table = pa.Table.from_pandas(whole[TRIPLETS.names], TRIPLETS.arrow_schema(), preserve_index=False)
        written = [Object(*write.write(self.workspace, index_path(key), table, TRIPLETS))]
        if rows:
            arrays = {triplets.NAME: np.concatenate(cut)}
            written += stores.write(self.workspace, store_path(self.where), key.part, arrays)
        return Product(written, rows, outcomes)

    def _made(self, number: int) -> tuple[pd.DataFrame, Pixels, int]:
        """Return index and triplets of a field, and how many of its candidates are left out."""
        night = draw_night(self.description, number)
        field = draw(night.seed, night.settings)
        found = subtracted(field, night)
        widest = max(night.settings.science.fwhm / night.settings.zoom, night.settings.reference.fwhm)
        labels = labelled(found.candidates, field, found.band, widest)
        kept = self._kept(labels, night)
        table = self._index(found.candidates.loc[kept], labels.loc[kept], night)
        planes = (found.band.science, found.band.reference, found.difference)
        place = found.candidates.loc[kept]
        pixels, padded = triplets.cut(planes, place["x"].to_numpy(), place["y"].to_numpy())
        table["flags"] |= np.where(padded, int(Flag.PADDED), 0).astype(np.int32)
        return table, pixels, len(labels) - len(kept)

    def _kept(self, labels: pd.DataFrame, night: Night) -> pd.Index:
        """Return which candidates are kept: all real ones, of each kind of bogus ones so many, in their order."""
        rng = np.random.default_rng([night.seed, 2])
        known = labels[labels["label"] >= 0]
        mixed = known.iloc[rng.permutation(len(known))]
        bogus = mixed[mixed["label"] == 0].groupby("kind").head(self.description.most_of_a_kind)
        chosen = pd.concat([mixed[mixed["label"] == 1], bogus]).index[: min(self.description.most, CAPACITY // FIELDS)]
        return known.index[known.index.isin(chosen)]

    def _index(self, candidates: pd.DataFrame, labels: pd.DataFrame, night: Night) -> pd.DataFrame:
        science, reference, field = night.settings.science, night.settings.reference, f"{self.where}:{night.number:05d}"
        table = candidates[_BROUGHT].join(labels[["label", "kind", "environment"]])
        names = [f"{field}:{number}" for number in range(len(table))]
        own = [
            f"{field}:{'mover' if kind == 'mover' else 'source'}-{source}" if source >= 0 else name
            for name, kind, source in zip(names, labels["kind"], labels["source"], strict=True)
        ]
        return table.assign(
            candidate_id=names, field=field, object_id=own, survey=night.survey, ccd=night.ccd, filter=night.filter,
            mjd_mid=science.mjd + science.exptime / 2 / 86400, pixscale=night.settings.pixel_scale,
            seeing_px=science.fwhm / night.settings.zoom, ref_seeing_px=reference.fwhm, weight=1.0, row=0,
        )  # fmt: skip
