"""Start Dask and Ray on one machine, or connect to running ones by address.

Everything listens on loopback only. Ray needs care for that: whatever `--node-ip-address` says, it replaces
127.0.0.1 by the machine's address and its head and raylet then listen on all interfaces, unless it believes that
clusters are not possible on this system (`_LOOPBACK` below; measured with Ray 2.60).
"""

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from cluster.address import (
    DASK_ADDRESS,
    check_ray_address,
    free_port,
    inside_ray_job,
    is_loopback,
    split_address,
)
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["RayHead", "RaySession", "dask_client", "ray_head", "ray_session"]

_log = logging.getLogger(__name__)
_TREE = str(Path(__file__).resolve().parents[1])
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_HEAD_LOG = "head.log"
_START_S = 60
_STOP_S = 15
_CONNECT_S = 5
_MEMORY_SHARE = 0.8  # of what is available now; the rest is for the driver and the page cache
_ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
}


@dataclass(frozen=True)
class RaySession:
    """A connection to Ray: the head's address, the dashboard's (or ""), and whether this process started it."""

    address: str
    dashboard: str
    started_here: bool


@dataclass(frozen=True)
class RayHead:
    """A Ray head in a process of its own: address, dashboard, the process, and the variables its clients need."""

    address: str
    dashboard: str
    process: "subprocess.Popen[bytes]"
    environ: dict[str, str]


@contextlib.contextmanager
def dask_client(workers: int | None = None, address: str | None = None) -> Iterator["Client"]:
    """Connect to a running Dask or start one here; never starts Ray.

    Parameters
    ----------
    workers : int, optional
        Processes to start, one thread each; default one per usable core.
    address : str, optional
        A running scheduler's, ``tcp://host:port``; default the variable ``SKYSIFT_DASK_ADDRESS``, else a cluster
        of this process on 127.0.0.1.

    Yields
    ------
    distributed.Client

    Raises
    ------
    UsageError
        If no scheduler answers at the address.
    """
    from distributed import Client

    address = address or os.environ.get(DASK_ADDRESS) or None
    if address:
        try:
            client = Client(address, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{address}: no Dask scheduler answers there ({error}); start one or leave it out"
            ) from None
        with client:
            _log.info("Dask dashboard: %s", client.dashboard_link)
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="skysift-dask-") as folder,
        _local_dask(workers, folder) as cluster,
        Client(cluster) as client,
    ):
        _log.info("Dask dashboard: %s", client.dashboard_link)
        yield client


def _local_dask(workers: int | None, folder: str) -> Any:
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    workers = workers or CPU_COUNT
    # MEMORY_LIMIT knows a container's limit, psutil what other programs leave.
    memory = int(min(MEMORY_LIMIT, psutil.virtual_memory().available) * _MEMORY_SHARE)
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=f"127.0.0.1:{free_port(8787)}",
        memory_limit=memory // workers,
        local_directory=folder,
        env=_ONE_THREAD,
    )


@contextlib.contextmanager
def ray_session(
    workers: int | None = None,
    address: str | None = None,
    *,
    object_store_bytes: int | None = None,
) -> Iterator[RaySession]:
    """Connect to Ray: the one that runs this job, a running one by address, or one started here.

    Parameters
    ----------
    workers : int, optional
        Cores that a Ray started here may use; default all usable ones.
    address : str, optional
        ``host:port`` of a running head, or ``auto`` for the newest on this machine; default the variable
        ``RAY_ADDRESS``, which is set inside a Ray job, else a Ray of this process on 127.0.0.1.
    object_store_bytes : int, optional
        Shared memory of a Ray started here; default Ray's choice.

    Yields
    ------
    RaySession

    Raises
    ------
    UsageError
        If no Ray answers, or one on another machine would be used without token authentication.

    Notes
    -----
    A session that this process already has is used and left open. A Ray started here asks for no token unless
    ``RAY_AUTH_MODE=token`` is set, as nothing but this machine reaches it; a token made for it stays in memory.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        yield _describe(ray.init(ignore_reinit_error=True, logging_level=logging.WARNING), started_here=False)
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    with contextlib.ExitStack() as stack:
        if address is None or address == "local":
            stack.enter_context(_loopback())
            context = _start_ray(workers, object_store_bytes)
        else:
            if address == "auto" or is_loopback(split_address(address)[0]):
                stack.enter_context(_loopback())
            context = _connect_ray(address)
        stack.callback(ray.shutdown)
        session = _describe(context, started_here=address in (None, "local"))
        _check_loopback(session)
        _log.info("Ray dashboard: %s", session.dashboard or "none")
        yield session


def _start_ray(workers: int | None, object_store_bytes: int | None) -> Any:
    import ray

    _authenticate()
    return ray.init(
        address="local",
        num_cpus=workers,
        _node_ip_address="127.0.0.1",
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=free_port(8265),
        object_store_memory=object_store_bytes,
        runtime_env={"env_vars": {"PYTHONPATH": _TREE}},
        logging_level=logging.WARNING,
    )


def _connect_ray(address: str) -> Any:
    import ray

    environment: dict[str, Any] | None = None
    if not inside_ray_job():  # a submitted job brings its own code
        if address != "auto":
            check_ray_address(address)
        here = address == "auto" or is_loopback(split_address(address)[0])
        environment = {"env_vars": {"PYTHONPATH": _TREE}} if here else {"working_dir": _TREE}
    try:
        return ray.init(address=address, runtime_env=environment, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise UsageError(
            f"{address}: no Ray answers there ({error}); start one or leave the address out"
        ) from None


def _describe(context: Any, started_here: bool) -> RaySession:
    dashboard = context.dashboard_url
    return RaySession(
        context.address_info["gcs_address"], f"http://{dashboard}" if dashboard else "", started_here
    )


def _check_loopback(session: RaySession) -> None:
    """Fail when a Ray started here is open to others, should another version of Ray listen elsewhere."""
    if session.started_here and not is_loopback(split_address(session.address)[0]):
        if os.environ.get("RAY_AUTH_MODE") != "token":
            raise UsageError(f"{session.address}: this Ray listens off loopback; set RAY_AUTH_MODE=token")


def _authenticate() -> None:
    """Say the mode explicitly: left open, Ray writes a token into the home folder that later answers 401."""
    mode = os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    if mode == "token" and not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray accept 127.0.0.1 as a node's address, in this process and in those it starts."""
    from ray._private import ray_constants

    before = os.environ.get(_LOOPBACK)
    enabled = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_LOOPBACK] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray reads the variable once, on import
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled
        os.environ.pop(_LOOPBACK) if before is None else os.environ.update({_LOOPBACK: before})


@contextlib.contextmanager
def ray_head(cpus: int, *, object_store_bytes: int = 200_000_000) -> Iterator[RayHead]:
    """Run a Ray head on 127.0.0.1 in processes of its own, which outlive a driver that dies.

    Parameters
    ----------
    cpus : int
        Cores it may use.
    object_store_bytes : int, optional
        Shared memory, at least 75 MiB.

    Yields
    ------
    RayHead
        ``head.environ`` is what a process needs to submit jobs to it or to connect.

    Raises
    ------
    UsageError
        If it does not start, with the end of its log.
    """
    # Ray makes Unix sockets below its folder, whose whole path must stay under 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        head = _spawn_head(cpus, folder, object_store_bytes)
        try:
            _await_head(head, Path(folder, _HEAD_LOG))
            yield head
        finally:
            _stop(head.process)


def _spawn_head(cpus: int, folder: str, object_store_bytes: int) -> RayHead:
    environ = {**os.environ, _LOOPBACK: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    environ.setdefault("RAY_AUTH_MODE", "disabled")
    environ.pop("RAY_ADDRESS", None)
    port, dashboard = free_port(6379), free_port(8265)
    options = {
        "num-cpus": cpus,
        "node-ip-address": "127.0.0.1",
        "port": port,
        "temp-dir": folder,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port(52365),
        "ray-client-server-port": free_port(10001),
        "object-store-memory": object_store_bytes,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with Path(folder, _HEAD_LOG).open("wb") as log:
        # A session of its own: stopping it touches no other Ray of this machine (`ray stop` ends them all).
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    return RayHead(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", process, environ)


def _await_head(head: RayHead, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    url = urlsplit(head.dashboard)
    while (
        "Ray runtime started" not in log.read_text(errors="replace") or free_port(url.port or 0) == url.port
    ):
        if head.process.poll() is not None or time.monotonic() > deadline:
            raise UsageError(f"Ray did not start: {log.read_text(errors='replace')[-600:]}")
        time.sleep(0.2)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    psutil.wait_procs(family, _STOP_S)
    for child in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
