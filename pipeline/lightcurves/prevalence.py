"""A catalogue as it reads where another share of the stars are eclipsing binaries."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import schema, write
from catalogs.binaries import KINDS
from catalogs.folder import Folder
from catalogs.known import is_new
from pipeline import manifest
from pipeline.errors import Mismatch, UsageError
from pipeline.lightcurves import snapshot
from pipeline.lightcurves.evidence import recalibrate, tiers
from pipeline.lightcurves.snapshot import STAGE, VERSION, Snapshot
from pipeline.settings import digest

__all__ = ["Moved", "move"]


@dataclass(frozen=True)
class Moved:
    """What a new prior changed.

    Parameters
    ----------
    before, after : Snapshot
        The model's catalogue as it was, and as it is now.
    prior_before, prior_after : float
        p_prior of both.
    tiers : dict
        (tier before, tier after) → stars.
    without : int
        Stars of tier high or low by now that were no candidates, so that no ephemeris was looked for.
    """

    before: Snapshot
    after: Snapshot
    prior_before: float
    prior_after: float
    tiers: dict[tuple[str, str], int]
    without: int


def move(workspace: Folder, model_id: str, prior: float, low_threshold: float) -> Moved:
    """Write the newest catalogue of a model anew for another prior; the same prior gives the one that is there.

    Probabilities are moved by Bayes from those the model was calibrated for, however often they were moved before,
    and the tiers and ``is_new`` follow. ``completeness`` and ``reliability`` become null: they were measured with the
    tiers as they were. Thresholds and everything else stay.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue, receives the new one.
    model_id : str
        Its model.
    prior : float
        Share of eclipsing binaries that p_eb shall hold for.
    low_threshold : float
        p_eb from which a star is of tier low.

    Raises
    ------
    UsageError
        If there is no catalogue of the model, or the prior is no share.
    Mismatch
        If the model was never calibrated: its p_eb holds for no prior.
    """
    started = time.time()
    if not 0 < prior < 1:
        raise UsageError(f"prevalence {prior:g}: not a share between 0 and 1, such as 0.028")
    seen, record = snapshot.newest(workspace, model_id), snapshot.origin(workspace, model_id)
    if seen is None or record is None:
        raise UsageError(f"{workspace}: no catalogue of {model_id}; run score_sectors")
    base = Snapshot(**record.details["snapshot"])
    table = write.read(workspace, base.path, schema.STARS)
    if not len(table) or table["p_prior"][0].as_py() is None:
        raise Mismatch(f"{workspace.url(base.path)}: {model_id} is not calibrated, its p_eb can be moved to no prior")
    held = float(table["p_prior"][0].as_py())
    settings = {"prevalence": prior, "low_threshold": low_threshold}
    release = base.release if prior == held else digest([base.release, VERSION, settings])[:16]
    made = table.to_pandas()
    old = write.read(workspace, seen.path, schema.STARS).to_pandas()
    moved = _moved(made, held, prior, low_threshold)
    if record.settings.get("known"):
        moved["is_new"] = pd.Series(is_new(made["known_in"], moved["tier"]), moved.index, object)
    after = snapshot.renewed(workspace, model_id, release)
    if after is None:
        origin = snapshot.provenance(model_id, str(made["model_sha256"].iloc[0]), release, settings)
        after = snapshot.commit(
            workspace, model_id, release, _replaced(table, moved.assign(**origin)), settings=settings,
            upstream={manifest.path(STAGE, record.key): record.identity}, inputs=len(table), started=started,
            details={"moved_from": base.release},
        )  # fmt: skip
    return _told(seen, after, old, moved, made.loc[made["tier"] == "none", "tic_id"])


def _moved(stars: pd.DataFrame, held: float, prior: float, low_threshold: float) -> pd.DataFrame:
    """Return the columns that depend on the prior; classes keep their share of p_eb, and ELL its share of the rest."""
    before = stars["p_eb"].to_numpy(float)
    after = recalibrate(before, held, prior)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {name: np.where(before > 0, stars[name] * after / before, 0.0) for name in KINDS.values()}
        ell = np.where(before < 1, stars["p_ell"] * (1 - after) / (1 - before), 0.0)
    unknown = stars["p_ea"].isna().to_numpy()
    found = {name: np.where(unknown, np.nan, np.minimum(values, 1)) for name, values in found.items()}
    threshold = float(stars["threshold"].iloc[0])
    verdict = {"p_eb": after, "p_prior": prior, "p_ell": np.where(unknown, np.nan, np.clip(ell, 0, 1))}
    # Measured with the tiers as they were.
    verdict |= {"completeness": np.nan, "reliability": np.nan}
    columns = stars[["tic_id", "eb_id", "period"]].assign(**verdict, **found)
    return columns.assign(tier=tiers(after, threshold, min(low_threshold, threshold)))


def _replaced(table: pa.Table, columns: pd.DataFrame) -> pa.Table:
    for name in columns.columns.difference(["tic_id", "eb_id", "period"]):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(columns[name], field.type, from_pandas=True))
    return table


def _told(before: Snapshot, after: Snapshot, old: pd.DataFrame, new: pd.DataFrame, unsought: pd.Series) -> Moved:
    stars = old.drop_duplicates("tic_id")[["tic_id", "tier"]]
    both = stars.merge(new.drop_duplicates("tic_id"), on="tic_id", suffixes=("_before", ""))
    counts = both.groupby(["tier_before", "tier"]).size()
    # Who was of no tier at the model's own prior was no candidate, unless it was listed.
    without = both["tic_id"].isin(unsought) & (both["tier"] != "none") & both["period"].isna()
    priors = float(old["p_prior"].iloc[0]), float(new["p_prior"].iloc[0])
    pairs = {(str(a), str(b)): int(count) for (a, b), count in counts.items()}
    return Moved(before, after, *priors, pairs, int(without.sum()))
