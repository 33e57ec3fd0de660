"""The catalogue of scored candidates: of our own differences and of other surveys' alerts, one row a candidate.

A row has what `catalogs.candidates.CANDIDATES` has, as far as it is known: an alert packet tells less. Only what a
model has scored is in it; what became of everything else stands in the outcomes of ``score_candidates``.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.candidates import CANDIDATES, measured
from catalogs.columns import FLOAT, LONG, PROVENANCE, SHA256, TEXT
from catalogs.table import Column, Table

__all__ = ["BRIEF", "TIERS", "TRANSIENT_CANDIDATES", "is_real", "tier"]

#: Tiers by p_real, the best first.
TIERS = ("real", "uncertain", "bogus")

#: Columns that every candidate has, whoever found it.
_ALWAYS = ("candidate_id", "survey", "filter", "time_scale", "is_injected")


def _share(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, FLOAT, "", "stat.probability", meaning, (0, 1), nullable)


def _text(name: str, ucd: str, meaning: str, pattern: str = "") -> Column:
    return Column(name, TEXT, "", ucd, meaning, nullable=True, pattern=pattern)


_KNOWN = tuple(
    column if column.name in _ALWAYS else replace(column, nullable=True)
    for column in CANDIDATES.columns
    if column.name not in {"p_real", *(own.name for own in PROVENANCE)}
)

_PACKET = (
    _text("packet_file", "meta.id;meta.file", "File of the alert; null for candidates of our own differences"),
    Column("packet_row", LONG, "", "meta.record", "Number of the alert in that file, from 0", (0, None), True),
    _text("packet_sha256", "meta.checksum", "SHA-256 of that file", SHA256),
    measured("rb", "", "stat.probability", "The survey's own score by features", 0, 1),
    measured("drb", "", "stat.probability", "The survey's own score by deep learning; null where it sent none", 0, 1),
    _text("drb_version", "meta.version", "Version of drb"),
)

_SCORES = (
    _share("p_real", "Probability of a real source, were half of all candidates real"),
    _share("p_prior", "The same where a share prior of all candidates is real"),
    _share("prior", "Share of real candidates that p_prior is for"),
    _share("p_transient", "Of a real one: probability of a transient; null of a model without types", True),
    _share("p_variable", "Of a real one: probability of a variable star or active nucleus", True),
    _share("p_mover", "Of a real one: probability of a body of the solar system", True),
    _share("novelty", "Share of known triplets that are less strange; null of a model that cannot tell", True),
    Column("ood", pa.bool_(), "", "meta.code.qual", "Stranger than nearly all that the model knows: its probabilities "
           "may mean nothing"),
    _share("threshold", "p_real from which the model counts a candidate as real"),
    Column("tier", TEXT, "", "meta.code.class", "real: p_real at the threshold or above; uncertain: below it, its odds "
           "by no more than the settings' factor, 10 by default; bogus: the others", pattern="|".join(TIERS)),
    _text("review_label", "meta.code.class", "What a person said of it; null until it is reviewed"),
    _text("reviewed_by", "meta.id", "Who said it"),
    _text("reviewed_at", "time.processing", "When, UTC"),
)  # fmt: skip

TRANSIENT_CANDIDATES = Table(
    name="transient_candidates",
    meaning="One candidate of a difference image, ours or of an alert, and what a model says of its triplet.",
    columns=(*_KNOWN, *_PACKET, *_SCORES, *PROVENANCE),
    key=("candidate_id",),
    made_by="python -m jobs.score_candidates",
)

#: Columns for the screen.
BRIEF = (
    *("candidate_id", "object_id", "filter", "mjd_mid", "ra", "dec", "snr", "mag_ab", "drb", "p_real", "p_prior"),
    *("p_transient", "p_variable", "p_mover", "novelty", "ood", "tier", "review_label"),
)


def tier(p_real: ArrayLike, threshold: float, factor: float) -> NDArray[np.object_]:
    """Return the tier of each candidate.

    Parameters
    ----------
    p_real : (n,) array
        Probabilities.
    threshold : float
        From which on they are real.
    factor : float
        By how much the odds of an uncertain one are lower than the threshold's, at most.
    """
    p = np.asarray(p_real, float)
    # p / (1 - p) >= t / (1 - t) / factor, without a division by nothing
    uncertain = p * (1 - threshold) * factor >= threshold * (1 - p)
    return np.where(p >= threshold, TIERS[0], np.where(uncertain, TIERS[1], TIERS[2])).astype(object)


def is_real(tiers: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return which rows are of the tier "real"."""
    return np.asarray([value == TIERS[0] for value in tiers.to_pylist()], bool)
