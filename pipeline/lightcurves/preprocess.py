"""Light curves → segments with curve and periodogram, in ``curves/s0001.zarr``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.errors import Mismatch
from pipeline.lightcurves import ingest
from pipeline.lightcurves.clean import Segment, prepare
from pipeline.lightcurves.periodogram import PERIOD_EDGES_ROBUST, PERIODS_CALNET
from pipeline.lightcurves.views import FACTS, PHASES, VIEWS
from pipeline.manifest import Object
from pipeline.partition import Key, partition_size, where_cadence, where_sector
from pipeline.settings import PreprocessSettings
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stores import Array, Template

__all__ = ["Preprocess", "capacity", "index_path", "layout", "stack", "store_path"]

#: Segments of 2.8 d with gaps of 0.75 d between them: no more than seven fit into a sector.
SEGMENTS_A_TARGET = 8

SAMPLES, BINS = 4000, len(PERIODS_CALNET)

_READ = ("tic_id", "ra", "dec", "tmag", "time", "flux", "quality")


def store_path(name: str) -> str:
    """Return where the curves of a sector lie in the workspace."""
    return f"curves/{name}.zarr"


def index_path(key: Key) -> str:
    """Return where the index of a partition's segments lies."""
    return f"curves/{key.where}.segments/part-{key.part:05d}.parquet"


def capacity(name: str) -> int:
    """Return the rows of a partition of a store of segments."""
    return SEGMENTS_A_TARGET * partition_size(where_cadence(name))


def template(name: str, settings: PreprocessSettings) -> Template:
    """Return the layout of a sector's store of segments."""
    attrs = {
        "title": f"TESS segments, sector {where_sector(name)}, {where_cadence(name)} s",
        "sector": where_sector(name),
        "cadence_s": where_cadence(name),
    }
    return layout(settings, capacity(name), attrs)


def layout(settings: PreprocessSettings, rows: int, attrs: dict[str, Any]) -> Template:
    """Return the layout of a store of segments, `rows` a partition; `attrs` are added to its attributes."""
    nan = float("nan")
    edges = PERIOD_EDGES_ROBUST
    calnet = settings.recipe == "calnet"
    periods = PERIODS_CALNET if calnet else np.sqrt(edges[1:] * edges[:-1])
    about = {"units": "d", "long_name": "trial period" if calnet else "centre of the period bin"}
    arrays = [
        Array("curve", "float32", ("row", "sample"), nan, {"long_name": f"flux by recipe {settings.recipe}"}),
        Array("periodogram", "float32", ("row", "bin"), nan, {"long_name": "floating-mean GLS power"}),
    ]
    if not calnet:
        folds = {"long_name": "folded flux", "views": list(VIEWS)}
        arrays += [
            Array("coverage", "uint8", ("row", "sample"), 0, {"long_name": "0 where the curve is a line over a gap"}),
            Array("folded", "float32", ("row", "view", "phase"), nan, folds),
            Array("facts", "float32", ("row", "fact"), nan, {"long_name": "numbers", "facts": list(FACTS)}),
        ]
    return Template(
        arrays=tuple(arrays),
        sizes={"sample": SAMPLES, "bin": BINS, "view": len(VIEWS), "phase": PHASES, "fact": len(FACTS)},
        partition=rows,
        compression=settings.compression,
        coords={"period": ("bin", periods, about)},
        attrs=attrs | {"rows": "row", "rows_per_partition": rows, "recipe": settings.recipe},
    )


def stack(segments: Sequence[Segment], recipe: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a store for some segments, in order."""
    names = ["curve", "periodogram"] + ([] if recipe == "calnet" else ["coverage", "folded", "facts"])
    return {name: np.stack([getattr(segment, name) for segment in segments]) for name in names}


class Preprocess(Stage):
    """One sector's light curves into segments.

    Parameters
    ----------
    workspace : Folder
        Holds the light curves; receives the segments.
    name : str
        Store, ``s0001``.
    settings : PreprocessSettings
        Recipe and compression.
    """

    name = "preprocess"
    version = 2

    settings: PreprocessSettings

    def __init__(self, workspace: Folder, name: str, settings: PreprocessSettings) -> None:
        super().__init__(workspace, settings)
        self.where = name

    def keys(self) -> list[Key]:
        """Return a partition for every one that is ingested, sorted."""
        found = manifest.committed(self.workspace, "ingest", f"lightcurves/{self.where}")
        return [Key("curves", self.where, Key.parse(key).part) for key in sorted(found)]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identity of the light curves of a partition."""
        return self.require("ingest", Key("lightcurves", key.where, key.part))

    def inputs(self, key: Key) -> list[str]:
        """Return the stars of a partition, by row."""
        targets = self._read(key, ["tic_id"])
        return [f"TIC {tic_id}" for tic_id in targets["tic_id"][targets["valid"]]]

    @property
    def _columns(self) -> list[str]:
        # The published recipe knows no errors; reading what is not used would cost a fifth more.
        return [*_READ, "flux_err"] if self.settings.recipe == "robust" else list(_READ)

    def _read(self, key: Key, names: list[str]) -> dict[str, NDArray[np.generic]]:
        size, path = partition_size(where_cadence(key.where)), ingest.store_path(key.where)
        first = key.part * size
        valid = stores.read(self.workspace, path, ["valid"], slice(first, first + size))["valid"]
        # Rows behind the last target are fill: unpacking it would cost a small partition more than its targets.
        count = int(np.flatnonzero(valid)[-1]) + 1 if valid.any() else 0
        data = stores.read(self.workspace, path, names, slice(first, first + count))
        return data | {"valid": valid[:count]}

    def prepare(self) -> None:
        """Create the store of segments, or let it grow to as many partitions as are ingested."""
        made_by = stores.shape(self.workspace, store_path(self.where)).get("recipe", self.settings.recipe)
        if made_by != self.settings.recipe:
            raise Mismatch(
                f"{store_path(self.where)}: recipe was {made_by!r}, is {self.settings.recipe!r}; "
                f"run preprocess_sectors --sectors {where_sector(self.where)} --overwrite to make it anew"
            )
        if keys := self.keys():
            layout = template(self.where, self.settings)
            stores.create(self.workspace, store_path(self.where), layout, keys[-1].part + 1)

    def probe(self, key: Key, name: str) -> None:
        """Prepare one star."""
        data = self._read(key, self._columns)
        number = int(np.flatnonzero(data["valid"] & (data["tic_id"] == int(name.split()[1])))[0])
        self._prepare(key, data, number)

    def _prepare(self, key: Key, data: dict[str, NDArray[np.generic]], number: int) -> list[Segment]:
        return prepare(
            data["time"][number],
            data["flux"][number],
            data["quality"][number],
            recipe=self.settings.recipe,
            cadence_s=float(where_cadence(key.where)),
            flux_err=data["flux_err"][number] if "flux_err" in data else None,
        )

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Cut the stars of a partition into segments and write them."""
        data = self._read(key, self._columns)
        first, room = key.part * capacity(key.where), capacity(key.where)
        rows: list[dict[str, object]] = []
        segments: list[Segment] = []
        outcomes = []
        for number in np.flatnonzero(data["valid"]):
            tic_id = int(data["tic_id"][number])
            name = f"TIC {tic_id}"
            if name in skip:
                outcomes.append(skip[name])
                continue
            found = self._prepare(key, data, int(number))
            taken = found[: room - len(segments)]
            outcomes.append(_outcome(name, len(found), len(taken)))
            facts = {fact: float(data[fact][number]) for fact in ("ra", "dec", "tmag")}
            for order, segment in enumerate(taken):
                rows.append(_row(key, first + len(segments), tic_id, order, segment) | facts)
                segments.append(segment)
        objects = self._write(key, rows, segments)
        return Product(objects, len(rows), outcomes)

    def _write(self, key: Key, rows: list[dict[str, object]], segments: list[Segment]) -> list[Object]:
        table = pa.Table.from_pylist(rows, schema=schema.SEGMENTS.arrow_schema())
        index = Object(*write.write(self.workspace, index_path(key), table, schema.SEGMENTS))
        if not segments:
            return [index]
        arrays = stack(segments, self.settings.recipe)
        return [index, *stores.write(self.workspace, store_path(key.where), key.part, arrays)]


def _outcome(name: str, found: int, taken: int) -> InputOutcome:
    if not found:
        return InputOutcome(name, State.NOTHING, None, "no segment of good data as long as 2.8 d")
    if taken < found:
        return InputOutcome(name, State.DONE, "over_capacity", f"{taken} of {found} segments kept: partition is full")
    return InputOutcome(name, State.DONE)


def _row(key: Key, row: int, tic_id: int, order: int, segment: Segment) -> dict[str, object]:
    return {
        "row": row,
        "sector": where_sector(key.where),
        "cadence_s": float(where_cadence(key.where)),
        "tic_id": tic_id,
        "segment": order,
        "t_start": segment.t_start,
        "t_end": segment.t_end,
        "n_cadences": segment.n_cadences,
        "gls_period": segment.gls_period,
        "gls_power": segment.gls_power,
        "flux_median": segment.flux_median,
        "flux_min": segment.flux_min,
        "flux_max": segment.flux_max,
        "flags": segment.flags,
    }
