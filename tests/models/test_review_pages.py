"""The review page: what it answers, what it refuses, and that a real browser works it by keys."""

import asyncio
import contextlib
import io
import json
import re
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from catalogs import review, write
from catalogs.embeddings import EMBEDDINGS
from catalogs.review import append, labels, training_labels
from catalogs.schema import STARS
from models import review_pictures
from models.review_pages import Desk, router
from models.review_products import COLUMNS, Catalogue, Fact, Kind, Product
from models.review_transients import Transients
from pipeline.candidates import CURRENT
from pipeline.errors import Missing
from tests.browser import chromium, needed, opened
from tests.models import toy_realbogus, toy_review
from tests.models.toy_review import MODEL, PAIR, app, fill, names
from tests.rows import star

PRODUCT = "transient_candidates"
OWN = {"X-Skysift-Review": "1"}


@pytest.fixture
def filled(workspace):
    """Return a workspace with candidates."""
    return fill(workspace)


@pytest.fixture
def client(filled):
    """Return a client of the page."""
    return TestClient(app(filled), raise_server_exceptions=False)


def ask(client, queue="uncertain", who="ada", **more):
    """Return the next item."""
    answer = client.get("/review/next", params={"product": PRODUCT, "queue": queue, "who": who} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(client, item, label, who="ada", **more):
    """Label an item."""
    body = {"product": PRODUCT, "item_id": item, "label": label, "who": who, "why": "uncertain"} | more
    return client.post("/review/label", json=body, headers=OWN)


def test_the_page_stands_alone(client):
    answer = client.get("/review/")
    assert answer.status_code == 200 and "default-src 'none'" in answer.text and "connect-src 'self'" in answer.text
    assert not re.search(r"https?://|<(?:iframe|object)|(?:src|href)=\"(?!data:|#)|url\(", answer.text)
    assert "asks its own service" in answer.text


def test_an_item_its_picture_and_a_label(client, filled):
    first = ask(client)
    assert first["item"]["item_id"] == names()[0] and (first["left"], first["total"]) == (6, 6)
    facts = {fact["name"]: fact["value"] for fact in first["item"]["facts"]}
    assert facts["p_real"] == "0.52" and facts["flag"] == "a bad pixel within one FWHM"
    picture = client.get(f"/review/{first['item']['picture']}")
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size[0] == 1000
    assert say(client, names()[0], "real", type="mover").status_code == 200
    (row,) = labels(filled, PRODUCT).to_dict("records")
    assert (row["model_id"], row["p"], row["why"], row["type"], row["who"]) == (
        MODEL,
        0.52,
        "uncertain",
        "mover",
        "ada",
    )
    second = ask(client)
    assert second["item"]["item_id"] == names()[1] and (second["left"], second["mine"], second["labelled"]) == (5, 1, 1)
    undone = client.post("/review/undo", json={"product": PRODUCT, "who": "ada"}, headers=OWN).json()
    assert (undone["item_id"], undone["label"]) == (names()[0], "real")
    assert ask(client, item=undone["item_id"])["item"]["item_id"] == names()[0]
    nothing = client.post("/review/undo", json={"product": PRODUCT, "who": "ada"}, headers=OWN).json()
    assert nothing["item_id"] is None and labels(filled, PRODUCT).empty


def test_queues(client):
    assert ask(client, "rank")["item"]["item_id"] == f"{PAIR}:c0"
    novel = ask(client, "novel")
    assert novel["item"]["item_id"] == f"{PAIR}:c5" and "does not learn" in novel["note"]


def test_two_reviewers_get_different_items_and_lose_nothing(client, filled):
    first, second = ask(client, who="ada")["item"]["item_id"], ask(client, who="bob")["item"]["item_id"]
    assert (first, second) == tuple(names()[:2])
    assert ask(client, who="ada")["item"]["item_id"] == first

    def work(who, answer):
        for _ in range(20):
            item = ask(client, who=who)["item"]
            if item is None:
                return
            assert say(client, item["item_id"], answer, who).status_code == 200

    threads = [threading.Thread(target=work, args=(who, "real")) for who in ("ada", "bob", "cid")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(labels(filled, PRODUCT)["item_id"]) == set(names())
    assert ask(client, who="dan")["item"] is None and len(training_labels(filled)) == 6


def test_labels_outlive_the_service(client, filled):
    say(client, names()[0], "bogus")
    again = TestClient(app(filled))
    assert ask(again)["item"]["item_id"] == names()[1] and ask(again)["mine"] == 1
    assert training_labels(filled).to_dict("records") == [{"candidate_id": names()[0], "label": 0, "type": None}]


def test_a_catalogue_made_anew_is_seen(client, filled):
    ask(client)
    table = write.read(filled, CURRENT)
    filled.write(CURRENT, write.to_bytes(table.slice(0, 2), toy_review.TRANSIENT_CANDIDATES))
    assert ask(client)["total"] == 2
    filled.remove(CURRENT)
    answer = client.get("/review/next", params={"product": PRODUCT, "who": "ada"})
    assert answer.status_code == 404 and "score_candidates" in answer.text


def test_labels_come_from_the_page_only(client, filled):
    body = {"product": PRODUCT, "item_id": names()[0], "label": "real", "who": "ada"}
    assert client.post("/review/label", json=body).status_code == 403
    assert client.post("/review/undo", json={"product": PRODUCT, "who": "ada"}).status_code == 403
    form = client.post("/review/label", content=json.dumps(body), headers=OWN | {"Content-Type": "text/plain"})
    assert form.status_code == 422
    assert labels(filled, PRODUCT).empty


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"product": "nothing"}, 404),
        ({"product": "../x"}, 404),
        ({"item_id": "nothing"}, 404),
        ({"item_id": "x" * 500}, 422),
        ({"label": "undo"}, 422),
        ({"label": None}, 422),
        ({"who": ""}, 422),
        ({"who": "   "}, 422),
        ({"who": "a\u0000b"}, 422),
        ({"who": "x" * 100}, 422),
        ({"type": "<script>"}, 422),
        ({"type": "dipole"}, 422),
        ({"label": "skip", "type": "mover"}, 422),
        ({"label": "bogus", "type": "planet"}, 422),
        ({"why": 7}, 422),
        ({"extra": 1}, 422),
    ],
)
def test_what_makes_no_sense_is_refused(client, filled, change, status):
    body = {"product": PRODUCT, "item_id": names()[0], "label": "real", "who": "ada"} | change
    answer = client.post("/review/label", json=body, headers=OWN)
    assert answer.status_code == status, answer.text
    assert labels(filled, PRODUCT).empty


def test_an_unreadable_workspace_is_told(client, filled):
    filled.write(f"labels/{PRODUCT}/x.parquet", b"PAR1")
    answer = client.get("/review/next", params={"product": PRODUCT, "who": "ada"})
    assert answer.status_code == 503 and "x.parquet" in answer.text


def test_a_triplet_that_is_gone_has_a_picture_that_says_so(client, filled):
    filled.remove_tree(f"triplets/{PAIR}.zarr")
    for name in (names()[0], "nothing", "a/b"):
        answer = client.get(f"/review/item/{name}.png", params={"product": PRODUCT})
        assert answer.status_code == 200 and answer.content[:4] == b"\x89PNG"


def test_the_novelty_queue_learns(filled):
    items = Transients(filled).items()
    assert Transients(filled).embeddings(items) is None
    rows = {"candidate_id": list(items["item_id"])[1:], "embedding": [[float(n), 1.0] for n in range(5)]}
    path = f"catalogs/{EMBEDDINGS.name}/model={MODEL}/x/part-00000.parquet"
    write.write(filled, path, pa.table(rows), EMBEDDINGS)
    found = Transients(filled).embeddings(items)
    assert found.shape == (6, 2) and np.isnan(found[0]).all() and found[5, 0] == 4
    assert "does not learn" not in ask(TestClient(app(filled)), "novel")["note"]


class Pairs(Catalogue[dict[str, dict[str, float]]]):
    """A third product: only what is its own."""

    title, kinds, path, made_by = "Pairs", (Kind("bogus", "chance", "bogus: by chance"),), "pairs.json", "find_pairs"
    columns, seen = {"sep": "arcsec"}, "The stamp"

    def _read(self):
        return json.loads(self._workspace.read(self.path))

    def items(self):
        rows = [(name, row["p"], 0.5, np.nan, False, "pairs-0123abcd") for name, row in self._known().items()]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _row(self, item_id):
        return self._known().get(item_id, {})

    def _words(self, flags):
        return [f"flag {flags}"]

    def _load(self, item_id, row):
        return self._workspace.read(f"{item_id}.stamp")

    def _draw(self, item_id, row, loaded):
        return review_pictures.missing(f"{item_id}: {loaded}")


def test_a_third_product_needs_only_its_own_parts(workspace):
    product: Product = Pairs(workspace)
    with pytest.raises(Missing, match=r"jobs\.find_pairs"):
        product.state()
    workspace.write("pairs.json", b'{"a": {"p": 0.6, "sep": 1.5, "flags": 2}}')
    assert product.facts("a") == [Fact("sep", "1.5", "arcsec"), Fact("flag", "flag 2")] and product.facts("b") == []
    assert [product.picture(name).png[:4] for name in "ab"] == [b"\x89PNG"] * 2  # no stamp, no row: a picture says so
    workspace.write("a.stamp", b"x")
    desk = Desk(workspace, "pairs", product)
    assert desk.next("novel", "ada")["item"]["item_id"] == "a" and product.embeddings(desk.items()) is None
    workspace.write("pairs.json", b'{"b": {"p": 0.25, "sep": 1.5}}')
    assert desk.next("rank", "ada")["item"]["item_id"] == "b"


def test_science_and_reference_are_shown_by_one_stretch():
    star = toy_realbogus.triplets(2)[0] * 10
    star[1] = star[0]
    science, reference, difference = review_pictures._stretched(star)
    assert np.abs(science - reference).max() < 0.02  # the same counts are the same grey
    assert abs(np.median(difference) - 0.5) < 0.02  # nothing is the middle
    star[1] /= 30
    science, reference, _ = review_pictures._stretched(star)
    assert reference.max() < 0.75 * science.max()
    nothing = review_pictures._stretched(np.full((3, 63, 63), np.nan, np.float32))
    assert all(np.isnan(image).all() for image in nothing)


def test_many_files_are_merged_at_the_start(filled, monkeypatch):
    monkeypatch.setattr("models.review_pages._MANY", 3)
    for number in range(5):
        append(filled, PRODUCT, [{"item_id": f"x{number}", "label": "real", "who": "ada"}])
    router(filled)
    assert len(filled.list("labels", ".parquet")) == 1 and len(review.Ledger(filled, PRODUCT).rows()) == 5


def test_many_files_are_merged_while_people_label(filled, monkeypatch):
    monkeypatch.setattr("models.review_pages._MANY", 4)
    clients = [TestClient(app(filled), raise_server_exceptions=False) for _ in range(2)]  # two services

    def work(who, client):
        for turn in range(12):
            assert say(client, names()[turn % 6], "bogus" if turn % 3 else "real", who).status_code == 200
            assert ask(client, who=who)["mine"] == min(turn + 1, 6)  # seen at once, by who gave it

    threads = [threading.Thread(target=work, args=(f"who{n}", clients[n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = review.Ledger(filled, PRODUCT).rows()
    assert len(rows) == 48 and rows["label_id"].is_unique and set(rows["who"].value_counts()) == {12}
    assert len(filled.list("labels", ".parquet")) < 48  # how many of them are merged already hangs on who was faster
    Desk(filled, PRODUCT, Transients(filled)).gather()
    assert len(filled.list("labels", ".parquet")) < 4
    damaged = f"labels/{PRODUCT}/x.parquet"
    filled.write(damaged, b"PAR1")
    for turn in range(5):  # what cannot be merged is no reason not to keep a label
        assert say(clients[0], names()[turn], "skip", "eve").status_code == 200
    filled.remove(damaged)
    assert len(review.Ledger(filled, PRODUCT).rows()) == 53


def test_the_queue_and_the_labels_on_the_command_line(filled):
    from click.testing import CliRunner

    from jobs.review import main

    found = CliRunner().invoke(main, ["--workspace", filled.root])
    lines = [line.split() for line in found.output.splitlines()]
    assert found.exit_code == 0 and [line[0] for line in lines[1:7]] == names()
    assert "6 left; 0 labelled" in found.output and "open /review/" in found.output
    append(filled, PRODUCT, [{"item_id": names()[0], "label": "real", "who": "ada"}])
    found = CliRunner().invoke(main, ["--workspace", filled.root, "--merge", "--export"])
    assert found.exit_code == 0 and f"{names()[0]},real,,1,ada" in found.output
    found = CliRunner().invoke(main, ["--workspace", filled.root, "--product", "eclipsing_binaries"])
    assert found.exit_code == 3 and "score_sectors" in found.output


def test_eclipsing_binaries_are_reviewed_too(workspace):
    row = star(0.9, sectors=[1]) | {"ra": 10.0, "dec": -5.0, "tmag": 9.5, "catalog_release": "r1"}
    row |= {"model_id": "calnet-0a1b2c3d", "model_sha256": "ab" * 32, "stage_version": 1, "settings_hash": "x"}
    row |= {"manifest_key": "combine/none", "tier": "high"}
    rows = [row | {"tic_id": 7}, row | {"tic_id": 8, "p_eb": 0.55}, row | {"tic_id": 9, "tier": "none"}]
    write.write(workspace, "catalogs/eclipsing_binaries.parquet", STARS.of(rows), STARS)
    client, product = TestClient(app(workspace), raise_server_exceptions=False), "eclipsing_binaries"
    first = ask(client, product=product)
    assert first["item"]["item_id"] == "TIC 8" and first["total"] == 2
    assert client.get(f"/review/{first['item']['picture']}").content[:4] == b"\x89PNG"
    assert say(client, "TIC 8", "bogus", product=product, type="planet").status_code == 200
    assert ask(client, product=product)["item"]["item_id"] == "TIC 7"
    made = review.reviewed(pd.DataFrame({"tic_id": [7, 8]}), labels(workspace, product), pd.Series(["TIC 7", "TIC 8"]))
    assert list(made["review_label"]) == [None, "bogus"]


@contextlib.contextmanager
def served(folder, port=0):
    """Run the page on loopback; yield its port."""
    server = uvicorn.Server(uvicorn.Config(app(folder), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


async def drive(devtools, work):
    """Let a coroutine work a page."""
    async with opened(devtools) as browser:
        await work(browser)


ITEM = "document.body.dataset.item"
SEEN = "(() => { const i = document.getElementById('picture'); return i.complete && i.naturalWidth > 500 })()"


@needed
def test_the_page_in_a_real_browser(filled, tmp_path, monkeypatch):
    ordered, drawn = names(), Transients.picture
    monkeypatch.setattr(Transients, "picture", lambda *item: time.sleep(0.5) or drawn(*item))

    async def first(browser):
        await browser.call("Page.navigate", url=f"http://127.0.0.1:{port}/review/?queue=uncertain")
        await browser.until("document.activeElement.id", "who")  # it asks who is there
        await browser.call("Input.insertText", text="Ada")
        await browser.evaluate("document.getElementById('who').blur()")
        for key, item in (("r", ordered[0]), ("5", ordered[1]), ("s", ordered[2])):
            await browser.until(ITEM, item)
            await browser.until(SEEN, True)
            await browser.press(key)
        # While the picture is on its way it is still the former one's, and a key is about neither.
        await browser.until("document.getElementById('name').textContent", ordered[3])
        assert not await browser.evaluate(f"{ITEM} == {ordered[3]!r}")
        assert await browser.evaluate("getComputedStyle(document.getElementById('picture')).visibility") == "hidden"
        await browser.press("r")
        await browser.until(ITEM, ordered[3])
        await browser.press("b")
        await browser.until(ITEM, ordered[4])
        await browser.press("u")
        await browser.until(ITEM, ordered[3])  # there it is again, to be labelled anew
        assert (
            await browser.evaluate("document.getElementById('said').textContent") == f"Taken back: {ordered[3]}, bogus"
        )
        assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not browser.faults, browser.faults

    async def second(browser):
        await browser.call("Page.navigate", url=f"http://127.0.0.1:{port}/review/")
        await browser.until(ITEM, ordered[3])  # who it is was kept, and so was the queue's place
        assert await browser.evaluate("document.getElementById('who').value") == "Ada"
        assert await browser.evaluate("document.getElementById('mine').textContent") == "3"
        await browser.press("1")
        await browser.until(ITEM, ordered[4])
        assert not browser.faults, browser.faults

    with chromium(tmp_path) as devtools:
        with served(filled) as port:
            asyncio.run(drive(devtools, first))
        said = labels(filled, PRODUCT)
        assert list(zip(said["item_id"], said["label"], said["type"], said["who"])) == [
            (ordered[0], "real", None, "Ada"),
            (ordered[1], "bogus", "dipole", "Ada"),
            (ordered[2], "skip", None, "Ada"),
        ]
        with served(filled, port):
            asyncio.run(drive(devtools, second))
    learnt = training_labels(filled)
    assert dict(zip(learnt["candidate_id"], learnt["label"])) == {ordered[0]: 1, ordered[1]: 0, ordered[3]: 1}
