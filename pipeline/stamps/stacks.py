"""Stamps → ``stacks/<survey>.zarr``: the filters of each source as one image, and the index of them."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import STACKS
from pipeline import manifest, stores
from pipeline.errors import FATAL
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import StampSettings
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import ingest, plan
from pipeline.stamps.ingest import template
from pipeline.stamps.layout import STACK, stacks_index, stacks_store
from pipeline.stamps.light import Plane, in_words
from pipeline.stamps.stack import Stacked, stack_source
from pipeline.stamps.surveys import get

__all__ = ["STAGE", "StackStamps", "read_index"]

STAGE = STACK


def read_index(workspace: Folder, key: Key) -> pd.DataFrame:
    """Return the index of a partition of stacks, as in the table STACKS."""
    return write.read(workspace, stacks_index(key), STACKS).to_pandas()


class StackStamps(Stage):
    """The filters of each source of a partition of stamps into one image.

    Parameters
    ----------
    workspace : Folder
        Holds the stamps, receives the stacks.
    slug : str
        The survey, as its plan is called.
    settings : StampSettings
        How filters become one.
    """

    name = STAGE
    version = 4

    settings: StampSettings

    def __init__(self, workspace: Folder, slug: str, settings: StampSettings) -> None:
        super().__init__(workspace, settings)
        self.slug = slug
        self.survey = get(slug, settings.surveys)
        self._sources: dict[int, list[str]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sources": None}

    def keys(self) -> list[Key]:
        """Return the partitions of stamps that are committed."""
        there = manifest.committed(self.workspace, plan.STAGE, f"stamps/{self.slug}")
        return [Key("stacks", self.slug, Key.parse(text).part) for text in sorted(there)]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the partition of stamps, and what is known of the survey."""
        there = self.require(plan.STAGE, Key("stamps", key.where, key.part))
        return there | {f"survey/{self.slug}": self.survey.sha256}

    def inputs(self, key: Key) -> list[str]:
        """Return the sources of a partition."""
        if self._sources is None:
            table = plan.load(self.workspace, self.slug).to_pandas()
            table = table[table["verdict"] == plan.ACCEPTED]
            groups = table.groupby("part")["source_id"]
            self._sources = {int(part): sorted(set(names)) for part, names in groups}
        return self._sources[key.part]

    def prepare(self) -> None:
        """Create the store, or let it grow."""
        layout = template(self.survey, "stack", plan.SOURCES, "counts, sky subtracted")
        where, last = stacks_store(Key("stacks", self.slug, 0)), max((key.part for key in self.keys()), default=-1)
        stores.create(self.workspace, where, layout, last + 1)

    def probe(self, key: Key, name: str) -> None:
        """Stack one source, writing nothing."""
        index, arrays = self._read(key)
        self._stacked(index[index["source_id"] == name], arrays)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Stack the sources of a partition and write the stacks."""
        index, arrays = self._read(key)
        groups = dict(list(index.groupby("source_id", sort=True)))
        rows, stacks, outcomes = list[dict[str, Any]](), list[Stacked](), list[InputOutcome]()
        for source in self.inputs(key):
            if source in skip:
                outcomes.append(skip[source])
                continue
            if source not in groups:
                outcomes.append(InputOutcome(source, State.NOTHING, None, "none of its files was of use"))
                continue
            try:
                stacked = self._stacked(groups[source], arrays)
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this source's
                text = f"{type(error).__name__}: {error}"
                outcomes.append(InputOutcome(source, State.FAILED, "exception", text))
                continue
            first = groups[source].iloc[0]
            place = {"source_id": source, "ra": first["ra"], "dec": first["dec"]}
            rows.append({"row": key.part * plan.SOURCES + len(rows)} | place | stacked.facts)
            stacks.append(stacked)
            note = in_words(stacked.facts["flags"])
            outcomes.append(InputOutcome(source, State.DONE, None, note))
        return Product(self._write(key, STACKS.of(rows), stacks), len(rows), outcomes)

    def _read(self, key: Key) -> tuple[pd.DataFrame, dict[str, Any]]:
        index = ingest.read_index(self.workspace, Key("stamps", key.where, key.part))
        if not len(index):
            return index, {}
        first = int(index["row"].iloc[0])
        rows = slice(first, first + len(index))
        return index, stores.read(self.workspace, ingest.store_path(self.slug), ("stamp", "mask"), rows)

    def _stacked(self, index: pd.DataFrame, arrays: dict[str, Any]) -> Stacked:
        first = int(index["row"].iloc[0]) // plan.capacity(self.survey) * plan.capacity(self.survey)
        planes = [
            Plane(arrays["stamp"][row.row - first], row.filter, row.x0, row.y0, arrays["mask"][row.row - first],
                  row.pixscale, row.fwhm_arcsec, row.mjd, row.flags)
            for row in index.itertuples()
        ]  # fmt: skip
        return stack_source(planes, self.survey, self.settings.method)

    def _write(self, key: Key, table: pa.Table, stacks: list[Stacked]) -> list[Object]:
        objects = [Object(*write.write(self.workspace, stacks_index(key), table, STACKS))]
        if stacks:
            arrays: dict[str, Any] = {
                "stack": np.stack([one.image for one in stacks]),
                "mask": np.stack([one.mask for one in stacks]),
            }
            objects += stores.write(self.workspace, stacks_store(key), key.part, arrays)
        return objects
