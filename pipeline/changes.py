"""What a plan of an archive says of its files, and how a plan changes."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ACCEPTED", "REJECTED", "Change"]

#: Verdicts of a plan.
ACCEPTED, REJECTED = "accepted", "rejected"


@dataclass(frozen=True, eq=False)
class Change:
    """A plan as it is and as it will be.

    Attributes
    ----------
    before : pyarrow.Table or None
        The plan that was extended.
    plan : pyarrow.Table
        All of it, old and new.
    """

    before: pa.Table | None
    plan: pa.Table

    @property
    def refused(self) -> int:
        """Files, old and new, that are no use."""
        return int(pc.sum(pc.equal(self.plan["verdict"], REJECTED)).as_py() or 0)
