"""Visual binaries on the review page."""

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from catalogs import review
from catalogs.review import labels
from models.review_visual import VisualBinaries
from pipeline.errors import Missing
from tests.models.toy_review import app
from tests.pipeline.stamps import toy_visual

PRODUCT = "visual_binaries"
HEADERS = {"X-Skysift-Review": "1"}


def ask(client, queue="uncertain", who="ada"):
    return client.get("/review/next", params={"product": PRODUCT, "queue": queue, "who": who}).json()


def say(client, item, label, **more):
    body = {"product": PRODUCT, "item_id": item, "label": label, "who": "ada"} | more
    return client.post("/review/label", json=body, headers=HEADERS)


def test_sources_are_reviewed_the_nearest_to_the_threshold_first(workspace):
    toy_visual.fill(workspace, surveys=["SDSS"])
    client, seen = TestClient(app(workspace), raise_server_exceptions=False), []
    while (item := ask(client)["item"]) is not None:
        assert client.get(f"/review/{item['picture']}").content[:4] == b"\x89PNG"
        seen.append(item["item_id"])
        assert say(client, seen[-1], "real", type="double").status_code == 200
    assert seen == ["c/1", "b", "a", "d"]  # of e no survey can tell
    assert ask(client, "novel")["item"]["item_id"] == "e"
    assert say(client, "e", "bogus", type="galaxy").status_code == 200
    assert say(client, "a", "bogus", type="cosmic_ray").status_code == 422
    said = labels(workspace, PRODUCT)
    counted = review.consensus(review.current(said)).set_index("item_id")["label"]
    assert dict(counted) == {"a": "real", "b": "real", "c/1": "real", "d": "real", "e": "bogus"}


def test_facts_are_in_words_and_units(workspace):
    toy_visual.fill(workspace, surveys=["SDSS"])
    facts = {fact.name: fact for fact in VisualBinaries(workspace).facts("a")}
    assert facts["sep_arcsec"].value == "1.8" and facts["sep_arcsec"].unit == "arcsec"
    assert (
        facts["pa_ambiguous"].value == "no"
        and facts["saturated"].value == "no"
        and facts["surveys_able"].value == "HST, SDSS"
    )
    assert "saturated pixel" in facts["flag"].value and "gaia_id_1" not in facts
    assert "sep_arcsec" not in {fact.name for fact in VisualBinaries(workspace).facts("e")}
    assert VisualBinaries(workspace).facts("nobody") == []


def test_items_follow_the_catalogue(workspace):
    product = VisualBinaries(workspace)
    with pytest.raises(Missing, match="score_stamps"):
        product.items()
    toy_visual.fill(workspace, measured=False, surveys=["SDSS"])
    items = product.items()
    assert list(items["item_id"]) == ["a", "b", "c/1", "d", "e"] and np.isnan(items["p"].iloc[-1])
    assert not items["ood"].any() and pd.isna(items["novelty"]).all() and product.embeddings(items) is None


def test_stacks_that_are_gone_have_a_picture_that_says_so(workspace):
    toy_visual.fill(workspace, surveys=["SDSS", "HST"])
    product = VisualBinaries(workspace)
    whole = product.picture("a")
    workspace.remove_tree("stacks/sdss.zarr")
    assert "cannot be read" in product.picture("a").alt and whole.size[1] > 500
    workspace.remove_tree("stacks")
    assert "no longer in the workspace" in VisualBinaries(workspace).picture("a").alt
    assert "no longer in the catalogue" in product.picture("x").alt
