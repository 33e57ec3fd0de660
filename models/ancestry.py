"""Which trainings a model went through, and which stars they learnt from.

A model may begin with the weights of another (`start_from`), as one that learns from real stars begins with its
rehearsal on simulated ones. It has held out a star only if each of its trainings has.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.data import side
from models.registry import Registry
from pipeline.errors import UsageError
from pipeline.settings import TrainSettings

__all__ = ["learnt", "saw_real_stars", "summary", "trainings"]

Card = Mapping[str, Any]

#: What of a card stands in that of a model which began with it.
_KEPT = ("id", "weights_sha256", "settings", "settings_hash", "best_epoch", "metrics")


def trainings(registry: Registry, card: Card) -> list[Card]:
    """Return a model's card and those of the models that it began with, the first training last.

    Raises
    ------
    ModelNotFound
        If one of these is gone and the card does not tell of it.
    """
    found = [card]
    while before := found[-1].get("settings", {}).get("start_from"):
        told = found[-1].get("rehearsal")
        found.append(told or registry.resolve(f"{before.rpartition('-')[0]}@{before}").card)
    return found


def summary(registry: Registry, model_id: str) -> dict[str, Any]:
    """Return what the card of a model that begins with another says of it: no history, no partitions."""
    found: dict[str, Any] = {}
    entry = registry.resolve(f"{model_id.rpartition('-')[0]}@{model_id}")
    for card in reversed(trainings(registry, entry.card)):
        data = {name: value for name, value in card.get("data", {}).items() if name != "partitions"}
        kept = {name: card[name] for name in _KEPT if name in card} | {"data": data}
        found = kept | ({"rehearsal": found} if found else {})
    return found


def saw_real_stars(card: Card) -> bool:
    """Return whether a training learnt from real stars; if its card does not tell, it may have."""
    data = card.get("data", {})
    sets = data.get("sets", [])
    return "labels" in data or not sets or not all("simulated_with_seed" in item for item in sets)


def learnt(cards: Sequence[Card], stars: Iterable[int]) -> set[int]:
    """Return which stars one training or another does not hold out, whether it met them or not.

    Raises
    ------
    UsageError
        If a card does not tell.
    """
    every = []
    for card in cards:
        if "settings" not in card:
            raise UsageError(f"{card.get('id')}: its card does not say how it was trained, so whom it held out")
        every.append(TrainSettings.load(None, "train", card["settings"]))
        if every[-1].split_by != "star":
            raise UsageError(f"{card.get('id')}: trained with split_by {every[-1].split_by}: whom it held out "
                             "cannot be told")  # fmt: skip
    return {star for star in stars if any(side(star, one) == "train" for one in every)}
