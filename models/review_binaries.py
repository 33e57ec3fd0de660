"""Eclipsing binaries for review: the systems of the catalogue, with the pictures of their vetting pages."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.binaries import Flag, meanings
from catalogs.figures import Picture
from catalogs.folder import Folder
from catalogs.review import system_name
from models import review_pictures
from models.review_products import COLUMNS, STRANGE, Fact, Kind, changed, told
from pipeline.errors import SkysiftError
from pipeline.lightcurves import atlas, candidate
from pipeline.lightcurves.snapshot import CURRENT
from pipeline.lightcurves.star import load

__all__ = ["Binaries"]

#: p_eb from which a star is more likely an eclipsing binary than not.
_THRESHOLD = 0.5

_FACTS = {
    "p_eb": "", "tier": "", "p_ea": "", "p_beta": "", "p_ew": "", "p_ell": "", "morph": "", "period": "d",
    "period_flag": "", "epoch": "d", "depth_1": "", "depth_2": "", "tmag": "mag", "teff": "K", "radius": "solRad",
    "ra": "deg", "dec": "deg", "sectors": "", "known_in": "", "is_new": "", "crowdsap_min": "", "source_tic_id": "",
    "model_id": "",
}  # fmt: skip


class Binaries:
    """Systems of tier high and low.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue and the light curves.
    """

    title: str = "Eclipsing binaries"

    kinds: tuple[Kind, ...] = (
        Kind("real", "ea", "real: eclipses apart (EA)"),
        Kind("real", "eb", "real: beta Lyrae (EB)"),
        Kind("real", "ew", "real: contact (EW)"),
        Kind("real", "ell", "real: ellipsoidal (ELL)"),
        Kind("bogus", "pulsating", "bogus: it pulsates"),
        Kind("bogus", "rotating", "bogus: spots and rotation"),
        Kind("bogus", "planet", "bogus: a planet"),
        Kind("bogus", "neighbour", "bogus: another star's, or the instrument's"),
        STRANGE,
    )

    def __init__(self, workspace: Folder) -> None:
        self._workspace, self._lock = workspace, Lock()
        self._state, self._tasks = "", dict[str, atlas.Task]()

    def state(self) -> str:
        """Return something that changes whenever the items do."""
        return changed(self._workspace, CURRENT, "run python -m jobs.score_sectors")

    def _known(self) -> Mapping[str, atlas.Task]:
        with self._lock:
            state = self.state()
            if state != self._state:
                drawn = atlas.tasks(self._workspace, 1 << 30)
                self._tasks, self._state = {system_name(*task.key): task for task in drawn}, state
            return self._tasks

    def items(self) -> pd.DataFrame:
        """Return the systems."""
        rows = [
            (name, float(task.row["p_eb"]), _THRESHOLD, np.nan, False, task.row["model_id"])
            for name, task in self._known().items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def embeddings(self, items: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return None: what scores stars has no embedding."""
        return None

    def facts(self, item_id: str) -> list[Fact]:
        """Return what the catalogue says of a system; its flags in words."""
        row = self._row(item_id)
        flags = row.get("flags")
        words = [] if flags is None or pd.isna(flags) else meanings(Flag(int(flags)))
        return told(row, _FACTS) + [Fact("flag", text) for text in words]

    def _row(self, item_id: str) -> dict[str, Any]:
        task = self._known().get(item_id)
        return {} if task is None else {str(name): value for name, value in task.row.items()}

    def picture(self, item_id: str) -> Picture:
        """Return its light curve, folded too, and its eclipses."""
        task = self._known().get(item_id)
        if task is None:
            return review_pictures.missing(f"{item_id} is no longer in the catalogue.")
        try:
            star = load(self._workspace, task.sources)
        except (OSError, SkysiftError) as error:
            return review_pictures.missing(f"The light curves of {item_id} cannot be read: {error}")
        return review_pictures.stacked(candidate.pictures(star, task.row, task.ephemerides))
