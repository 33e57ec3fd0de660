"""Models in service: which version a name stands for now, and the few that are ready to score."""

import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.planes import CHANNELS, SIZE
from models.registry import Entry, Registry
from models.scorer import Scorer, Scores
from models.spec import SPECS, get_spec
from models.standing import Standing
from pipeline.errors import ModelNotFound
from pipeline.settings import ScoreSettings

__all__ = ["Chosen", "Choice", "Shelf"]

_FRESH_S = 1.0
_READY = 3  # models a replica holds; each some ten megabytes


class Chosen(NamedTuple):
    """A model that a request means.

    Parameters
    ----------
    id : str
        Its version.
    threshold : float
        p_real from which a candidate counts as real.
    prior : float
        Share of real ones that p_prior is for.
    """

    id: str
    threshold: float
    prior: float


class Choice:
    """What names of models stand for; looked up again each second, so that promotion needs no restart.

    Parameters
    ----------
    workspace : Folder
        Its registry is looked through first.
    default : str
        Model of requests that name none.
    """

    def __init__(self, workspace: Folder, default: str) -> None:
        self.registry = Registry(workspace)
        self.default = default
        self._found: OrderedDict[str, tuple[float, Chosen]] = OrderedDict()

    def resolve(self, model: str) -> Chosen:
        """Return the version that is meant; may ask the disk.

        Raises
        ------
        ModelNotFound
            If there is none such, or it is no model of triplets.
        CorruptModel
            If its card is not what it should be.
        """
        model = model or self.default
        at, chosen = self._found.get(model, (-np.inf, None))
        if chosen is None or time.monotonic() - at > _FRESH_S:
            entry = self.entry(model)
            standing = Standing.of(entry.card, entry.folder.url("card.json"))
            chosen = Chosen(entry.id, standing.threshold, standing.prior)
            self._found[model] = time.monotonic(), chosen
            while len(self._found) > 64:
                self._found.popitem(last=False)
        return chosen

    def entry(self, model: str) -> Entry:
        """Return a model of triplets; errors as of `resolve`."""
        if len(model) > 100:
            raise ModelNotFound(f"{model[:40]!r}…: no model's name is so long; see GET /models")
        entry = self.registry.resolve(model)
        if "triplet" not in get_spec(entry.name).inputs:
            raise ModelNotFound(f"{entry.id} scores no triplets but {', '.join(get_spec(entry.name).inputs)}")
        return entry

    def forget(self) -> None:
        """Look everything up again."""
        self._found.clear()

    def table(self) -> list[dict[str, Any]]:
        """Return name, versions and aliases of each model of triplets that there is."""
        names = [name for name, spec in SPECS.items() if "triplet" in spec.inputs]
        known = ((name, self.registry.versions(name), self.registry.aliases(name)) for name in names)
        return [
            {"name": name, "versions": [f"{name}-{version}" for version in versions], "aliases": aliases}
            for name, versions, aliases in known
            if versions
        ]


class Shelf:
    """Models that are ready to score, the last few that were asked for; safe to use from threads.

    Parameters
    ----------
    workspace : Folder
        Where they are looked for.
    settings : ScoreSettings
        Runtime, precision, batch.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    """

    def __init__(self, workspace: Folder, settings: ScoreSettings, device: str = "cpu") -> None:
        self.workspace, self.settings, self.device = workspace, settings, device
        self._ready: OrderedDict[str, Scorer] = OrderedDict()
        self._registry = Registry(workspace)
        self._loading: dict[str, threading.Lock] = {}
        self._shelf, self._computing = threading.Lock(), threading.Lock()

    def score(self, pixels: NDArray[np.float32], model: str) -> Scores:
        """Score triplets by the model of an id; one thread at a time computes."""
        scorer = self._scorer(model)
        with self._computing:
            return scorer.score(pixels)

    def load(self, model: str) -> None:
        """Have a model ready, and see it work.

        Raises
        ------
        CorruptModel
            If it does not.
        """
        self.score(np.zeros((1, CHANNELS, SIZE, SIZE), np.float32), model)

    def loaded(self) -> list[str]:
        """Return the ids of the models that are ready."""
        with self._shelf:
            return list(self._ready)

    def _scorer(self, model: str) -> Scorer:
        if (ready := self._taken(model)) is not None:
            return ready
        with self._shelf:
            loading = self._loading.setdefault(model, threading.Lock())
        with loading:  # of this model alone: those that are ready score meanwhile
            if (ready := self._taken(model)) is not None:
                return ready
            name = model.rpartition("-")[0]
            found = Scorer.load(self.workspace, f"{name}@{model}", self.settings, self.device)
            names = {id.rpartition("-")[0] for id in [*self.loaded(), model]}
            self._put(model, found, {self._registry.aliases(one).get("production") for one in names})
            return found

    def _taken(self, model: str) -> Scorer | None:
        """Return a model that is ready, which is the last asked for from now on."""
        with self._shelf:
            if model in self._ready:
                self._ready.move_to_end(model)
            return self._ready.get(model)

    def _put(self, model: str, found: Scorer, production: set[str | None]) -> None:
        """Keep a model, and let go of those that were not asked for the longest; never of what is in production."""
        with self._shelf:
            self._ready[model] = found
            old = [id for id in self._ready if id != model and id not in production]
            for id in old[: max(len(self._ready) - _READY, 0)]:
                del self._ready[id]
            self._loading.pop(model, None)
