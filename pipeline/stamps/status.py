"""Where the stamps of a workspace stand: what is done, rejected, missing or stale, by file and by source."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import pandas as pd

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.visual_binaries import VISUAL_SCORES
from pipeline import manifest
from pipeline.commits import Log, each
from pipeline.errors import Corrupt, Refused, SkysiftError, Stale
from pipeline.partition import Key
from pipeline.stage import Stage, State, outcome_path
from pipeline.stamps import layout, plan, stacks

__all__ = ["STAGES", "outcomes", "outdated", "renew", "status"]

#: Steps whose inputs have outcomes: of files, of sources, and of sources and surveys.
STAGES = (plan.STAGE, stacks.STAGE, layout.MEASURE, layout.SCORE)

_PRODUCTS = {plan.STAGE: "stamps", stacks.STAGE: "stacks", layout.MEASURE: "measures", layout.SCORE: VISUAL_SCORES.name}


def status(workspace: Folder) -> pd.DataFrame:
    """Return what became of stamps, survey by survey and step by step, and of what each model has scored.

    Parameters
    ----------
    workspace : Folder
        Holds plans and manifests.

    Returns
    -------
    pandas.DataFrame
        survey, stage, planned (partitions), committed, stale, and inputs (files, sources) by final state; empty if no
        stamp was ever ingested.
    """
    log = Log(workspace)
    pairs = [(slug, stage) for slug in plan.surveys(workspace) for stage in (plan.STAGE, stacks.STAGE)]
    # What names no survey is stacked with nothing.
    lines = [_line(log, *pair) for pair in pairs if pair != (plan.UNKNOWN, stacks.STAGE)]
    # A source is measured with the first survey that has it: which one that is tells nothing.
    lines += [_counted("all", layout.MEASURE, None, log, "")] if log.commits(layout.MEASURE, "") else []
    found = sorted({key.rpartition("/")[0] for key in manifest.committed(workspace, layout.SCORE)})
    for one in found:
        model, slug = (part.partition("=")[2] for part in one.split("/")[1:])
        planned = len(log.commits(stacks.STAGE, f"stacks/{slug}"))
        lines.append(_counted(slug, f"{layout.SCORE} {model}", planned, log, one))
    return pd.DataFrame(lines).astype({"planned": "Int64"}) if lines else pd.DataFrame()


def _line(log: Log, slug: str, stage: str) -> dict[str, Any]:
    table = plan.load(log.workspace, slug).to_pandas()
    refused = int((table["verdict"] != plan.ACCEPTED).sum()) if stage == plan.STAGE else 0
    return _counted(slug, stage, int(table["part"].nunique()), log, f"{_PRODUCTS[stage]}/{slug}", refused)


def _counted(slug: str, what: str, planned: int | None, log: Log, product: str, refused: int = 0) -> dict[str, Any]:
    counts: Counter[str] = Counter({str(State.REJECTED): refused})
    commits = log.commits(what.split()[0], product).values()
    for commit in commits:
        counts.update(commit.counts)
    stale = sum(log.is_stale(commit.path) for commit in commits)
    told = {"survey": slug, "stage": what, "planned": planned, "committed": len(commits), "stale": stale}
    return told | {str(state): counts[str(state)] for state in State}


def outcomes(workspace: Folder, stage: str, states: Collection[State] = tuple(State)) -> pd.DataFrame:
    """Return the final state of every input of a step, with reason and message.

    Parameters
    ----------
    workspace : Folder
        Holds plans, manifests and the tables of outcomes.
    stage : str
        One of `STAGES`: inputs are files, or sources, with the survey before them.
    states : collection of State
        Those wanted.

    Returns
    -------
    pandas.DataFrame
        input, state, reason, message; sorted.
    """
    frames = [schema.OUTCOMES.empty().to_pandas()]

    def _table(text: str) -> pd.DataFrame:
        key = Key.parse(text)
        table = write.read(workspace, outcome_path(stage, key), schema.OUTCOMES).to_pandas()
        return table if stage == plan.STAGE else table.assign(input=key.where + "/" + table["input"])

    frames += each(_table, sorted(manifest.committed(workspace, stage, _PRODUCTS[stage])))
    if stage == plan.STAGE:
        frames += [_refused(workspace, slug) for slug in plan.surveys(workspace)]
    table = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    wanted = table["state"].isin([str(state) for state in states])
    return table[wanted].sort_values("input", ignore_index=True)


def _refused(workspace: Folder, slug: str) -> pd.DataFrame:
    table = plan.load(workspace, slug).to_pandas()
    refused = table[table["verdict"] != plan.ACCEPTED].rename(columns={"file": "input"})
    return refused.assign(state=str(State.REJECTED))[schema.OUTCOMES.names]


def renew(stage: Stage, overwrite: bool, product: str = "") -> list[str]:
    """Undo the partitions that are `outdated`, or refuse to go on with them; return their keys, sorted."""
    old = outdated(stage, overwrite, product)
    for text in old:
        manifest.discard(stage.workspace, stage.name, text)
    return old


def outdated(stage: Stage, overwrite: bool, product: str = "") -> list[str]:
    """Return the partitions that a stage would not make so now, if they may be overwritten.

    Parameters
    ----------
    stage : Stage
        Whose partitions.
    overwrite : bool
        They may, and so may those that are damaged.
    product : str
        Folder of their keys; all of the stage if left out.

    Returns
    -------
    list of str
        Keys, sorted.

    Raises
    ------
    Mismatch, Stale
        If there are any, naming all, unless they may be overwritten.
    """
    wanted = {str(key): key for key in stage.keys()}  # noqa: SIM118
    committed = sorted(manifest.committed(stage.workspace, stage.name, product))
    found = zip(
        committed, each(lambda text: _differs(stage, text, wanted.get(text), overwrite), committed), strict=True
    )
    old = {text: error for text, error in found if error is not None}
    if old and not overwrite:
        first, *others = old
        raise type(old[first])(f"{old[first]}" + (f"; likewise {', '.join(others)}" if others else ""))
    return list(old)


def _differs(stage: Stage, text: str, key: Key | None, whole: bool) -> SkysiftError | None:
    """Return what a partition has against it; whether its bytes are all there is looked at if asked for."""
    if key is None:
        what = "nothing belongs to it any more: its inputs are gone, or part of another partition"
        return Stale(f"{text}: stale, {what}; run {stage.name} again with --overwrite")
    try:
        stage.settled(key)
        record = manifest.read(stage.workspace, stage.name, key) if whole else None
        manifest.verify(stage.workspace, [] if record is None else record.objects)
    except (Refused, Corrupt) as error:
        return error
    return None
