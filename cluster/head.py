"""Run a Ray head that outlives the drivers which use it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.address import LOOPBACK, free_port
from pipeline.errors import UsageError

__all__ = ["RayHead", "ray_head"]

_HEAD_LOG = "head.log"
_START_S = 60
_STOP_S = 15


@dataclass(frozen=True)
class RayHead:
    """A Ray head outside this process: its addresses, its process, and the variables its clients need."""

    address: str
    dashboard: str
    process: "subprocess.Popen[bytes]"
    environ: dict[str, str]


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
    # A submitted job's `python` is looked up on the head's PATH, and must be the one that has skysift's packages.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environ = {**os.environ, "PATH": path, LOOPBACK: "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
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
    while "Ray runtime started" not in log.read_text(errors="replace"):
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
