"""What became of every input of every stage, for reports: nothing is left out, whatever its fate."""

from dataclasses import dataclass

import pandas as pd

from catalogs.folder import Folder
from catalogs.pages import Section
from pipeline.commits import Log
from pipeline.lightcurves import lineage, status
from pipeline.stage import State

__all__ = ["INPUTS", "Accounts", "refused", "summary", "take"]

#: Stage → what its inputs are.
INPUTS = {"ingest": "files", "preprocess": "light curves", "score": "segments", "systems": "candidate stars"}

_BAD = (State.REJECTED, State.FAILED)


@dataclass(frozen=True)
class Accounts:
    """What became of all inputs.

    Attributes
    ----------
    stages : pandas.DataFrame
        By stage: partitions planned, committed and stale; inputs done, nothing, rejected and failed.
    bad : pandas.DataFrame
        stage, store, input, state, reason and message of each input that was rejected or failed.
    """

    stages: pd.DataFrame
    bad: pd.DataFrame


def take(workspace: Folder, model_id: str) -> Accounts:
    """Count inputs from plans and manifests; outcome tables are read only where one was rejected or failed.

    Parameters
    ----------
    workspace : Folder
        Where they are.
    model_id : str
        Model whose scores are accounted for.
    """
    log = Log(workspace)
    lines = status.status(workspace, log=log).replace({"stage": {f"score {model_id}": "score"}})
    columns = ["planned", "committed", "stale", *map(str, State)]
    stages = lines.groupby("stage")[columns].sum().reindex(list(INPUTS), fill_value=0).astype(int)
    stages["planned"] = stages["planned"].max()  # what is in no manifest yet is still to do
    frames = [
        status.outcomes(workspace, stage, model=model_id, states=_BAD, log=log).assign(stage=stage)
        for stage in INPUTS
        if stage != "systems"
    ]
    found = lineage.systems(workspace, _BAD, log)
    stages.loc["systems"] = found.counts
    frames.append(found.outcomes.assign(stage="systems"))
    columns = ["stage", "store", "input", "state", "reason", "message"]
    bad = pd.concat([frame[columns].astype(object) for frame in frames], ignore_index=True)
    return Accounts(stages, bad.where(bad.notna(), None))


def summary(accounts: Accounts) -> Section:
    """Return the section that counts inputs by stage, state and reason, and says what is still to do."""
    rows = []
    for stage, counts in accounts.stages.iterrows():
        for state in map(str, State):
            found = accounts.bad[(accounts.bad["stage"] == stage) & (accounts.bad["state"] == state)]
            groups = [
                {"reason": reason, "inputs": len(group), "for example": next(iter(group["message"].dropna()), None)}
                for reason, group in found.groupby("reason", dropna=False)
            ]
            whole = {"reason": None, "inputs": counts[state], "for example": None}
            groups = sorted(groups, key=lambda row: -row["inputs"]) or [whole]
            rows += [{"stage": stage, "state": state} | group for group in groups if group["inputs"]]
    sums = " ".join(_sum(accounts, stage) for stage in INPUTS)
    text = f"Every input of every stage has exactly one final state; none is left out here.\n\n{sums}"
    return Section("What became of every input", text, pd.DataFrame(rows))


def _sum(accounts: Accounts, stage: str) -> str:
    """Return the sum of a stage's inputs by state, and how much of it is not committed yet."""
    counts = accounts.stages.loc[stage]
    states = [str(state) for state in State if counts[str(state)]]
    parts = " + ".join(f"{counts[state]:,} {state}" for state in states)
    left, stale = counts["planned"] - counts["committed"], counts["stale"]
    todo = f"; {left} of {counts['planned']} partitions still to do" if left > 0 else ""
    todo += f"; {stale} stale, made from what has changed since" if stale else ""
    return (
        f"{stage.capitalize()}: {sum(counts[state] for state in states):,} {INPUTS[stage]} = {parts or 'none'}{todo}."
    )


def refused(accounts: Accounts) -> list[Section]:
    """Return the section that lists each input that was rejected or failed, if any was."""
    if not len(accounts.bad):
        return []
    table = accounts.bad[["stage", "state", "reason", "message", "input"]]
    return [Section("Rejected and failed inputs", "Each with its reason; a bad file never stops a run.", table)]
