"""Fixtures that several rooms' tests share: real data, a workspace, one Dask and one Ray for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogs.folder import Folder
from cluster.address import free_port

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Set before any engine starts, so that its workers inherit them; nothing listens there until `s3_folder` is
# asked for.
_S3 = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port(0)}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
os.environ.update(_S3)

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
def s3_server() -> Iterator[str]:
    """Yield the endpoint of an S3 of this process."""
    from moto.server import ThreadedMotoServer

    port = int(_S3["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield _S3["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture
def s3_folder(s3_server: str, request: pytest.FixtureRequest) -> Folder:
    """Return an empty folder on S3, in a bucket of its own."""
    import boto3

    bucket = f"b{abs(hash(request.node.nodeid)):x}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=bucket)
    return Folder(f"s3://{bucket}/skysift")


@pytest.fixture(scope="session")
def dask_client() -> Iterator[object]:
    """Yield the client of a Dask with two workers, started when first asked for."""
    from cluster.local import dask_client

    with dask_client(workers=2) as client:
        yield client


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[object]:
    """Yield this process's session of a Ray with two cores, started when first asked for."""
    from cluster.local import ray_session

    with ray_session(workers=2, object_store_bytes=150_000_000) as session:
        yield session
