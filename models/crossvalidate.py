"""How good models are on real stars that they did not learn from: folds by star, every score out of fold."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from models.evaluate import by_star
from models.lessons import Sources, learn
from models.registry import Registry
from models.verdict import compare, judge
from models.verdict_page import page
from pipeline.errors import UsageError
from pipeline.lightcurves.clean import prepare
from pipeline.lightcurves.evidence import evidence
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.training import TrainingSet, store_path
from pipeline.lightcurves.views import FACTS
from pipeline.settings import digest

__all__ = ["crossvalidate", "save"]

_CLASSES = ["p_ea", "p_beta", "p_ew", "p_ell", "morph"]


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
        label is in doubt), fold, score; dip_snr, signal to noise of the best box in the light curve of an eclipsing
        binary of unknown class; p_ea, p_beta, p_ew, p_ell, morph, null if the model does not give them; prsa_morph and
        vsx, what others say; sorted by tic_id.

    Raises
    ------
    UsageError
        If no labelled star gives the threshold of `models.verdict`.
    """
    labelled = sources.labelled_stars()
    if not labelled.negatives:
        raise UsageError(f"{labelled.path}: no star that does not eclipse, but those in doubt: the threshold is the "
                         "score that 1% of these reach; give a file that has some")  # fmt: skip
    real = store_path(_real(sources.sets(workspace, name, config)).where)
    tables = []
    for fold in range(folds):
        made = learn(workspace, name, sources, config, {**options, "folds": folds, "fold": fold}, workers, gpu)
        held_out = write.read(Registry(workspace).resolve(f"{name}@{made}").folder, "held_out.parquet").to_pandas()
        tested = held_out[(held_out["fold"] == "test") & (held_out["path"] == real)]
        facts = tested.groupby("tic_id")[["sector", "kind", "klass", "weight"]].first()
        classes = evidence(tested, None).set_index("tic_id")[_CLASSES]
        tables.append(by_star(tested).join(facts, on="tic_id").join(classes, on="tic_id").assign(fold=fold))
    stars = pd.concat(tables, ignore_index=True).sort_values("tic_id", ignore_index=True)
    stars = stars.join(labelled.published, on="tic_id")
    return stars.assign(dip_snr=stars["tic_id"].map(_dips(labelled, stars)).astype(float))


def _dips(labelled: Labelled, stars: pd.DataFrame) -> dict[int, float]:
    """Return the signal to noise of the best box in the light curves of eclipsing binaries of unknown class."""
    found = {}
    for tic_id in stars.loc[stars["klass"] == "E", "tic_id"]:
        star = labelled.find(int(tic_id))
        segments = prepare(star.time, star.flux, star.quality, "robust", star.cadence_s)
        facts = [segment.facts[FACTS.index("log_box_snr")] for segment in segments if segment.facts is not None]
        found[int(tic_id)] = float(10 ** max(facts, default=-np.inf))
    return found


def _real(sets: Sequence[TrainingSet]) -> TrainingSet:
    return next(item for item in sets if item.labelled is not None)


def save(workspace: Folder, sources: Sources, tables: Mapping[str, pd.DataFrame]) -> str:
    """Write scores, verdicts and a page of several models below ``evaluations/``; return the page's path.

    The verdicts also go into the cards of the workspace's models that were trained as the folds were, on all stars.
    """
    verdicts: dict[str, Any] = {name: judge(table) for name, table in tables.items()}
    first, *others = tables
    verdicts["compared"] = {name: compare(tables[first], tables[name]) for name in others}
    folder = f"evaluations/crossvalidation-{digest(verdicts)[:8]}"
    for name, table in tables.items():
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        workspace.write(f"{folder}/{name}.parquet", file.getvalue())
        _tell(Registry(workspace), name, verdicts)
    workspace.write(f"{folder}/verdicts.json", json.dumps(verdicts, indent=1).encode())
    path = f"{folder}/index.html"
    page(sources.labelled_stars(), tables).write(workspace, path)
    return path


def _tell(registry: Registry, name: str, verdicts: Mapping[str, Any]) -> None:
    """Put the verdicts into the cards of the models that were trained like the folds of this name, on all stars."""
    entries = [registry.resolve(f"{name}@{version}") for version in registry.own_versions(name)]
    folds = {_how(entry.card) for entry in entries if entry.card["settings"].get("folds")}
    for entry in entries:
        if not entry.card["settings"].get("folds") and _how(entry.card) in folds:
            registry.annotate(entry, {"crossvalidation": verdicts})


def _how(card: Mapping[str, Any]) -> str:
    """Return a digest of how a model was trained, whatever it held out."""
    settings = {key: value for key, value in card["settings"].items() if key not in ("folds", "fold")}
    return digest({"settings": settings, "sets": card.get("data", {}).get("sets")})
