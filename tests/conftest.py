"""Fixtures that several rooms' tests share: real data, a workspace, one Dask and one Ray for the whole run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogs.folder import Folder

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

TREE = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    folder = TREE.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"real data are not here: no folder ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session")
def tree() -> Path:
    """Return the repository's root."""
    return TREE


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real files beside the repository, or skip."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """Return the folder of published reference values beside the repository, or skip."""
    return _shared("conformance")


@pytest.fixture
def workspace(tmp_path: Path) -> Folder:
    """Return an empty workspace."""
    return Folder(tmp_path / "workspace")


@pytest.fixture(scope="session")
def dask_client() -> Iterator[object]:
    """Yield the client of a Dask with two workers, started when first asked for."""
    from cluster.local import dask_client

    with dask_client(workers=2) as client:
        yield client


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Yield the session of a Ray with two cores, started when first asked for; this process is connected to it."""
    from cluster.local import ray_session

    with ray_session(workers=2, object_store_bytes=150_000_000) as session:
        yield session
