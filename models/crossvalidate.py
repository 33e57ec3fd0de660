"""How good models are on real stars that they did not learn from: folds by star, every score out of fold.

One threshold holds for all stars: that at which one in a hundred of the stars that do not eclipse would be taken for
eclipsing binaries. Models are compared on the same stars and folds.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from catalogs import write
from catalogs.folder import Folder
from models.evaluate import by_star
from models.lessons import Sources, learn
from models.registry import Registry
from pipeline.lightcurves.training import TrainingSet, store_path
from pipeline.metrics import wilson
from pipeline.settings import digest

__all__ = ["compare", "crossvalidate", "judge", "markdown"]

_FALSE_POSITIVES = 0.01
_RESAMPLES = 2000


def crossvalidate(
    workspace: Folder,
    name: str,
    sources: Sources,
    folds: int,
    config: Path | None,
    options: Mapping[str, Any],
    workers: int,
    gpu: bool,
) -> pd.DataFrame:
    """Train a model once a fold and return the score of every real star by the one that did not see it.

    Parameters
    ----------
    workspace : Folder
        Receives training sets and models; a fold that is done is not done again.
    name : str
        Of the model.
    sources : Sources
        With `labelled` stars: these are judged.
    folds : int
        Folds of the stars.
    config, options, workers, gpu
        As in `models.lessons.learn`.

    Returns
    -------
    pandas.DataFrame
        A row a star: tic_id, sector, kind (label as given), klass, label (1 eclipsing binary), weight (0 where the
        label is in doubt), fold, score; sorted by tic_id.
    """
    real = store_path(_real(sources.sets(workspace, name, config)).where)
    tables = []
    for fold in range(folds):
        made = learn(workspace, name, sources, config, {**options, "folds": folds, "fold": fold}, workers, gpu)
        held_out = write.read(Registry(workspace).resolve(f"{name}@{made}").folder, "held_out.parquet").to_pandas()
        tested = held_out[(held_out["fold"] == "test") & (held_out["path"] == real)]
        facts = tested.groupby("tic_id")[["sector", "kind", "klass", "weight"]].first()
        tables.append(by_star(tested).join(facts, on="tic_id").assign(fold=fold))
    return pd.concat(tables, ignore_index=True).sort_values("tic_id", ignore_index=True)


def _real(sets: Sequence[TrainingSet]) -> TrainingSet:
    return next(item for item in sets if item.labelled is not None)


def threshold(stars: pd.DataFrame) -> float:
    """Return the score that 1% of the stars that do not eclipse reach; stars of weight 0 do not count."""
    negative = np.sort(stars.loc[(stars["label"] == 0) & (stars["weight"] > 0), "score"])[::-1]
    allowed = int(_FALSE_POSITIVES * len(negative))
    return float(np.nextafter(negative[allowed], np.inf))


def judge(stars: pd.DataFrame) -> dict[str, Any]:
    """Return what a model finds at its threshold, kind by kind.

    Parameters
    ----------
    stars : pandas.DataFrame
        From `crossvalidate`.

    Returns
    -------
    dict
        threshold; kinds: for each label its stars, how many are found, the share and its 95% Wilson interval, and
        whether it counts (weight above 0).
    """
    limit = threshold(stars)
    kinds = {}
    for (kind, label), rows in stars.groupby(["kind", "label"]):
        for counted, part in rows.groupby(rows["weight"] > 0):
            found = int((part["score"] >= limit).sum())
            name = str(kind) if counted else f"{kind}, in doubt"
            kinds[name] = {
                "eclipsing": bool(label),
                "counted": bool(counted),
                "stars": len(part),
                "found": found,
                "share": found / len(part),
                "interval": list(wilson(found, len(part))),
            }
    return {"threshold": limit, "kinds": kinds}


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Compare two models on the eclipsing binaries of known class, each at its own threshold.

    Returns
    -------
    dict
        stars; missed by each; missed_by_one_only; p_value of McNemar's exact test; ratio of the misses (ours over
        theirs) with its 95% interval by bootstrap over stars.
    """
    known = ours["klass"].isin(["EA", "EB", "EW"]) & (ours["weight"] > 0)
    joined = ours[known].merge(theirs[["tic_id", "score"]], on="tic_id", suffixes=("", "_theirs"))
    missed: NDArray[np.bool_] = (joined["score"] < threshold(ours)).to_numpy()
    others: NDArray[np.bool_] = (joined["score_theirs"] < threshold(theirs)).to_numpy()
    only, only_theirs = int((missed & ~others).sum()), int((others & ~missed).sum())
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(joined), (_RESAMPLES, len(joined)))
    ratios = missed[drawn].sum(axis=1) / np.maximum(others[drawn].sum(axis=1), 0.5)
    return {
        "stars": len(joined),
        "missed": int(missed.sum()),
        "missed_theirs": int(others.sum()),
        "missed_by_one_only": [only, only_theirs],
        "p_value": float(binomtest(only, only + only_theirs).pvalue) if only + only_theirs else 1.0,
        "ratio": float(missed.sum() / max(others.sum(), 0.5)),
        "ratio_interval": [float(q) for q in np.quantile(ratios, (0.025, 0.975))],
    }


def markdown(judged: Mapping[str, dict[str, Any]]) -> str:
    """Return the verdicts of several models as one table."""
    kinds = sorted({kind for verdict in judged.values() for kind in verdict["kinds"]})
    lines = [f"| | {' | '.join(judged)} |", "|---" * (len(judged) + 1) + "|"]
    for kind in kinds:
        cells = []
        for verdict in judged.values():
            found = verdict["kinds"][kind]
            low, high = found["interval"]
            cells.append(f"{found['found']}/{found['stars']} = {found['share']:.3f} ({low:.3f}–{high:.3f})")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def save(workspace: Folder, tables: Mapping[str, pd.DataFrame]) -> str:
    """Write scores and verdicts of several models below ``evaluations/``; return the folder's path."""
    verdicts: dict[str, Any] = {name: judge(table) for name, table in tables.items()}
    first, *others = tables
    verdicts["compared"] = {name: compare(tables[first], tables[name]) for name in others}
    path = f"evaluations/crossvalidation-{digest(verdicts)[:8]}"
    for name, table in tables.items():
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        workspace.write(f"{path}/{name}.parquet", file.getvalue())
    workspace.write(f"{path}/verdicts.json", json.dumps(verdicts, indent=1).encode())
    return path
