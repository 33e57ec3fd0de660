"""A process that scores; its module imports no more than that takes, as a new one is waited for."""

import os

import numpy as np
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.scorer import Scores
from models.service_models import Choice, Shelf
from pipeline.settings import ScoreSettings

__all__ = ["Replica"]

Pixels = NDArray[np.float32]

_NICE = 5


class Replica:
    """One process that scores.

    Parameters
    ----------
    workspace : Folder
        With the registry of models.
    models : list of str
        What to have ready.
    settings : ScoreSettings
        Runtime, precision, batch.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    """

    def __init__(self, workspace: Folder, models: list[str], settings: ScoreSettings, device: str) -> None:
        self.shelf = Shelf(workspace, settings, device)
        choice = Choice(workspace, models[0])
        for model in reversed(models):
            self.shelf.load(choice.resolve(model).id)
        # At work it gives way to those that start, and to the process that takes and refuses requests.
        os.nice(_NICE)

    def score(self, pixels: Pixels, model: str) -> Scores:
        """Score triplets, see `Shelf`."""
        return self.shelf.score(pixels, model)

    def load(self, model: str) -> None:
        """Have a model ready, see `Shelf`."""
        self.shelf.load(model)

    def loaded(self) -> list[str]:
        """Return the ids of the models that are ready."""
        return self.shelf.loaded()
