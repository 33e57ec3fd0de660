"""Create, open and write the Zarr stores; the only code that calls Zarr's writers.

A store is cut into partitions along its first dimension, and a shard is one partition. A template (metadata only)
comes first; then each partition's shards are encoded in memory and put in place whole, one atomic object each. Measured
with this Zarr: parallel writers inside one shard lose rows silently, and so do writes that straddle shards; here one
task owns a shard and no writer ever changes one that exists.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.errors import Corrupt, Mismatch
from pipeline.manifest import Object
from pipeline.partition import Key

__all__ = ["Array", "Template", "create", "open", "read", "shape", "write"]

#: Targets or segments an inner chunk: what a reader of single rows must unpack.
INNER = 32


@dataclass(frozen=True)
class Array:
    """One array of a store.

    Parameters
    ----------
    name, dtype : str
        Its name and NumPy type.
    dims : tuple of str
        Dimensions; the first one is cut into partitions.
    fill : float or int or bool
        What is not written reads as this.
    attrs : dict
        ``units``, ``long_name``.
    """

    name: str
    dtype: str
    dims: tuple[str, ...]
    fill: Any
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Template:
    """The metadata of a store.

    Parameters
    ----------
    arrays : tuple of Array
        Arrays cut into partitions.
    sizes : dict
        Length of every dimension but the first.
    partition : int
        Rows of the first dimension a partition.
    compression : int
        zstd level.
    coords : dict
        Name → (dimension, values, attrs) of coordinates along the other dimensions, written with the template.
    attrs : dict
        Attributes of the store.
    """

    arrays: tuple[Array, ...]
    sizes: Mapping[str, int]
    partition: int
    compression: int
    coords: Mapping[str, tuple[str, NDArray[Any], dict[str, Any]]]
    attrs: dict[str, Any]


def create(folder: Folder, path: str, template: Template, partitions: int) -> None:
    """Create a store of `partitions` partitions, or let an existing one grow to as many; none ever shrinks.

    Only metadata and coordinates are written. Growing never touches a shard.

    Raises
    ------
    Mismatch
        If there is a store of another layout at `path`.
    """
    memory = MemoryStore()
    group = zarr.create_group(memory, attributes=template.attrs)
    rows = max(template.partition * partitions, _rows(folder, f"{path}/{template.arrays[0].name}/zarr.json"))
    blosc = BloscCodec(cname="zstd", clevel=template.compression, shuffle="bitshuffle")
    for array in template.arrays:
        rest = tuple(template.sizes[dim] for dim in array.dims[1:])
        group.create_array(
            array.name,
            shape=(rows, *rest),
            dtype=array.dtype,
            # One object a partition, whichever it is called: a shard of inner chunks, or a chunk of single numbers.
            shards=(template.partition, *rest) if rest else None,
            chunks=(min(INNER, template.partition) if rest else template.partition, *rest),
            compressors=[blosc, Crc32cCodec()],  # a flipped bit would unpack to other numbers without a word
            fill_value=array.fill,
            dimension_names=array.dims,
            attributes=array.attrs,
        )
    for name, (dim, values, attrs) in template.coords.items():
        coord = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=(dim,), attributes=attrs, fill_value=0
        )
        coord[:] = values
    files = {name: buffer.to_bytes() for name, buffer in memory._store_dict.items()}
    _check_growth(folder, path, files, rows)
    # The root last: a store whose root is there is complete.
    for name in sorted(files, key=lambda name: (name == "zarr.json", name)):
        _write_changed(folder, f"{path}/{name}", files[name])


def _rows(folder: Folder, path: str) -> int:
    """Return the rows of an array by its metadata, 0 if there is none yet."""
    return int(json.loads(folder.read(path))["shape"][0]) if folder.exists(path) else 0


def _check_growth(folder: Folder, path: str, files: dict[str, bytes], rows: int) -> None:
    for name, data in files.items():
        if not name.endswith("zarr.json") or not folder.exists(f"{path}/{name}"):
            continue
        old, new = json.loads(folder.read(f"{path}/{name}")), json.loads(data)
        if new.get("shape", [0])[0] == rows and old["shape"][0] <= rows:
            old["shape"][0] = rows  # growing along the first dimension is no change
        if old != new:
            keys = [key for key in new if old.get(key) != new[key]]
            raise Mismatch(
                f"{folder.url(path)}: {name} differs in {', '.join(keys)} from what these inputs and settings need; "
                "run again with --overwrite to make the store anew"
            )


def _write_changed(folder: Folder, path: str, data: bytes) -> None:
    if not folder.exists(path) or folder.read(path) != data:
        folder.write(path, data)


def write(folder: Folder, path: str, part: int, arrays: Mapping[str, NDArray[Any]]) -> list[Object]:
    """Write one partition: every shard of it, whole.

    Parameters
    ----------
    folder, path : Folder, str
        The store.
    part : int
        Number of the partition.
    arrays : mapping
        Name → values of all rows of the partition, or of its first rows; the rest reads as fill.

    Returns
    -------
    list of Object
        What was written; shards that hold nothing but fill are not.

    Raises
    ------
    ValueError
        If an array has another type or shape than the store says: nothing of it is written.
    """
    objects = []
    for name, values in arrays.items():
        target = f"{path}/{name}/{_shard(part, values.ndim)}"
        data = _encode(folder.read(f"{path}/{name}/zarr.json"), name, part, values)
        if data is None:
            folder.remove(target)  # what an attempt that was never committed may have left
            continue
        folder.write(target, data)
        objects.append(Object.of(target, data))
    return objects


def _shard(part: int, ndim: int) -> str:
    return "/".join(["c", str(part), *["0"] * (ndim - 1)])


def _encode(metadata: bytes, name: str, part: int, values: NDArray[Any]) -> bytes | None:
    """Return the bytes of one shard, or None if it is all fill."""
    memory = MemoryStore({"zarr.json": default_buffer_prototype().buffer.from_bytes(metadata)})
    array = zarr.open_array(memory, mode="r+")
    size = (array.shards or array.chunks)[0]
    if array.dtype != values.dtype or array.shape[1:] != values.shape[1:] or not 0 < len(values) <= size:
        raise ValueError(
            f"{name}: {values.dtype} {values.shape} is not a partition of {array.dtype} {(size, *array.shape[1:])}"
        )
    if not 0 <= part * size < array.shape[0]:
        raise ValueError(f"{name}: partition {part} is outside a store of {array.shape[0] // size}")
    array[part * size : part * size + len(values)] = values  # the shard is new: nothing is there to be lost
    buffer = memory._store_dict.get(_shard(part, values.ndim))
    return None if buffer is None else buffer.to_bytes()


def _zarr_store(folder: Folder, path: str) -> Store:
    if folder.is_local:
        return LocalStore(folder.local(path), read_only=True)
    return ObjectStore(folder.child(path)._s3, read_only=True)


def _open_array(folder: Folder, path: str, name: str) -> zarr.Array[Any]:
    try:
        return zarr.open_array(_zarr_store(folder, f"{path}/{name}"), mode="r")
    except FileNotFoundError as error:
        raise Corrupt(f"{folder.url(path)}: array {name} is not there ({error})") from error


def shape(folder: Folder, path: str) -> dict[str, Any]:
    """Return the attributes of a store's root, or an empty dict if there is no store."""
    try:
        return dict(json.loads(folder.read(f"{path}/zarr.json")).get("attributes", {}))
    except FileNotFoundError:
        return {}


def read(folder: Folder, path: str, names: Iterable[str], rows: slice) -> dict[str, NDArray[Any]]:
    """Return arrays of a range of rows, without the checks of `open`; for tasks that know their partition.

    Parameters
    ----------
    folder, path : Folder, str
        The store.
    names : iterable of str
        Arrays wanted.
    rows : slice
        Rows of the first dimension.
    """
    return {name: np.asarray(_open_array(folder, path, name)[rows]) for name in names}


def open(folder: Folder, path: str, stage: str) -> xr.Dataset:
    """Open a store lazily, showing only what is committed.

    Parameters
    ----------
    folder, path : Folder, str
        The store, e.g. ``lightcurves/s0001.zarr``.
    stage : str
        The stage whose manifests say what is there.

    Returns
    -------
    xarray.Dataset
        Rows of committed partitions that hold something; ``xr.open_zarr`` shows all rows, committed or not.
    """
    data = xr.open_zarr(_zarr_store(folder, path), consolidated=False, chunks=None)
    first, size = str(data.attrs["rows"]), int(data.attrs["rows_per_partition"])
    rows = [np.empty(0, int)]
    for text in sorted(manifest.committed(folder, stage, path.removesuffix(".zarr"))):
        record, start = manifest.read(folder, stage, text), Key.parse(text).part * size
        if record is not None:
            # Segments are packed from a partition's first row; targets that failed leave holes.
            rows.append(np.arange(start, start + (size if "valid" in data else record.rows)))
    index = np.concatenate(rows)
    if "valid" in data:
        index = index[data["valid"].to_numpy()[index]]
    return data.isel({first: index})
