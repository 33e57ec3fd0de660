"""The catalogue of visual binaries: a row a source, and a row for each of its stamps; scores that it is made from.

`VISUAL_BINARIES` is what people open, `VISUAL_BINARY_FILTERS` what each filter of each survey tells. `VISUAL_SCORES`
holds what a network gives for each stack, before anything is made of it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.candidates import measured, words
from catalogs.columns import FLOAT, INT, LONG, PROVENANCE, TEXT
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


def _with_error(
    name: str, unit: str, ucd: str, meaning: str, low: float | None = None, high: float | None = None
) -> tuple[Column, Column]:
    error = f"Standard error of {name}"
    return measured(name, unit, ucd, meaning, low, high), measured(f"{name}_err", unit, f"stat.error;{ucd}", error, 0)


_SOURCE, _RA, _DEC, _SURVEY = (STACKS[name] for name in ("source_id", "ra", "dec", "survey"))
_PAIR = "null where neither the fits (n_components) nor the network (tier) speak for a second star"

_SEEN = (
    _SOURCE, _RA, _DEC,
    measured("pos_epoch", "yr", "time.epoch", "Julian year of the exposures that ra and dec were asked for in: of the "
             "stack with the smallest FWHM that has a position; null where these are not dated"),
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
    _share("p_fit", "Probability of a second point source by the fits of one and two stars alone, were half of all "
           "sources double; null where nothing was fitted"),
    _share("p_chance", "Probability of an unrelated star as bright as the second one, or brighter, within the "
           "separation: 1 - exp(-pi sep^2 Sigma), Sigma the local density of such stars; null without star counts or "
           "without a pair"),
    _share("threshold", "p_double from which tier is double: the lowest at which the precision asked for is expected "
           "at that prior", False),
    Column("tier", TEXT, "", "meta.code.class", "; ".join(f"{name}: {text}" for name, text in TIERS.items()),
           pattern="|".join(TIERS)),
    measured("sep_network_arcsec", "arcsec", "pos.angDistance;stat.median", "Separation by the network, given that the "
             "source is double: median of its bins; null where no survey is able", 0),
)  # fmt: skip

_FITTED = (
    Column("n_components", INT, "", "meta.number;src", "Point sources within 2.5 arcsec that the fits need, the "
           "primary among them; null where nothing was fitted", (1, None), True),
    *_with_error("sep_arcsec", "arcsec", "pos.angDistance", "Separation of the two brightest components, fitted to all "
                 f"filters of all surveys able at once; {_PAIR}", 0),
    *_with_error("pa_deg", "deg", "pos.posAng", "Position angle from the brighter to the fainter component, east of "
                 f"north, ICRS; {_PAIR}", 0, 360),
    Column("pa_ambiguous", pa.bool_(), "", "meta.code.qual", "Which one is the brighter is not significant (less than "
           f"2 sigma): the position angle may be off by 180 deg; {_PAIR}", nullable=True),
    *_with_error("delta_mag", "mag", "phot.mag;arith.diff", "Fainter minus brighter component, mean of all filters; "
                 f"{_PAIR}", 0),
    measured("ra_2", "deg", "pos.eq.ra", "Right ascension of the fainter component, ICRS: ra, dec displaced by "
             "sep_arcsec along pa_deg", 0, 360),
    measured("dec_2", "deg", "pos.eq.dec", "Declination of the same", -90, 90),
    *(measured(name, "mag", "phot.mag;arith.diff;stat.max", f"Difference of magnitudes up to which a companion at "
               f"{sep} arcsec would have been seen at 5 sigma, in the most telling stamp; negative where not even an "
               "equal one would; null where nothing was fitted") for sep, name in DM_LIMITS.items()),
)  # fmt: skip

_CONTEXT = (
    _share("completeness", "Share of simulated pairs of like separation, difference of magnitudes and signal to noise "
           "that are found in one stack of the best of the surveys able; null without a pair, and where too few were "
           "simulated"),
    Column("gaia_id_1", LONG, "", "meta.id.cross", "Gaia source at the primary, by the table given", (0, None), True),
    Column("gaia_id_2", LONG, "", "meta.id.cross", "Gaia source at the companion", (0, None), True),
    measured("plx_diff_sigma", "", "stat.value;pos.parallax", "Difference of the parallaxes of the two in sigmas", 0),
    measured("pm_diff_sigma", "", "stat.value;pos.pm", "Difference of their proper motions in sigmas", 0),
    measured("ruwe", "", "stat.fit.chi2", "Gaia's RUWE of the primary", 0),
    measured("ipd_frac_multi_peak", "", "stat.fit;arith.ratio", "Share of Gaia's transits of the primary with several "
             "peaks, per cent, as Gaia has it", 0, 100),
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
        measured("mjd", "d", "time.epoch;obs.exposure", "Middle of the exposure, MJD; null if the header does not say"),
        *_with_error("sep_arcsec", "arcsec", "pos.angDistance", "Separation, fitted to this stamp alone", 0),
        *_with_error("pa_deg", "deg", "pos.posAng", "Position angle, fitted to this stamp alone, in the sense of the "
                     "source's row", 0, 360),
        *_with_error("delta_mag", "mag", "phot.mag;arith.diff", "Fainter minus brighter component of the source's row, "
                     "in this stamp, at the separation and angle fitted to all"),
        measured("delta_chi2", "", "stat.fit.chi2;arith.diff", "Chi squared of one star minus that of two, in this "
                 "stamp"),
        measured("snr_1", "", "stat.snr", "Signal to noise of the brighter component"),
        measured("fwhm_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of the PSF that was fitted with; of the stack, "
                 "where nothing was", 0),
        _share("p", "Probability by the network of a second point source within 2.5 arcsec, were half of all sources "
               "double, by the stack of this survey alone, which this filter went into; null of a survey that is not "
               "able"),
        Column("files", pa.list_(TEXT), "", "meta.ref", "Files below the archive that the stamp was read from"),
        Column("stack_method", TEXT, "", "meta.code", "How the filters of the survey became one image",
               pattern="|".join(METHODS)),
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
