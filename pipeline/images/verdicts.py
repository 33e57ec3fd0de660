"""Who says which candidates are real: a file of labels, reviewers, or a rule."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from catalogs.folder import Folder
from catalogs.triplets import BOGUS, REAL
from pipeline.errors import UsageError
from pipeline.settings import digest

__all__ = ["Verdicts"]

_WORDS = {"real": 1, "bogus": 0, "1": 1, "0": 0, "true": 1, "false": 0}


@dataclass(frozen=True)
class Verdicts:
    """Who says what is real.

    Parameters
    ----------
    rule : str
        ``file``, ``review``, ``witness``, ``injected`` or ``injected-else-bogus``.
    labels : mapping
        Identifier of a candidate → label (1 real, 0 bogus) and kind, with the first two rules.
    """

    rule: str
    labels: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def of_file(cls, path: Path) -> "Verdicts":
        """Read labels of a CSV or Parquet file: candidate_id or candid, label (real, bogus, 1, 0) and, if known, kind.

        Raises
        ------
        UsageError
            If it is not there, or lacks a column, or a label is none.
        """
        try:
            table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: {error}; give a CSV or Parquet file of labels") from error
        name = next((one for one in ("candidate_id", "candid") if one in table), None)
        if name is None or "label" not in table:
            raise UsageError(f"{path}: has {', '.join(map(str, table))}; needs candidate_id or candid, and label")
        kinds = table["kind"].fillna("") if "kind" in table else pd.Series("", index=table.index)
        return cls("file", _labels(str(path), zip(table[name], table["label"], kinds, strict=True)))

    @classmethod
    def of_reviewers(cls, workspace: Folder) -> "Verdicts":
        """Return what reviewers of a workspace have said, without what they dispute."""
        # The ledger of labels is read when it is asked for: a set without reviewers needs none.
        given = import_module("catalogs.review").training_labels(workspace)
        rows = given[["candidate_id", "label", "type"]].itertuples(index=False, name=None)
        # A type that is no kind of that label (any text may stand in a ledger) is none; the label counts.
        told = ((name, label, kind if kind in (REAL if label else BOGUS) else "") for name, label, kind in rows)
        return cls("review", _labels(str(workspace), told))

    @property
    def identity(self) -> str:
        """Checksum of what is said."""
        return digest([self.rule, sorted((name, *said) for name, said in self.labels.items())])

    def of(self, *names: str) -> tuple[int, str] | None:
        """Return label and kind of a candidate by any of its names, None where nothing is said."""
        return next((self.labels[name] for name in names if name in self.labels), None)


def _labels(where: str, rows: Iterable[tuple[Any, Any, Any]]) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    for name, label, kind in rows:
        number = _WORDS.get(str(label).strip().lower().removesuffix(".0"))
        if number is None or kind not in ("", *(REAL if number else BOGUS)):
            cure = f"labels are real and bogus, kinds {', '.join(REAL)} and {', '.join(BOGUS)}"
            raise UsageError(f"{where}: {name} is {label!r}, kind {kind!r}; {cure}")
        if found.setdefault(str(name), (number, str(kind))) != (number, str(kind)):
            raise UsageError(f"{where}: {name} is labelled twice, not alike; leave one")
    return found
