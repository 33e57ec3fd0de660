"""Candidates of transients for review: their scores, triplets and light curves."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalogs import write
from catalogs.candidates import Flag
from catalogs.embeddings import EMBEDDINGS
from catalogs.figures import Picture
from catalogs.schema import LIGHT_CURVE, MEMBERS
from models import review_pictures
from models.review_products import COLUMNS, STRANGE, Catalogue, Kind
from pipeline import stores
from pipeline.alerts.cutouts import BadCutout, triplet
from pipeline.alerts.packets import Packet, read
from pipeline.alerts.plan import Plan
from pipeline.candidates import CURRENT
from pipeline.errors import SkysiftError
from pipeline.images import triplets

__all__ = ["Transients"]

_CURVE = ["mjd", "value", "error", "filter"]

_FACTS = {
    "p_real": "", "threshold": "", "p_prior": "", "tier": "", "p_transient": "", "p_variable": "", "p_mover": "",
    "novelty": "", "ood": "", "drb": "", "rb": "", "snr": "", "mag_ab": "mag", "flux": "", "filter": "", "mjd_mid": "d",
    "ra": "deg", "dec": "deg", "fwhm_arcsec": "arcsec", "seeing_arcsec": "arcsec", "ref_sep_arcsec": "arcsec",
    "host_sep_arcsec": "arcsec", "ssdistnr": "arcsec", "known_name": "", "sharpness": "", "roundness": "",
    "ellipticity": "", "dipole": "", "delta_ratio": "", "n_neighbours": "", "survey": "", "ccd": "", "object_id": "",
    "pair_id": "", "packet_file": "", "packet_row": "", "model_id": "",
}  # fmt: skip


class Transients(Catalogue[pa.Table]):
    """Candidates that a model has scored, of our own differences and of alerts."""

    title: str = "Transients"

    kinds: tuple[Kind, ...] = (
        Kind("real", "transient", "real: a transient"),
        Kind("real", "variable", "real: a variable star or active nucleus"),
        Kind("real", "mover", "real: it moves"),
        Kind("bogus", "cosmic_ray", "bogus: a cosmic ray"),
        Kind("bogus", "dipole", "bogus: a dipole of misaligned images"),
        Kind("bogus", "residue", "bogus: the residue of a bright star"),
        Kind("bogus", "trail", "bogus: the trail of a satellite"),
        Kind("bogus", "hot", "bogus: a hot or dead pixel, or another defect"),
        STRANGE,
    )

    path, made_by, columns, seen = CURRENT, "score_candidates", _FACTS, "The triplet"
    unreadable = (OSError, SkysiftError, BadCutout, LookupError)

    def _read(self) -> pa.Table:
        return write.read(self._workspace, CURRENT)

    def _row(self, item_id: str) -> dict[str, Any]:
        table = self._known()
        found = table.filter(pc.equal(table["candidate_id"], item_id)).slice(0, 1).to_pylist()
        return found[0] if found else {}

    def items(self) -> pd.DataFrame:
        """Return the candidates."""
        table = self._known().rename_columns({"candidate_id": "item_id", "p_real": "p"})
        return table.select(list(COLUMNS)).to_pandas()

    def embeddings(self, items: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return the embeddings that were kept with the scores of these items' model."""
        models = items["model_id"].unique() if len(items) else []
        found: dict[str, list[float]] = {}
        for model in models:
            for entry in self._workspace.list(f"catalogs/{EMBEDDINGS.name}/model={model}", ".parquet"):
                table = write.read(self._workspace, entry.path, EMBEDDINGS)
                found.update(zip(table["candidate_id"].to_pylist(), table["embedding"].to_pylist(), strict=True))
        if not found:
            return None
        nothing = [np.nan] * max(map(len, found.values()))
        rows = [found.get(name, nothing) for name in items["item_id"]]
        return np.array([row if len(row) == len(nothing) else nothing for row in rows], float).reshape(len(items), -1)

    def _words(self, flags: int) -> list[str]:
        return [flag.text for flag in Flag if flags & int(flag)]

    def _draw(self, item_id: str, row: Mapping[str, Any], loaded: NDArray[np.float32] | None) -> Picture:
        """Return the triplet of a candidate, and the light curve of its object."""
        return review_pictures.candidate(loaded, self._curve(item_id), item_id)

    def _load(self, item_id: str, row: Mapping[str, Any]) -> NDArray[np.float32] | None:
        if row.get("packet_file") is not None:
            return triplet(self._packet(str(row["packet_sha256"]), int(str(row["packet_row"]))), centred=True)
        if row.get("triplet_row") is None or row.get("pair_id") is None:
            return None
        first = int(str(row["triplet_row"]))
        where = triplets.path(str(row["pair_id"]))
        found = stores.read(self._workspace, where, [triplets.NAME], slice(first, first + 1))[triplets.NAME]
        return np.asarray(found[0], np.float32)

    def _packet(self, sha256: str, row: int) -> Packet:
        files = (file for part in Plan(self._workspace).parts for file in part if file.sha256 == sha256)
        file = next(files, None)
        if file is None or not file.is_unchanged():
            raise LookupError("its file is not where it was when it was scored; put it back")
        packet = next(islice(read(file.path), row, row + 1), None)
        if not isinstance(packet, Packet):
            raise LookupError(f"no alert {row} in {file.path}")
        return packet

    def _curve(self, item_id: str) -> pd.DataFrame:
        """Return the forced photometry of the object that a candidate is a detection of, if that was measured."""
        curve = pd.DataFrame(columns=_CURVE)
        paths = [f"catalogs/{table.name}.parquet" for table in (MEMBERS, LIGHT_CURVE)]
        if not all(map(self._workspace.exists, paths)):
            return curve
        members = write.read(self._workspace, paths[0])
        own = members.filter(pc.equal(members["candidate_id"], item_id))["object_id"].to_pylist()
        if not own:
            return curve
        table = write.read(self._workspace, paths[1])
        found = table.filter(pc.equal(table["object_id"], own[0])).to_pandas().dropna(subset=["mjd_mid", "flux"])
        is_limit = found["flux_limit"].notna()
        curve = pd.DataFrame({
            "mjd": found["mjd_mid"], "value": found["flux"].where(~is_limit, found["flux_limit"]),
            "error": found["flux_err"].mask(is_limit), "filter": found["filter"],
        })  # fmt: skip
        curve.attrs["unit"] = f"flux of the difference, {' or '.join(sorted(set(found['flux_unit'])))}"
        return curve
