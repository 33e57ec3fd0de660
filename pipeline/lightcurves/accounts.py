"""What became of every input of every stage, for reports: nothing is left out, whatever its fate."""

import pandas as pd

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.pages import Section
from pipeline import manifest
from pipeline.lightcurves import plan, status
from pipeline.partition import Key
from pipeline.stage import State, outcome_path

__all__ = ["INPUTS", "outcomes", "refused", "summary"]

#: Stage → what its inputs are.
INPUTS = {"ingest": "files", "preprocess": "light curves", "score": "segments"}

_BAD = [str(State.REJECTED), str(State.FAILED)]


def _product(stage: str, model_id: str) -> str:
    scores = f"eclipsing_binary_scores/model={model_id}"
    return {"ingest": "lightcurves", "preprocess": "curves", "score": scores}[stage]


def outcomes(workspace: Folder, model_id: str) -> pd.DataFrame:
    """Return the final state of every input of every stage.

    Parameters
    ----------
    workspace : Folder
        Where the outcome tables are.
    model_id : str
        Model whose scores are accounted for.

    Returns
    -------
    pandas.DataFrame
        stage, store, input, state, reason, message.
    """
    frames = [status.outcomes(workspace, stage).assign(stage=stage) for stage in ("ingest", "preprocess")]
    for key in map(Key.parse, sorted(manifest.committed(workspace, "score", _product("score", model_id)))):
        table = write.read(workspace, outcome_path("score", key), schema.OUTCOMES).to_pandas()
        frames.append(table.assign(store=f"s{key.where.rsplit('=', 1)[1]}", stage="score"))
    found = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    return found.astype({"reason": object, "message": object}).where(found.notna(), None)


def summary(workspace: Folder, found: pd.DataFrame, model_id: str) -> Section:
    """Return the section that counts inputs by stage, state and reason, and says what is still to do.

    Parameters
    ----------
    workspace : Folder
        Holds plans and manifests.
    found : pandas.DataFrame
        From `outcomes`.
    model_id : str
        As there.
    """
    stages, states = list(INPUTS), [str(state) for state in State]
    rows = [
        {"stage": stage, "state": state, "reason": None if pd.isna(reason) else reason, "inputs": len(group)}
        | {"for example": next(iter(group["message"].dropna()), None)}
        for (stage, state, reason), group in found.groupby(["stage", "state", "reason"], dropna=False)
    ]
    rows.sort(key=lambda row: (stages.index(row["stage"]), states.index(row["state"]), -row["inputs"]))
    sums = " ".join(_sum(workspace, found, stage, model_id) for stage in stages)
    text = f"Every input of every stage has exactly one final state; none is left out here.\n\n{sums}"
    return Section("What became of every input", text, pd.DataFrame(rows))


def _sum(workspace: Folder, found: pd.DataFrame, stage: str, model_id: str) -> str:
    """Return the sum of a stage's inputs by state, and how much of it is not committed yet."""
    counts = found.loc[found["stage"] == stage, "state"].value_counts()
    parts = " + ".join(f"{counts[str(state)]:,} {state}" for state in State if str(state) in counts)
    committed = len(manifest.committed(workspace, stage, _product(stage, model_id)))
    plans = [plan.load(workspace, name) for name in plan.names(workspace)]
    planned = sum(len(plan.partitions(table)) for table in plans if table is not None)
    left = f"; {planned - committed} of {planned} partitions still to do" if committed < planned else ""
    return f"{stage.capitalize()}: {counts.sum():,} {INPUTS[stage]} = {parts or 'none'}{left}."


def refused(found: pd.DataFrame) -> list[Section]:
    """Return the section that lists each input that was rejected or failed, if any was."""
    table = found.loc[found["state"].isin(_BAD), ["stage", "state", "reason", "message", "input"]]
    if not len(table):
        return []
    return [Section("Rejected and failed inputs", "Each with its reason; a bad file never stops a run.", table)]
