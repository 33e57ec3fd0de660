"""The service under load: how much it takes, what it says to twice as much, and how long a killed replica is missing.

The service runs as a user starts it, the load comes from this process over HTTP; both share the machine's cores.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
import httpx
import numpy as np
import psutil

from catalogs.folder import Folder
from cluster.address import free_port
from models.scorer import Scorer
from models.serve import BATCH
from pipeline.settings import ScoreSettings
from tests.benchmarks.figures import figure, heading
from tests.models import toy_realbogus
from tests.models.toy_service import npy

__all__ = ["main"]

REPLICAS = 2
SECONDS = 5.0
PER_REQUEST = 4  # triplets
BODIES = 16
LIMIT_S = 20.0  # of one answer
START_S = 90.0
REPLACED_S = 40.0
SETTLE_S = 4.0
WAIT_S = 3.0  # asked of what is taken: 2 s in the queue, and the work

_PR_SET_PDEATHSIG = 1


@dataclass
class Load:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of answers with scores
    inside: list[float] = field(default_factory=list)  # the same, as the service itself measured them
    wrong: int = 0
    began: float = field(default_factory=time.monotonic)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Requests scored a second."""
        return len(self.seconds) / self.wall

    def share(self, percent: float) -> float:
        """Seconds within which a share of the scored requests was answered."""
        return float(np.percentile(self.seconds, percent)) if self.seconds else float("nan")

    def share_inside(self, percent: float) -> float:
        """Return the same without the way there and back, and this process's own delays."""
        return float(np.percentile(self.inside, percent)) if self.inside else float("nan")


class _Client:
    def __init__(self, url: str, workspace: Folder) -> None:
        self.url = url
        triplets = toy_realbogus.triplets(BODIES * PER_REQUEST, seed=5)
        scores = Scorer.load(workspace, "realbogus", ScoreSettings(batch_size=BATCH)).score(triplets)
        self.bodies = [npy(some) for some in np.split(triplets, BODIES)]
        self.right = np.split(scores.p_real, BODIES)

    async def ask(self, client: aiohttp.ClientSession, number: int, load: Load) -> None:
        """Ask once, and compare with what the model itself says."""
        began = time.monotonic()
        try:
            async with client.post(f"{self.url}/score", data=self.bodies[number % BODIES]) as answer:
                told = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            load.statuses[0] += 1
            return
        load.statuses[answer.status] += 1
        if answer.status == 200:
            load.seconds.append(time.monotonic() - began)
            load.inside.append(float(answer.headers["server-timing"].partition("dur=")[2]) / 1e3)
            found = [row["p_real"] for row in told]
            load.wrong += not np.allclose(found, self.right[number % BODIES], atol=1e-5)

    async def closed(self, clients: int, seconds: float) -> Load:
        """Have `clients` ask again as soon as they are answered."""
        load = Load()

        async def one(first: int, client: aiohttp.ClientSession) -> None:
            number = first
            while time.monotonic() - load.began < seconds:
                await self.ask(client, number, load)
                number += clients

        async with _http() as client:
            await asyncio.gather(*(one(first, client) for first in range(clients)))
        load.wall = time.monotonic() - load.began
        return load

    async def open(self, rate: float, seconds: float, until: asyncio.Event | None = None) -> Load:
        """Ask `rate` times a second, whatever the answers; until an event, if one is given."""
        load, asked = Load(), set()
        async with _http() as client:
            number = 0
            while (now := time.monotonic() - load.began) < seconds and not (until and until.is_set()):
                while number < now * rate:
                    asked.add(asyncio.create_task(self.ask(client, number, load)))
                    number += 1
                await asyncio.sleep(0.005)
            load.wall = time.monotonic() - load.began
            await asyncio.gather(*asked)
        return load


def _http() -> aiohttp.ClientSession:
    """Return a client that costs little beside the service: both share the machine, and a slow one hides its waits."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S), connector=aiohttp.TCPConnector(limit=0))


def main() -> None:
    """Measure throughput, twice that, and replacement of a replica."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what it has started, too
    heading(f"serving, {REPLICAS} replicas, {PER_REQUEST} triplets a request")
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        workspace = Folder(name)
        toy_realbogus.save(workspace)
        with _service(workspace) as (url, process):
            asyncio.run(_measure(_Client(url, workspace), process))


async def _measure(client: _Client, process: psutil.Process) -> None:
    await client.closed(4, 2)
    lone = await client.closed(1, 3)
    figure("one client, p50, s", lone.share(50), "–", None, f"inside {lone.share_inside(50):.3g} s")
    figure("one client, p99, s", lone.share(99), "–", None, f"inside {lone.share_inside(99):.3g} s")
    full = await client.closed(24, SECONDS)
    note = f"{full.rate:.0f} requests/s; p50 {full.share(50):.2g} s, p99 {full.share(99):.2g} s"
    figure("most it takes, triplets/s", full.rate * PER_REQUEST, "–", None, note)
    twice = await client.open(2 * full.rate, SECONDS)
    _report("twice as much", twice)
    await asyncio.sleep(SETTLE_S)
    _tell("idle", 5, *await _replaced(client.url, process))
    await asyncio.sleep(SETTLE_S)
    done = asyncio.Event()
    load = asyncio.create_task(client.open(2 * full.rate, 2 + REPLACED_S, done))
    await asyncio.sleep(2)
    _tell("twice the load", 15, *await _replaced(client.url, process))
    done.set()
    _report("meanwhile", await load)


def _report(what: str, load: Load) -> None:
    told = ", ".join(f"{count} × {status}" for status, count in sorted(load.statuses.items()))
    others = load.statuses.keys() - {200, 429, 503}
    figure(f"{what}: statuses other than 200, 429, 503", sum(load.statuses[one] for one in others), "0",
           not others, told)  # fmt: skip
    figure("  wrong answers", load.wrong, "0", load.wrong == 0, f"of {len(load.seconds)}")
    inside, outside = load.share_inside(99), load.share(99)
    rate = len(load.seconds) * PER_REQUEST / load.wall
    figure("  p99 of answers with scores, by the service, s", inside, f"≤ {WAIT_S:g}", inside <= WAIT_S,
           f"p50 {load.share_inside(50):.2g} s; {rate:.0f} triplets/s")  # fmt: skip
    figure("  p99 of the same, by the client, s", outside, "bounded", outside < LIMIT_S, f"p50 {load.share(50):.2g} s")


def _tell(when: str, asked: float, enough: float, whole: float, note: str) -> None:
    figure(f"a replica is killed, {when}: {REPLICAS} at work again, s", enough, f"≤ {asked:g}", enough <= asked)
    figure("  a new one is ready in its place, s", whole, f"≤ {asked:g}", whole <= asked, note)


async def _replaced(url: str, process: psutil.Process) -> tuple[float, float, str]:
    """Kill a replica.

    Return the seconds until as many as were asked for are known to be ready, until as many as before are, and what the
    new one's start took.
    """
    before = _replicas(process)
    victim = min(before)
    enough, began = float("inf"), time.monotonic()
    os.kill(victim, signal.SIGKILL)
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        while (now := time.monotonic() - began) < REPLACED_S:
            ready = 0  # while a dead one is taken for alive, the service says that it is not well
            with contextlib.suppress(httpx.HTTPError):
                ready = (await client.get(f"{url}/health")).json().get("replicas", 0)
            there = _replicas(process) - {victim}
            now = time.monotonic() - began
            if ready >= REPLICAS:
                enough = min(enough, now)
            if len(there) == len(before) == ready:
                return enough, now, _start_of(there - before)
            await asyncio.sleep(0.1)
    return enough, float("inf"), ""


def _start_of(pids: set[int]) -> str:
    with contextlib.suppress(psutil.Error):
        return ", ".join(f"{sum(psutil.Process(pid).cpu_times()[:2]):.1f} s of CPU" for pid in pids)
    return ""


def _replicas(process: psutil.Process) -> set[int]:
    found = set()
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline() and "ServeReplica" in child.cmdline()[0]:
                found.add(child.pid)
    return found


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent is no more, however that ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _service(workspace: Folder) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service as a user does; at the end nothing of it is left."""
    port = free_port(8000)
    command = [sys.executable, "-m", "jobs.serve", "--workspace", str(workspace), "--port", str(port),
               "--replicas", str(REPLICAS)]  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=_die_with_parent)
        family = psutil.Process(process.pid)
        try:
            while not _answers(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() - began > START_S:
                    said.seek(0)
                    raise RuntimeError(f"the service did not start: {said.read()[-2000:]}")
                time.sleep(0.2)
            figure("start, s", time.monotonic() - began, "–", None)
            yield f"http://127.0.0.1:{port}", family
        finally:
            _end(process, family)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[str], family: psutil.Process) -> None:
    """End the service as a user does, then what is left of it."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        children = family.children(recursive=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for left in [family, *children]:
        with contextlib.suppress(psutil.Error):
            left.kill()
    process.wait(10)
