import numpy as np
import pytest
import xarray as xr

from catalogs.folder import Folder
from pipeline import manifest, stores
from pipeline.errors import Mismatch
from pipeline.stores import Array, Template

NAN = float("nan")


def layout(cadences=40, size=64, level=1):
    return Template(
        arrays=(
            Array("flux", "float32", ("target", "cadence"), NAN),
            Array("quality", "int32", ("target", "cadence"), -1),
            Array("valid", "bool", ("target",), False),
        ),
        sizes={"cadence": cadences},
        partition=size,
        compression=level,
        coords={"cadenceno": ("cadence", np.arange(cadences, dtype=np.int32), {})},
        attrs={"rows": "target", "rows_per_partition": size},
    )


def values(seed, rows=64):
    rng = np.random.default_rng(seed)
    flux = rng.normal(size=(rows, 40)).astype(np.float32)
    flux.view(np.uint32)[0, 0] = 0x7FC12345  # a NaN with a payload
    return {
        "flux": flux,
        "quality": rng.integers(0, 9, (rows, 40)).astype(np.int32),
        "valid": np.ones(rows, bool),
    }


def commit(folder, part, objects):
    record = manifest.Record("ingest", 1, f"lightcurves/s0001/part-{part:05d}", {}, "", {}, objects, 0, {})
    manifest.commit(folder, record)


def test_partitions_are_bit_exact_and_shown_once_committed(tmp_path):
    folder, path = Folder(tmp_path), "lightcurves/s0001.zarr"
    stores.create(folder, path, layout(), 3)
    first, last = values(1), values(2, rows=5)
    commit(folder, 0, stores.write(folder, path, 0, first))
    objects = stores.write(folder, path, 2, last)
    seen = stores.open(folder, path, "ingest")
    assert seen.sizes["target"] == 64
    assert seen["flux"].to_numpy().tobytes() == first["flux"].tobytes()
    commit(folder, 2, objects)
    assert stores.open(folder, path, "ingest").sizes["target"] == 69
    plain = xr.open_zarr(tmp_path / path, consolidated=False, chunks=None)
    assert plain["flux"][128:133].to_numpy().tobytes() == last["flux"].tobytes()
    assert np.isnan(plain["flux"][64:128]).all() and (plain["quality"][133:] == -1).all()


def test_growing_touches_no_shard(tmp_path):
    folder, path = Folder(tmp_path), "s.zarr"
    stores.create(folder, path, layout(), 1)
    stores.write(folder, path, 0, values(1))
    before = {entry.path: folder.read(entry.path) for entry in folder.list() if "/c/" in entry.path}
    stores.create(folder, path, layout(), 4)
    assert {name: folder.read(name) for name in before} == before
    assert stores.read(folder, path, ["flux"], slice(None))["flux"].shape == (256, 40)


@pytest.mark.parametrize("other", [layout(cadences=41), layout(size=32), layout(level=5)])
def test_another_layout_is_refused(tmp_path, other):
    folder = Folder(tmp_path)
    stores.create(folder, "s.zarr", layout(), 2)
    before = {entry.path: folder.read(entry.path) for entry in folder.list()}
    with pytest.raises(Mismatch, match="--overwrite"):
        stores.create(folder, "s.zarr", other, 2)
    assert {entry.path: folder.read(entry.path) for entry in folder.list()} == before


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (0, {"flux": np.zeros((65, 40), np.float32)}),
        (0, {"flux": np.zeros((64, 39), np.float32)}),
        (0, {"flux": np.zeros((64, 40))}),
        (2, {"flux": np.zeros((64, 40), np.float32)}),
        (-1, {"flux": np.zeros((64, 40), np.float32)}),
    ],
)
def test_what_is_no_whole_shard_is_refused(tmp_path, part, change):
    folder = Folder(tmp_path)
    stores.create(folder, "s.zarr", layout(), 2)
    with pytest.raises(ValueError, match="partition"):
        stores.write(folder, "s.zarr", part, change)
    assert not [entry for entry in folder.list() if "flux/c/" in entry.path]


def test_all_fill_is_not_written(tmp_path):
    folder = Folder(tmp_path)
    stores.create(folder, "s.zarr", layout(), 1)
    stores.write(folder, "s.zarr", 0, {"flux": values(1)["flux"]})  # an attempt that was killed before its commit
    assert stores.write(folder, "s.zarr", 0, {"flux": np.full((64, 40), NAN, np.float32)}) == []
    assert np.isnan(stores.read(folder, "s.zarr", ["flux"], slice(None))["flux"]).all()


def test_same_rows_same_bytes(tmp_path):
    made = []
    for name in ("a.zarr", "b.zarr"):
        folder = Folder(tmp_path)
        stores.create(folder, name, layout(), 1)
        made.append([(item.size, item.sha256) for item in stores.write(folder, name, 0, values(3))])
    assert made[0] == made[1]
