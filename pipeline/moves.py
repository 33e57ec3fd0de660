"""Which version of a model each alias stands for, and what was in production before: a file a move, never changed.

::

    models/calnet/moves/000001.json    {"aliases": {"candidate": "calnet-1a2b3c4d", …}, "production": ["calnet-…", …]}
    models/calnet/moves/000002.json    what holds from the next move on; the last one counts

Each file holds all that holds after a move, and is created only if nobody else has made that move meanwhile: who comes
second looks again and goes on from there. So nothing that two do at once is lost, and a kill at any moment leaves the
state before or after a move, never one between.

Workspaces of before, and the models that ship, have ``aliases.json`` and ``history.json`` instead; they count until
the first move.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalogs.folder import Folder
from pipeline import cards
from pipeline.errors import CorruptModel

__all__ = ["State", "move", "read"]

_NUMBERED = re.compile(r"/(\d{6,})\.json$")
_KEPT = 100  # of what was in production


@dataclass(frozen=True)
class State:
    """Where the aliases of a model stand.

    Parameters
    ----------
    aliases : mapping of str to str
        Alias → id.
    production : tuple of str
        What was in production, one after the other, the present last; the last hundred.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    production: tuple[str, ...] = ()


def read(models: Folder, name: str) -> State:
    """Return where the aliases of a model stand.

    Parameters
    ----------
    models : Folder
        ``models/`` of a workspace, or the models that ship.
    name : str
        Of the model.

    Raises
    ------
    CorruptModel
        If the file that counts is not what it should be.
    """
    return _latest(models, name)[1]


def move(models: Folder, name: str, change: Callable[[State], State]) -> None:
    """Go on from where the aliases of a model stand; whoever else does so at the same time.

    Parameters
    ----------
    models : Folder
        ``models/`` of a workspace.
    name : str
        Of the model.
    change : callable
        Returns the state after the move from that before; called again if another was faster. What it raises ends
        the move, and nothing is written.
    """
    while True:
        number, before = _latest(models, name)
        after = change(before)
        once = [id for id, last in zip(after.production, ["", *after.production], strict=False) if id != last]
        after = State(after.aliases, tuple(once[-_KEPT:]))
        if after == before:
            return
        state = {"aliases": dict(after.aliases), "production": after.production}
        data = json.dumps(state, indent=1, sort_keys=True).encode()
        if models.create(f"{name}/moves/{number + 1:06d}.json", data):
            return


def _latest(models: Folder, name: str) -> tuple[int, State]:
    """Return the number of the last move, 0 for none, and what holds since."""
    found = (_NUMBERED.search(entry.path) for entry in models.list(f"{name}/moves", ".json"))
    if last := max((int(move[1]) for move in found if move), default=0):
        path = f"{name}/moves/{last:06d}.json"
        content = cards.read(models, path)
        return last, _state(content.get("aliases"), content.get("production"), models.url(path))
    path, history = f"{name}/aliases.json", f"{name}/history.json"
    aliases = cards.read(models, path) if models.exists(path) else {}
    known = cards.read(models, history).get("production", []) if models.exists(history) else []
    return 0, _state(aliases, known, models.url(history))


def _state(aliases: Any, production: Any, where: str) -> State:
    if not isinstance(aliases, dict) or not isinstance(production, list):
        message = f"{where} does not say what aliases stand for or what was in production; remove it or copy it anew"
        raise CorruptModel(message)
    return State({alias: str(id) for alias, id in aliases.items()}, tuple(map(str, production)))
