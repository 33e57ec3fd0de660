"""What the service counts, as Prometheus reads it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import Scope

from models.scorer import Scores

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SHARES = tuple(step / 20 for step in range(1, 21))
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


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
