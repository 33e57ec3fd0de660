"""What a service scores, into the log of each model: gathered by a thread of its own, written once a minute.

An hour of a process is a batch of the log, so that a year is not half a million files.
"""

import logging
import queue
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.folder import Folder
from models import monitor
from models.inputs import statistics
from models.scorer import Scores

__all__ = ["Journal"]

Pixels = NDArray[np.float32]

_MOST = 1024  # triplets, 48 MB, that wait to be looked at; of more only the scores are logged

_STRATA = 500  # surveys, filters and quarters of an hour that are told apart: packets say what their senders like
_LAST_S = 10.0  # that the last entry may take

log = logging.getLogger(__name__)


class _Scored(NamedTuple):
    model: str
    pixels: Pixels | None
    rows: list[dict[str, Any]]
    scores: Scores


class _Refused(NamedTuple):
    model: str
    reason: str


class Journal:
    """The log of one process.

    Parameters
    ----------
    workspace : Folder
        Receives the log.
    every : float
        Seconds between two entries.
    """

    def __init__(self, workspace: Folder, every: float = 60.0) -> None:
        self.workspace, self.every = workspace, every
        self._told: queue.SimpleQueue[_Scored | _Refused | None] = queue.SimpleQueue()
        self._lock, self._waiting = threading.Lock(), 0
        self._mark, self._hour = uuid.uuid4().hex[:12], ""
        self._rows: dict[str, list[pd.DataFrame]] = defaultdict(list)
        self._reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self._written: dict[str, pa.Table] = {}
        self._strata: set[tuple[Any, ...]] = set()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left; nothing is taken after that."""
        self._told.put(None)
        self._thread.join(_LAST_S)

    def scored(self, model: str, pixels: Pixels, scores: Scores, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of triplets, at once; what it costs is done in the thread.

        Parameters
        ----------
        model : str
            Id of the version that scored.
        pixels : (n, 3, 63, 63) float32
            What it was given.
        scores : Scores
            What it said.
        rows : sequence of mapping
            tier of each and, as far as known, survey, filter, mjd_mid, image.
        """
        with self._lock:
            fits = self._waiting + len(pixels) <= _MOST
            self._waiting += len(pixels) if fits else 0
        self._told.put(_Scored(model, pixels if fits else None, [dict(row) for row in rows], scores))

    def refused(self, model: str, reason: str) -> None:
        """Take note of a triplet that cannot be scored."""
        self._told.put(_Refused(model, reason))

    def _work(self) -> None:
        due = time.monotonic() + self.every
        goes_on = True
        while goes_on:
            try:
                goes_on = self._step(due)
                if not goes_on or time.monotonic() >= due:
                    self._flush()
            except Exception:  # whatever is wrong with the log, the service goes on
                log.exception("%s: what was scored is not logged", self.workspace)
            if time.monotonic() >= due:
                due = time.monotonic() + self.every

    def _step(self, due: float) -> bool:
        """Wait for something to take note of, until `due` at the latest; return whether more will come."""
        try:
            one = self._told.get(timeout=max(0.0, due - time.monotonic()))
        except queue.Empty:
            return True
        if isinstance(one, _Refused):
            self._reasons[one.model][one.reason] += 1
        elif one is not None:
            self._take(one)
        return one is not None

    def _take(self, one: _Scored) -> None:
        scores = {name: getattr(one.scores, name) for name in ("logit", "p_real", "novelty", "ood")}
        rows = pd.DataFrame(map(self._named, one.rows)).assign(**scores)
        if one.pixels is not None:
            rows = rows.join(statistics(one.pixels))
            with self._lock:
                self._waiting -= len(one.pixels)
        known = np.isfinite(one.scores.p_real)
        self._rows[one.model].append(rows[known])
        if not known.all():
            self._reasons[one.model]["cutout_values"] += int((~known).sum())

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row without filter and time if there are too many of these already."""
        mjd = row.get("mjd_mid")
        stratum = row.get("survey"), row.get("filter"), mjd and mjd // 90
        if len(self._strata) < _STRATA:
            self._strata.add(stratum)
        return row if stratum in self._strata else row | {"filter": "", "mjd_mid": None}

    def _flush(self) -> None:
        hour = time.strftime("%Y%m%dT%H", time.gmtime())
        if hour != self._hour:
            self._hour, self._written, self._strata = hour, {}, set()
        models = sorted(self._rows.keys() | self._reasons.keys())
        rows, reasons, self._rows, self._reasons = self._rows, self._reasons, defaultdict(list), defaultdict(Counter)
        for model in models:
            scored = pd.concat([pd.DataFrame(), *rows[model]], ignore_index=True)
            new = monitor.summary(model, f"service-{hour}-{self._mark}", scored, reasons[model])
            self._written[model] = monitor.added([self._written[model], new] if model in self._written else [new])
            monitor.log(self.workspace, self._written[model])  # if it fails, the next entry holds it too
