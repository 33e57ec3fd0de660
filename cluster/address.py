"""What an address, an authentication token and a path may be, on one machine and inside a Ray job."""

import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import UsageError

__all__ = [
    "DASK_ADDRESS",
    "LOOPBACK",
    "check_ray_address",
    "check_workspace_path",
    "free_port",
    "has_ray_token",
    "inside_ray_job",
    "is_loopback",
    "split_address",
]

DASK_ADDRESS = "SKYSIFT_DASK_ADDRESS"
"""Environment variable with the address of a running Dask scheduler."""

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable that, set to 0, makes Ray listen on loopback only.

Otherwise Ray replaces ``--node-ip-address=127.0.0.1`` by the machine's address, and head and raylet listen on
all interfaces; 0 says that clusters are not possible on this system, and the address stays (Ray 2.60).
"""

_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what `ray job submit` sets for the command it runs
_CONNECT_S = 3.0


def inside_ray_job(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process was started by ``ray job submit``."""
    try:
        config = json.loads(environ.get(_RAY_JOB, "{}"))
    except json.JSONDecodeError:
        return False
    return "job_submission_id" in config.get("metadata", {})


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``[scheme://]host:port``.

    Raises
    ------
    UsageError
        If there is no port.
    """
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{address}: not an address; write it as HOST:PORT, for example 127.0.0.1:6379")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or a number, is this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(preferred: int) -> int:
    """Return `preferred` if nothing listens there on loopback, else a port that is free at this moment."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise UsageError("no free port on 127.0.0.1; end some of the programs that listen there")


def has_ray_token(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether Ray would find an authentication token: two variables, then the home folder."""
    if environ.get("RAY_AUTH_TOKEN") or environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path(environ.get("HOME", "~")).expanduser() / ".ray" / "auth_token").is_file()


def check_ray_address(address: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse an address where no Ray answers, or one on another machine without token authentication.

    Parameters
    ----------
    address : str
        ``host:port`` of a Ray head. Whoever reaches a Ray without a token may run any program there, so one
        that is reached over a network must ask for it.
    environ : mapping, optional
        The environment that Ray will read.

    Raises
    ------
    UsageError
        With the command that cures it.
    """
    host, port = split_address(address)
    try:
        with socket.create_connection((host, port), _CONNECT_S) as connection:
            same_machine = connection.getsockname()[0] == connection.getpeername()[0]
    except OSError as error:
        message = f"{address}: no Ray answers there ({error}); start one or give no address"
        raise UsageError(message) from None
    with_token = has_ray_token(environ) and environ.get("RAY_AUTH_MODE", "token") == "token"
    if not same_machine and not with_token:
        raise UsageError(
            f"{address}: a Ray on another machine is used with token authentication only; "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the cluster's token"
        )


def check_workspace_path(path: str, option: str = "--workspace", environ: Mapping[str, str] = os.environ) -> str:
    """Return `path` unless it is relative inside a Ray job, whose working folder Ray may delete at any time.

    Raises
    ------
    UsageError
        Naming the option and what to give instead.
    """
    if inside_ray_job(environ) and "://" not in path and not Path(path).expanduser().is_absolute():
        raise UsageError(
            f"{option} {path}: relative, but the working folder of a Ray job is a copy that Ray deletes; "
            "give an absolute path that every node sees, or s3://bucket/prefix"
        )
    return path
