"""The service on Ray Serve: replicas that score, and one process that speaks HTTP to the world.

The HTTP side is this process's own, not an ingress of Serve's proxies: these answer 500 when a replica dies with a
request in hand, and hold bodies of any length. Here its batch goes to another replica, and nobody notices.
"""

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import uvicorn
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from catalogs.folder import Folder
from models.replica import Replica
from models.scorer import Scores
from models.service import Service, app
from models.service_batches import Gone
from pipeline.errors import SkysiftError, UsageError
from pipeline.settings import ScoreSettings

__all__ = ["BATCH", "LANES", "NAME", "Replicas", "default_replicas", "listen", "quiet", "replicas"]

#: Of the application on Serve.
NAME = "skysift"

#: Triplets computed together: a lone triplet costs as much as a batch, a large batch makes others wait.
BATCH = 16

#: Batches a replica has in hand: one is computed while the next one arrives.
LANES = 2

#: What Ray prints when Serve ends its controller, which is how it stops: that calls of it, in hand then, have failed.
_STOPPED = r"Task ServeController\.\w+ failed\..*killed by `ray\.kill`"

_CALL_S = 10.0
_MAX_HEADERS = 32 << 10
_CONNECTIONS = 1000

Pixels = NDArray[np.float32]


class Replicas:
    """The replicas of a deployment, as a `Backend`.

    Parameters
    ----------
    handle : DeploymentHandle
        From `serve.run`.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def score(self, pixels: Pixels, model: str) -> Scores:
        """Score triplets on the replica that has least to do."""
        with _gone():
            return await asyncio.wait_for(self.handle.score.remote(pixels, model), _CALL_S)

    async def load(self, model: str) -> None:
        """Have a model ready on every replica."""
        await self._all("load", model)

    async def loaded(self) -> list[list[str]]:
        """Return the models that are ready, by replica."""
        return await self._all("loaded")

    async def _all(self, method: str, *args: Any) -> list[Any]:
        with _gone():
            return await self.handle.broadcast(method, *args).results_async(timeout_s=_CALL_S)


@contextmanager
def _gone() -> Iterator[None]:
    """Tell a replica that is no more from one that answers with an error."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, SkysiftError):
            raise error.cause from None
        raise
    except (RayActorError, DeploymentUnavailableError, BackPressureError, TimeoutError) as error:
        raise Gone(str(error)) from error


def default_replicas() -> int:
    """Return how many replicas fit beside the HTTP side; two at least, so that one goes on while one is replaced."""
    return max(2, len(os.sched_getaffinity(0)) - 1)


@contextmanager
def replicas(
    workspace: Folder, models: list[str], count: int, settings: ScoreSettings, gpus: float = 0, reserve: int = 0
) -> Iterator[Replicas]:
    """Run replicas on the Ray that this process is connected to.

    Parameters
    ----------
    workspace : Folder
        With the registry of models.
    models : list of str
        What they have ready from the beginning.
    count : int
        How many replicas, a core each.
    settings : ScoreSettings
        Runtime, precision, batch.
    gpus : float
        That a replica asks for.
    reserve : int
        Further replicas: when one dies, as many as asked for are there still, while a new one starts.

    Raises
    ------
    UsageError
        If they do not start.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})
    deployment = serve.deployment(Replica).options(
        num_replicas=count + reserve,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        max_ongoing_requests=LANES,
        health_check_period_s=0.5,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=2,
        graceful_shutdown_wait_loop_s=0.2,
        logging_config={"log_level": "ERROR", "enable_access_log": False},
    )
    bound = deployment.bind(workspace, models, settings, "cuda" if gpus else "cpu")
    try:
        yield Replicas(serve.run(bound, name=NAME, route_prefix=None))
    except RuntimeError as error:
        raise UsageError(f"the replicas did not start: {str(error)[-600:]}") from error
    finally:
        if ray.is_initialized():
            serve.shutdown()


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Ray prints of calls that fail as Serve stops; around the session, as Ray prints until its end."""
    # Ray has no public way to say this after it was imported. Where a later Ray has none at all, it prints the lines.
    logs = getattr(getattr(ray, "_private", None), "ray_logging", None)
    lines = getattr(logs, "stdout_deduplicator", None)
    former = getattr(lines, "skip_re", None)
    if lines is not None:
        lines.skip_re = re.compile(f"{former.pattern}|{_STOPPED}" if former else _STOPPED)
    try:
        yield
    finally:
        if lines is not None:
            lines.skip_re = former


def listen(service: Service, host: str, port: int) -> None:
    """Answer requests until this process is told to end."""
    config = uvicorn.Config(
        app(service),
        host=host,
        port=port,
        http="h11",  # bounds headers, and says what is wrong with a request
        ws="none",
        h11_max_incomplete_event_size=_MAX_HEADERS,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    uvicorn.Server(config).run()
