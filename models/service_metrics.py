"""What the service counts, and whether it drifts, as Prometheus reads it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import Scope

from catalogs.folder import Folder
from catalogs.table import CatalogError
from models import monitor
from models.alarm import Verdict, judge, metrics
from models.registry import Registry
from models.scorer import Scores
from pipeline.errors import SkysiftError

__all__ = ["CONTENT_TYPE", "DriftMetrics", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SHARES = tuple(step / 20 for step in range(1, 21))
_FRESH_S = 60.0  # that a verdict on the log counts for
_SHARE = 0.02  # of the time that may go into verdicts, however long the log
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")

log = logging.getLogger(__name__)


class Metrics:
    """Counters of one service.

    Parameters
    ----------
    waiting : callable
        Returns the number of triplets in the queue.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        asked, path = ("method", "path"), ("path",)
        there = self.registry
        self._requests = Counter("skysift_requests", "Requests answered.", (*asked, "status"), registry=there)
        self._seconds = Histogram("skysift_request_seconds", "Time to answer.", path, registry=there, buckets=_SECONDS)
        self._batches = Histogram(
            "skysift_batch_triplets", "Triplets computed together.", registry=there, buckets=_COUNTS
        )
        self._queue = Gauge("skysift_queue_triplets", "Triplets that wait.", registry=there)
        self._queue.set_function(waiting)
        self._scored = Counter("skysift_triplets", "Triplets scored.", ("model", "tier"), registry=there)
        self._unscored = Counter("skysift_triplets_unscored", "Triplets not scored.", ("reason",), registry=there)
        self._scores = Histogram(
            "skysift_p_real", "p_real of triplets scored.", ("model",), registry=there, buckets=_SHARES
        )

    def request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer."""
        # Paths are those of routes: what clients make up would be a counter each.
        route = scope.get("route")
        path = getattr(route, "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, count: int) -> None:
        """Count triplets that are computed together."""
        self._batches.observe(count)

    def scored(self, model: str, scores: Scores, answers: Sequence[Mapping[str, Any]]) -> None:
        """Count what was scored, and how it was answered."""
        for answer in answers:
            if "tier" in answer:
                self._scored.labels(model, answer["tier"]).inc()
            else:
                self.unscored(answer["reason"])
        histogram = self._scores.labels(model)
        for value in scores.p_real[np.isfinite(scores.p_real)]:
            histogram.observe(float(value))

    def unscored(self, reason: str) -> None:
        """Count a triplet that could not be scored."""
        self._unscored.labels(reason).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class DriftMetrics:
    """What `models.alarm.metrics` tells of a model's log, made once a minute at most, in a thread.

    Parameters
    ----------
    workspace : Folder
        With the log and the registry of models.
    """

    def __init__(self, workspace: Folder) -> None:
        self.workspace = workspace
        self._lock = asyncio.Lock()
        self._model, self._text, self._until = "", b"", -np.inf
        self._log: monitor.Log | None = None

    async def text(self, model: str) -> bytes:
        """Return the figures of a model, as in `Registry.resolve`; nothing of one that cannot be judged."""
        async with self._lock:
            if model != self._model or time.monotonic() > self._until:
                started = time.monotonic()
                self._text, self._model = await asyncio.to_thread(self._made, model), model
                ended = time.monotonic()
                self._until = ended + max(_FRESH_S, (ended - started) / _SHARE)
            return self._text

    def _made(self, model: str) -> bytes:
        try:
            entry = Registry(self.workspace).resolve(model)
            if self._log is None or self._log.model_id != entry.id:
                self._log = monitor.Log(self.workspace, entry.id)
            if "drift" in entry.card:
                return metrics(entry, judge(self.workspace, entry, log=self._log))
            nothing = pd.DataFrame()
            return metrics(entry, Verdict(self._log.rows(), nothing, nothing))
        except (SkysiftError, CatalogError, OSError) as error:
            log.warning("no figures of drift: %s", error)
            return b""
