"""Triplets of many requests, scored in batches: whoever computes is never idle while triplets wait.

A network computes batches of one size, so a lone triplet costs as much as a full batch. Nothing is held back to fill
one, though: while a batch is computed the next one gathers.

How long a new request would wait follows from what is there before it and the pace at which batches are done (Little
1961): where that is too long, it is refused at once rather than answered late.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.scorer import Scores
from models.service_limits import Limits, Refusal, too_busy

__all__ = ["Backend", "Batches", "Gone", "Pace"]

Pixels = NDArray[np.float32]

_PAUSE_S = 0.1
_MEMORY = 0.1  # weight of the latest batch in the mean that the pace is


class Gone(Exception):
    """What computed is gone or was never there; another may do it."""


class Backend(Protocol):
    """What computes; models are named by id."""

    async def score(self, pixels: Pixels, model: str) -> Scores:
        """Score (n, 3, 63, 63) triplets."""

    async def load(self, model: str) -> None:
        """Have a model ready wherever scores are computed."""

    async def loaded(self) -> list[list[str]]:
        """Return the models that are ready, by replica; none: nothing can be scored."""


class _Request:
    def __init__(self, pixels: Pixels, model: str, deadline: float) -> None:
        self.pixels, self.model, self.deadline = pixels, model, deadline
        self.taken = 0
        self.parts: dict[int, Scores] = {}
        self.answer: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()

    def receive(self, first: int, scores: Scores) -> None:
        self.parts[first] = scores
        if not self.answer.done() and sum(len(part.logit) for part in self.parts.values()) == len(self.pixels):
            ordered = [self.parts[first] for first in sorted(self.parts)]
            self.answer.set_result(Scores._make(map(np.concatenate, zip(*ordered, strict=True))))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Pace:
    """Seconds between one batch done and the next, while there is work.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mean: float | None = None
        self._since: float | None = None  # the last batch, or since there is work again

    def begins(self) -> None:
        """Take note that there is work, after none was."""
        self._since = self._clock()

    def done(self, more: bool) -> None:
        """Take note of a batch done, and whether there is more work."""
        now = self._clock()
        if self._since is not None:
            spent = now - self._since
            self._mean = spent if self._mean is None else self._mean + _MEMORY * (spent - self._mean)
        self._since = now if more else None

    @property
    def seconds(self) -> float:
        """Seconds a batch; of batches that do not come, as long as has been waited for one."""
        stalled = 0.0 if self._since is None else self._clock() - self._since
        return max(self._mean or 0.0, stalled)


_Share = tuple[_Request, int, int]  # of a batch: which rows of a request


class Batches:
    """A queue of triplets and the lanes that empty it; of one event loop.

    Parameters
    ----------
    backend : Backend
        What computes.
    size : int
        Triplets of a batch.
    lanes : int
        Batches under way at once.
    limits : Limits
        How many triplets may wait, and how long.
    watch : callable, optional
        Told the number of triplets of every batch.
    """

    def __init__(
        self, backend: Backend, size: int, lanes: int, limits: Limits, watch: Callable[[int], None] | None = None
    ) -> None:
        self.backend, self.size, self.lanes, self.limits = backend, size, lanes, limits
        self.waiting = 0
        self.pace = Pace()
        self._under_way = 0
        self._watch = watch or (lambda count: None)
        self._queue: deque[_Request] = deque()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to score."""
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self.lanes)]

    async def stop(self) -> None:
        """Score no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def wait(self) -> float:
        """Seconds until what came so far is expected to be done; 0 where nothing waits for its turn."""
        if not self.waiting:
            return 0.0
        return (self._under_way + self.waiting / self.size) * self.pace.seconds

    async def score(self, pixels: Pixels, model: str, deadline: float) -> Scores:
        """Return the scores of (n, 3, 63, 63) triplets.

        Parameters
        ----------
        pixels : ndarray of float32
            At least one.
        model : str
            Its id.
        deadline : float
            As of `time.monotonic`.

        Raises
        ------
        Refusal
            429 if too many wait or too long, 503 if the time is up.
        """
        if self.waiting and self.waiting + len(pixels) > self.limits.queue:
            message = f"{self.waiting} triplets wait already, of at most {self.limits.queue}; send this again later"
            raise Refusal(429, "queue_full", message, self.wait)
        if self.wait > self.limits.wait_s:
            raise too_busy(self.wait)
        request = _Request(pixels, model, deadline)
        self._queue.append(request)
        self.waiting += len(pixels)
        self._news.set()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await request.answer
        except TimeoutError:
            raise Refusal(503, "timeout", "not scored in time; send fewer triplets at once, or again later") from None
        finally:
            self.waiting -= len(pixels) - request.taken
            request.taken = len(pixels)

    async def _lane(self) -> None:
        while True:
            shares = self._take()
            if not shares:
                self._news.clear()
                await self._news.wait()
                continue
            if not self._under_way:
                self.pace.begins()
            self._under_way += 1
            try:
                await self._score(shares)
            finally:
                self._under_way -= 1
                self.pace.done(more=bool(self._under_way or self.waiting))

    def _take(self) -> list[_Share]:
        shares: list[_Share] = []
        room = self.size
        for request in list(self._queue):
            if shares and request.model != shares[0][0].model:
                continue
            count = min(room, len(request.pixels) - request.taken)
            if count:
                shares.append((request, request.taken, request.taken + count))
                request.taken += count
                self.waiting -= count
                room -= count
            if request.taken == len(request.pixels):
                self._queue.remove(request)
            if not room:
                break
        return shares

    async def _score(self, shares: list[_Share]) -> None:
        """Score a batch, again and again while nobody is there to do it and somebody waits for it."""
        pixels = np.concatenate([request.pixels[first:last] for request, first, last in shares])
        self._watch(len(pixels))
        while not all(request.answer.done() for request, _, _ in shares):
            try:
                scores = await self.backend.score(pixels, shares[0][0].model)
            except Gone:
                await asyncio.sleep(_PAUSE_S)
                continue
            except Exception as error:  # noqa: BLE001 - of whatever kind, it belongs to those who wait for it
                for request, _, _ in shares:
                    request.fail(error)
                return
            at = 0
            for request, first, last in shares:
                rows = slice(at, at + last - first)
                request.receive(first, Scores._make(column[rows] for column in scores))
                at = rows.stop
            return
