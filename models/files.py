"""Light-curve files → probabilities of their stars, without a workspace."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalogs.binaries import PROBABILITIES
from catalogs.folder import Folder
from models.predict import calibration
from models.registry import Registry
from models.runtime import Predictor
from models.score import load_predictor
from pipeline.errors import ArchiveUnreachable, Rejected
from pipeline.lightcurves import tess
from pipeline.lightcurves.clean import prepare
from pipeline.lightcurves.evidence import evidence
from pipeline.lightcurves.scored import one_a_sector
from pipeline.settings import ScoreSettings

__all__ = ["score_files"]

_VERDICT = ["p_eb", "p_prior", "tier", *PROBABILITIES.values(), "morph", "morph_err"]
_COLUMNS = ["tic_id", "sectors", "n_segments", *_VERDICT, "gls_period", "scores", "files", "note"]


def score_files(workspace: Folder, model: str, files: Sequence[Path], settings: ScoreSettings) -> pd.DataFrame:
    """Score light-curve files as they are, without a store, and say of their stars what the catalogue would.

    Parameters
    ----------
    workspace : Folder
        Where models are looked for, before those that ship.
    model : str
        As in `Registry.resolve`.
    files : sequence of Path
        FITS files; of one star all count together.
    settings : ScoreSettings
        Runtime, precision, batch.

    Returns
    -------
    pandas.DataFrame
        One row a star, by tic_id: sectors, n_segments, p_eb, p_prior, tier, p_ea, p_beta, p_ew, p_ell, morph,
        morph_err, gls_period (d), as in the catalogue (missing where the model does not tell); scores of the segments;
        files. Then one row for each file without a score, whose note says why.
    """
    entry = Registry(workspace).resolve(model)
    predictor = load_predictor(workspace, entry, settings, "auto")
    looked = [_segments(path, predictor) for path in files]
    rows: list[dict[str, Any]] = [found for found in looked if isinstance(found, dict)]
    if frames := [found for found in looked if isinstance(found, pd.DataFrame)]:
        kept = one_a_sector(pd.concat(frames, ignore_index=True)).sort_values(["tic_id", "sector", "segment"])
        stars = evidence(kept, calibration(entry)).set_index("tic_id")
        rows = [_row(tic_id, own) | stars.loc[tic_id].to_dict() for tic_id, own in kept.groupby("tic_id")] + rows
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"tic_id": "Int64", "n_segments": "Int64"})


def _row(tic_id: Any, segments: pd.DataFrame) -> dict[str, Any]:
    """Return what there is to say of a star but for its probabilities."""
    strongest = segments.sort_values("gls_power", kind="stable", na_position="first")
    return {
        "tic_id": tic_id,
        "sectors": segments["sector"].unique().tolist(),
        "n_segments": len(segments),
        "gls_period": strongest["gls_period"].iloc[-1],
        "scores": segments["score"].round(3).tolist(),
        "files": segments["file"].unique().tolist(),
        "note": "",
    }


def _segments(path: Path, predictor: Predictor) -> pd.DataFrame | dict[str, Any]:
    """Return the scored segments of a file, or a row that says why there are none."""
    row: dict[str, Any] = {"files": [path.name]}
    try:
        curve = tess.read(Folder(path.parent), path.name)
    except (Rejected, ArchiveUnreachable) as error:
        return row | {"note": str(error)}
    facts = curve.facts
    time, flux, quality, errors = (curve.columns[name] for name in ("time", "flux", "quality", "flux_err"))
    cadence, recipe = float(facts.cadence_s), predictor.spec.recipe
    pieces = prepare(time, flux, quality, recipe=recipe, cadence_s=cadence, flux_err=errors)
    if not pieces:
        note = "no segment of good data as long as 2.8 d"
        return row | {"tic_id": facts.tic_id, "sectors": [facts.sector], "note": note}
    columns = predictor.columns(*(np.stack([getattr(one, name) for one in pieces]) for name in predictor.spec.inputs))
    found = pd.DataFrame({name: [getattr(one, name) for one in pieces] for name in ("gls_period", "gls_power")})
    found = found.assign(segment=range(len(pieces)), sector=facts.sector, cadence_s=cadence, tic_id=facts.tic_id)
    found = found.assign(file=path.name, **columns)
    kept = found[np.isfinite(found["score"])]
    if not len(kept):
        return row | {"tic_id": facts.tic_id, "sectors": [facts.sector], "note": "the network gave no number"}
    return kept
