"""Candidates with triplets → scores: the stages that run a model of triplets over differences and over alerts.

Alerts of every survey are scored in their own pixels where stars are 1.5 to 6 pixels wide there, ZTF's 2 among them;
others are resampled to 3 pixels first (`pipeline.images.sampling`), never filled up to another survey's size.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs import write
from catalogs.embeddings import EMBEDDINGS
from catalogs.folder import Folder
from catalogs.monitor import MONITOR
from catalogs.transient_candidates import TRANSIENT_CANDIDATES, tier
from models import monitor
from models.inputs import statistics
from models.registry import Entry
from models.scorer import Scorer, Scores
from pipeline import candidates
from pipeline.errors import Reason
from pipeline.images.sampling import sampled
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import CandidateScoreSettings
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["COLUMNS", "LOT", "Lot", "ScoreCandidates"]

#: Triplets in memory at a time: 12 MB.
LOT = 256

#: Of the catalogue.
COLUMNS = frozenset(TRANSIENT_CANDIDATES.names)

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Lot:
    """Some candidates of a partition.

    Parameters
    ----------
    names : list of str
        Of the inputs that have a triplet.
    pixels : (n, 3, s, s) float32
        Their triplets.
    fwhm_px : (n,) float64
        FWHM of stars in these, px; NaN where it is not known.
    rows : list of dict
        Their columns of the catalogue.
    others : list of InputOutcome
        What became of the inputs without one.
    """

    names: list[str]
    pixels: NDArray[np.float32]
    fwhm_px: NDArray[np.float64]
    rows: list[Row]
    others: list[InputOutcome]


class ScoreCandidates(Stage):
    """Scores of one model for candidates with triplets.

    Parameters
    ----------
    workspace : Folder
        Receives the scores.
    entry : Entry
        The model, from `Registry.resolve`.
    settings : CandidateScoreSettings
        Runtime, precision, batch, prior.
    device : str
        ``cpu``, ``cuda`` or ``auto``; no part of the settings, as it is the cluster's.
    """

    name = candidates.STAGE
    version = 1

    settings: CandidateScoreSettings

    def __init__(self, workspace: Folder, entry: Entry, settings: CandidateScoreSettings, device: str = "cpu") -> None:
        super().__init__(workspace, settings)
        self.entry = entry
        self.device = device
        self._scorer: Scorer | None = None
        self.found: tuple[Key, list[str]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scorer": None, "found": None}

    @property
    def scorer(self) -> Scorer:
        """The model, loaded at first use and kept: once per actor."""
        if self._scorer is None:
            model = f"{self.entry.name}@{self.entry.id}"
            self._scorer = Scorer.load(self.workspace, model, self.settings, self.device, self.settings.prior)
        return self._scorer

    def prepare(self) -> None:
        """Load the model, so that a wrong one is told before any actor starts."""
        _ = self.scorer

    @abstractmethod
    def lots(self, key: Key, skip: dict[str, InputOutcome]) -> Iterator[Lot]:
        """Yield the candidates of a partition, all but those to skip.

        Yields
        ------
        Lot
            Of `LOT` candidates at most.

        Notes
        -----
        What is read once may put the names of all that it read into `found`, when it is through: they are compared
        with the outcomes, so that nothing is lost between.
        """

    @abstractmethod
    def sources(self, key: Key) -> list[Any]:
        """Return what tells a partition from others by its contents: no number, no place."""

    @abstractmethod
    def listed(self, key: Key) -> list[str]:
        """Return the names of the inputs of a partition."""

    def inputs(self, key: Key) -> list[str]:
        """Return the names of the inputs of a partition, those of the last one as they were read."""
        return self.found[1] if self.found is not None and self.found[0] == key else self.listed(key)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Score the candidates of a partition; write one row each, their embeddings, and what the batch was like."""
        rows: dict[str, Row] = {}
        outcomes: list[InputOutcome] = list(skip.values())
        for lot in self.lots(key, skip):
            outcomes += lot.others
            found, states = self._scored(key, lot)
            outcomes += states
            for row, outcome in zip(found, states, strict=True):
                if outcome.state == State.DONE:
                    _keep(rows, row, outcomes)
        details = {"runtime": self.scorer.predictor.describe(), "sources": self.sources(key)}
        return Product(self._write(key, list(rows.values()), outcomes), len(rows), outcomes, details)

    def _write(self, key: Key, rows: list[Row], outcomes: list[InputOutcome]) -> list[Object]:
        found = [(f"catalogs/{key}.parquet", TRANSIENT_CANDIDATES.of(rows), TRANSIENT_CANDIDATES)]
        if self.scorer.standing.embedding is not None:
            beside = Key(EMBEDDINGS.name, key.where, key.part)
            found.append((f"catalogs/{beside}.parquet", EMBEDDINGS.of(rows), EMBEDDINGS))
        refused = Counter(str(one.reason) for one in outcomes if one.state in (State.REJECTED, State.FAILED))
        batch = str(key).removeprefix(f"{key.product}/model={self.entry.id}/")
        log = monitor.summary(self.entry.id, batch, pd.DataFrame(rows), refused)
        found.append((monitor.path(self.entry.id, batch), log, MONITOR))
        return [Object(*write.write(self.workspace, *one)) for one in found]

    def probe(self, key: Key, name: str) -> None:
        """Score one candidate and throw the score away."""
        others = {other: InputOutcome(other, State.NOTHING) for other in self.listed(key) if other != name}
        for lot in self.lots(key, others):
            self._scored(key, lot)

    def _scored(self, key: Key, lot: Lot) -> tuple[list[Row], list[InputOutcome]]:
        if not lot.names:
            return [], []
        pixels, _ = sampled(lot.pixels, lot.fwhm_px, self.settings)
        scores = self.scorer.score(pixels)
        columns = self._columns(scores) | statistics(pixels).to_dict("list")
        constants = {
            "prior": self.scorer.prior, "threshold": self.scorer.threshold, "catalog_release": "draft",
            "model_id": self.entry.id, "model_sha256": self.entry.sha256, "stage_version": self.version,
            "settings_hash": self.settings.hash, "manifest_key": f"{self.name}/{key}",
        }  # fmt: skip
        rows = [
            {**row, **constants, "image": monitor.image(row), **dict(zip(columns, values, strict=True))}
            for row, values in zip(lot.rows, zip(*columns.values(), strict=True), strict=True)
        ]
        finite = np.isfinite(scores.p_real)
        return rows, [_outcome(name, bool(good)) for name, good in zip(lot.names, finite, strict=True)]

    def _columns(self, scores: Scores) -> dict[str, list[Any]]:
        found = {name: values.tolist() for name, values in scores._asdict().items()}
        return found | {"tier": tier(scores.p_real, self.scorer.threshold, self.settings.uncertain).tolist()}


def _keep(rows: dict[str, Row], row: Row, outcomes: list[InputOutcome]) -> None:
    """Take a row in; of one candidate in several packets the one of the lowest checksum and number counts."""
    before = rows.get(row["candidate_id"])
    if before is not None:
        row, other = sorted((before, row), key=candidates.precedence)
        place = next(number for number, outcome in enumerate(outcomes) if outcome.input == other["input"])
        same = f"{row['candidate_id']} is in {row['input']} too"
        outcomes[place] = InputOutcome(other["input"], State.NOTHING, str(Reason.DUPLICATE), same)
    rows[row["candidate_id"]] = row


def _outcome(name: str, finite: bool) -> InputOutcome:
    if finite:
        return InputOutcome(name, State.DONE)
    return InputOutcome(name, State.REJECTED, "no_pixels", "no pixel is in all three images, or the network gave NaN")
