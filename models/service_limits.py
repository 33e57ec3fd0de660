"""How much the service takes at once, and what it says to what is too much: a status, a code and the cure."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

__all__ = ["Budget", "Limits", "Refusal", "too_busy"]

_AGAIN_S = 30


@dataclass(frozen=True)
class Limits:
    """Bounds of what one request and all of them together may ask for.

    Parameters
    ----------
    body : int
        Bytes of one body.
    bodies : int
        Bytes of all bodies that are in memory.
    values : int
        Values of a JSON body, counted by its commas and brackets: each takes a hundred bytes once it is parsed.
    triplets : int
        Of one request.
    queue : int
        Triplets that wait to be scored; what comes on top is told to come again.
    wait_s : float
        Seconds for which what waits already is expected to keep the replicas busy; where it is more, the next request
        is told to come again: what is taken is answered soon.
    requests : int
        Requests with a body that are worked on at once.
    body_s : float
        Seconds in which a body must have arrived.
    answer_s : float
        Seconds from then in which it is answered.
    """

    body: int = 64 << 20
    bodies: int = 512 << 20
    values: int = 2_000_000
    triplets: int = 512
    queue: int = 512
    wait_s: float = 2.0
    requests: int = 64
    body_s: float = 10.0
    answer_s: float = 15.0


class Refusal(Exception):
    """A request that is not answered.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        A word for programs.
    message : str
        What is wrong, with the offending value and the cure.
    again_s : float
        Seconds after which it makes sense to come again, where that helps.
    """

    def __init__(self, status: int, code: str, message: str, again_s: float = 1.0) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message, self.again_s = status, code, message, again_s

    @property
    def headers(self) -> dict[str, str]:
        """Say when to come again, where that helps."""
        again = min(max(math.ceil(self.again_s), 1), _AGAIN_S)
        return {"Retry-After": str(again)} if self.status in (429, 503) else {}


def too_busy(wait: float) -> Refusal:
    """Return what is said to a request that would wait too long, of seconds."""
    message = f"what waits already takes about {wait:.1f} s; send this again after as long"
    return Refusal(429, "busy", message, wait)


class Budget:
    """What of the limits is in use; of one event loop.

    Parameters
    ----------
    limits : Limits
        What there is.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes = 0
        self.requests = 0

    @asynccontextmanager
    async def body(
        self, chunks: AsyncIterator[bytes], headers: Mapping[str, str], most: int, wait: float = 0.0
    ) -> AsyncIterator[bytes]:
        """Count a request and hold its body, which is read no further than it is allowed to be long.

        Parameters
        ----------
        chunks : iterator of bytes
            As they arrive.
        headers : mapping
            Of the request.
        most : int
            Bytes.
        wait : float
            Seconds for which it would wait to be worked on.

        Raises
        ------
        Refusal
            413 if it is too long, 429 if too many others are worked on, wait or are in memory, 503 if it is too slow.
        """
        # Before anything is read: what waits here already is all that is waited for.
        if self.requests >= self.limits.requests:
            await _drain(chunks, headers, most)
            raise Refusal(429, "busy", f"{self.limits.requests} requests are worked on; send this again in a second")
        if wait > self.limits.wait_s:
            await _drain(chunks, headers, most)
            raise too_busy(wait)
        held = bytearray()
        self.requests += 1
        try:
            try:
                async with asyncio.timeout(self.limits.body_s):
                    await self._fill(held, chunks, headers, most)
            except TimeoutError:
                raise Refusal(503, "slow_body", f"the body did not arrive within {self.limits.body_s:g} s; "
                              "send fewer triplets at once") from None  # fmt: skip
            yield bytes(held)
        finally:
            self.bytes -= len(held)
            self.requests -= 1

    async def _fill(self, held: bytearray, chunks: AsyncIterator[bytes], headers: Mapping[str, str], most: int) -> None:
        too_long = Refusal(413, "body_too_large", f"a body of more than {most} bytes; send fewer triplets at once")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > most:
            await _drain(chunks, headers, most)
            raise too_long
        async for chunk in chunks:
            if len(held) + len(chunk) > most:
                await _drain(chunks, headers, most)
                raise too_long
            if self.bytes + len(chunk) > self.limits.bodies:
                raise Refusal(429, "busy", "too many bodies are being read; send this one again in a second")
            self.bytes += len(chunk)
            held += chunk


async def _drain(chunks: AsyncIterator[bytes], headers: Mapping[str, str], most: int) -> None:
    """Let a client finish sending what is not wanted, within reason: else it sees a broken pipe, not the answer."""
    if "expect" in headers:
        return
    seen = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            async for chunk in chunks:
                seen += len(chunk)
                if seen > most:
                    return
