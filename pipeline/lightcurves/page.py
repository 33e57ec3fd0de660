"""The report of a workspace: one page that says what became of every input, and what was found."""

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import escape

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.pages import Link, Page, Section
from pipeline import manifest
from pipeline.errors import Missing
from pipeline.lightcurves import charts, combine, gallery, plan, status
from pipeline.lightcurves.truth import Judgement, judge, precision_recall
from pipeline.partition import Key
from pipeline.settings import CombineSettings
from pipeline.stage import State, outcome_path

__all__ = ["PATH", "write_report"]

#: Where the report lies in the workspace.
PATH = "reports/eclipsing_binaries.html"

_STAGES = {"ingest": "files", "preprocess": "light curves", "score": "segments"}
_SHOWN = ["tic_id", "ra", "dec", "tmag", "sectors", "n_segments", "score", "score_max", "gls_period"]


def write_report(
    workspace: Folder,
    truth: pd.DataFrame | None = None,
    held_out: Collection[int] | None = None,
    notes: Sequence[str] = (),
    settings: CombineSettings = CombineSettings(),  # noqa: B008 — frozen
    card: Mapping[str, Any] | None = None,
) -> str:
    """Write the report of the published catalogue.

    Parameters
    ----------
    workspace : Folder
        Holds everything; receives ``reports/eclipsing_binaries.html``.
    truth : pandas.DataFrame, optional
        What the stars truly are: tic_id, label ('EB' or not) and, if known, kind, period (d).
    held_out : collection of int, optional
        Stars the model has not seen in training; only these count against the truth. Needed with `truth`.
    notes : sequence of str
        Sentences that stand at the top.
    settings : CombineSettings
        The score from which a star is a candidate.
    card : mapping, optional
        The model's card; default the one in the workspace.

    Returns
    -------
    str
        Full address of the page.

    Raises
    ------
    Missing
        If there is no catalogue yet.
    ValueError
        If there is a truth, but it is not said which stars were held out.
    """
    if truth is not None and held_out is None:
        raise ValueError("held_out: with a truth, name the stars that the model was not trained on")
    if not workspace.exists(combine.CURRENT):
        raise Missing(f"{workspace.url(combine.CURRENT)}: no catalogue to report on; run score_sectors")
    stars = write.read(workspace, combine.CURRENT, schema.STARS).to_pandas()
    stars = stars.sort_values(
        ["score", "score_max", "tic_id"], ascending=[False, False, True], ignore_index=True
    )
    model_id = combine.current_model(workspace) or ""
    outcomes = _outcomes(workspace, model_id)
    judgement = None
    if truth is not None:
        judgement = judge(stars, truth, held_out, settings.threshold)
    sections = [
        _accounts(workspace, outcomes, model_id),
        _scores(stars, judgement, settings.threshold),
        *_verdict(judgement),
        *_examples(workspace, stars, truth, judgement, settings.threshold),
        _candidates(stars, truth, held_out, settings.threshold),
        *_model(card if card is not None else _card(workspace, model_id), model_id),
        *_refused(outcomes),
        _next(workspace, stars),
    ]
    page = Page(
        "Eclipsing binaries", sections, _lead(stars, notes), _facts(outcomes, stars, settings.threshold)
    )
    return page.write(workspace, PATH)


def _lead(stars: pd.DataFrame, notes: Sequence[str]) -> str:
    sectors = sorted({int(sector) for row in stars["sectors"] for sector in row})
    where = f"sector {sectors[0]}" if len(sectors) == 1 else f"{len(sectors)} sectors, {_ranges(sectors)}"
    models = ", ".join(sorted(stars["model_id"].unique()))
    return " ".join(
        [
            f"{len(stars):,} stars of {where if sectors else 'no sector'}, scored by {models or 'no model'}.",
            *notes,
        ]
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as people write them, ``1–3, 7``."""
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    runs = [list(run) for run in np.split(np.array(numbers), cuts)]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs if run)


def _facts(outcomes: pd.DataFrame, stars: pd.DataFrame, threshold: float) -> dict[str, int]:
    inputs = outcomes.groupby("stage").size()
    counts = {f"{noun}": int(inputs.get(stage, 0)) for stage, noun in _STAGES.items()}
    states = outcomes["state"].value_counts()
    return {
        **counts,
        "stars": len(stars),
        f"candidates, score ≥ {threshold:g}": int(stars["score"].ge(threshold).sum()),
        "inputs rejected": int(states.get(str(State.REJECTED), 0)),
        "inputs failed": int(states.get(str(State.FAILED), 0)),
    }


def _outcomes(workspace: Folder, model_id: str) -> pd.DataFrame:
    """Return the final state of every input of every stage: stage, store, input, state, reason, message."""
    frames = [status.outcomes(workspace, stage).assign(stage=stage) for stage in ("ingest", "preprocess")]
    for key in sorted(manifest.committed(workspace, "score", f"eclipsing_binary_scores/model={model_id}")):
        found = Key.parse(key)
        table = write.read(workspace, outcome_path("score", found), schema.OUTCOMES).to_pandas()
        frames.append(table.assign(store=f"s{found.where.rsplit('=', 1)[1]}", stage="score"))
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


def _accounts(workspace: Folder, outcomes: pd.DataFrame, model_id: str) -> Section:
    stages, states = list(_STAGES), [str(state) for state in State]
    reason = outcomes["reason"].where(outcomes["reason"].notna(), None)
    grouped = outcomes.assign(reason=reason).groupby(["stage", "state", "reason"], dropna=False)
    rows = [
        {
            "stage": stage,
            "state": state,
            "reason": reason if isinstance(reason, str) else None,
            "inputs": len(group),
        }
        | {"for example": next(iter(group["message"].dropna()), None)}
        for (stage, state, reason), group in grouped
    ]
    rows.sort(key=lambda row: (stages.index(row["stage"]), states.index(row["state"]), -row["inputs"]))
    text = [_account(workspace, outcomes, stage, model_id) for stage in stages]
    lead = "Every input of every stage has exactly one final state; none is left out here."
    return Section("What became of every input", "\n\n".join([lead, " ".join(text)]), pd.DataFrame(rows))


def _account(workspace: Folder, outcomes: pd.DataFrame, stage: str, model_id: str) -> str:
    """Return the sum of a stage's inputs by state, and how much of it is committed."""
    states = outcomes.loc[outcomes["stage"] == stage, "state"].value_counts()
    parts = ", ".join(f"{states[str(state)]:,} {state}" for state in State if str(state) in states)
    product = {
        "ingest": "lightcurves",
        "preprocess": "curves",
        "score": f"eclipsing_binary_scores/model={model_id}",
    }
    committed = len(manifest.committed(workspace, stage, product[stage]))
    planned = sum(
        len(plan.partitions(table)) for name in plan.names(workspace) if (table := plan.load(workspace, name))
    )
    left = f"; {planned - committed} of {planned} partitions are still to do" if committed < planned else ""
    return f"{stage}: {states.sum():,} {_STAGES[stage]} = {parts or 'none'}{left}."


def _scores(stars: pd.DataFrame, judgement: Judgement | None, threshold: float) -> Section:
    if judgement is None:
        groups = {"all stars": stars["score"].tolist()}
        caption = "Score of each star: the mean of its segments' log-odds, as a probability."
        second = charts.ranked(
            stars["score"].tolist(), threshold, "How many candidates each threshold would give."
        )
        return Section("Scores", figures=[charts.histogram(groups, threshold, caption), second])
    scored = judgement.stars.dropna(subset="score")
    groups = {
        name: scored.loc[scored["is_eb"] == is_eb, "score"].tolist()
        for name, is_eb in (("not EB", False), ("EB", True))
    }
    caption = "Score of each star by what it truly is. Only stars that the model did not train on."
    (_, wrong), (missed, right) = judgement.confusion.tolist()
    point = (right / max(right + missed, 1), right / max(right + wrong, 1))
    curve = precision_recall(judgement.stars["is_eb"], judgement.stars["score"])
    area = f"Area under the curve (AUCPR) {judgement.average_precision:.3f}; a coin reaches {judgement.base_rate:.3f}."
    second = charts.trade(*curve, judgement.base_rate, point, area)
    return Section("Scores", figures=[charts.histogram(groups, threshold, caption), second])


def _verdict(judgement: Judgement | None) -> list[Section]:
    if judgement is None or not len(judgement.stars):
        return []
    text = (
        f"Counted are only the {len(judgement.stars):,} stars that the model did not train on: no light curve of theirs, in any "
        "sector, was used to fit it or to choose its best epoch.\n\n"
        f"{judgement.base_rate:.0%} of them are eclipsing binaries, far more than in the sky, where precision will be lower."
    )
    if judgement.unscored:
        text += f" {judgement.unscored} of them have no score (no segment long enough) and count as left."
    threshold = f"At the threshold, {judgement.threshold:g}."
    bars = (
        f"{threshold} Bars: 95% intervals (Wilson). EA, EB, EW: detached, semi-detached and contact binaries; the others "
        "pulsate, rotate, flare or keep still."
    )
    pictures = [
        charts.confusion(judgement.confusion, f"Stars. {threshold}"),
        charts.kinds(judgement.kinds(), bars),
    ]
    return [Section("Against the truth", text, judgement.rates(), pictures)]


_WHY = """Left in time, then folded at gls_period, the period of the strongest sinusoid, and at twice that.

A binary has two eclipses an orbit. Where they are alike, the strongest sinusoid has half the orbital period, and folding
at that lays one eclipse onto the other. If the two minima of the right panel differ in depth or shape, or two curves cross
in the middle one, twice gls_period is the orbit. Phase 0 is the deepest minimum; lines are medians; the period is sharpened
within the 0.8% of the periodogram's grid."""


def _examples(
    workspace: Folder,
    stars: pd.DataFrame,
    truth: pd.DataFrame | None,
    judgement: Judgement | None,
    threshold: float,
) -> list[Section]:
    groups: dict[str, tuple[pd.Series, str]] = {}
    pool, said = stars, ""
    if judgement is not None:
        pool, said = (
            stars[stars["tic_id"].isin(judgement.stars["tic_id"])],
            " Of the stars that the model did not train on.",
        )
        judged = judgement.stars.dropna(subset="score").sort_values("score")
        missed = judged[judged["is_eb"] & ~judged["found"]].head(2)["tic_id"]
        wrong = judged[~judged["is_eb"] & judged["found"]].tail(2)["tic_id"][::-1]
        text = "The highest-scored stars that are no eclipsing binaries, and the lowest-scored that are."
        groups["The worst mistakes"] = (pd.concat([wrong, missed]), text + said)
    near = pool.assign(away=(pool["score"] - threshold).abs()).sort_values("away", kind="stable")["tic_id"]
    groups = {
        "The best-scored stars": (pool["tic_id"].head(5), _WHY + said),
        "Borderline stars": (
            near[~near.isin(pool["tic_id"].head(5))].head(3),
            "Closest to the threshold." + said,
        ),
        **groups,
    }
    scores, known = stars.set_index("tic_id"), None if truth is None else truth.set_index("tic_id")
    sections = []
    for heading, (chosen, text) in groups.items():
        captions = {int(tic_id): _caption(scores.loc[tic_id], known, int(tic_id)) for tic_id in chosen}
        if pictures := gallery.draw(workspace, captions):
            sections.append(Section(heading, text, figures=pictures))
    return sections


def _caption(star: pd.Series, known: pd.DataFrame | None, tic_id: int) -> str:
    text = f"Score {star['score']:.3f} of {star['n_segments']} segments, gls_period {star['gls_period']:.5g} d, Tmag {star['tmag']:.1f}."
    if known is None or tic_id not in known.index:
        return text
    truth = known.loc[tic_id]
    kind, period = truth.get("kind", truth["label"]), truth.get("period", np.nan)
    if not np.isfinite(period):
        return f"{text} In truth: {kind}, no period."
    ratio = f", {period / star['gls_period']:.3g} times gls_period" if truth["label"] == "EB" else ""
    return f"{text} In truth: {kind}, period {period:.5g} d{ratio}."


def _candidates(
    stars: pd.DataFrame, truth: pd.DataFrame | None, held_out: Collection[int] | None, threshold: float
) -> Section:
    total = int(stars["score"].ge(threshold).sum())
    table = stars.loc[stars["score"] >= threshold, _SHOWN].head(25)
    if truth is not None:
        columns = [name for name in ("kind", "period") if name in truth] or ["label"]
        renamed = truth[["tic_id", *columns]].rename(columns={name: f"true {name}" for name in columns})
        table = table.merge(renamed, on="tic_id", how="left").drop(columns="score_max")
        table["trained on"] = ~table["tic_id"].isin(list(held_out or ()))
    else:
        table["tic_id"] = [_exofop(tic_id) for tic_id in table["tic_id"]]
    digits = {"ra": 4, "dec": 4, "tmag": 2, "score": 4, "score_max": 4, "gls_period": 5, "true period": 5}
    table = table.round(digits)
    table.attrs["units"] = {column.name: column.unit for column in schema.STARS.columns if column.unit} | {
        "true period": "d"
    }
    text = (
        f"The best {len(table)} of {total:,} stars that score at least {threshold:g}, from {combine.CURRENT}."
    )
    return Section("Top candidates", text, table)


def _exofop(tic_id: int) -> Link:
    return Link(str(tic_id), f"https://exofop.ipac.caltech.edu/tess/target.php?id={tic_id}")


def _card(workspace: Folder, model_id: str) -> dict[str, Any]:
    name, _, version = model_id.rpartition("-")
    path = f"models/{name}/{version}/card.json"
    return dict(json.loads(workspace.read(path))) if workspace.exists(path) else {}


def _model(card: Mapping[str, Any], model_id: str) -> list[Section]:
    if not card:
        return []
    rows = [(name, value) for name, value in _flat(card) if len(str(value)) <= 100]
    table = pd.DataFrame(rows, columns=["", model_id])
    return [Section("The model", "From its card, which stands beside its weights.", table)]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, item in value.items():
        rows += _flat(item, f"{prefix}{name}: ") if isinstance(item, Mapping) else [(f"{prefix}{name}", item)]
    return rows


def _refused(outcomes: pd.DataFrame) -> list[Section]:
    bad = outcomes[outcomes["state"].isin([str(State.REJECTED), str(State.FAILED)])]
    if not len(bad):
        return []
    table = bad[["stage", "store", "input", "state", "reason", "message"]]
    return [
        Section("Rejected and failed inputs", "Each with its reason; a bad file never stops a run.", table)
    ]


def _next(workspace: Folder, stars: pd.DataFrame) -> Section:
    tic_id = int(stars["tic_id"].iloc[0]) if len(stars) else 0
    where = f"--workspace {shlex.quote(str(workspace))}"
    commands = {
        f"python -m jobs.explain {where} {tic_id}": "from a row back to its files, checksums, settings and segments",
        f"python -m jobs.query {where} --min-score 0.9 --where 'tmag < 11'": "rows by score, brightness, position, sector",
        f"python -m jobs.status {where} --outcomes ingest": "what became of each file, whole",
        f"python -m jobs.export {where} candidates.vot": "the catalogue as VOTable, for TOPCAT or Aladin; CSV, ECSV too",
        f"tensorboard --logdir {shlex.quote(workspace.url('models'))}": "how training went",
    }
    lines = "\n".join(
        f"{escape(command)}\n    <span class=note># {escape(text)}</span>"
        for command, text in commands.items()
    )
    python = f'import pandas as pd\nstars = pd.read_parquet("{escape(workspace.url(combine.CURRENT))}")'
    return Section(
        "Where to look next",
        "From the folder of skysift, and in Python:",
        html=f"<pre>{lines}</pre><pre>{python}</pre>",
    )
