"""The plan of pairs: which image is subtracted from which, and what keeps the others from being a pair.

It only ever grows: a science image that has its reference keeps it, whatever is ingested later; pairs that a list names
are added. Every image has one outcome.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from catalogs.images import PAIRS
from pipeline.errors import Missing, Refused
from pipeline.images import image
from pipeline.images.pairing import pairs
from pipeline.report import Report
from pipeline.settings import PairSettings
from pipeline.stage import State

__all__ = ["OUTCOMES", "PATH", "Change", "change", "forced", "load", "rows", "save"]

#: Where the plan lies, and what became of every image.
PATH, OUTCOMES = "manifest/match_images/pairs.parquet", "outcomes/pairs/part-00000.parquet"

#: Images that a report names, at most.
_NAMED = 20

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Change:
    """The plan as it is and as it will be.

    Attributes
    ----------
    before : pyarrow.Table or None
        The plan that was extended.
    plan : pyarrow.Table
        All of it, as in the table PAIRS.
    outcomes : pandas.DataFrame
        What became of every image, and of every pair on a list that is none: as in the table OUTCOMES.
    """

    before: pa.Table | None
    plan: pa.Table
    outcomes: pd.DataFrame

    @property
    def report(self) -> Report:
        """What became of the images, those that are no use by name."""
        skipped = 0 if self.before is None else len(self.before)
        report = Report("pairs", "", len(self.plan), skipped, len(self.plan))
        report.counts.update(self.outcomes["state"].tolist())
        bad = self.outcomes[self.outcomes["state"] == str(State.REJECTED)]
        told = zip(bad["input"], bad["reason"], bad["message"], strict=True)
        report.notes = [f"rejected {name}: {reason}: {message}" for name, reason, message in list(told)[:_NAMED]]
        if len(bad) > _NAMED:
            report.notes.append(f"… and {len(bad) - _NAMED} more: python -m jobs.status --outcomes pairs")
        return report


def load(workspace: Folder) -> pa.Table | None:
    """Return the plan, or None if there is none yet."""
    return write.read(workspace, PATH, PAIRS) if workspace.exists(PATH) else None


def rows(plan: pa.Table) -> dict[str, Row]:
    """Return pair_id → row, as the stages want them."""
    return {row["pair_id"]: row for row in plan.to_pylist()}


def change(
    workspace: Folder,
    settings: PairSettings,
    explicit: Sequence[tuple[str, str]] | None = None,
    overwrite: bool = False,
) -> Change:
    """Choose references for the images that have none, or add the pairs that are named; write nothing.

    Parameters
    ----------
    workspace : Folder
        Holds the images, and the plan so far.
    settings : PairSettings
        Limits and powers.
    explicit : sequence of (str, str), optional
        Science and reference, by image id, path or file name: these are added, and no other.
    overwrite : bool
        Make the plan anew.

    Raises
    ------
    Missing
        If there is no image.
    Refused
        If an image of the plan is no longer there.
    """
    index = image.index(workspace)
    if not len(index):
        raise Missing(f"{workspace}: no images; run ingest_images first")
    before = None if overwrite else load(workspace)
    kept = [] if before is None else before.to_pylist()
    where = {row.image_id: f"{row.survey}/{row.image_id}" for row in index.itertuples()}
    gone = sorted({name for row in kept for name in (row["science"], row["reference"])} - set(where.values()))
    if gone:
        cure = "python -m jobs.difference_images --overwrite … makes all anew"
        raise Refused(f"the plan of pairs has images that are no longer there: {', '.join(gone[:3])}; {cure}")
    accepted, refused = pairs(index, settings, explicit)
    there = {row["pair_id"] for row in kept}
    served = {row["science"] for row in kept} if explicit is None else set()
    found = [_row(row, where) for row in accepted.to_dict("records")]
    new = [row for row in found if row["pair_id"] not in there and row["science"] not in served]
    plan = PAIRS.conform(PAIRS.of([*kept, *new]))
    return Change(before, plan, _outcomes(list(where), plan, refused.to_dict("records")))


def _row(row: Mapping[str, Any], where: Mapping[str, str]) -> Row:
    """Return a row of the plan; what is missing is None."""
    facts = {name: row[name] for name in PAIRS.names if name in row}
    facts = {name: None if pd.isna(value) else value for name, value in facts.items()}
    return facts | {"science": where[row["science_id"]], "reference": where[row["reference_id"]]}


def _outcomes(images: Sequence[str], plan: pa.Table, refused: Sequence[Row]) -> pd.DataFrame:
    """Return one row an image, and one a pair that was named and refused though its image has an outcome already."""
    state = dict.fromkeys(images)
    found: dict[str, tuple[str, str | None, str | None]] = {}
    for science in plan["science"].to_pylist():
        found[science.rsplit("/", 1)[1]] = (str(State.DONE), None, None)
    for row in refused:
        name = row["science_id"]
        if name in found and row["state"] == str(State.NOTHING):
            continue  # it has its pair from before
        if name in found or name not in state:
            name = f"{name} - {row['reference_id']}"
        found[name] = (row["state"], row["reason"], row["message"])
    left = {name: (str(State.NOTHING), "paired", "it has its pair") for name in images if name not in found}
    table = [(name, *told) for name, told in sorted((found | left).items())]
    return pd.DataFrame(table, columns=schema.OUTCOMES.names)


def forced(workspace: Folder, science: str, reference: str, settings: PairSettings) -> Change:
    """Return the plan of one pair that is wanted whatever its dates; write nothing.

    Parameters
    ----------
    workspace : Folder
        Holds both images, and no others.
    science, reference : str
        Their identifiers.
    settings : PairSettings
        Its least overlap counts.

    Raises
    ------
    Refused
        If it is no pair: the same image, two missions, two filters, or too little in common.
    """
    made = change(workspace, settings, [(science, reference)], overwrite=True)
    if not len(made.plan):
        bad = made.outcomes[made.outcomes["state"] == str(State.REJECTED)]
        raise Refused("; ".join(f"{row.reason}: {row.message}" for row in bad.itertuples()) or "no pair")
    return made


def save(workspace: Folder, made: Change) -> None:
    """Write a plan as it will be, and the outcomes.

    Raises
    ------
    Refused
        If another job has changed the plan since it was read.
    """
    now = load(workspace)
    if now is None or not now.equals(made.plan):
        changed = (now is None) != (made.before is None) or (now is not None and not now.equals(made.before))
        if changed:
            raise Refused(f"{workspace.url(PATH)}: another job is making pairs; run again when it has ended")
        write.write(workspace, PATH, made.plan, PAIRS)
    table = pa.Table.from_pandas(made.outcomes, schema=schema.OUTCOMES.arrow_schema(), preserve_index=False)
    write.write(workspace, OUTCOMES, table, schema.OUTCOMES)
