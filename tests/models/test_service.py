"""Scores over HTTP, in this process."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest

from catalogs.folder import Folder
from models import monitor
from models.registry import Registry
from models.scorer import Scorer
from models.service_batches import Pace
from models.service_limits import Limits
from models.standing import Standing
from pipeline.images.sampling import rescale
from pipeline.settings import ScoreSettings
from tests.models import toy_realbogus
from tests.models.toy_service import Here, ask, document, encoded, image, npy, running, service

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("service"))
    toy_realbogus.save(folder)
    toy_realbogus.save(folder, seed=1, alias="candidate")
    return folder


def expected(workspace: Folder, triplets: np.ndarray, model: str = "realbogus") -> np.ndarray:
    settings = ScoreSettings(runtime="torch", precision="fp32", batch_size=16)
    return Scorer.load(workspace, model, settings).score(triplets).p_real


def test_scores_are_those_of_the_model_however_sent(registered: Folder) -> None:
    triplets = toy_realbogus.triplets(5)
    form = {"files": {"file": ("a.npy", npy(triplets), "application/octet-stream")}, "data": {"model": "realbogus"}}
    found = ask(
        service(registered),
        ("POST", "/score", {"json": document(triplets)}),
        ("POST", "/score", {"content": npy(triplets)}),
        ("POST", "/score", form),
        ("POST", "/score", {"content": npy(np.asfortranarray(triplets.astype(">f8")))}),
    )
    right = expected(registered, triplets)
    for answer in found:
        assert answer.status_code == 200, answer.text
        rows = answer.json()
        assert [row["p_real"] for row in rows] == pytest.approx(right, abs=1e-6)
        assert sum(rows[0][f"p_{kind}"] for kind in ("transient", "variable", "mover")) == pytest.approx(1)
    assert [row["id"] for row in found[0].json()] == ["t0", "t1", "t2", "t3", "t4"]
    card = Registry(registered).resolve("realbogus").card
    assert rows[0]["model"] == card["id"] and rows[0]["threshold"] == card["standing"]["threshold"]
    standing = Standing.of(card, "")
    for row in rows:  # p_prior goes by the very prior that is told, and says so
        odds = row["p_real"] / (1 - row["p_real"]) * standing.prior / (1 - standing.prior)
        assert row["prior"] == standing.prior and row["p_prior"] == pytest.approx(odds / (1 + odds))
    assert rows[0]["tier"] in ("real", "uncertain", "bogus") and isinstance(rows[0]["ood"], bool)


def test_another_model_is_named_in_body_or_address(registered: Folder) -> None:
    triplets = toy_realbogus.triplets(2)
    inside, beside, nowhere = ask(
        service(registered),
        ("POST", "/score", {"json": document(triplets, model="realbogus@candidate")}),
        ("POST", "/score", {"content": npy(triplets), "params": {"model": "realbogus@candidate"}}),
        ("POST", "/score", {"content": npy(triplets), "params": {"model": "realbogus@0badc0de"}}),
    )
    right = expected(registered, triplets, "realbogus@candidate")
    for answer in (inside, beside):
        assert [row["p_real"] for row in answer.json()] == pytest.approx(right, abs=1e-6)
    assert nowhere.status_code == 422 and "0badc0de" in nowhere.json()["message"]


def test_what_cannot_be_scored_has_a_reason_and_the_others_go_on(registered: Folder) -> None:
    body = document(toy_realbogus.triplets(8))
    rows = body["triplets"]
    del rows[0]["template"]
    rows[1]["science"] = "no base64!"
    rows[2]["difference"] = encoded(np.zeros((63, 63), np.float32))
    rows[3]["difference"] = encoded(np.full((63, 63), np.nan, np.float32))
    rows[4]["difference"] = encoded(np.ones((31, 63), np.float32))
    rows[5]["reference"] = rows[5].pop("template")
    rows[6] = 7
    answer = ask(service(registered), ("POST", "/score", {"json": body}))[0]
    assert answer.status_code == 200
    found = answer.json()
    reasons = [row.get("reason") for row in found]
    assert reasons == ["cutout_missing", "cutout_not_fits", "cutout_empty", "cutout_empty", "cutout_shape", None,
                       "packet_malformed", None]  # fmt: skip
    assert all(("p_real" in row) == (reason is None) for row, reason in zip(found, reasons, strict=True))
    right = expected(registered, toy_realbogus.triplets(8))
    assert [found[5]["p_real"], found[7]["p_real"]] == pytest.approx(right[[5, 7]], abs=1e-6)


@pytest.mark.parametrize("suffix", ["avro", "json"])
def test_whole_alerts_are_scored(registered: Folder, shared_data: Path, suffix: str) -> None:
    if suffix == "avro":
        path = sorted((shared_data / "alerts" / "avro").rglob("*.avro"))[0]
    else:
        path = sorted((shared_data / "braai").rglob("*.json"))[0]
    answer = ask(service(registered), ("POST", "/score", {"content": path.read_bytes()}))[0]
    assert answer.status_code == 200, answer.text
    rows = answer.json()
    assert rows and ":" in rows[0]["id"] and 0 < rows[0]["p_real"] < 1


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (b"", 422, "JSON"),
        (b"[]", 422, "no triplets"),
        (b'{"triplets": []}', 422, "no triplets"),
        (b'{"triplets": 3}', 422, "list"),
        (b'{"triplets": [{}], "model": 3}', 422, "model"),
        (b"{" * 50_000, 422, "JSON"),
        (b"[1" + b",1" * 3_000_000 + b"]", 413, "values"),
        (b"PAR1" + bytes(100), 422, "begins with"),
        (b"\x80\x05K\x01.", 422, "begins with"),  # a pickle
        (npy(np.zeros((2, 63, 63, 3), np.float32)), 422, "(n, 3, 63, 63)"),
        (npy(np.zeros((9, 3, 9, 9), np.float32)), 413, "several requests"),
        (npy(np.array([1 + 2j])), 422, "float32"),
        (b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 3, 63, 63), }"
         .ljust(118), 422, ".npy"),
        (npy(np.zeros((2, 3, 63, 63), np.float32))[:-5], 422, "bytes"),
        (bytes(1_100_000), 413, "send fewer"),
    ],
)  # fmt: skip
def test_bodies_without_sense_are_refused(registered: Folder, body: bytes, code: int, word: str) -> None:
    limits = Limits(body=8 << 20 if len(body) > 2_000_000 else 1 << 20, triplets=8)
    answer = ask(service(registered, limits=limits), ("POST", "/score", {"content": body}))[0]
    assert answer.status_code == code, answer.text
    assert word in answer.json()["message"]


def test_nobody_waits_for_ever_for_what_others_have_decoded(registered: Folder, monkeypatch) -> None:
    slow = threading.Event()
    monkeypatch.setattr("models.service_bodies.read", lambda *body: slow.wait(20))
    answer = ask(service(registered, limits=Limits(answer_s=0.2)), ("POST", "/score", {"content": b"[]"}))[0]
    slow.set()
    assert answer.status_code == 503 and answer.json()["error"] == "timeout"


def test_an_object_array_is_never_unpickled(registered: Folder) -> None:
    body = npy(np.array([{"a": 1}], dtype=object))
    answer = ask(service(registered), ("POST", "/score", {"content": body}))[0]
    assert answer.status_code == 422


def test_counts_beyond_single_precision_have_a_reason_not_a_score(registered: Folder) -> None:
    triplets = toy_realbogus.triplets(2)
    triplets[0] *= np.float32(3e36)
    rows = ask(service(registered), ("POST", "/score", {"content": npy(triplets)}))[0].json()
    assert "p_real" in rows[1] and (rows[0].get("reason") == "cutout_values" or 0 <= rows[0]["p_real"] <= 1)


def test_requests_together_are_scored_together(registered: Folder) -> None:
    backend = Here(registered)
    triplets = toy_realbogus.triplets(40)

    async def scored() -> list[list[dict]]:
        async with running(service(registered, backend=backend)) as client:
            asked = [client.post("/score", content=npy(triplets[first : first + 2])) for first in range(0, 40, 2)]
            return [answer.json() for answer in await asyncio.gather(*asked)]

    rows = [row for answer in asyncio.run(scored()) for row in answer]
    assert [row["p_real"] for row in rows] == pytest.approx(expected(registered, triplets), abs=1e-6)
    assert sum(backend.batches) == 40 and len(backend.batches) < 12 and max(backend.batches) == 16


class Stuck(Here):
    """A backend that answers when it is told to."""

    def __init__(self, workspace: Folder) -> None:
        super().__init__(workspace)
        self.free = asyncio.Event()

    async def score(self, pixels: np.ndarray, model: str):
        await self.free.wait()
        return await super().score(pixels, model)


def test_a_full_queue_and_a_late_answer_are_told(registered: Folder) -> None:
    limits = Limits(queue=20, answer_s=1.0)

    async def told() -> list:
        backend = Stuck(registered)
        async with running(service(registered, backend=backend, limits=limits)) as client:
            body = npy(toy_realbogus.triplets(12))
            asked = [client.post("/score", content=body) for _ in range(6)]
            late = await asyncio.gather(*asked)
            backend.free.set()
            await asyncio.sleep(0.2)
            return [*late, await client.post("/score", content=body)]

    *late, last = asyncio.run(told())
    assert {answer.status_code for answer in late} == {429, 503}
    assert all(answer.headers["retry-after"] == "1" and answer.json()["message"] for answer in late)
    assert last.status_code == 200


class Slow(Here):
    """A backend that takes a while for every batch."""

    async def score(self, pixels: np.ndarray, model: str):
        await asyncio.sleep(0.2)
        return await super().score(pixels, model)


def test_what_is_taken_is_answered_soon_and_the_rest_refused_at_once(registered: Folder) -> None:
    """At a pace of one batch in 0.2 s and 1 s at most to wait, some five batches are taken of thirty."""
    limits, body = Limits(wait_s=1.0), npy(toy_realbogus.triplets(16))

    async def timed(client: httpx.AsyncClient) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        return await client.post("/score", content=body), time.monotonic() - began

    async def told() -> list[tuple[httpx.Response, float]]:
        async with running(service(registered, backend=Slow(registered), limits=limits)) as client:
            for _ in range(3):
                await client.post("/score", content=body)
            return await asyncio.gather(*[timed(client) for _ in range(30)])

    found = asyncio.run(told())
    taken = [seconds for answer, seconds in found if answer.status_code == 200]
    refused = [answer for answer, _ in found if answer.status_code == 429]
    assert len(taken) + len(refused) == 30 and 1 <= len(taken) <= 10
    assert all(answer.json()["error"] == "busy" and int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all("app;dur=" in answer.headers["server-timing"] for answer, _ in found)


def test_the_pace_is_that_of_batches_and_of_a_stall() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.seconds == 0
    pace.begins()
    for _ in range(5):
        now += 0.2
        pace.done(more=True)
    assert pace.seconds == pytest.approx(0.2)
    now += 3
    assert pace.seconds == pytest.approx(3)  # none comes any more
    pace.done(more=False)
    now += 100  # nothing to do is no stall
    assert 0.2 < pace.seconds < 1


def test_a_slow_body_is_given_up(registered: Folder) -> None:
    async def drops():
        for _ in range(100):
            yield b"["
            await asyncio.sleep(0.05)

    made = service(registered, limits=Limits(body_s=0.3))
    answer = ask(made, ("POST", "/score", {"content": drops()}))[0]
    assert answer.status_code == 503 and "did not arrive" in answer.json()["message"]


def test_promotion_and_rollback_need_no_restart(tmp_path: Path) -> None:
    workspace = Folder(tmp_path)
    first = toy_realbogus.save(workspace)
    second = toy_realbogus.save(workspace, seed=1, alias="candidate")
    body = npy(toy_realbogus.triplets(1))
    steps = ask(
        service(workspace),
        ("POST", "/score", {"content": body}),
        ("POST", "/models/realbogus/promote", {}),
        ("POST", "/score", {"content": body}),
        ("POST", "/models/realbogus/rollback", {}),
        ("POST", "/score", {"content": body}),
        ("POST", "/models/realbogus/rollback", {}),  # to the one that ships
        ("POST", "/models/realbogus/rollback", {}),
        ("POST", "/models/realbogus/promote", {"json": {"version": "nothing"}}),
        ("POST", "/models/realbogus/promote", {"json": {"version": second}}),
        ("GET", "/models", {}),
    )
    assert [step.status_code for step in steps] == [200, 200, 200, 200, 200, 200, 422, 422, 200, 200]
    assert [steps[number].json()[0]["model"] for number in (0, 2, 4)] == [first, second, first]
    moved = [steps[number].json() for number in (1, 3)]
    assert all("not there yet" in step.pop("catalogue") for step in moved)
    assert moved[0] == {"name": "realbogus", "production": second, "before": first}
    assert moved[1] == {"name": "realbogus", "production": first, "before": second}
    shipped = steps[5].json()["production"]
    assert shipped == Registry(Folder(tmp_path / "new")).resolve("realbogus").id
    table = {row["name"]: row for row in steps[9].json()["models"]}
    assert table["realbogus"]["aliases"] == {"candidate": second, "production": second}
    assert set(table["realbogus"]["loaded"]) == {first, second, shipped}


def test_a_rollback_to_what_no_longer_stood_before_is_refused(tmp_path: Path, monkeypatch) -> None:
    workspace = Folder(tmp_path)
    first, second = toy_realbogus.save(workspace), toy_realbogus.save(workspace, seed=1)
    monkeypatch.setattr(Registry, "former", lambda *_: second)  # as if another process were faster
    answer = ask(service(workspace), ("POST", "/models/realbogus/rollback", {}))[0]
    assert answer.status_code == 409 and answer.json()["error"] == "moved" and first in answer.json()["message"]
    assert Registry(workspace).resolve("realbogus").id == second


def test_a_ready_model_scores_while_another_loads_and_production_stays(tmp_path: Path, monkeypatch) -> None:
    workspace = Folder(tmp_path)
    first = toy_realbogus.save(workspace)
    others = [toy_realbogus.save(workspace, seed=seed, alias=None) for seed in range(1, 5)]
    shelf = Here(workspace).shelf
    shelf.load(first)
    loading, go, load = threading.Event(), threading.Event(), Scorer.load

    def slow(*words):
        loading.set()
        assert go.wait(60)
        return load(*words)

    monkeypatch.setattr("models.service_models.Scorer.load", slow)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(shelf.load, others[0]) for _ in range(2)]
        assert loading.wait(60)
        assert np.isfinite(shelf.score(toy_realbogus.triplets(1), first).p_real).all()
        assert not any(wait.done() for wait in waits) and shelf.loaded() == [first]
        go.set()
        assert [wait.result(60) for wait in waits] == [None, None]
    for other in others[1:]:
        shelf.load(other)
    assert set(shelf.loaded()) == {first, *others[-2:]}


def test_an_alias_moved_by_others_is_noticed(tmp_path: Path) -> None:
    workspace = Folder(tmp_path)
    toy_realbogus.save(workspace)
    second = toy_realbogus.save(workspace, seed=1, alias=None)

    async def seen() -> str:
        async with running(service(workspace)) as client:
            body = npy(toy_realbogus.triplets(1))
            await client.post("/score", content=body)
            Registry(workspace).set_alias("realbogus", "production", second)
            await asyncio.sleep(1.1)
            return (await client.post("/score", content=body)).json()[0]["model"]

    assert asyncio.run(seen()) == second


def test_without_the_token_nothing_but_health_is_told(registered: Folder) -> None:
    made = service(registered, token=TOKEN)
    right = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
    found = ask(
        made,
        ("GET", "/models", {}),
        ("GET", "/models", {"headers": {"Authorization": "Bearer wrong"}}),
        ("GET", "/models", {"headers": {"Authorization": "Basic ????"}}),
        ("GET", "/openapi.json", {}),
        ("POST", "/score", {"content": b"[]"}),
        ("GET", "/health", {}),
        ("GET", "/models", right),
        ("GET", "/models", {"auth": ("anyone", TOKEN)}),
    )
    assert [answer.status_code for answer in found] == [401, 401, 401, 401, 401, 200, 200, 200]
    assert found[0].headers["www-authenticate"].startswith("Basic")


def test_other_sites_can_neither_ask_nor_promote(registered: Folder) -> None:
    promote = ("POST", "/models/realbogus/promote")
    foreign = [
        {"headers": {"Origin": "https://elsewhere.example"}},
        {"headers": {"Origin": "null"}},
        {"headers": {"Origin": "http://127.0.0.1:9999"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Host": "rebound.example:8000"}},
    ]
    found = ask(
        service(registered),
        *[(*promote, options) for options in foreign],
        ("GET", "/models", {"headers": {"Host": "rebound.example"}}),
        ("GET", "/models", {"headers": {"Host": "[::1]:8000", "Origin": "http://elsewhere.example"}}),
        (*promote, {"headers": {"Origin": "http://127.0.0.1:8000"}, "json": {"version": "production"}}),
    )
    assert [answer.status_code for answer in found] == [403] * 6 + [200, 200]
    assert not any(name.startswith("access-control") for answer in found for name in answer.headers)


def test_figures_for_prometheus(registered: Folder) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    body = document(toy_realbogus.triplets(3))
    body["triplets"][0]["science"] = None
    *_, figures = ask(
        service(registered),
        ("POST", "/score", {"json": body}),
        ("POST", "/score", {"content": b"?"}),
        ("GET", "/no/such/path", {}),
        ("GET", "/metrics", {}),
    )
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(figures.text)
        for sample in family.samples
    }
    assert samples["skysift_requests_total", "/score", "200", "POST"] == 1
    assert samples["skysift_requests_total", "/score", "422", "POST"] == 1
    assert samples["skysift_requests_total", "404", "GET", "other"] == 1
    assert samples["skysift_triplets_unscored_total", "cutout_missing"] == 1
    assert samples["skysift_p_real_count", Registry(registered).resolve("realbogus").id] == 2
    assert samples["skysift_batch_triplets_count",] == 1 and samples["skysift_queue_triplets",] == 0


def test_what_is_scored_is_logged_hour_by_hour(tmp_path: Path) -> None:
    workspace = Folder(tmp_path)
    model = toy_realbogus.save(workspace)
    body = document(toy_realbogus.triplets(3))
    body["triplets"][0]["science"] = None

    async def scored() -> str:
        async with running(service(workspace, log_s=0.2)) as client:
            for _ in range(2):
                await client.post("/score", json=body)
                await asyncio.sleep(0.4)
            await client.post("/score", content=npy(toy_realbogus.triplets(5)))
            return (await client.get("/metrics")).text

    figures = asyncio.run(scored())
    log = monitor.Log(workspace, model).rows()
    assert log["n"].tolist() == [9] and json.loads(log["refused"][0]) == {"cutout_missing": 2}
    assert log["batch"][0].startswith("service-") and np.sum(log["n_by_peak"][0]) == np.sum(log["n_by_logit"][0]) == 9
    assert "skysift_drift_psi{" in figures and "skysift_last_mjd" in figures
    counts = [line.rsplit(" ", 1)[1] for line in figures.splitlines() if line.startswith("skysift_scored_total{")]
    assert sum(map(float, counts)) == 4


def test_images_of_unusual_width_are_resampled(registered: Folder) -> None:
    triplets = toy_realbogus.triplets(4)
    body = document(triplets)
    for row, width in zip(body["triplets"], (12, 2.5, None, "wide"), strict=True):
        row["fwhm_px"] = width
    rows = ask(service(registered), ("POST", "/score", {"json": body}))[0].json()
    right = expected(registered, np.concatenate([rescale(triplets[:1], 0.25), triplets[1:3]]))
    assert [row["p_real"] for row in rows[:3]] == pytest.approx(right, abs=1e-6)
    assert rows[3]["reason"] == "packet_malformed" and "fwhm_px" in rows[3]["message"]


def test_the_document_says_how_to_ask(registered: Folder) -> None:
    document, unknown = ask(service(registered), ("GET", "/openapi.json", {}), ("GET", "/docs", {}))
    paths = document.json()["paths"]
    assert set(paths) >= {"/score", "/models", "/models/{name}/promote", "/models/{name}/rollback", "/health"}
    score = paths["/score"]["post"]
    assert set(score["responses"]) >= {"200", "401", "413", "422", "429", "503"}
    assert [path for path, verbs in paths.items() for verb in verbs.values() if "409" in verb["responses"]] == [
        "/models/{name}/rollback"
    ]
    assert set(score["requestBody"]["content"]) >= {"application/json", "application/octet-stream", "avro/binary"}
    told = score["requestBody"]["content"]["application/json"]
    one, image = jsonschema.Draft202012Validator(told["schema"]), encoded(np.ones((9, 9), np.float32))
    images = {"science": image, "difference": image}
    assert one.is_valid(told["example"]) and one.is_valid([images | {"reference": image}]) and one.is_valid([{}])
    triplets = jsonschema.Draft202012Validator(told["schema"]["anyOf"][1])
    assert triplets.is_valid([images | {"template": image}]) and not triplets.is_valid([images])
    told = document.json()["components"]["schemas"]["Score"]
    assert "prior" in told["required"] and told["properties"]["prior"]["description"]
    assert document.json()["components"]["schemas"]["Health"]["properties"]["status"]["const"] == "ok"
    assert unknown.status_code == 404 and unknown.json()["message"]


def test_plain_and_packed_images_are_the_same(registered: Folder) -> None:
    import base64

    body = document(triplets := toy_realbogus.triplets(1))
    body["triplets"][0]["science"] = base64.b64encode(image(triplets[0, 0], packed=False)).decode()
    one, other = ask(
        service(registered), ("POST", "/score", {"json": body}), ("POST", "/score", {"json": document(triplets)})
    )
    assert one.json() == other.json()
