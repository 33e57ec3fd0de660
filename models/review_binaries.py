"""Eclipsing binaries for review: the systems of the catalogue, with the pictures of their vetting pages."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from catalogs.binaries import Flag, meanings
from catalogs.figures import Picture
from catalogs.review import system_name
from models import review_pictures
from models.review_products import COLUMNS, STRANGE, Catalogue, Kind
from pipeline.errors import Missing
from pipeline.lightcurves import atlas, candidate
from pipeline.lightcurves.snapshot import CURRENT
from pipeline.lightcurves.star import StarCurves, load

__all__ = ["Binaries"]

#: p_eb from which a star is more likely an eclipsing binary than not.
_THRESHOLD = 0.5

_FACTS = {
    "p_eb": "", "tier": "", "p_ea": "", "p_beta": "", "p_ew": "", "p_ell": "", "morph": "", "period": "d",
    "period_flag": "", "epoch": "d", "depth_1": "", "depth_2": "", "tmag": "mag", "teff": "K", "radius": "solRad",
    "ra": "deg", "dec": "deg", "sectors": "", "known_in": "", "is_new": "", "crowdsap_min": "", "source_tic_id": "",
    "model_id": "",
}  # fmt: skip


class Binaries(Catalogue[dict[str, atlas.Task]]):
    """Systems of tier high and low."""

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

    path, made_by, columns, seen = CURRENT, "score_sectors", _FACTS, "The light curves"

    def _read(self) -> dict[str, atlas.Task]:
        return {system_name(*task.key): task for task in atlas.tasks(self._workspace, 1 << 30)}

    def items(self) -> pd.DataFrame:
        """Return the systems."""
        rows = [
            (name, float(task.row["p_eb"]), _THRESHOLD, np.nan, False, task.row["model_id"])
            for name, task in self._known().items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _row(self, item_id: str) -> dict[str, Any]:
        task = self._known().get(item_id)
        return {} if task is None else {str(name): value for name, value in task.row.items()}

    def _words(self, flags: int) -> list[str]:
        return meanings(Flag(flags))

    def _load(self, item_id: str, row: Mapping[str, Any]) -> tuple[atlas.Task, StarCurves]:
        if (task := self._known().get(item_id)) is None:
            raise Missing("it has just left the catalogue")
        return task, load(self._workspace, task.sources)

    def _draw(self, item_id: str, row: Mapping[str, Any], loaded: tuple[atlas.Task, StarCurves]) -> Picture:
        """Return its light curve, folded too, and its eclipses."""
        task, star = loaded
        return review_pictures.stacked(candidate.pictures(star, task.row, task.ephemerides))
