"""Start Dask and Ray on one machine, loopback only, or connect to running ones by address."""

import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cluster.address import (
    DASK_ADDRESS,
    LOOPBACK,
    check_ray_address,
    free_port,
    inside_ray_job,
    is_loopback,
    split_address,
)
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["RaySession", "dask_client", "ray_session"]

_log = logging.getLogger(__name__)
_TREE = str(Path(__file__).resolve().parents[1])
_CONNECT_S = 5
_MEMORY_SHARE = 0.8  # of what is available now; the rest is for the driver and the page cache
# As many workers as cores: with threads of their own, Zarr's too, they would fight for them.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "ZARR_THREADING__MAX_WORKERS",
    ),
    "1",
)

# Runs in each worker. What a task raises reaches the driver, which says it in one line; the worker need not.
_PRELOAD = """
import logging
logging.getLogger("distributed.worker").addFilter(lambda record: not str(record.msg).startswith("Compute Failed"))
"""


@dataclass(frozen=True)
class RaySession:
    """A connection to Ray: the addresses of head and dashboard (or ""), and whether it was started here."""

    address: str
    dashboard: str
    started_here: bool


@contextlib.contextmanager
def dask_client(workers: int | None = None, address: str | None = None) -> Iterator["Client"]:
    """Connect to a running Dask or start one here; never starts Ray.

    Parameters
    ----------
    workers : int, optional
        Processes to start, one thread each; default one per usable core.
    address : str, optional
        A running scheduler's, ``tcp://host:port``; default the variable ``SKYSIFT_DASK_ADDRESS``, else a
        cluster of this process on 127.0.0.1.

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
            message = f"{address}: no Dask scheduler answers there ({error}); start one or give no address"
            raise UsageError(message) from None
        with client:
            _log.info("Dask dashboard: %s", client.dashboard_link)
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="skysift-dask-") as folder,
        _closed(_local_dask(workers, folder)) as cluster,
        _closed(Client(cluster)) as client,
    ):
        _log.info("Dask dashboard: %s", client.dashboard_link)
        yield client


@contextlib.contextmanager
def _closed(part: Any) -> Iterator[Any]:
    """Close a client or a cluster at the end; that a busy machine is slow to stop is no failure of what was done."""
    try:
        yield part
    finally:
        try:
            part.close()
        except TimeoutError:
            _log.warning("Dask was slow to stop; what still runs of it ends with this process")


def _local_dask(workers: int | None, folder: str) -> Any:
    import dask
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    workers = workers or CPU_COUNT
    # MEMORY_LIMIT knows a container's limit, psutil what other programs leave.
    memory = int(min(MEMORY_LIMIT, psutil.virtual_memory().available) * _MEMORY_SHARE)
    logging.getLogger("distributed.nanny").addFilter(_is_news)
    # Work that took two workers with it is tried input by input (`pipeline.run`): a third death would teach nothing.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=f"127.0.0.1:{free_port(8787)}",
            memory_limit=memory // workers,
            local_directory=folder,
            env=_ONE_THREAD,
            preload=_PRELOAD,
        )


def _is_news(record: logging.LogRecord) -> bool:
    """Tell what a reader of the log learns from, from what is normal: a busy worker that is slow to end."""
    return "still alive after" not in record.getMessage()


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
    A session that this process already has is used and left open. A Ray started here asks for no token, as
    nothing but this machine reaches it, unless ``RAY_AUTH_MODE=token`` is set; a token made then stays in
    memory.
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
            with _importable():
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
    context = ray.init(
        address="local",
        num_cpus=workers,
        _node_ip_address="127.0.0.1",
        include_dashboard=None,  # one, but none is no error: on a machine that does much else it may not come up
        dashboard_host="127.0.0.1",
        dashboard_port=None,  # the dashboard takes 8265 or the next that it gets: asked before, another may take it
        object_store_memory=object_store_bytes,
        logging_level=logging.WARNING,
        log_to_driver=False,  # answers carry errors; the rest is in Ray's logs
    )
    if not context.dashboard_url:
        _log.warning("Ray's dashboard did not start: going on without it")
    return context


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Let processes that are started meanwhile import this tree.

    An environment of the job would do it too; but workers that Ray has started in advance have none, and stay unused.
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([_TREE, *([before] if before else [])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update({"PYTHONPATH": before})


def _connect_ray(address: str) -> Any:
    import ray

    environment: dict[str, Any] | None = None
    if not inside_ray_job():  # a submitted job brings its own code
        if address != "auto":
            check_ray_address(address)
        here = address == "auto" or is_loopback(split_address(address)[0])
        environment = {"env_vars": {"PYTHONPATH": _TREE}} if here else {"working_dir": _TREE}
    try:
        return ray.init(address=address, runtime_env=environment, logging_level=logging.WARNING, log_to_driver=False)
    except ConnectionError as error:
        message = f"{address}: no Ray answers there ({error}); start one or give no address"
        raise UsageError(message) from None


def _describe(context: Any, started_here: bool) -> RaySession:
    dashboard = context.dashboard_url
    return RaySession(context.address_info["gcs_address"], f"http://{dashboard}" if dashboard else "", started_here)


def _check_loopback(session: RaySession) -> None:
    """Fail when a Ray started here is open to others, should another version of Ray listen elsewhere."""
    is_open = session.started_here and not is_loopback(split_address(session.address)[0])
    if is_open and os.environ.get("RAY_AUTH_MODE") != "token":
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

    before = os.environ.get(LOOPBACK)
    enabled = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[LOOPBACK] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray reads the variable once, on import
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled
        os.environ.pop(LOOPBACK) if before is None else os.environ.update({LOOPBACK: before})
