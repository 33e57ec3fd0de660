"""Check that every worker sees the folder that the driver writes to."""

import os
import socket
import time
import uuid
from typing import TYPE_CHECKING

from catalogs.folder import Folder
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["probe_workspace"]

_LEFT, _LEFT_S = "probes", 3600.0  # on S3: the folder, and the age in s from which a probe's driver is dead


def probe_workspace(workspace: Folder, client: "Client | None" = None) -> int:
    """Write a small file into `workspace` and let every worker read it.

    Parameters
    ----------
    workspace : Folder
        Where results will go.
    client : distributed.Client, optional
        Ask each of its workers; without it, each node of the Ray that this process is connected to.

    Returns
    -------
    int
        How many workers or nodes see it.

    Raises
    ------
    UsageError
        Naming the workers that do not: a local path then means another disk there.
    """
    path = _path(workspace)
    workspace.write(path, path.encode())
    try:
        seen = client.run(_sees, workspace.root, path) if client else _ask_ray_nodes(workspace.root, path)
    finally:
        workspace.remove(path)
    blind = sorted(name for name, sees in seen.items() if not sees)
    if blind:
        raise UsageError(
            f"workspace {workspace}: not the same folder on {', '.join(blind)}; "
            "give a path that every node shares, or s3://bucket/prefix"
        )
    return len(seen)


def _path(workspace: Folder) -> str:
    """Return a name under which nothing stays should this process be killed."""
    name = f"probe.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    if workspace.is_local:
        return f".{name}.partial"  # the form of temporary files, which `Folder.sweep` removes
    for entry in workspace.list(_LEFT):
        if entry.mtime < time.time() - _LEFT_S:
            workspace.remove(entry.path)
    return f"{_LEFT}/{name}"


def _sees(root: str, path: str) -> bool:
    try:
        return Folder(root).read(path) == path.encode()
    except FileNotFoundError:
        return False


def _ask_ray_nodes(root: str, path: str) -> dict[str, bool]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(_sees)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(root, path)
        for node in nodes
    ]
    return {node["NodeManagerAddress"]: bool(sees) for node, sees in zip(nodes, ray.get(answers), strict=True)}
