"""Real or bogus on the frozen benchmark: the production model beside the baseline and braai as published.

python -m tests.benchmarks realbogus               # a few fields, minutes
python -m tests.benchmarks realbogus --fields 400  # all of them; SKYSIFT_BENCHMARK=FOLDER keeps what is made

Fields, faults and kinds of bogus are those of fields.toml, which no model has learnt from; candidates are the
detector's own, labelled by what is true of them. Every model is judged on the same candidates. Areas hold where half
are real, whatever the share among the candidates. Intervals by drawing whole fields.
"""

from pathlib import Path
from typing import Any

from catalogs.folder import Folder
from models.examination import Examination, examine
from models.examinees import Examinee, examinee, of_stores, published
from models.registry import Registry
from models.scorer import Scorer
from pipeline.errors import ModelNotFound
from pipeline.images.training import FIELDS, CandidateSet
from pipeline.settings import CandidateSetSettings
from tests.benchmarks.figures import figure, heading
from tests.benchmarks.sets import complete, kept

FEW = 16
DESCRIPTION = Path(__file__).with_name("fields.toml")
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "braai" / "d6_m7.weights.h5"


def _made(workspace: Folder, fields: int) -> CandidateSet:
    """Make the candidates, as far as they are not there."""
    stage = CandidateSet(workspace, CandidateSetSettings(fields=fields, seed=None, description=str(DESCRIPTION)))
    complete(stage)
    return stage


def _models(workspace: Folder) -> list[Examinee]:
    found = []
    for name in ("realbogus", "realbogus_baseline"):
        try:
            found.append(examinee(Scorer.load(workspace, name)))
        except ModelNotFound as error:
            print(f"{name}: not here ({error})")
    if PUBLISHED.is_file():
        found.append(published(PUBLISHED))
    else:
        print(f"{PUBLISHED}: not here")
    return found


def main(fields: int = FEW) -> None:
    """Print what each model does on so many fields of the benchmark."""
    heading("real or bogus")
    with kept() as workspace:
        stage = _made(workspace, fields)
        about = stage.describe()
        print(f"{about['fields']} fields of {DESCRIPTION.name} ({about['description'][:12]}), "
              f"{about['triplets']} candidates")  # fmt: skip
        models = _models(workspace)
        if not models:
            return
        done = examine(workspace, of_stores(workspace, [stage.where]), models)
        for note in done.notes:
            print(note)
        for model in models:
            _print(model, done.told[model.name], model is models[0] and model.entry is not None)
        _compared(done)
        _splits(workspace)


def _print(model: Examinee, told: dict[str, Any], asked: bool) -> None:
    """Print a model's figures; what is asked is asked of the production model alone."""

    def line(what: str, value: float | None, wanted: str, met: bool | None, note: str = "") -> None:
        shown = float("nan") if value is None else value
        figure(f"{model.name}: {what}", shown, wanted if asked else "-", met if asked else None, note)

    def between(name: str) -> str:
        interval = told[f"{name}_interval"]
        return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""

    probabilities = told["calibration"]
    area, let_pass = told["aucpr_half"], told["fpr_at_fnr_1pc"]
    limit = probabilities["ece_middle_if_right"]
    # What cannot be told is not met.
    line("AUCPR at half real", area, ">= 0.995", area is not None and area >= 0.995, between("aucpr_half"))
    line(f"AUCPR at {told['real_fraction']:.1%} real", told["aucpr"], "-", None, between("aucpr"))
    line("FPR at FNR 1%", let_pass, "<= 0.08", let_pass is not None and let_pass <= 0.08, between("fpr_at_fnr_1pc"))
    line(
        "FNR at its threshold", told["fnr"], "-", None, f"FPR {_shown(told['fpr'])}, threshold {told['threshold']:.4f}"
    )
    line("Brier skill", probabilities["brier_skill"], "> 0", (probabilities["brier_skill"] or 0) > 0)
    error = probabilities["ece_middle"]
    note = f"{probabilities['middle']} candidates; below {limit:.4f} if right"
    line("ECE, 0.05 < p < 0.95", error, "<= 0.02", error is not None and error <= 0.02, note)


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _compared(done: Examination) -> None:
    for one in done.compared:
        interval = one["ratio_interval"] or [float("nan")] * 2
        wanted = "<= 0.5" if one["against"] == "d6_m7" else "-"
        met = one["ratio"] <= 0.5 if one["against"] == "d6_m7" else None
        what = f"FPR at FNR 1% over that of {one['against']}"
        figure(what, one["ratio"], wanted, met, f"{interval[0]:.3f} to {interval[1]:.3f}")


def _splits(workspace: Folder) -> None:
    """Print how models held up that were trained with other splits, on what their own split held out."""
    registry = Registry(workspace)
    entries = [registry.resolve(f"realbogus@{version}") for version in registry.versions("realbogus")]
    for entry in entries:
        test = entry.card.get("judgement", {}).get("test")
        by = entry.card.get("settings", {}).get("split_by", "field")
        if test:
            area = float("nan") if test["aucpr_half"] is None else test["aucpr_half"]
            figure(f"{entry.id}, split by {by}: AUCPR at half real", area, "-", None,
                   f"FPR at FNR 1% {_shown(test['fpr_at_fnr_1pc'])}, {test['n']} candidates")  # fmt: skip


if __name__ == "__main__":
    main(FIELDS)
