"""Check that every worker sees the folder that the driver writes to."""

import uuid
from typing import TYPE_CHECKING

from catalogs.folder import Folder
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["probe_workspace"]


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
    path = f"probe-{uuid.uuid4().hex}"
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
