"""What there is to say of a commit and of a model, when a row of a catalogue is walked back to its files."""

from pathlib import Path
from typing import Any

from catalogs.folder import Folder
from pipeline import cards, manifest
from pipeline.commits import Log
from pipeline.manifest import Record

__all__ = ["model", "step"]

#: Models that ship, for their cards; the room that writes them is not imported, as it needs torch.
_SHIPPED = Folder(Path(__file__).parents[1] / "models" / "weights")

#: What of a model's card leads on: the lists it learnt from with their checksums, and how it was trained and judged.
_CARD = ("recipe", "split", "settings", "settings_hash", "best_epoch", "metrics", "provenance", "rehearsal")
_CARD_DATA = ("labels", "negatives", "sets", "labelled_stars", "counts")


def step(log: Log, record: Record | None, *more: str) -> dict[str, Any]:
    """Return what there is to say of a commit.

    Parameters
    ----------
    log : Log
        The commit log.
    record : Record or None
        The commit; None while there is none.
    *more : str
        Further fields of it.
    """
    if record is None:
        return {"manifest": None, "note": "not committed"}
    path = manifest.path(record.stage, record.key)
    facts = {name: getattr(record, name) for name in ("version", "settings", "settings_hash", *more)}
    made = {name: record.provenance.get(name) for name in ("finished", "host")}
    return {"manifest": path, **facts, **made, "stale": log.is_stale(path)}


def model(workspace: Folder, model_id: str, sha256: str) -> dict[str, Any]:
    """Return what the card of a model says of where it comes from.

    Parameters
    ----------
    workspace : Folder
        With models of its own, before those that ship.
    model_id, sha256 : str
        The model.

    Raises
    ------
    CorruptModel
        If its card is damaged.
    """
    name, _, version = model_id.rpartition("-")
    found: dict[str, Any] = {"id": model_id, "weights_sha256": sha256}
    path = f"{name}/{version}/card.json"
    shelves = {"models": workspace.child("models"), "models/weights": _SHIPPED}
    where = next((where for where, shelf in shelves.items() if shelf.exists(path)), None)
    if where is None:
        return found | {"card": "neither in this workspace nor among the models that ship"}
    card = cards.read(shelves[where], path)
    data = {key: value for key, value in card.get("data", {}).items() if key in _CARD_DATA}
    return found | {"card": f"{where}/{path}", "data": data} | {key: card[key] for key in _CARD if key in card}
