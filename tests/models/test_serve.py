"""The service on Ray Serve."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result
from ray._private import ray_logging

from catalogs.folder import Folder
from cluster.address import free_port
from jobs.serve import main as serve_job
from models import serve
from models.registry import Registry
from models.scorer import Scorer
from models.service import Service
from models.service_limits import Limits
from models.service_token import VARIABLE, read_token
from pipeline.errors import UsageError
from pipeline.settings import ScoreSettings
from tests.models import toy_realbogus
from tests.models.toy_service import npy, running

SETTINGS = ScoreSettings(batch_size=serve.BATCH)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("serve"))
    toy_realbogus.save(folder)
    toy_realbogus.save(folder, seed=1, alias="candidate")
    return folder


@pytest.fixture(scope="module")
def backend(workspace: Folder, ray_cluster: object) -> Iterator[serve.Replicas]:
    with serve.replicas(workspace, ["realbogus"], 1, SETTINGS) as found:
        yield found


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def _job(*options: object) -> Result:
    return CliRunner().invoke(serve_job, [str(option) for option in options])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "host.example"])
def test_off_loopback_nothing_listens_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_token: None, host: str
) -> None:
    monkeypatch.setattr(serve, "listen", lambda *_: pytest.fail("it listens"))
    refused = _job("--workspace", tmp_path, "--host", host)
    assert refused.exit_code == 2 and "SKYSIFT_TOKEN" in refused.output and "--token-file" in refused.output


def test_a_model_that_is_not_there_is_told_before_anything_starts(tmp_path: Path, no_token: None) -> None:
    refused = _job("--workspace", tmp_path, "--model", "realbogus@0badc0de")
    assert refused.exit_code != 0 and "0badc0de" in refused.output


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-a-file-and-long-enough\n")
    file.chmod(0o600)
    inside = {VARIABLE: "of-the-environment-and-long"}
    assert read_token(None, {}) == "" and read_token(None, inside) == inside[VARIABLE]
    assert read_token(file, inside) == "of-a-file-and-long-enough"


@pytest.mark.parametrize(
    ("token", "mode", "word"),
    [
        ("of-a-file-and-long-enough", 0o644, "chmod 600"),
        ("short", 0o600, "openssl"),
        ("", 0o600, "openssl"),
        ("with a space in its middle", 0o600, "openssl"),
        ("für-dieses-braucht-es-utf8", 0o600, "openssl"),
    ],
)
def test_a_token_that_others_know_or_guess_is_refused(tmp_path: Path, token: str, mode: int, word: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(mode)
    with pytest.raises(UsageError, match=word):
        read_token(file, {VARIABLE: "of-the-environment-and-long"})


def test_a_file_without_a_token_or_a_short_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="openssl"):
        read_token(tmp_path / "nowhere", {})
    with pytest.raises(UsageError, match=VARIABLE):
        read_token(None, {VARIABLE: "short"})


def test_a_new_replica_waits_for_no_other_model() -> None:
    heavy = {"astropy", "h5py", "matplotlib", "numba", "pandas", "scipy.ndimage", "scipy.optimize", "sklearn", "xarray"}
    code = f"import sys, models.replica; print(*sorted({heavy!r} & set(sys.modules)))"
    tree = Path(serve.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stdout.split(), done.stderr[-2000:] + done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("former", [None, re.compile("of others")])
def test_what_is_left_out_of_what_ray_prints_is_as_before_afterwards(
    monkeypatch: pytest.MonkeyPatch, former: re.Pattern[str] | None
) -> None:
    lines = ray_logging.stdout_deduplicator
    monkeypatch.setattr(lines, "skip_re", former)

    def fail() -> None:
        with serve.quiet():
            assert lines.skip_re.search("Task ServeController.run failed. It was killed by `ray.kill`")
            assert bool(lines.skip_re.search("a line of others")) == bool(former)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert lines.skip_re is former
    monkeypatch.delattr(ray_logging, "stdout_deduplicator")  # as in a Ray to come
    with serve.quiet():
        pass


def test_told_to_end_it_ends_and_says_nothing(workspace: Folder, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", VARIABLE)}
    command = [sys.executable, "-m", "jobs.serve", "--workspace", str(workspace), "--port", str(port := free_port(0))]
    log = tmp_path / "log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--replicas", "1", "--reserve", "0"],
            cwd=Path(serve.__file__).parents[1], env=environ, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while "listening" not in log.read_text() or not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        process.terminate()
        assert process.wait(60) == signal.SIGTERM
    finally:
        process.kill()
    assert log.read_text().splitlines()[-1] == f"listening on http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def _replica_pids() -> list[int]:
    mine = psutil.Process().children(recursive=True)
    return [process.pid for process in mine if "ServeReplica" in " ".join(process.cmdline()[:1])]


def test_a_killed_replica_is_replaced_and_no_answer_is_lost(workspace: Folder, backend: serve.Replicas) -> None:
    triplets = toy_realbogus.triplets(24)
    right = Scorer.load(workspace, "realbogus", SETTINGS).score(triplets).p_real
    (victim,) = _replica_pids()

    async def asked() -> list:
        patient = Limits(answer_s=60)  # there is no other replica, and the machine may do much else
        service = Service(workspace, backend, batch=serve.BATCH, lanes=serve.LANES, limits=patient)
        async with running(service) as client:
            before = await client.post("/score", content=npy(triplets))
            os.kill(victim, signal.SIGKILL)
            after = await client.post("/score", content=npy(triplets))
            promoted = await client.post("/models/realbogus/promote")
            listed = await client.get("/models")
            return [before, after, promoted, listed]

    before, after, promoted, listed = asyncio.run(asked())
    for answer in (before, after):
        assert answer.status_code == 200, answer.text
        assert [row["p_real"] for row in answer.json()] == pytest.approx(right, abs=1e-6)
    assert promoted.json()["production"] == Registry(workspace).resolve("realbogus@candidate").id
    assert len(listed.json()["models"][0]["loaded"]) == 2
    assert victim not in _replica_pids()
