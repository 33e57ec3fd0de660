"""Stacks of simulated stamps to learn from: is there a second star, how far, with truth.

A partition is 512 stacks of one survey. Surveys of 64 cells share a store, those of 128 another, of the same name with
``-fine``. Partition numbers go round the surveys of a store, so that a larger set only has more of them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamps import LESSONS
from pipeline import stores
from pipeline.errors import SkysiftError
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import StampSetSettings
from pipeline.simulate.stamps import described, drawn, one_stacked
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps import surveys
from pipeline.stores import Array, Template

__all__ = ["NAME", "STACKS", "StampSet", "index_path", "read_index", "store_path"]

NAME = "stack"  #: of the array in the stores
STACKS = 512  #: a partition

# Bits of a float32 that are dropped: what is left is good to 2^-13 of a pixel's value, far below its noise.
_DROPPED = 11


def store_path(where: str) -> str:
    """Return where a set's store lies in the workspace; `where` is that of its keys."""
    return f"training/{where}.zarr"


def index_path(key: Key) -> str:
    """Return where the index of a partition of a set lies."""
    return f"training/{key.where}.stacks/part-{key.part:05d}.parquet"


def read_index(workspace: Folder, key: Key) -> pd.DataFrame:
    """Return the index of a partition of a set, with path (of its store) and part."""
    table = write.read(workspace, index_path(key), LESSONS).to_pandas()
    return table.assign(path=store_path(key.where), part=key.part)


class StampSet(Stage):
    """Stacks of simulated stamps with labels.

    Parameters
    ----------
    workspace : Folder
        Receives the stores.
    settings : StampSetSettings
        How many stacks, seed, description.
    """

    name = "stamp_set"
    version = 5

    settings: StampSetSettings

    def __init__(self, workspace: Folder, settings: StampSetSettings) -> None:
        super().__init__(workspace, settings)
        self.description = described(settings.description)
        if settings.seed is not None:
            self.description = self.description.with_seed(settings.seed)
        self.where = f"{self.description.name}-{self.description.seed}"
        # Which of the surveys a partition holds must not depend on how many are asked for.
        self._sides: dict[int, list[str]] = {}
        for survey in self.description.stacks:
            self._sides.setdefault(surveys.get(survey).side, []).append(survey)

    def _where(self, side: int) -> str:
        return self.where if side == 64 else f"{self.where}-fine"

    @property
    def identity(self) -> dict[str, str]:
        """What it is made from → checksum."""
        return {"description": self.description.sha256, "seed": str(self.description.seed)}

    def describe(self) -> dict[str, Any]:
        """Return what the set is made of, for a model's card: stores, description, seed, stacks a survey."""
        told = {"store": store_path(self.where), "description": self.description.sha256, "seed": self.description.seed}
        counts: dict[str, int] = {}
        for key in self.keys():
            counts[self.survey(key)] = counts.get(self.survey(key), 0) + STACKS
        return told | {"stacks": counts}

    def keys(self) -> list[Key]:
        """Return the partitions of all surveys."""
        found = []
        for side, names in self._sides.items():
            for place, survey in enumerate(names):
                count = self.settings.stacks or self.description.stacks[survey]
                parts = range(place, -(-count // STACKS) * len(names), len(names))
                found += [Key("training", self._where(side), part) for part in parts]
        return sorted(found)

    def survey(self, key: Key) -> str:
        """Return the survey of a partition."""
        names = self._sides[128 if key.where.endswith("-fine") else 64]
        return names[key.part % len(names)]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the checksums of the description and of what is said of the survey."""
        return {"description": self.description.sha256, "survey": surveys.get(self.survey(key)).sha256}

    def inputs(self, key: Key) -> list[str]:
        """Return the sources of a partition by number."""
        return [f"source {number}" for number in range(STACKS)]

    def prepare(self) -> None:
        """Create the stores, or let them grow."""
        keys = self.keys()
        for side in self._sides:
            parts = [key.part for key in keys if key.where == self._where(side)]
            stores.create(self.workspace, store_path(self._where(side)), _template(side), 1 + max(parts))

    def probe(self, key: Key, name: str) -> None:
        """Make one stack."""
        self._maker(key)(int(name.removeprefix("source ")))

    def _maker(self, key: Key) -> Callable[[int], tuple[Any, dict[str, Any]]]:
        survey = self.survey(key)
        seed = key.part // len(self._sides[surveys.get(survey).side])

        def make(number: int) -> tuple[Any, dict[str, Any]]:
            return one_stacked(self.description, drawn(self.description, survey, seed, number), seed, number)

        return make

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Make the stacks of a partition and write them with their truth; one that fails spoils no other."""
        make, made, rows, outcomes = self._maker(key), [], [], []
        for name in self.inputs(key):
            if name in skip:
                outcomes.append(skip[name])
                continue
            try:
                image, row = make(int(name.removeprefix("source ")))
            except SkysiftError:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this source's
                outcomes.append(InputOutcome(name, State.FAILED, "exception", f"{type(error).__name__}: {error}"))
                continue
            outcomes.append(InputOutcome(name, State.DONE))
            made.append(image)
            rows.append(row)
        index = pd.DataFrame(rows, columns=LESSONS.names)
        index["row"] = key.part * STACKS + np.arange(len(rows))
        table = pa.Table.from_pandas(index, LESSONS.arrow_schema(), preserve_index=False)
        written = [Object(*write.write(self.workspace, index_path(key), table, LESSONS))]
        if rows:
            arrays = {NAME: _rounded(np.stack(made))}
            written += stores.write(self.workspace, store_path(key.where), key.part, arrays)
        return Product(written, len(rows), outcomes)


def _rounded(stacks: Any) -> Any:
    """Return float32 with fewer bits, which take less room."""
    half, kept = np.uint32(1 << (_DROPPED - 1)), np.uint32(~((1 << _DROPPED) - 1) & 0xFFFFFFFF)
    rounded = ((stacks.view(np.uint32) + half) & kept).view(np.float32)
    return np.where(np.isfinite(stacks), rounded, np.float32(np.nan))


@lru_cache
def _template(side: int) -> Template:
    attrs = {"units": "ct", "long_name": "stack of the filters of a simulated source, sky subtracted"}
    return Template(
        (Array(NAME, "float32", ("row", "y", "x"), float("nan"), attrs),),
        {"y": side, "x": side}, STACKS, 1, {},
        {"title": "simulated stacks", "rows": "row", "rows_per_partition": STACKS},
    )  # fmt: skip
