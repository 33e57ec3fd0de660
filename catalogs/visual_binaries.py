"""The catalogue of visual binaries: a row a source, and a row for each of its stamps; scores that it is made from.

`VISUAL_BINARIES` is what people open, `VISUAL_BINARY_FILTERS` what each filter of each survey tells. `VISUAL_SCORES`
holds what a network gives for each stack, before anything is made of it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.candidates import measured, words
from catalogs.columns import FLOAT, INT, PROVENANCE, TEXT
from catalogs.stamp_measures import MEASURES, STAMP_MEASURES
from catalogs.stamps import METHODS, STACKS, StampFlag
from catalogs.table import Column, Table

__all__ = [
    "BRIEF",
    "DM_LIMITS",
    "SPOILED",
    "TIERS",
    "VISUAL_BINARIES",
    "VISUAL_BINARY_FILTERS",
    "VISUAL_SCORES",
    "is_clean",
    "tier",
]

_MADE_BY = "python -m jobs.score_stamps"

#: Tier → what it means, the best first.
TIERS = {
    "double": "p_double at threshold or above",
    "possible": "below it, its odds by no more than the settings' factor, 10 by default",
    "single": "lower still",
    "unknown": "no survey that was used can tell; p_double is null",
}

#: Separations, arcsec, and columns of the limits in difference of magnitudes there.
DM_LIMITS = {0.3: "dm_limit_0p3", 0.5: "dm_limit_0p5", 1.0: "dm_limit_1p0", 2.0: "dm_limit_2p0"}

#: Bits of ``flags`` that may make a single star look double.
SPOILED = (
    StampFlag.SATURATED | StampFlag.BAD | StampFlag.COSMIC_RAY | StampFlag.CUT | StampFlag.SHIFTED
    | StampFlag.OFF_CENTRE
)  # fmt: skip


def is_clean(tiers: Sequence[str] | NDArray[np.object_], flags: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows are of the tier "double", without a bit of `SPOILED` in their flags (n,)."""
    sound = (np.asarray(flags, np.int64) & int(SPOILED)) == 0
    return np.asarray((np.asarray(tiers, object) == "double") & sound)


def tier(p_double: ArrayLike, threshold: float, factor: float) -> NDArray[np.object_]:
    """Return the tier of each source.

    Parameters
    ----------
    p_double : (n,) array
        Probabilities; NaN where no survey can tell.
    threshold : float
        From which on they are double.
    factor : float
        By how much the odds of a possible one are lower than the threshold's, at most.
    """
    p = np.asarray(p_double, float)
    # p / (1 - p) >= t / (1 - t) / factor, without a division by nothing
    possible = p * (1 - threshold) * factor >= threshold * (1 - p)
    found = np.where(p >= threshold, "double", np.where(possible, "possible", "single"))
    return np.where(np.isnan(p), "unknown", found).astype(object)


def _share(name: str, meaning: str, nullable: bool = True) -> Column:
    return Column(name, FLOAT, "", "stat.probability", meaning, (0, 1), nullable)


def _fits(*names: str) -> tuple[Column, ...]:
    """Return columns of `MEASURES`; all null where a source was not measured."""
    return tuple(replace(MEASURES[name], nullable=True) for name in names)


_SOURCE, _RA, _DEC, _SURVEY = (STACKS[name] for name in ("source_id", "ra", "dec", "survey"))

_OF_A_STAMP = (
    *("sep_arcsec", "sep_arcsec_err", "pa_deg", "pa_deg_err", "delta_mag", "delta_mag_err", "delta_chi2", "snr_1"),
    "fwhm_arcsec",
)

_SEEN = (
    _SOURCE, _RA, _DEC,
    measured("pos_epoch", "yr", "time.epoch", "Julian year of ra and dec, if they were measured, else of the exposures "
             "they were asked for in: of the stack with the smallest FWHM; null where these are not dated"),
    Column("surveys_used", pa.list_(TEXT), "", "meta.id;obs", "Surveys with a stack of the source, in alphabetical "
           "order"),
    Column("surveys_able", pa.list_(TEXT), "", "meta.id;obs", "Those of them that resolve 2.5 arcsec in this stack and "
           "whose network gave a number: p_double is by these alone"),
)  # fmt: skip

_VERDICT = (
    _share("p_double", "Probability of a second point source within 2.5 arcsec of the primary by the network, all "
           "surveys able together, were half of all sources double; null where no survey is able"),
    _share("p_prior", "The same where a share prior of all sources is double"),
    _share("prior", "Share of double sources that p_prior and threshold are for", False),
    *_fits("p_fit", "p_chance"),
    _share("threshold", "p_double from which tier is double: the lowest at which the precision asked for is expected "
           "at that prior", False),
    Column("tier", TEXT, "", "meta.code.class", "; ".join(f"{name}: {text}" for name, text in TIERS.items()),
           pattern="|".join(TIERS)),
    measured("sep_network_arcsec", "arcsec", "pos.angDistance;stat.median", "Separation by the network, given that the "
             "source is double: median of its bins; null where no survey is able", 0),
)  # fmt: skip

_FITTED = (
    *_fits("n_components", "sep_arcsec", "sep_arcsec_err", "pa_deg", "pa_deg_err", "pa_ambiguous", "delta_mag"),
    *_fits("delta_mag_err", "ra_2", "dec_2", *DM_LIMITS.values()),
)

_CONTEXT = (
    _share("completeness", "Share of simulated pairs of like separation, difference of magnitudes and signal to noise "
           "(of the brighter star, or of the stack where that was not measured) that are found in one stack of the "
           "best of the surveys able, at the threshold of the model's card, not at that of this row; null without a "
           "pair, and where too few were simulated"),
    *_fits("gaia_id_1", "gaia_id_2", "plx_diff_sigma", "pm_diff_sigma", "ruwe", "ipd_frac_multi_peak"),
    Column("saturated", pa.bool_(), "", "meta.code.qual", "Saturated in the stack of a survey able, or of any where "
           "none is able"),
    Column("flags", INT, "", "meta.code.qual", f"Bits of any stack that counts as for saturated: {words(StampFlag)}",
           (0, None)),
    Column("review_label", TEXT, "", "meta.code.class", "What people called it: real, bogus, or disputed; null until "
           "it is reviewed", nullable=True),
    Column("reviewed_by", TEXT, "", "meta.id;meta.curation", "Who said it", nullable=True),
    Column("reviewed_at", TEXT, "", "time.creation;meta.curation", "When, ISO 8601, UTC", nullable=True),
)  # fmt: skip

VISUAL_BINARIES = Table(
    name="visual_binaries",
    meaning="One source of stamps: whether a second star is within 2.5 arcsec of it, and where.",
    columns=(*_SEEN, *_VERDICT, *_FITTED, *_CONTEXT, *PROVENANCE),
    key=("source_id",),
    made_by=_MADE_BY,
)

VISUAL_BINARY_FILTERS = Table(
    name="visual_binaries_filters",
    meaning="One filter of a survey that a source was seen in, and what it tells by itself.",
    columns=(
        _SOURCE, _SURVEY,
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter, as the survey calls it"),
        *(STAMP_MEASURES[name] for name in ("mjd", *_OF_A_STAMP)),
        _share("p", "Probability by the network of a second point source within 2.5 arcsec, were half of all sources "
               "double, by the stack of this survey alone, which this filter went into; null of a survey that is not "
               "able"),
        Column("files", pa.list_(TEXT), "", "meta.ref", "Files below the archive that the stamp was read from"),
        Column("stack_method", TEXT, "", "meta.code", "How the filters of the survey became one image",
               nullable=True, pattern="|".join(METHODS)),
        Column("flags", INT, "", "meta.code.qual", f"Bits of the stamp: {words(StampFlag)}", (0, None)),
        *PROVENANCE,
    ),
    key=("source_id", "survey", "filter"),
    made_by=_MADE_BY,
)  # fmt: skip

#: What of a stack is kept beside its score.
_STACKED = ("source_id", "ra", "dec", "survey", "filters", "method", "pixscale", "mjd", "snr", "fwhm_arcsec", "flags")

#: In ``catalogs/visual_scores/model=<id>/survey=<survey>/``, a file for each partition of stacks.
VISUAL_SCORES = Table(
    name="visual_scores",
    meaning="One stack of a survey and what a network gives for it.",
    columns=(
        *(STACKS[name] for name in _STACKED),
        Column("logits", pa.list_(FLOAT), "", "stat.value", "Of the classes, as the network gives them: single, then "
               "the bins of separation; empty of a survey that cannot resolve 2.5 arcsec, which is not asked"),
        *PROVENANCE,
    ),
    key=("source_id", "survey"),
    made_by=_MADE_BY,
)  # fmt: skip

#: Columns for the screen.
BRIEF = (
    *("source_id", "ra", "dec", "surveys_able", "p_double", "p_prior", "tier", "n_components", "sep_arcsec", "pa_deg"),
    *("delta_mag", "p_fit", "p_chance", "saturated", "flags", "review_label"),
)
