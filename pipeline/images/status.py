"""Where the images of a workspace stand: what is done, rejected, missing or stale."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import candidates, manifest
from pipeline.commits import Log, each
from pipeline.images import image, plan, roster
from pipeline.images.difference import DIFFERENCE, MATCH
from pipeline.images.trials import INJECT
from pipeline.partition import Key
from pipeline.stage import State, outcome_path

__all__ = ["STAGES", "outcomes", "status"]

#: Steps whose inputs have outcomes; pairs: of every image, whether it has its reference.
STAGES = (image.STAGE, "pairs", MATCH, DIFFERENCE, INJECT, candidates.STAGE)


def status(workspace: Folder) -> pd.DataFrame:
    """Return what became of images and pairs, and of the candidates and alerts that were scored, step by step.

    Returns
    -------
    pandas.DataFrame
        stage, planned (images or pairs; missing where bands or files are counted), committed, stale, and inputs by
        final state; empty if no image was ever ingested and nothing scored.
    """
    log = Log(workspace)
    lines = (_imaged(log) if plan.surveys(workspace) else []) + _scored(log)
    return pd.DataFrame(lines).astype({"planned": "Int64"}) if lines else pd.DataFrame()


def _imaged(log: Log) -> list[dict[str, Any]]:
    workspace, lines = log.workspace, list[dict[str, Any]]()
    images = _planned(workspace)
    refused = int((images["verdict"] == plan.REJECTED).sum())
    pairs = roster.load(workspace)
    lines.append(_line(log, image.STAGE, len(images) - refused, refused))
    if pairs is not None:
        lines += [_line(log, MATCH, len(pairs)), _line(log, DIFFERENCE, None)]
        if log.commits(INJECT, ""):
            lines.append(_line(log, INJECT, len(pairs)))
    return lines


def _scored(log: Log) -> list[dict[str, Any]]:
    """Return a line for each model and what it has scored: ``score_candidates realbogus-0123abcd, alerts``."""
    found = {tuple(key.split("/")[:3]) for key in manifest.committed(log.workspace, candidates.STAGE)}
    return [
        _line(log, candidates.STAGE, None, product="/".join(one))
        | {"stage": f"{candidates.STAGE} {one[1].removeprefix('model=')}, {one[2]}"}
        for one in sorted(found)
    ]


def _planned(workspace: Folder) -> pd.DataFrame:
    tables = [table for survey in plan.surveys(workspace) if (table := plan.load(workspace, survey)) is not None]
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True)


def _line(log: Log, stage: str, planned: int | None, refused: int = 0, product: str = "") -> dict[str, Any]:
    commits = log.commits(stage, product).values()
    counts: Counter[str] = Counter({str(State.REJECTED): refused})
    for commit in commits:
        counts.update(commit.counts)
    stale = sum(log.is_stale(commit.path) for commit in commits)
    states = {str(state): counts[str(state)] for state in State}
    return {"stage": stage, "planned": planned, "committed": len(commits), "stale": stale} | states


def outcomes(workspace: Folder, stage: str, states: Collection[State] = tuple(State)) -> pd.DataFrame:
    """Return the final state of every input of a step, with reason and message.

    Parameters
    ----------
    workspace : Folder
        Holds plans, manifests and the tables of outcomes.
    stage : str
        One of `STAGES`.
    states : collection of State
        Those wanted; tables whose manifest counts none of them are not read.

    Returns
    -------
    pandas.DataFrame
        input, state, reason, message; sorted.
    """
    wanted = [str(state) for state in states]
    frames = [schema.OUTCOMES.empty().to_pandas()]
    if stage == "pairs":
        if workspace.exists(roster.OUTCOMES):
            frames.append(write.read(workspace, roster.OUTCOMES, schema.OUTCOMES).to_pandas())
    else:
        keys = [key for key in sorted(manifest.committed(workspace, stage)) if _counts(workspace, stage, key, wanted)]
        frames += each(lambda key: _table(workspace, stage, key), keys)
    if stage == image.STAGE:
        frames += [_refused(workspace, survey) for survey in plan.surveys(workspace)]
    table = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    return table[table["state"].isin(wanted)].sort_values("input", ignore_index=True)


def _counts(workspace: Folder, stage: str, key: str, states: Collection[str]) -> int:
    record = manifest.read(workspace, stage, key)
    return 0 if record is None else sum(record.counts.get(state, 0) for state in states)


def _table(workspace: Folder, stage: str, key: str) -> pd.DataFrame:
    return write.read(workspace, outcome_path(stage, Key.parse(key)), schema.OUTCOMES).to_pandas()


def _refused(workspace: Folder, survey: str) -> pd.DataFrame:
    table = plan.load(workspace, survey)
    if table is None:
        return schema.OUTCOMES.empty().to_pandas()
    refused = table.filter(pc.equal(table["verdict"], plan.REJECTED)).to_pandas()
    return refused.assign(state=str(State.REJECTED))[schema.OUTCOMES.names]
