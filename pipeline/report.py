"""What became of a stage's partitions and inputs; both runners report the same way."""

import logging
from collections import Counter
from dataclasses import dataclass, field

from pipeline.partition import Key
from pipeline.stage import Outcome, State

__all__ = ["Report"]

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What became of a stage's partitions and inputs.

    Attributes
    ----------
    stage, label : str
        Its name, and what it worked on.
    partitions, skipped : int
        Committed by now; of these, committed before.
    rows : int
        Rows of the product.
    counts : dict
        Inputs by final state.
    failures : dict
        Partition key → error, of those that could not be committed.
    seconds : float
        Wall time, s.
    notes : list of str
        What was made besides.
    """

    stage: str
    label: str = ""
    partitions: int = 0
    skipped: int = 0
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count a committed partition in."""
        self.partitions += 1
        self.skipped += outcome.skipped
        self.rows += outcome.rows
        self.counts.update(outcome.counts)

    def fail(self, key: Key, inputs: int, error: str) -> None:
        """Count a partition that could not be committed; all its inputs are failed."""
        self.failures[str(key)] = error
        self.counts[str(State.FAILED)] += inputs
        log.error("%s: %s", key, error)

    @property
    def exit_status(self) -> int:
        """0 if every input is accounted for and none failed, else 1."""
        return int(bool(self.failures or self.counts[str(State.FAILED)]))

    def __str__(self) -> str:
        states = ", ".join(f"{self.counts[str(state)]} {state}" for state in State)
        before = f" ({self.skipped} before)" if self.skipped else ""
        name = f"{self.stage} {self.label}".rstrip()
        lines = [
            f"{name}: {self.partitions} partitions{before}, "
            f"{sum(self.counts.values())} inputs: {states}; {self.rows} rows, {self.seconds:.1f} s"
        ]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  failed {key}: {error}" for key, error in self.failures.items()]
        return "\n".join(lines)
