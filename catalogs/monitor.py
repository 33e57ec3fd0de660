"""The log of what a real/bogus model was given and what it said: one row a batch, survey, filter and season.

Histograms have fixed bins, so that batches add up, and every model can be compared with every other.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs.candidates import measured
from catalogs.columns import FLOAT, INT, TEXT
from catalogs.table import Column, Table

__all__ = ["BINS", "INPUTS", "MONITOR", "OUTPUTS", "STATISTICS", "Statistic", "histogram_of"]

#: Equal bins of every histogram; what lies beyond its limits is in the outermost.
BINS = 128


@dataclass(frozen=True)
class Statistic:
    """A number that every scored triplet has, and the limits of its histogram.

    Parameters
    ----------
    name : str
        Of the number; that of its histogram begins with ``n_by_``.
    low, high : float
        Limits.
    meaning : str
        What it is.
    """

    name: str
    low: float
    high: float
    meaning: str

    def counts(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return how many values are in each bin (`BINS`,); NaN is in none."""
        finite = np.asarray(values, float)
        finite = finite[~np.isnan(finite)]
        place = np.clip((finite - self.low) / (self.high - self.low) * BINS, 0, BINS - 1)
        return np.bincount(place.astype(np.int64), minlength=BINS)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Limits of the bins (`BINS` + 1,)."""
        return np.linspace(self.low, self.high, BINS + 1)


#: What the pixels are like.
INPUTS = (
    Statistic("missing", 0, 1, "share of pixels that are missing"),
    Statistic("noise_science", -4, 6, "log10 of the noise of the science image, counts"),
    Statistic("noise_reference", -4, 6, "the same of the reference"),
    Statistic("noise_difference", -4, 6, "the same of the difference"),
    Statistic("noise_ratio", -3, 3, "log10 of the noise of science over that of reference"),
    Statistic("sky_science", -8, 8, "asinh of the sky of the science image over its noise"),
    Statistic("sky_reference", -8, 8, "the same of the reference"),
    Statistic("sky_difference", -8, 8, "the same of the difference"),
    Statistic("fwhm_science", 0, 16, "width of what is compact in the science image, FWHM in px"),
    Statistic("fwhm_reference", 0, 16, "the same of the reference"),
    Statistic("peak", -1, 4, "log10 of the highest |S/N| of a pixel in the middle of the difference"),
)

#: What the model says of them.
OUTPUTS = (
    Statistic("logit", -32, 32, "logit of the network"),
    Statistic("novelty", 0, 1, "share of known triplets that are less strange"),
)

_SCORE = Statistic("p_real", 0, 1, "probability of real, where half of all are")

#: All that the log has histograms of.
STATISTICS = (*INPUTS, *OUTPUTS, _SCORE)


def histogram_of(name: str) -> str:
    """Return the column that holds the histogram of a statistic."""
    return f"n_by_{name}"


def _count(name: str, meaning: str) -> Column:
    return Column(name, INT, "", "meta.number", meaning, (0, None))


def _histogram(one: Statistic) -> Column:
    meaning = f"Triplets in {BINS} equal bins from {one.low:g} to {one.high:g} of the {one.meaning}"
    return Column(histogram_of(one.name), pa.list_(pa.int32()), "", "meta.number", meaning, (0, None))


MONITOR = Table(
    name="monitor",
    meaning="What a model was given and what it said in one batch, of one survey, filter and season.",
    columns=(
        Column("model_id", TEXT, ucd="meta.id", meaning="The model"),
        Column("batch", TEXT, ucd="meta.id", meaning="The partition that was scored, or the service and its time"),
        Column("survey", TEXT, ucd="meta.id;obs", meaning="Survey; empty if unknown"),
        Column("filter", TEXT, ucd="meta.id;instr.filter", meaning="Filter; empty if unknown"),
        Column("season", TEXT, "", "time.epoch", "Quarter of the year of the science images; empty if unknown",
               pattern=r"|\d{4}-Q[1-4]"),
        measured("mjd_min", "d", "time.start;obs", "Earliest science image, MJD"),
        measured("mjd_max", "d", "time.end;obs", "Latest science image, MJD"),
        _count("n", "Triplets that were scored"),
        _count("n_images", "Science images that they come from"),
        Column("clump", FLOAT, "", "stat.mean", "Triplets of the same image as a triplet, itself too, on average",
               (0, None)),
        _count("n_real", "Of tier real"),
        _count("n_uncertain", "Of tier uncertain"),
        _count("n_bogus", "Of tier bogus"),
        _count("n_ood", "Stranger than nearly all that the model has learnt from"),
        Column("refused", TEXT, "", "meta.note", "What could not be scored: number by reason code, as JSON"),
        *map(_histogram, STATISTICS),
    ),
    key=("model_id", "batch", "survey", "filter", "season"),
    made_by="python -m jobs.score_candidates",
)  # fmt: skip
