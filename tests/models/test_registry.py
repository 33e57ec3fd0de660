"""Ids, versions and aliases of models; what is damaged or hostile is refused."""

import hashlib
import importlib
import json
import multiprocessing
import os
import signal
from dataclasses import fields

import pytest
import torch
from click.testing import CliRunner, Result

from catalogs.folder import Folder
from jobs.promote import main as promote_job
from models import braai, eb
from models.registry import Registry
from models.spec import SPECS, get_spec
from pipeline.errors import CorruptModel, ModelNotFound, Refused

CARD = {"metrics": {"f1": 0.9}}


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((3, 2), value), "layer.bias": torch.zeros(3)}


@pytest.fixture
def registry(workspace: Folder, tmp_path) -> Registry:
    return Registry(workspace, shipped=tmp_path / "shipped")


def test_saved_is_found_by_every_name(registry: Registry, workspace: Folder) -> None:
    id = registry.save("calnet", weights(), CARD, {"loss.png": b"png", "tb/events": b"log"})
    version = id.removeprefix("calnet-")
    stored = workspace.read(f"models/calnet/{version}/weights.safetensors")
    registry.set_alias("calnet", "candidate", id)
    for model in ("calnet@candidate", f"calnet@{id}", f"calnet@{version}"):
        entry = registry.resolve(model)
        assert (entry.id, entry.name, entry.version) == (id, "calnet", version)
    assert entry.sha256 == hashlib.sha256(stored).hexdigest() and entry.sha256.startswith(version)
    assert entry.card["metrics"] == CARD["metrics"] and entry.card["weights_sha256"] == entry.sha256
    assert entry.folder.read("tb/events") == b"log"
    loaded = registry.load_weights(entry)
    assert loaded.keys() == weights().keys()
    assert all(torch.equal(loaded[name], value) for name, value in weights().items())


def test_same_weights_are_one_version(registry: Registry) -> None:
    first = registry.save("calnet", weights(), {"run": 1}, {})
    assert registry.save("calnet", weights(), {"run": 2}, {}) == first
    assert registry.resolve(f"calnet@{first}").card["run"] == 1
    assert registry.save("calnet", weights(2.0), {}, {}) != first
    assert len(registry.versions("calnet")) == 2


def test_a_version_without_card_does_not_exist(registry: Registry, workspace: Folder) -> None:
    id = registry.save("calnet", weights(), CARD, {})
    card = f"models/calnet/{id[-8:]}/card.json"
    workspace.remove(card)
    with pytest.raises(ModelNotFound, match="there are: none"):
        registry.resolve(f"calnet@{id}")
    assert registry.save("calnet", weights(), CARD, {}) == id and workspace.exists(card)


def test_nothing_in_production_names_the_cure(registry: Registry) -> None:
    with pytest.raises(ModelNotFound, match=r"jobs\.train --model calnet.*jobs\.promote calnet@candidate"):
        registry.resolve("calnet")
    registry.set_alias("calnet", "candidate", registry.save("calnet", weights(), CARD, {}))
    with pytest.raises(ModelNotFound, match="--model calnet@candidate"):
        registry.resolve("calnet")
    registry.set_alias("calnet", "production", registry.resolve("calnet@candidate").id)
    assert registry.resolve("calnet") == registry.resolve("calnet@production")


def test_rollback_goes_back_step_by_step(registry: Registry) -> None:
    first, second, third = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0, 3.0))
    for id in (first, second, second, third):
        registry.set_alias("calnet", "production", id)
    assert registry.former("calnet") == second
    assert registry.rollback("calnet") == second and registry.resolve("calnet").id == second
    assert registry.rollback("calnet") == first and registry.resolve("calnet").id == first
    with pytest.raises(ModelNotFound, match="promote one by its id"):
        registry.rollback("calnet")
    assert registry.resolve("calnet").id == first
    registry.set_alias("calnet", "production", third)
    assert registry.rollback("calnet") == first


def test_rollback_to_what_is_gone_changes_nothing(registry: Registry, workspace: Folder) -> None:
    first, second = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0))
    for id in (first, second):
        registry.set_alias("calnet", "production", id)
    workspace.remove(f"models/calnet/{first[-8:]}/card.json")
    with pytest.raises(ModelNotFound, match=first[-8:]):
        registry.rollback("calnet")
    assert registry.resolve("calnet").id == second


def test_rollback_returns_to_what_ships(workspace: Folder, tmp_path) -> None:
    elsewhere = Registry(Folder(tmp_path / "elsewhere"))
    shipped_id = elsewhere.save("calnet", weights(), CARD, {})
    elsewhere.set_alias("calnet", "production", shipped_id)
    registry = Registry(workspace, shipped=elsewhere.own)
    registry.set_alias("calnet", "production", registry.save("calnet", weights(2.0), CARD, {}))
    assert registry.rollback("calnet") == shipped_id == registry.resolve("calnet").id


def _promote_all(root: str, shipped: str, ids: list[str]) -> None:
    registry = Registry(Folder(root), shipped)
    for id in ids:
        registry.set_alias("calnet", "production", id)


def test_processes_that_promote_at_once_lose_nothing(registry: Registry, workspace: Folder) -> None:
    ids = [registry.save("calnet", weights(float(value)), CARD, {}) for value in range(24)]
    registry.set_alias("calnet", "candidate", ids[0])
    context, shipped = multiprocessing.get_context("fork"), registry.shipped.root
    children = [context.Process(target=_promote_all, args=(workspace.root, shipped, ids[n::2])) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert not any(child.exitcode for child in children)
    assert registry.aliases("calnet")["candidate"] == ids[0]
    back = [registry.resolve("calnet").id, *(registry.rollback("calnet") for _ in ids[1:])]
    assert sorted(back) == sorted(ids)  # each of them stood in production, and is on the way back
    for own in (ids[0::2], ids[1::2]):  # in the order in which each process put them there
        assert [id for id in back if id in own] == own[::-1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_promotes_the_history_is_right(registry: Registry, workspace: Folder, when: str) -> None:
    first, second, third = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0, 3.0))
    for id in (first, second):
        registry.set_alias("calnet", "production", id)

    def killed() -> None:
        link = os.link

        def linked(*paths: str) -> None:
            if when == "after":
                link(*paths)
            os.kill(os.getpid(), signal.SIGKILL)

        os.link = linked
        registry.set_alias("calnet", "production", third)

    child = multiprocessing.get_context("fork").Process(target=killed)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert registry.resolve("calnet").id == (third if when == "after" else second)
    assert registry.former("calnet") == (second if when == "after" else first)
    registry.set_alias("calnet", "production", third)
    assert registry.rollback("calnet") == second and registry.rollback("calnet") == first


def test_two_who_roll_back_the_same_promotion_go_back_once(registry: Registry) -> None:
    first, second, third = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0, 3.0))
    for id in (first, second, third):
        registry.set_alias("calnet", "production", id)
    told = registry.former("calnet")
    assert told == second == registry.rollback("calnet", told)
    with pytest.raises(Refused, match=f"before it stands {first}, not {second}"):
        registry.rollback("calnet", told)
    assert registry.resolve("calnet").id == second


def test_workspaces_of_before_go_on(registry: Registry, workspace: Folder) -> None:
    first, second, third = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0, 3.0))
    workspace.write("models/calnet/aliases.json", json.dumps({"production": second, "candidate": third}).encode())
    workspace.write("models/calnet/history.json", json.dumps({"production": [first, second]}).encode())
    assert registry.aliases("calnet") == {"production": second, "candidate": third}
    assert registry.former("calnet") == first
    assert registry.set_alias("calnet", "production", third) == second
    assert registry.aliases("calnet") == {"production": third, "candidate": third}
    assert registry.rollback("calnet") == second and registry.rollback("calnet") == first
    assert registry.set_alias("calnet", "candidate", third) == third  # nothing new is no move
    assert len(workspace.list("models/calnet/moves")) == 3
    workspace.write("models/calnet/moves/000004.json", b"{}")
    with pytest.raises(CorruptModel, match=r"moves/000004\.json"):
        registry.resolve("calnet")


def test_aliases_move_on_s3_too(s3_folder: Folder, tmp_path) -> None:
    registry = Registry(s3_folder, shipped=tmp_path / "shipped")
    first, second = (registry.save("calnet", weights(value), CARD, {}) for value in (1.0, 2.0))
    assert registry.set_alias("calnet", "production", first) is None
    assert registry.set_alias("calnet", "production", second) == first == registry.rollback("calnet")


def test_promote_rolls_back_by_name(workspace: Folder) -> None:
    registry = Registry(workspace)
    first, second = (registry.save("realbogus", weights(value), CARD, {}) for value in (1.0, 2.0))

    def promote(*options: str) -> Result:
        return CliRunner().invoke(promote_job, ["--workspace", workspace.root, *options])

    assert promote(f"realbogus@{first}").exit_code == promote(f"realbogus@{second}").exit_code == 0
    back = promote("realbogus", "--rollback")
    assert back.exit_code == 0 and f"{second} → {first}" in back.output
    assert registry.resolve("realbogus").id == first
    with_alias = promote("realbogus@candidate", "--rollback")
    assert with_alias.exit_code != 0 and registry.resolve("realbogus").id == first


@pytest.mark.parametrize("model", ["nosuch", "nosuch@candidate", "nosuch@0123abcd"])
def test_an_unknown_name_lists_the_models_there_are(registry: Registry, model: str) -> None:
    registry.save("own", weights(), CARD, {})
    there = "calnet, calnet_published, eb, own, poster, realbogus, realbogus_baseline, visualbinary"
    with pytest.raises(ModelNotFound, match=f"there are: {there}$"):
        registry.resolve(model)
    with pytest.raises(ModelNotFound, match=r"no version of own .* is production"):
        registry.resolve("own")


def test_shipped_models_stand_behind_the_workspace(workspace: Folder, tmp_path) -> None:
    elsewhere = Registry(Folder(tmp_path / "elsewhere"))
    shipped_id = elsewhere.save("calnet", weights(), CARD, {})
    elsewhere.set_alias("calnet", "production", shipped_id)
    registry = Registry(workspace, shipped=elsewhere.own)
    assert registry.resolve("calnet").id == shipped_id
    own_id = registry.save("calnet", weights(2.0), CARD, {})
    registry.set_alias("calnet", "production", own_id)
    assert registry.resolve("calnet").id == own_id
    registry.set_alias("calnet", "production", shipped_id)  # back, though the weights are not in the workspace
    assert registry.resolve("calnet").id == shipped_id


def test_a_fact_about_a_shipped_model_does_not_hide_its_weights(workspace: Folder, tmp_path) -> None:
    elsewhere = Registry(Folder(tmp_path / "elsewhere"))
    id = elsewhere.save("calnet", weights(), CARD, {"tb/events": b"log"})
    registry = Registry(workspace, shipped=elsewhere.own)
    assert registry.own_versions("calnet") == [] and registry.versions("calnet") == [id[-8:]]
    registry.annotate(registry.resolve(f"calnet@{id}"), {"checked": True})
    entry = registry.resolve(f"calnet@{id}")
    assert entry.card["checked"] and registry.load_weights(entry).keys() == weights().keys()
    assert entry.folder.read("tb/events") == b"log" and registry.own_versions("calnet") == [id[-8:]]
    assert "checked" not in elsewhere.resolve(f"calnet@{id}").card


def test_damaged_weights_are_not_loaded(registry: Registry, workspace: Folder) -> None:
    entry = registry.resolve("calnet@" + registry.save("calnet", weights(), CARD, {}))
    path = f"models/calnet/{entry.version}/weights.safetensors"
    data = workspace.read(path)
    workspace.write(path, data[:-1] + b"\x07")
    with pytest.raises(CorruptModel, match=r"weights\.safetensors: sha256"):
        registry.load_weights(entry)
    workspace.remove(path)
    with pytest.raises(CorruptModel, match="missing"):
        registry.load_weights(entry)
    for card in (b"{", b"[]", json.dumps(entry.card | {"weights_sha256": "0" * 64}).encode()):
        workspace.write(f"models/calnet/{entry.version}/card.json", card)
        with pytest.raises(CorruptModel, match=r"card\.json"):
            registry.resolve(f"calnet@{entry.id}")


@pytest.mark.parametrize(
    "model", ["../calnet", "calnet/..", "", "@x", "Calnet", "calnet@../../x", "calnet@/etc", "calnet@ "]
)
def test_no_name_leads_out_of_the_folder(registry: Registry, model: str) -> None:
    with pytest.raises(ModelNotFound):
        registry.resolve(model)


def test_hostile_names_are_not_written(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.save("../calnet", weights(), CARD, {})
    id = registry.save("calnet", weights(), CARD, {})
    for alias in ("../x", "", "1a2b3c4d"):
        with pytest.raises(ModelNotFound):
            registry.set_alias("calnet", alias, id)
    with pytest.raises(ModelNotFound):
        registry.set_alias("calnet", "production", "calnet-00000000")


def test_unknown_model_lists_the_known() -> None:
    with pytest.raises(ModelNotFound, match="calnet"):
        get_spec("calnett")


def test_what_a_model_is_made_of_is_there_when_it_is_needed() -> None:
    for spec in SPECS.values():
        for part in (getattr(spec, entry.name) for entry in fields(spec)):
            if hasattr(part, "module"):
                assert callable(getattr(importlib.import_module(part.module), part.name))
    assert get_spec("eb").outputs == len(eb.CLASSES) + 2
    assert get_spec("realbogus").outputs == 1 + braai.RealBogus.TYPES + braai.RealBogus.EMBEDDING


def test_what_ships_is_in_production_in_every_workspace(registry: Registry, tmp_path) -> None:
    id = registry.save("eb", weights(), CARD, {"loss.png": b"png", "tb/events": b"log", "held_out.parquet": b"x"})
    registry.ship(registry.resolve(f"eb@{id}"))
    elsewhere = Registry(Folder(tmp_path / "elsewhere"), shipped=tmp_path / "shipped")
    entry = elsewhere.resolve("eb")
    assert entry.id == id and elsewhere.load_weights(entry).keys() == weights().keys()
    assert sorted(item.path for item in entry.folder.list()) == ["card.json", "loss.png", "weights.safetensors"]


def test_facts_of_a_shipped_model_bring_it_into_the_workspace(registry: Registry, workspace: Folder, tmp_path) -> None:
    elsewhere = Registry(Folder(tmp_path / "elsewhere"), shipped=tmp_path / "shipped")
    id = elsewhere.save("eb", weights(), CARD, {"loss.png": b"png"})
    elsewhere.set_alias("eb", "production", id)
    elsewhere.ship(elsewhere.resolve("eb"))
    registry.annotate(registry.resolve("eb"), {"calibration": {"prior": 0.1}})
    entry = registry.resolve("eb")
    assert entry.card["calibration"] == {"prior": 0.1} and entry.card["metrics"] == CARD["metrics"]
    assert workspace.exists(f"models/eb/{entry.version}/weights.safetensors") and registry.load_weights(entry)
    assert "calibration" not in elsewhere.resolve("eb").card
