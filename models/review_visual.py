"""Visual binaries for review: the stacks of all surveys of a source, and what the catalogue says of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import write
from catalogs.figures import Picture
from catalogs.stamps import StampFlag
from catalogs.visual_binaries import VISUAL_BINARIES
from models.review_products import COLUMNS, STRANGE, Catalogue, Kind
from pipeline.errors import Missing
from pipeline.stamps import showcase

__all__ = ["VisualBinaries"]

_FACTS = {
    "tier": "", "p_double": "", "p_prior": "", "p_fit": "", "threshold": "", "p_chance": "", "n_components": "",
    "sep_arcsec": "arcsec", "sep_arcsec_err": "arcsec", "pa_deg": "deg", "pa_deg_err": "deg", "pa_ambiguous": "",
    "delta_mag": "mag", "delta_mag_err": "mag",
    "sep_network_arcsec": "arcsec", "dm_limit_0p3": "mag", "dm_limit_0p5": "mag", "dm_limit_1p0": "mag",
    "dm_limit_2p0": "mag", "completeness": "", "surveys_able": "", "surveys_used": "", "saturated": "", "ra": "deg",
    "dec": "deg", "pos_epoch": "yr", "gaia_id_1": "", "gaia_id_2": "", "plx_diff_sigma": "", "pm_diff_sigma": "",
    "ruwe": "", "ipd_frac_multi_peak": "", "model_id": "",
}  # fmt: skip


class _Known(NamedTuple):
    """The catalogue, and where stacks are."""

    table: pa.Table
    places: pd.DataFrame


class VisualBinaries(Catalogue[_Known]):
    """Sources of stamps, all of them; those of which no survey can tell have no probability, and come last."""

    title: str = "Visual binaries"

    kinds: tuple[Kind, ...] = (
        Kind("real", "double", "real: two stars"),
        Kind("real", "multiple", "real: three stars or more"),
        Kind("bogus", "single", "bogus: one star"),
        Kind("bogus", "galaxy", "bogus: a galaxy, or a star on one"),
        Kind("bogus", "neighbour", "bogus: the other star is further than 2.5 arcsec"),
        Kind("bogus", "artefact", "bogus: a spike, ghost, cosmic ray or bad pixel"),
        Kind("bogus", "misregistered", "bogus: filters that do not lie on each other"),
        Kind("bogus", "saturated", "bogus: a saturated star"),
        STRANGE,
    )

    path, made_by, columns, seen = f"catalogs/{VISUAL_BINARIES.name}.parquet", "score_stamps", _FACTS, "The stacks"

    def _read(self) -> _Known:
        table = write.read(self._workspace, self.path, VISUAL_BINARIES)
        return _Known(table, showcase.indexed(self._workspace))

    def items(self) -> pd.DataFrame:
        """Return the sources."""
        rows = self._known().table.select(["source_id", "p_double", "threshold", "model_id"]).to_pandas()
        rows = rows.rename(columns={"source_id": "item_id", "p_double": "p"})
        return rows.assign(p=rows["p"].astype(float), novelty=np.nan, ood=False)[list(COLUMNS)]

    def _row(self, item_id: str) -> dict[str, Any]:
        table = self._known().table
        found = table.filter(pc.equal(table["source_id"], item_id)).slice(0, 1).to_pylist()
        return found[0] if found else {}

    def _words(self, flags: int) -> list[str]:
        return [bit.text for bit in StampFlag if flags & int(bit)]

    def _load(self, item_id: str, row: Mapping[str, Any]) -> list[showcase.Seen]:
        places = self._known().places
        places = places[places["source_id"] == item_id]
        if not len(places):
            raise Missing("they are no longer in the workspace; run python -m jobs.ingest_stamps")
        return showcase.load(self._workspace, places)

    def _draw(self, item_id: str, row: Mapping[str, Any], loaded: list[showcase.Seen]) -> Picture:
        """Return the stacks of a source, the sharpest first, and the surfaces of their counts."""
        return showcase.both(loaded, showcase.companion(row), item_id)
