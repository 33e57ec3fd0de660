"""What is asked of models of triplets at once: candidates with truth, real alerts, one object held out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalogs.folder import Folder
from catalogs.pages import Section
from catalogs.review import training_labels
from models import alert_judgement, retrospective
from models.examination import Examination, examine, report
from models.examinees import (
    Candidates,
    Examinee,
    examinee,
    joined,
    of_arrays,
    of_description,
    of_stores,
    published,
)
from models.examples import retrained
from models.scorer import Scorer
from models.sightings import seen
from pipeline.errors import UsageError
from pipeline.settings import digest

__all__ = ["Inquiry", "inquire", "models_of"]

Parts = dict[str, tuple[Any, Sequence[Section]]]


@dataclass(frozen=True)
class Inquiry:
    """What is asked.

    Parameters
    ----------
    sets : tuple of str
        Sets of triplets in the workspace, by name or by the TOML files that describe them; or one ``.npz`` file.
    fold : str
        What candidates are to all models, see `models.examination.examine`.
    missed : float, optional
        Thresholds are chosen anew so that no more of the real ones is missed.
    alerts : tuple of Path
        Files of real alerts.
    held_out : str, optional
        Object of the sets that must be found by a model that never saw it.
    epochs : int, optional
        Train again without it, so many epochs, if all models saw it; takes a Ray cluster.
    workers : int
        Workers of that training.
    gpu : bool
        Whether each has a GPU.
    """

    sets: tuple[str, ...] = ()
    fold: str = "test"
    missed: float | None = None
    alerts: tuple[Path, ...] = ()
    held_out: str | None = None
    epochs: int | None = None
    workers: int = 1
    gpu: bool = False

    def candidates(self, workspace: Folder) -> Candidates | None:
        """Return the candidates with truth, None if none are named."""
        files = [name for name in self.sets if name.endswith(".npz")]
        if files and len(self.sets) > 1:
            raise UsageError(f"--set {files[0]}: a file is judged alone; give one --set, or sets of the workspace")
        if not self.sets:
            return None
        if files:
            return of_arrays(Path(files[0]))
        described = [of_description(workspace, Path(name)) for name in self.sets if name.endswith(".toml")]
        named = tuple(name for name in self.sets if not name.endswith(".toml"))
        return joined([*described, *([of_stores(workspace, named)] if named else [])])


def models_of(workspace: Folder, names: Sequence[str], weights: Sequence[Path], norm: str) -> list[Examinee]:
    """Return models of the registry and published weights as models to be judged.

    Raises
    ------
    UsageError
        If two are the same.
    """
    models = [examinee(Scorer.load(workspace, name)) for name in names]
    models += [published(path, norm) for path in weights]
    called = [model.name for model in models]
    if doubled := sorted({name for name in called if called.count(name) > 1}):
        raise UsageError(f"{', '.join(doubled)}: given twice; leave one out, or rename the file of weights")
    return models


def inquire(workspace: Folder, models: Sequence[Examinee], asked: Inquiry, out: Folder | None = None) -> list[str]:
    """Answer, and write the report; return what came of it in lines, the last is where the page is.

    Raises
    ------
    UsageError
        If nothing is asked, or it cannot be answered.
    """
    candidates = asked.candidates(workspace)
    if candidates is None and not asked.alerts:
        raise UsageError("nothing to judge on: give --set or --alerts")
    if asked.held_out and candidates is None:
        raise UsageError(f"--hold-out-object {asked.held_out}: give the --set it is in")
    done, lines, more = Examination({}, [], {}), [], Parts()
    if candidates is not None:
        done = examine(workspace, candidates, models, asked.fold, asked.missed)
        lines += [_line(name, told) for name, told in done.told.items()]
    if asked.alerts:
        told, refused = _alerts(workspace, models, asked.alerts, done.notes)
        lines += [_alert_line(name, one) for name, one in told.items()]
        more["alerts"] = ({"models": told, "refused": refused}, alert_judgement.sections(told, refused))
    if asked.held_out and candidates is not None:
        found = _held_out(workspace, candidates, models, asked)
        lines.append(
            f"{asked.held_out}: {'found' if found['found'] else 'not found'} by {found['model']}, {found['how']}"
        )
        more["held_out_object"] = (found, [retrospective.section(found)])
    name = candidates.name if candidates else "real alerts"
    # Another question is another report; who answered it how fast is none.
    question = {key: value for key, value in asdict(asked).items() if key not in ("workers", "gpu")}
    about = [name, [model.name for model in models], question | {"alerts": list(map(str, asked.alerts))}]
    folder = out or workspace.child(f"evaluations/realbogus-{digest(about)[:8]}")
    return [*lines, *done.notes, report(folder, name, done, more)]


def _alerts(
    workspace: Folder, models: Sequence[Examinee], files: Sequence[Path], notes: list[str]
) -> tuple[dict[str, Any], dict[str, int]]:
    alerts, refused = alert_judgement.witnessed(files, models)
    if not len(alerts):
        raise UsageError(f"{', '.join(map(str, files))}: no alert that can be scored ({refused or 'no alert at all'})")
    index = alerts.assign(path="", row=np.arange(len(alerts)))
    index[["field", "object_id"]] = index[["field", "object_id"]].fillna("")
    index["field"] = index["field"].where((index["field"] != "") | (index["object_id"] != ""), index["candidate_id"])
    given = training_labels(workspace)
    reviewed = dict(zip(given["candidate_id"], given["label"], strict=True))
    told = {}
    for model in models:
        fold, note = seen(workspace, model, index)
        notes += [note] if note and note not in notes else []
        told[model.name] = alert_judgement.judge_alerts(alerts, model, reviewed, fold != "test")
    return told, refused


def _held_out(workspace: Folder, candidates: Candidates, models: Sequence[Examinee], asked: Inquiry) -> dict[str, Any]:
    entry = next((model.entry for model in models if model.entry is not None), None)

    def retrain(rest: pd.DataFrame) -> Examinee:  # numpydoc ignore=GL08
        assert entry is not None and asked.epochs is not None
        made = retrained(workspace, entry, rest, f"{asked.held_out}", asked.epochs, asked.workers, asked.gpu)
        return examinee(Scorer.load(workspace, f"{entry.name}@{made}"))

    again = retrain if asked.epochs is not None and entry is not None else None
    return retrospective.retrospect(workspace, candidates, f"{asked.held_out}", models, again)


def _line(name: str, told: dict[str, Any]) -> str:
    def said(key: str) -> str:  # numpydoc ignore=GL08
        return "–" if told[key] is None else f"{told[key]:.4g}"

    return (f"{name}: {told['n']} candidates, {told['real_fraction']:.1%} real: AUCPR {said('aucpr')}, FPR at FNR 1% "
            f"{said('fpr_at_fnr_1pc')}; at {told['threshold']:.4g} FNR {said('fnr')}, FPR {said('fpr')}")  # fmt: skip


def _alert_line(name: str, told: dict[str, Any]) -> str:
    one, near = told["missed"]["independently real"], told.get("agreement", {}).get("largest_difference")
    agreed = "" if near is None else f"; |p - drb| at most {near:.2g}"
    return (f"{name}: {one['missed']} of {one['alerts']} independently real alerts missed, {one['missed_at_0.5']} at "
            f"0.5{agreed}")  # fmt: skip
