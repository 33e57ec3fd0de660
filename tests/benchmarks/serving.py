"""The service under load: how much it takes, what it says to twice as much, and how long a killed replica is missing.

The service runs as a user starts it, the load comes from this process over HTTP; both share the machine's cores.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

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
SECONDS = 10.0
PER_REQUEST = 4  # triplets
BODIES = 16
LIMIT_S = 60.0


@dataclass
class Load:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of answers with scores
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


class _Client:
    def __init__(self, url: str, workspace: Folder) -> None:
        self.url = url
        triplets = toy_realbogus.triplets(BODIES * PER_REQUEST, seed=5)
        scores = Scorer.load(workspace, "realbogus", ScoreSettings(batch_size=BATCH)).score(triplets)
        self.bodies = [npy(some) for some in np.split(triplets, BODIES)]
        self.right = np.split(scores.p_real, BODIES)

    async def ask(self, client: httpx.AsyncClient, number: int, load: Load) -> None:
        """Ask once, and compare with what the model itself says."""
        began = time.monotonic()
        try:
            answer = await client.post(f"{self.url}/score", content=self.bodies[number % BODIES])
        except httpx.HTTPError:
            load.statuses[0] += 1
            return
        load.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            load.seconds.append(time.monotonic() - began)
            found = [row["p_real"] for row in answer.json()]
            load.wrong += not np.allclose(found, self.right[number % BODIES], atol=1e-5)

    async def closed(self, clients: int, seconds: float) -> Load:
        """Have `clients` ask again as soon as they are answered."""
        load = Load()

        async def one(first: int, client: httpx.AsyncClient) -> None:
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


def _http() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=LIMIT_S, limits=httpx.Limits(max_connections=800, max_keepalive_connections=800))


def main() -> None:
    """Measure throughput, twice that, and replacement of a replica."""
    heading(f"serving, {REPLICAS} replicas, {PER_REQUEST} triplets a request")
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        workspace = Folder(name)
        toy_realbogus.save(workspace)
        with _service(workspace) as (url, process):
            asyncio.run(_measure(_Client(url, workspace), process))


async def _measure(client: _Client, process: psutil.Process) -> None:
    await client.closed(4, 2)
    lone = await client.closed(1, 3)
    figure("one client, p50, s", lone.share(50), "–", None, f"p99 {lone.share(99):.3g} s")
    full = await client.closed(24, SECONDS)
    note = f"{full.rate:.0f} requests/s; p50 {full.share(50):.2g} s, p99 {full.share(99):.2g} s"
    figure("most it takes, triplets/s", full.rate * PER_REQUEST, "–", None, note)
    twice = await client.open(2 * full.rate, SECONDS)
    _report("twice as much", twice)
    figure("  p99 of answers with scores, s", twice.share(99), "≤ 15", twice.share(99) <= 15,
           f"p50 {twice.share(50):.2g} s; {twice.rate * PER_REQUEST:.0f} triplets/s")  # fmt: skip
    await asyncio.sleep(8)
    idle = await _replaced(process)
    figure("a killed replica is replaced, idle, s", idle, "≤ 5", idle <= 5)
    await asyncio.sleep(8)
    done = asyncio.Event()
    load = asyncio.create_task(client.open(2 * full.rate, LIMIT_S, done))
    await asyncio.sleep(2)
    busy = await _replaced(process)
    done.set()
    figure("a killed replica is replaced, twice the load, s", busy, "≤ 15", busy <= 15)
    _report("meanwhile", await load)


def _report(what: str, load: Load) -> None:
    told = ", ".join(f"{count} × {status}" for status, count in sorted(load.statuses.items()))
    figure(f"{what}: statuses other than 200, 429, 503", sum(load.statuses[one] for one in load.statuses.keys()
           - {200, 429, 503}), "0", load.statuses.keys() <= {200, 429, 503}, told)  # fmt: skip
    figure("  wrong answers", load.wrong, "0", load.wrong == 0, f"of {len(load.seconds)}")


async def _replaced(process: psutil.Process) -> float:
    """Kill a replica; return the seconds until as many as before have been there and their models loaded."""
    before = _replicas(process)
    began = time.monotonic()
    os.kill(min(before), signal.SIGKILL)
    url = f"http://127.0.0.1:{process.cmdline()[process.cmdline().index('--port') + 1]}/health"
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        while time.monotonic() - began < LIMIT_S:
            now = _replicas(process)
            if len(now) == len(before) and min(before) not in now:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url)).json().get("replicas") == len(before):
                        return time.monotonic() - began
            await asyncio.sleep(0.1)
    return float("inf")


def _replicas(process: psutil.Process) -> set[int]:
    found = set()
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline() and "ServeReplica" in child.cmdline()[0]:
                found.add(child.pid)
    return found


@contextlib.contextmanager
def _service(workspace: Folder) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port(8000)
    command = [sys.executable, "-m", "jobs.serve", "--workspace", str(workspace), "--port", str(port),
               "--replicas", str(REPLICAS)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        began = time.monotonic()
        while time.monotonic() - began < 120:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.2)
        figure("start, s", time.monotonic() - began, "–", None)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
