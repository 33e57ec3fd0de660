"""The log of a model at work: what a batch adds to it, and what it tells.

::

    WORKSPACE/monitor/transient_candidates/model=<id>/<batch>.parquet    catalogs.monitor.MONITOR

A file is a batch's own and is written whole: whoever scores the same batch again replaces it by the same.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import write
from catalogs.folder import Entry, Folder
from catalogs.monitor import MONITOR, STATISTICS, histogram_of

__all__ = ["PRODUCT", "Log", "added", "image", "log", "path", "season", "summary"]

PRODUCT = "monitor/transient_candidates"

_MJD = pd.Timestamp("1858-11-17")
_STATISTICS = [one.name for one in STATISTICS]
_SETTLED_S = 2.0  # after which whatever replaces a file gives it another time: the coarsest stores count whole seconds
_UNSAFE = re.compile(r"[^\w.=-]+")


def path(model_id: str, batch: str) -> str:
    """Return where in a workspace the rows of a batch lie."""
    safe = _UNSAFE.sub("_", batch)
    if safe != batch:  # so that what differs in these characters alone has files of its own
        safe += f"-{hashlib.sha256(batch.encode()).hexdigest()[:8]}"
    return f"{PRODUCT}/model={model_id}/{safe}.parquet"


def image(row: Mapping[str, Any]) -> str:
    """Return what tells the science image of a candidate from others: pair_id, or else survey, mjd_mid and ccd."""
    if row.get("pair_id"):
        return str(row["pair_id"])
    return "" if row.get("mjd_mid") is None else f"{row['survey']}:{row['mjd_mid']:.6f}:{row.get('ccd') or ''}"


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


def added(tables: Sequence[pa.Table]) -> pa.Table:
    """Return rows of `summary` of parts of the same batches as those of the whole; no image is in two parts."""
    rows = pa.concat_tables([MONITOR.empty(), *tables]).to_pandas()
    return MONITOR.of(
        dict(zip(MONITOR.key, key, strict=True)) | _sum(part)
        for key, part in rows.groupby(list(MONITOR.key), sort=True)
    )  # fmt: skip


def _sum(parts: pd.DataFrame) -> dict[str, object]:
    refused: Counter[str] = Counter()
    for text in parts["refused"]:
        refused.update(json.loads(text))
    counts = ("n", "n_images", "n_real", "n_uncertain", "n_bogus", "n_ood")
    return {
        "mjd_min": parts["mjd_min"].min(), "mjd_max": parts["mjd_max"].max(),
        "clump": float((parts["clump"] * parts["n"]).sum() / max(parts["n"].sum(), 1)),
        "refused": json.dumps(dict(sorted(refused.items()))), **{name: int(parts[name].sum()) for name in counts},
        **{name: np.sum(np.stack(parts[name].to_list()), 0).tolist() for name in map(histogram_of, _STATISTICS)},
    }  # fmt: skip


def log(workspace: Folder, rows: pa.Table) -> list[str]:
    """Write the rows of batches, a file a batch; return the paths in the workspace.

    What was logged of the same batch and model is replaced.
    """
    paths = []
    table = rows.to_pandas()
    for (model_id, batch), part in table.groupby(["model_id", "batch"]):
        paths.append(path(str(model_id), str(batch)))
        write.write(workspace, paths[-1], pa.Table.from_pandas(part, MONITOR.arrow_schema(), False), MONITOR)
    return paths


class Log:
    """The log of a model, also for who looks at it again and again: files that have not changed are not read again.

    Parameters
    ----------
    workspace : Folder
        Where it is.
    model_id : str
        The model.
    """

    def __init__(self, workspace: Folder, model_id: str) -> None:
        self.model_id = model_id
        self._workspace = workspace
        self._seen: dict[Entry, pa.Table] = {}

    def rows(self, since: float | None = None) -> pd.DataFrame:
        """Return the rows, sorted by time of the data.

        Parameters
        ----------
        since : float, optional
            MJD: rows with science images from then on only.
        """
        settled = time.time() - _SETTLED_S
        there = self._workspace.list(f"{PRODUCT}/model={self.model_id}", ".parquet")
        found = {
            entry: self._seen[entry] if entry in self._seen else write.read(self._workspace, entry.path, MONITOR)
            for entry in there
        }
        # What replaces a file within a tick of the clock, as long as it, looks the same: young ones are read again.
        self._seen = {entry: table for entry, table in found.items() if entry.mtime < settled}
        tables = list(found.values())
        if since is not None:  # before the histograms, which are nearly all of it, are unpacked
            tables = [table.filter(pc.greater_equal(table["mjd_max"], since)) for table in tables]
        rows = pa.concat_tables([MONITOR.empty(), *tables]).to_pandas()
        return rows.sort_values(["mjd_min", "batch"], kind="stable", ignore_index=True)
