"""Which weights exist, and which of them are meant: ids, versions, aliases.

::

    models/calnet/1a2b3c4d/weights.safetensors    version = first 8 digits of the sha256 of this file
    models/calnet/1a2b3c4d/card.json              written last: a version exists once its card does
    models/calnet/moves/000001.json               what aliases stand for, what stood in production: `pipeline.moves`

The workspace is looked through first, then the models that ship with skysift, in ``models/weights``; these have one
``aliases.json`` instead of moves.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from catalogs.folder import Folder
from models.spec import SPECS
from pipeline import cards, moves
from pipeline.errors import CorruptModel, ModelNotFound, Refused
from pipeline.moves import State

__all__ = ["Entry", "Registry", "SHIPPED"]

SHIPPED = Path(__file__).parent / "weights"

_NAME = re.compile(r"[a-z0-9_]+")
_VERSION = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Entry:
    """One version of a model, as found.

    Parameters
    ----------
    id : str
        ``calnet-1a2b3c4d``.
    name, version : str
        Its two halves.
    sha256 : str
        Of the weights' bytes; begins with the version.
    card : dict
        Data, split, settings, metrics of its training.
    folder : Folder
        Where its files are.
    """

    id: str
    name: str
    version: str
    sha256: str
    card: dict[str, Any]
    folder: Folder


class Registry:
    """The models of a workspace, and behind them those that ship.

    Parameters
    ----------
    workspace : Folder
        Its ``models/`` receives what is saved.
    shipped : str or Path or Folder, optional
        Models to fall back on, in the same layout; only `ship` writes to it.
    """

    def __init__(self, workspace: Folder, shipped: str | Path | Folder = SHIPPED) -> None:
        self.own = workspace.child("models")
        self.shipped = Folder(shipped)

    def save(
        self, name: str, state_dict: Mapping[str, Tensor], card: dict[str, Any], files: Mapping[str, bytes]
    ) -> str:
        """Store weights with their card; return the id.

        Saving the same weights again changes nothing: the first card stays, as the id names weights alone.

        Parameters
        ----------
        name : str
            Of the model.
        state_dict : dict of str to Tensor
            Parameters and buffers by name.
        card : dict
            Anything JSON can hold; id, name, version and ``weights_sha256`` are added.
        files : dict of str to bytes
            Further files by relative path: figures, logs.
        """
        weights = save({key: tensor.detach().cpu().contiguous() for key, tensor in state_dict.items()})
        sha256 = hashlib.sha256(weights).hexdigest()
        version = sha256[:8]
        facts = {
            "id": f"{_named(name)}-{version}",
            "name": name,
            "version": version,
            "weights_sha256": sha256,
        }
        folder = self.own.child(f"{name}/{version}")
        if not folder.exists("card.json"):
            for path, data in files.items():
                folder.write(path, data)
            folder.write("weights.safetensors", weights)
            folder.write("card.json", json.dumps(card | facts, indent=1, allow_nan=False).encode())
        return facts["id"]

    def resolve(self, model: str) -> Entry:
        """Return the version that is meant.

        Parameters
        ----------
        model : str
            ``calnet`` (its production version), ``calnet@candidate``, ``calnet@calnet-1a2b3c4d`` or
            ``calnet@1a2b3c4d``.

        Raises
        ------
        ModelNotFound
            If there is none such; the message says what there is and what to do.
        CorruptModel
            If its card does not go with its id.
        """
        name, _, wanted = model.partition("@")
        wanted = wanted or "production"
        aliases = self.aliases(name)
        version = aliases.get(wanted, wanted).removeprefix(f"{name}-")
        if _VERSION.fullmatch(version):
            for shelf in (self.own, self.shipped):
                folder = shelf.child(f"{name}/{version}")
                if folder.exists("card.json"):
                    return _entry(name, version, folder)
        raise ModelNotFound(self._advice(model, name, wanted, aliases))

    def _advice(self, model: str, name: str, wanted: str, aliases: dict[str, str]) -> str:
        if name not in SPECS and not aliases and not self.versions(name):
            return f"no model is called {name!r}; there are: {', '.join(sorted(SPECS.keys() | self._names()))}"
        if wanted in aliases:
            return f"{model}: {aliases[wanted]} is gone from {self.own}; train again, or promote another"
        if wanted == "production" and "candidate" in aliases:
            return (
                f"no version of {name} is in production; run `python -m jobs.promote {name}@candidate` "
                f"({aliases['candidate']}), or say `--model {name}@candidate`"
            )
        if wanted in ("production", "candidate"):
            return (
                f"no version of {name} in {self.own} is {wanted}; run `python -m jobs.train --model {name}`, "
                f"then `python -m jobs.promote {name}@candidate`"
            )
        there = ", ".join([*aliases, *self.versions(name)]) or "none"
        return f"{model}: no such alias or version of {name}; there are: {there}"

    def _names(self) -> set[str]:
        shelves = (self.own, self.shipped)
        return {entry.path.split("/")[0] for shelf in shelves for entry in shelf.list("", "/card.json")}

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, shipped ones too, sorted."""
        return sorted({*self.own_versions(name), *_versions(self.shipped, name)})

    def own_versions(self, name: str) -> list[str]:
        """Return the versions of a model in the workspace itself, sorted."""
        return _versions(self.own, name)

    def aliases(self, name: str) -> dict[str, str]:
        """Return alias → id of a model; the workspace's aliases win over shipped ones."""
        return self._merged(name, moves.read(self.own, _named(name)))

    def _merged(self, name: str, state: State) -> dict[str, str]:
        return {**moves.read(self.shipped, name).aliases, **state.aliases}

    def set_alias(self, name: str, alias: str, id: str) -> str | None:
        """Make an alias of the workspace stand for a version; return what it stood for before.

        Raises
        ------
        ModelNotFound
            If there is no such version, or the alias is no lower-case word.
        """
        if not _NAME.fullmatch(alias) or _VERSION.fullmatch(alias):
            raise ModelNotFound(f"{alias!r} cannot be an alias: lower-case letters, digits and underscores only")
        entry = self.resolve(f"{name}@{id}")
        former: str | None = None

        def _moved(state: State) -> State:
            nonlocal former
            former = self._merged(name, state).get(alias)
            history = (*self._history(name, state), entry.id) if alias == "production" else state.production
            return State({**state.aliases, alias: entry.id}, history)

        moves.move(self.own, name, _moved)
        return former

    def former(self, name: str) -> str:
        """Return the id of what stood in production before.

        Raises
        ------
        ModelNotFound
            If nothing did, or it is gone.
        """
        return self._former(name, moves.read(self.own, _named(name)))

    def _former(self, name: str, state: State) -> str:
        history = self._history(name, state)
        if len(history) < 2:
            raise ModelNotFound(f"no other version of {name} was in production before; promote one by its id")
        return self.resolve(f"{name}@{history[-2]}").id

    def rollback(self, name: str, to: str | None = None) -> str:
        """Put back into production what stood there before, and return its id; again, what stood before that.

        Parameters
        ----------
        name : str
            Of the model.
        to : str, optional
            What `former` has told: nothing else is put back, whoever moves production at the same time.

        Raises
        ------
        ModelNotFound
            If nothing did, or it is gone.
        Refused
            If it is not `to`.
        """
        former = ""

        def _moved(state: State) -> State:
            nonlocal former
            former = self._former(name, state)
            if to not in (None, former):
                raise Refused(
                    f"{name}: production was moved meanwhile, and before it stands {former}, not {to}; "
                    "see what is in production now (GET /models), and if it is still wanted: "
                    f"python -m jobs.promote --rollback {name}"
                )
            return State({**state.aliases, "production": former}, self._history(name, state)[:-1])

        moves.move(self.own, _named(name), _moved)
        return former

    def _history(self, name: str, state: State) -> tuple[str, ...]:
        """Return what stood in production, one after the other, what stands there now last; it may be a shipped one."""
        now = self._merged(name, state).get("production")
        return state.production if now is None or state.production[-1:] == (now,) else (*state.production, now)

    def annotate(self, entry: Entry, facts: Mapping[str, Any]) -> None:
        """Add facts to the card of a version; what is there under other names stays.

        Of a version that ships, the workspace gets a copy: its card alone would hide the weights.
        """
        folder = self.own.child(f"{entry.name}/{entry.version}")
        if not folder.exists("card.json"):
            for item in entry.folder.list():
                if item.path != "card.json":
                    folder.write(item.path, entry.folder.read(item.path))
        folder.write("card.json", json.dumps({**entry.card, **facts}, indent=1, allow_nan=False).encode())

    def ship(self, entry: Entry) -> None:
        """Put a version, in production, among the models that ship; none but weights, card, figures and tables."""
        folder = self.shipped.child(f"{entry.name}/{entry.version}")
        files = [item.path for item in entry.folder.list() if item.path.endswith((".png", ".parquet"))]
        for path in [*(path for path in files if path != "held_out.parquet"), "weights.safetensors"]:
            folder.write(path, entry.folder.read(path))
        # whose machine it was is of no use to others
        made = {name: fact for name, fact in entry.card.get("provenance", {}).items() if name != "host"}
        folder.write("card.json", json.dumps({**entry.card, "provenance": made}, indent=1, allow_nan=False).encode())
        aliases = json.dumps({"production": entry.id}, indent=1)
        self.shipped.write(f"{entry.name}/aliases.json", aliases.encode())

    def load_weights(self, entry: Entry) -> dict[str, Tensor]:
        """Return the weights of a version, checked against the checksum of its card.

        Raises
        ------
        CorruptModel
            If the file is missing, was changed, or is no safetensors file.
        """
        where = entry.folder.url("weights.safetensors")
        cure = "remove the folder and train again, or copy it anew"
        try:
            data = entry.folder.read("weights.safetensors")
        except FileNotFoundError as error:
            raise CorruptModel(f"{where} is missing; {cure}") from error
        if (found := hashlib.sha256(data).hexdigest()) != entry.sha256:
            raise CorruptModel(f"{where}: sha256 is {found}, its card says {entry.sha256}; {cure}")
        try:
            return load(data)
        except SafetensorError as error:
            raise CorruptModel(f"{where} is no safetensors file ({error}); {cure}") from error


def _versions(shelf: Folder, name: str) -> list[str]:
    paths = [Path(entry.path) for entry in shelf.list(_named(name), "/card.json")]
    return sorted(path.parts[1] for path in paths if len(path.parts) == 3)


def _named(name: str) -> str:
    # Names become folders: nothing may lead out of models/.
    if not _NAME.fullmatch(name):
        raise ModelNotFound(f"{name!r} is no name of a model: lower-case letters, digits and underscores only")
    return name


def _entry(name: str, version: str, folder: Folder) -> Entry:
    card = cards.read(folder, "card.json")
    sha256 = str(card.get("weights_sha256", ""))
    if not sha256.startswith(version) or len(sha256) != 64:
        raise CorruptModel(
            f"{folder.url('card.json')}: weights_sha256 {sha256!r} is not of version {version}; "
            "remove the folder and train again, or copy it anew"
        )
    return Entry(f"{name}-{version}", name, version, sha256, card, folder)
