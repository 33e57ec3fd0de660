"""A set of triplets as `pipeline.images.training` commits them, whose triplets are noise, half of them with a star."""

import numpy as np
import pandas as pd

from catalogs.folder import Folder
from catalogs.triplets import TRIPLETS
from pipeline.images.training import CandidateSet
from pipeline.settings import CandidateSetSettings
from tests.models import toy_realbogus

__all__ = ["ROWS", "made"]

#: Triplets of a field.
ROWS = 6


class _Toy(CandidateSet):
    """Fields without images."""

    def _made(self, number):
        field = f"{self.where}:{number:05d}"
        label = (np.arange(ROWS) % 2 == 0).astype(int)
        table = pd.DataFrame({
            "candidate_id": [f"{field}:{row}" for row in range(ROWS)], "field": field,
            "object_id": [f"{field}:source-{row}" for row in range(ROWS)], "survey": "simulated-A", "ccd": "1",
            "filter": "gri"[number % 3], "mjd_mid": 59000.0 + number, "ra": 180.0, "dec": 10.0, "pixscale": 0.5,
            "seeing_px": 2.0 + number % 3, "ref_seeing_px": 2.0, "snr": 5.0 + 3 * np.arange(ROWS), "flags": 0,
            "environment": np.where(label, "blank", ""), "host_sep_arcsec": np.nan, "host_dlr": np.nan, "label": label,
            "kind": np.where(label, "transient", "hot"), "weight": 1.0, "row": 0,
        })  # fmt: skip
        return table[TRIPLETS.names], toy_realbogus.triplets(ROWS, seed=number), 0


def made(workspace: Folder, fields: int = 40, seed: int = 3) -> CandidateSet:
    """Commit a set; its fields lie at one place, as simulated ones do."""
    stage = _Toy(workspace, CandidateSetSettings(fields=fields, seed=seed))
    stage.prepare()
    keys = stage.keys()
    for key in keys:
        stage.execute(key)
    return stage
