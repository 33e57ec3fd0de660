"""A workspace with a few scored candidates, triplets and all, for the review page."""

import numpy as np
from fastapi import FastAPI

from catalogs import write
from catalogs.folder import Folder
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from models.review_pages import router
from pipeline import stores
from pipeline.candidates import CURRENT
from pipeline.images import triplets
from tests.models import toy_realbogus

__all__ = ["MODEL", "PAIR", "P", "app", "fill", "names"]

MODEL, PAIR = "realbogus-0123abcd", "a_b"

#: Probabilities of the candidates c0, c1, …; the threshold is 0.5.
P = (0.97, 0.52, 0.10, 0.45, 0.80, 0.02)


def names():
    """Return the candidates by uncertainty, the next one first."""
    odds = [abs(np.log(p / (1 - p))) for p in P]
    return [f"{PAIR}:c{place}" for place in np.argsort(odds)]


def fill(folder: Folder) -> Folder:
    """Write the catalogue and the store of triplets."""
    rows = [_row(place, p) for place, p in enumerate(P)]
    write.write(folder, CURRENT, TRANSIENT_CANDIDATES.of(rows), TRANSIENT_CANDIDATES)
    stores.create(folder, triplets.path(PAIR), triplets.template(capacity=16), 1)
    pixels = toy_realbogus.triplets(len(P))
    pixels[0, :, :, :20] = np.nan
    triplets.write(folder, triplets.path(PAIR), 0, pixels)
    return folder


def _row(place, p):
    row = dict.fromkeys(TRANSIENT_CANDIDATES.names)
    row |= {"candidate_id": f"{PAIR}:c{place}", "survey": "generic", "filter": "r", "time_scale": "utc"}
    row |= {"pair_id": PAIR, "triplet_row": place, "is_injected": False, "ra": 10.0, "dec": -5.0, "snr": 9.0 + place}
    row |= {"p_real": p, "p_prior": p / 2, "prior": 0.1, "novelty": 0.1 * place, "ood": place == 5, "threshold": 0.5}
    row |= {"tier": "real" if p >= 0.5 else "uncertain", "flags": 1, "model_id": MODEL, "model_sha256": "0" * 64}
    provenance = {"catalog_release": "r", "stage_version": 1, "settings_hash": "5e", "manifest_key": "combine/x"}
    return row | provenance


def app(folder: Folder) -> FastAPI:
    """Return a service of the review page alone."""
    made = FastAPI()
    made.include_router(router(folder), prefix="/review")
    return made
