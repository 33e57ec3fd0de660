"""Several models on the same candidates: who may be judged on which, verdicts side by side, and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from catalogs.folder import Folder
from catalogs.pages import Page, Section
from models.examinees import Candidates, Examinee, scored
from models.judgement import MISSED, chosen, compare, judge
from models.judgement_figures import figures
from models.judgement_page import sections, write
from models.sightings import seen
from models.standing import Standing
from pipeline.errors import UsageError

__all__ = ["Examination", "examine", "report"]


@dataclass
class Examination:
    """What came of it.

    Parameters
    ----------
    told : dict
        Model → its verdict, from `models.judgement.judge`, and rule: how its operating point was chosen.
    compared : list of dict
        The first model against each other one, from `models.judgement.compare`.
    tables : dict
        Model → the candidates it was judged on, with its scores: the same candidates for all.
    notes : list of str
        What could not be proven, in sentences.
    """

    told: dict[str, dict[str, Any]]
    compared: list[dict[str, Any]]
    tables: dict[str, pd.DataFrame]
    notes: list[str] = field(default_factory=list)


def examine(
    workspace: Folder,
    candidates: Candidates,
    models: Sequence[Examinee],
    fold: str = "test",
    missed: float | None = None,
) -> Examination:
    """Judge models on the candidates that none of them learnt from.

    Parameters
    ----------
    workspace : Folder
        Holds what the models learnt from.
    candidates : Candidates
        With truth.
    models : sequence of Examinee
        The first is compared with the others.
    fold : str
        Candidates that are of this fold to all models: ``test``, ``validation`` or ``train``; ``all``: all of them,
        learnt from or not.
    missed : float, optional
        Choose each operating point anew, on the validation fold, so that at most this share of the real ones is
        missed; default the model's own.

    Raises
    ------
    UsageError
        If no candidate is of that fold, or there is no validation fold to choose on.
    """
    if not models:
        raise UsageError("no model to judge: give --model or --weights")
    told_apart = [seen(workspace, model, candidates.index) for model in models]
    folds = pd.concat([one for one, _ in told_apart], axis=1)
    rows = candidates.index if fold == "all" else candidates.index[(folds == fold).all(axis=1)]
    if not len(rows):
        counts = {model.name: one.value_counts().to_dict() for model, (one, _) in zip(models, told_apart, strict=True)}
        raise UsageError(
            f"{candidates.name}: no candidate is of fold {fold} to all models ({counts}); give another set"
        )
    standings = {model.name: model.standing for model in models}
    rules = dict.fromkeys(standings, "the model's own threshold")
    if missed is not None:
        standings = _placed(candidates, models, folds, fold, missed)
        rules = dict.fromkeys(standings, f"at most {missed:g} of the real ones of the validation fold are missed")
    tables = scored(candidates, rows, models)
    told = {name: {"rule": rules[name], **judge(rows, standings[name])} for name, rows in tables.items()}
    first, *others = tables
    compared = [{"model": first, "against": name, **compare(tables[first], tables[name])} for name in others]
    notes = [note for _, note in told_apart if note]
    if fold != "test":
        notes.insert(0, f"Judged on fold {fold}: what a model learnt from, or was tuned on, flatters it.")
    return Examination(told, compared, tables, notes)


def _placed(
    candidates: Candidates, models: Sequence[Examinee], folds: pd.DataFrame, fold: str, missed: float
) -> dict[str, Standing]:
    rows = candidates.index[(folds == "validation").any(axis=1) & (folds != "train").all(axis=1)]
    if not len(rows) or fold in ("validation", "all"):
        raise UsageError(
            f"--missed {missed:g}: {candidates.name} has no validation fold apart from what is judged; leave it out "
            f"(models come with an operating point for {MISSED:g}), or give the set trained on"
        )
    tables = scored(candidates, rows, models)
    return {model.name: chosen(tables[model.name], model.standing, missed) for model in models}


def report(folder: Folder, name: str, done: Examination, extra: Mapping[str, tuple[Any, Sequence[Section]]]) -> str:
    """Write the report, and the scores of each model, to a folder; return the page's address.

    Parameters
    ----------
    folder : Folder
        Receives index.html, report.md, report.json, figures and scores-MODEL.parquet.
    name : str
        What the candidates are called.
    done : Examination
        From `examine`.
    extra : mapping
        Name → what else stands in report.json under it, and its sections of the page.
    """
    pictures = figures(done.told, done.tables) if done.tables else {}
    parts = sections(done.told, done.compared, pictures) if done.told else []
    parts += [section for _, more in extra.values() for section in more]
    if done.notes:
        parts.append(Section("Not proven", "\n\n".join(done.notes)))
    facts = {"candidates": len(next(iter(done.tables.values())))} if done.tables else {}
    page = Page(
        f"Real or bogus: {name}", parts, f"Models: {', '.join(done.told) or 'on real alerts alone, below'}.", facts
    )
    for model, table in done.tables.items():
        folder.write(f"scores-{model}.parquet", table.to_parquet(index=False))
    numbers = {"models": done.told, "compared": done.compared, "notes": done.notes}
    numbers |= {key: told for key, (told, _) in extra.items()}
    return write(folder, page, _plain(numbers), pictures)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: no numpy scalar, no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
