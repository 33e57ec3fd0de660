"""Kill processes of a job at random instants until it has survived enough, then compare bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from catalogs.folder import Folder
from pipeline import manifest

TREE = Path(__file__).resolve().parents[2]

__all__ = ["Chaos", "compare", "content", "dask_workers", "job"]


def job(name: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a job of this tree in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", f"jobs.{name}", *options],
        cwd=TREE,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def content(workspace: Folder) -> dict[str, bytes]:
    """Return what must be the same whatever was killed: every file's bytes, of manifests all but times and hosts."""
    found = {}
    for entry in workspace.list():
        if entry.path.startswith("manifest/") and entry.path.endswith(".json"):
            stage, key = entry.path.removeprefix("manifest/").removesuffix(".json").split("/", 1)
            record = manifest.read(workspace, stage, key)
            assert record is not None
            found[entry.path] = record.identity.encode()
        elif not entry.path.startswith("models/"):  # made once, before the killing
            found[entry.path] = workspace.read(entry.path)
    return found


@dataclass
class Chaos:
    """Runs a job again and again while killing its processes.

    Parameters
    ----------
    start : callable
        Starts the driver.
    victims : callable
        Given the driver, returns the pids of the workers there are now.
    left : dict
        Drivers and workers still to be killed; shared by the jobs of a test.
    seed : int
        Of instants and choices.
    """

    start: Callable[[], subprocess.Popen[str]]
    victims: Callable[[subprocess.Popen[str]], Sequence[int]]
    left: dict[str, int]
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def until_done(self, longest_s: float = 4.0) -> None:
        """Run the job until it ends well, killing from the budget `left` at instants up to `longest_s` apart."""
        while True:
            driver = self.start()
            while driver.poll() is None and any(self.left.values()):
                time.sleep(self._random.uniform(0.05, longest_s))
                self._strike(driver)
            output, _ = driver.communicate()
            # A worker killed while Dask itself comes up ends the driver: the user starts it again.
            if driver.returncode != -signal.SIGKILL and "failed to start" not in output:
                assert driver.returncode == 0, output
                return

    def _strike(self, driver: subprocess.Popen[str]) -> None:
        kind = self._random.choice([kind for kind, count in self.left.items() if count])
        pids = [driver.pid] if kind == "driver" else list(self.victims(driver))
        if driver.poll() is not None or not pids:
            return
        try:
            os.kill(self._random.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return
        self.left[kind] -= 1


def dask_workers(driver: subprocess.Popen[str]) -> list[int]:
    """Return the pids of a driver's Dask workers; it starts new ones."""
    try:
        children = psutil.Process(driver.pid).children()
        return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def compare(run: Callable[[dict[str, int]], dict[str, bytes]], drivers: int, workers: int) -> None:
    """Compare what a run leaves behind undisturbed, and while so many of its processes are killed."""
    calm, rounds = run({"driver": 0, "worker": 0}), 0
    left = {"driver": drivers, "worker": workers}
    while any(left.values()):
        stormy, rounds = run(left), rounds + 1
        assert stormy.keys() == calm.keys()
        assert [path for path in calm if calm[path] != stormy[path]] == []
    print(f"{drivers} drivers and {workers} workers killed in {rounds} rounds, {len(calm)} files each the same")
