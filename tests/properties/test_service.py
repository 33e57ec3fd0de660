"""Hostile requests to the service: none is answered 500, none hangs, none makes it forget the others.

The short run is part of the suite; `make fuzz` makes more than 2,000.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import schemathesis

from catalogs.folder import Folder
from models.service import Service, app
from models.service_limits import Limits
from tests.models import toy_realbogus
from tests.models.toy_service import document, npy, running, service
from tests.properties.hostile_bodies import Ask, asks

TOLD = {200, 413, 422, 429, 503}
SECONDS = 20.0  # of one answer; on a machine that does much else


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = Folder(tmp_path_factory.mktemp("hostile"))
    toy_realbogus.save(folder)
    return service(folder, limits=Limits(body=4 << 20, triplets=64))


@pytest.fixture(scope="module")
def good(shared_data: Path) -> dict[str, bytes]:
    triplets = toy_realbogus.triplets(1)
    alerts = shared_data / "alerts" / "avro"
    avro = min(alerts.rglob("*.avro"), key=lambda path: path.stat().st_size)
    braai = min((shared_data / "braai").rglob("*.json"), key=lambda path: path.stat().st_size)
    return {"npy": npy(triplets), "JSON": json.dumps(document(triplets)).encode(), "Avro": avro.read_bytes(),
            "alert": braai.read_bytes()}  # fmt: skip


async def _all(made: Service, many: list[Ask]) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    async with running(made) as client:
        for ask in many:
            began = time.monotonic()
            # Header values are bytes on the wire; httpx takes them so.
            headers = [(name.encode(), value.encode("latin-1")) for name, value in ask.headers.items()]
            answer = await client.post("/score", content=ask.body, headers=headers, params=ask.params)
            assert answer.status_code in TOLD, f"{ask.kind}: {answer.status_code}: {ask.body[:300]!r}"
            assert time.monotonic() - began < SECONDS, f"{ask.kind} took {time.monotonic() - began:.1f} s"
            if answer.status_code == 200:
                for row in answer.json():
                    assert ("reason" in row and row["message"]) or 0 <= row["p_real"] <= 1, ask.kind
            else:
                assert answer.json()["message"], ask.kind
            found[ask.kind, answer.status_code] += 1
        last = await client.post("/score", content=npy(toy_realbogus.triplets(2)))
        assert last.status_code == 200 and len(last.json()) == 2
    return found


@pytest.mark.parametrize(
    "number", [pytest.param(100, id="short"), pytest.param(2200, id="long", marks=pytest.mark.fuzz)]
)
def test_hostile_bodies_are_told_what_is_wrong(made: Service, good: dict[str, bytes], number: int) -> None:
    found = asyncio.run(_all(made, asks(good, number, seed=number)))
    assert sum(found.values()) == number
    assert sum(count for (_, status), count in found.items() if status == 422) > number / 5


@pytest.mark.parametrize("number", [pytest.param(8, id="short"), pytest.param(150, id="long", marks=pytest.mark.fuzz)])
def test_requests_made_from_the_document(made: Service, number: int) -> None:
    """Schemathesis: what the OpenAPI document allows, and what it does not."""
    token = "of-sixteen-or-more"
    sent = {"Authorization": f"Bearer {token}"}
    gate = app(replace(made, token=token))
    schema = schemathesis.openapi.from_asgi("/openapi.json", gate, headers=sent)
    asked: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(max_examples=number, deadline=None, derandomize=True, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            began = time.monotonic()
            answer = case.call(headers=sent)
            asked[answer.status_code] += 1
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            assert time.monotonic() - began < SECONDS

        check()
    assert sum(asked.values()) >= number and not asked[401]


def test_many_hostile_ones_at_once_do_not_spoil_the_good(made: Service, good: dict[str, bytes]) -> None:
    triplets = toy_realbogus.triplets(4)

    async def mixed() -> tuple[list, list]:
        async with running(made) as client:
            right = (await client.post("/score", content=npy(triplets))).json()
            hostile = [client.post("/score", content=ask.body) for ask in asks(good, 24, seed=3)]
            fine = [client.post("/score", content=npy(triplets)) for _ in range(8)]
            answers = await asyncio.gather(*hostile, *fine)
            return right, [answer.json() for answer in answers[24:] if answer.status_code == 200]

    right, fine = asyncio.run(mixed())
    assert fine
    for rows in fine:
        assert [row["p_real"] for row in rows] == pytest.approx([row["p_real"] for row in right], abs=1e-6)
    assert np.isfinite([row["p_real"] for row in right]).all()
