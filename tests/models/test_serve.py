"""The service on Ray Serve."""

import asyncio
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from catalogs.folder import Folder
from models import serve
from models.registry import Registry
from models.scorer import Scorer
from models.service import Service
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


def _replica_pids() -> list[int]:
    mine = psutil.Process().children(recursive=True)
    return [process.pid for process in mine if "ServeReplica" in " ".join(process.cmdline()[:1])]


def test_a_killed_replica_is_replaced_and_no_answer_is_lost(workspace: Folder, backend: serve.Replicas) -> None:
    triplets = toy_realbogus.triplets(24)
    right = Scorer.load(workspace, "realbogus", SETTINGS).score(triplets).p_real
    (victim,) = _replica_pids()

    async def asked() -> list:
        service = Service(workspace, backend, batch=serve.BATCH, lanes=serve.LANES)
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
