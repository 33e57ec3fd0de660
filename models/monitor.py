"""The log of a model at work: what a batch adds to it, and what it tells.

::

    WORKSPACE/monitor/transient_candidates/model=<id>/<batch>.parquet    catalogs.monitor.MONITOR

A file is a batch's own and is written whole: whoever scores the same batch again replaces it by the same.
"""

import json
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.monitor import MONITOR, STATISTICS, histogram_of

__all__ = ["PRODUCT", "log", "read", "season", "summary"]

PRODUCT = "monitor/transient_candidates"

_MJD = pd.Timestamp("1858-11-17")
_UNSAFE = re.compile(r"[^\w.=-]+")


def season(mjd: pd.Series) -> pd.Series:
    """Return the quarter of the year, ``2026-Q3``, of times in MJD; empty where there is none."""
    known = pd.to_numeric(mjd, errors="coerce").clip(-3e4, 2.5e5)
    time = _MJD + pd.to_timedelta(known, unit="D")
    return time.dt.strftime("%Y-Q").str.cat(time.dt.quarter.astype("Int64").astype(str)).where(known.notna(), "")


def summary(model_id: str, batch: str, scored: pd.DataFrame, refused: Mapping[str, int] | None = None) -> pa.Table:
    """Return the rows that a batch adds to the log.

    Parameters
    ----------
    model_id : str
        The model.
    batch : str
        Its name, the same whenever the same is scored.
    scored : pandas.DataFrame
        A row a triplet: the columns of `models.inputs.statistics`; logit, novelty, p_real, ood of the scores; tier;
        and, where known, survey, filter, mjd_mid and image (what tells science images apart). What is missing is
        unknown.
    refused : mapping of str to int, optional
        How many triplets could not be scored, by reason code.
    """
    known = scored.reset_index(drop=True)
    known = known.assign(**{name: _words(known, name) for name in ("survey", "filter", "image", "tier")})
    for name in ("mjd_mid", "ood", *(one.name for one in STATISTICS)):
        known[name] = pd.to_numeric(known[name], errors="coerce").astype(float) if name in known else np.nan
    known["season"] = season(known["mjd_mid"])
    # Triplets of which nobody says what image they are from are of one each.
    known["image"] = known["image"].where(known["image"] != "", known.index.astype(str))
    rows = [
        _row(part) | {"model_id": model_id, "batch": batch, "survey": survey, "filter": band, "season": when}
        for (survey, band, when), part in known.groupby(["survey", "filter", "season"])
    ]
    if refused:
        text = json.dumps(dict(sorted(refused.items())))
        nowhere = {"model_id": model_id, "batch": batch, "survey": "", "filter": "", "season": ""}
        first = next((row for row in rows if not any(row[name] for name in ("survey", "filter", "season"))), None)
        if first is None:
            rows.append(_row(known.iloc[:0]) | nowhere | {"refused": text})
        else:
            first["refused"] = text
    return MONITOR.of(rows)


def _words(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows[name].fillna("").astype(str) if name in rows else pd.Series("", rows.index)


def _row(part: pd.DataFrame) -> dict[str, object]:
    images = part["image"].value_counts().to_numpy(float)
    tiers = part["tier"].value_counts()
    histograms = {histogram_of(one.name): one.counts(part[one.name].to_numpy()).tolist() for one in STATISTICS}
    return {
        "mjd_min": part["mjd_mid"].min(), "mjd_max": part["mjd_mid"].max(),
        "n": len(part), "n_images": len(images), "clump": float((images**2).sum() / max(len(part), 1)),
        "n_ood": int(part["ood"].sum()), "refused": "{}",
        **{f"n_{tier}": int(tiers.get(tier, 0)) for tier in ("real", "uncertain", "bogus")}, **histograms,
    }  # fmt: skip


def log(workspace: Folder, rows: pa.Table) -> list[str]:
    """Write the rows of batches, a file a batch; return the paths in the workspace.

    What was logged of the same batch and model is replaced.
    """
    paths = []
    table = rows.to_pandas()
    for (model_id, batch), part in table.groupby(["model_id", "batch"]):
        path = f"{PRODUCT}/model={model_id}/{_UNSAFE.sub('_', str(batch))}.parquet"
        write.write(workspace, path, pa.Table.from_pandas(part, MONITOR.arrow_schema(), False), MONITOR)
        paths.append(path)
    return paths


def read(workspace: Folder, model_id: str, since: float | None = None) -> pd.DataFrame:
    """Return the log of a model, sorted by time of the data.

    Parameters
    ----------
    workspace : Folder
        Where it is.
    model_id : str
        The model.
    since : float, optional
        MJD: rows with science images from then on only.
    """
    entries = workspace.list(f"{PRODUCT}/model={model_id}", ".parquet")
    tables = [write.read(workspace, entry.path, MONITOR).to_pandas() for entry in entries]
    rows = pd.concat(tables, ignore_index=True) if tables else MONITOR.empty().to_pandas()
    if since is not None:
        rows = rows[rows["mjd_max"] >= since]
    return rows.sort_values(["mjd_min", "batch"], kind="stable", ignore_index=True)
