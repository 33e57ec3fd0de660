"""The catalogue of eclipsing binaries: its classes, flags and columns.

`STARS` is what people open, one row a system; `SYSTEMS` holds the ephemerides it is put together from. Definitions
stand in the columns' meanings, so that every export and the written documentation quote them.
"""

from enum import IntFlag

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.columns import DEC, END, FLOAT, GLS_PERIOD, INT, LONG, PROVENANCE, RA, START, TEXT, TIC, TMAG
from catalogs.table import Column, Table

__all__ = [
    "BRIEF",
    "CLASSES",
    "KINDS",
    "PERIOD_FLAGS",
    "PROBABILITIES",
    "SPOILED",
    "STARS",
    "SYSTEMS",
    "TIERS",
    "Flag",
    "classes",
    "is_clean",
    "meanings",
]

#: Class → what it means. The first three are eclipsing binaries, the last is not.
CLASSES = {
    "EA": "EA: detached; light nearly constant between eclipses whose beginning and end can be told",
    "EB": "EB (beta Lyrae): light changes all the time, eclipses run into each other, minima of unequal depth",
    "EW": "EW (W Ursae Majoris): in contact or nearly so, minima of nearly equal depth, no time of constant light",
    "ELL": "ELL: tidally distorted stars without an eclipse; not an eclipsing binary and no part of p_eb",
}

#: Class of eclipsing binary → column of its probability; together they make p_eb.
KINDS = {"EA": "p_ea", "EB": "p_beta", "EW": "p_ew"}

#: Class → column of its probability, of those that do not eclipse too.
PROBABILITIES = KINDS | {"ELL": "p_ell"}


class Flag(IntFlag):
    """Reasons to distrust a row, as bits of ``flags``; `text` says each in words."""

    text: str

    def __new__(cls, value: int, text: str = "") -> "Flag":
        """Return the bit that has a value and a text."""
        flag = int.__new__(cls, value)
        flag._value_ = value
        flag.text = text
        return flag

    ODD_EVEN = 1, "odd and even primary eclipses differ by more than 3 sigma and 2%: the period may be twice as long"
    SYSTEMATIC_TIME = (
        2,
        "more than half of the eclipses lie at a momentum dump, an edge of the data, or an excursion of background or "
        "pointing",
    )
    CENTROID_SHIFT = (
        4,
        "the light is lost beside the star: the photocentre puts its source more than 0.2 pixels away, at more than 3 "
        "sigma; not looked for in stars brighter than Tmag 6.8, which bleed",
    )
    PLANET_LIKE = 8, "may be a transiting planet: shallow, flat-bottomed, without a secondary eclipse or tides"
    LOW_CROWDSAP = 16, "less than 80% of the light in the aperture is the star's"
    CONTAMINANT_EXCLUDED = 32, "in its favour, all others in the aperture together have less light than is lost"
    IRREGULAR_DIPS = 64, "dips of unequal depth or without a strict period"
    SINGLE_ECLIPSE = 128, "one eclipse seen: the period is a lower limit"
    BLENDED = 256, "a neighbour has the same ephemeris and is the likelier source"
    SHORT_DATA = 512, "less than ten days of good data"
    NOISE_LIKE = (
        1024,
        "folded eclipses are not five times deeper than what the light curve does at other phases, and no more than "
        "90% of its variance repeats with the period",
    )


#: Bits that say that the dips are no eclipses of two stars, or not of this star. The others say that the period may be
#: another, or that there are few data; others' light in the aperture spoils a row unless it cannot be what is lost.
SPOILED = (
    Flag.SYSTEMATIC_TIME | Flag.CENTROID_SHIFT | Flag.PLANET_LIKE | Flag.IRREGULAR_DIPS | Flag.BLENDED | Flag.NOISE_LIKE
)

#: Value → meaning of ``period_flag``.
PERIOD_FLAGS = {
    "exact": "the orbital period",
    "alias_unresolved": "period_alt is possible too, as where eclipses on a circular orbit are alike",
    "lower_limit": "no eclipse repeats: every shorter period is excluded",
}

#: Value → meaning of ``tier``.
TIERS = {
    "high": "p_eb at or above threshold",
    "low": "p_eb at or above the model's lower threshold",
    "none": "below both",
}


def classes() -> tuple[Column, ...]:
    """Return the columns of what a model says of class and shape, null for models that give a score alone."""
    probabilities = (
        Column(name, FLOAT, "", "stat.probability;src.class", f"Probability of class {CLASSES[klass]}", (0, 1), True)
        for klass, name in PROBABILITIES.items()
    )
    scale = "Morphology on the scale of Prsa et al. 2022: 0 widely detached, 1 ellipsoidal"
    return (
        *probabilities,
        Column("morph", FLOAT, "", "src.morph.param", scale, (0, 1), True),
        Column("morph_err", FLOAT, "", "stat.error;src.morph.param", "Standard error of morph", (0, None), True),
    )


def is_clean(tier: ArrayLike, flags: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows are clean eclipsing binaries: likely ones that nothing in the light curve speaks against.

    Parameters
    ----------
    tier : (n,) array_like of str
        Column ``tier``; only ``high`` is clean.
    flags : (n,) array_like
        Column ``flags``, NaN where it is null: a row that was not vetted is not clean. Clean rows have none of
        `SPOILED`, and, if the aperture is crowded (16), others in it are excluded as the source (32).
    """
    values = np.asarray(flags, float)
    bits = np.nan_to_num(values, nan=int(SPOILED)).astype(np.int64)
    crowded = (bits & int(Flag.LOW_CROWDSAP | Flag.CONTAMINANT_EXCLUDED)) == int(Flag.LOW_CROWDSAP)
    return np.asarray((np.asarray(tier, object) == "high") & ((bits & int(SPOILED)) == 0) & ~crowded)


def meanings(flags: int) -> list[str]:
    """Return the bits of `flags` in words, lowest bit first."""
    return [flag.text for flag in Flag if flags & flag]


def _words(values: dict[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in values.items())


def _flags() -> str:
    bits = "; ".join(f"{int(flag)} {flag.text}" for flag in Flag)
    spoiled = ", ".join(str(int(flag)) for flag in Flag if flag & SPOILED)
    clean = f"none of {spoiled}, and {int(Flag.LOW_CROWDSAP)} only with {int(Flag.CONTAMINANT_EXCLUDED)}"
    return f"Reasons to distrust the row, sum of bits: {bits}. A clean eclipsing binary has tier high, {clean}"


def _measured(name: str, unit: str, ucd: str, meaning: str, bounds: tuple[float | None, float | None]) -> list[Column]:
    """Return the column of a measured value and that of its standard error."""
    error = Column(f"{name}_err", FLOAT, unit, f"stat.error;{ucd}", f"Standard error of {name}", (0, None), True)
    return [Column(name, FLOAT, unit, ucd, meaning, bounds, True), error]


def _number(
    name: str, unit: str, ucd: str, meaning: str, low: float | None = None, high: float | None = None
) -> Column:
    return Column(name, FLOAT, unit, ucd, meaning, (low, high), True)


_EB_ID = Column("eb_id", INT, "", "meta.id.part", "Number of the system in the star's light, from 1", (1, None))

_EPHEMERIS = (
    *_measured("period", "d", "time.period", "Orbital period, in the sense of period_flag", (0, None)),
    Column(
        "period_flag", TEXT, "", "meta.code.status", _words(PERIOD_FLAGS), (None, None), True, "|".join(PERIOD_FLAGS)
    ),
    _number("p_period", "", "stat.probability;time.period", "Probability of period among its multiples", 0, 1),
    _number("period_alt", "d", "time.period", "The other period that the data allow best", 0),
    *_measured(
        "epoch",
        "d",
        "time.epoch",
        "Mid-primary (the deeper eclipse) nearest the middle of the data, BTJD",
        (None, None),
    ),
    Column("n_primary", INT, "", "meta.number;obs", "Primary eclipses inside the data", (0, None), True),
    Column("n_secondary", INT, "", "meta.number;obs", "Secondary eclipses inside the data", (0, None), True),
    *_measured("depth_1", "", "src.var.amplitude", "Depth of the primary eclipse, relative PDCSAP flux", (None, None)),
    *_measured(
        "depth_2", "", "src.var.amplitude", "Depth of the secondary eclipse, relative PDCSAP flux", (None, None)
    ),
    *_measured("duration_1_h", "h", "time.duration", "Full width of the primary eclipse", (0, None)),
    *_measured("duration_2_h", "h", "time.duration", "Full width of the secondary eclipse", (0, None)),
    *_measured("phase_2", "", "time.phase", "Phase of mid-secondary after mid-primary", (0, 1)),
    _number("snr_1", "", "stat.snr", "Signal to noise of all primary eclipses together"),
    _number("snr_2", "", "stat.snr", "Signal to noise of all secondary eclipses together"),
    _number("depth_aperture_1", "", "src.var.amplitude", "Primary depth in the aperture, depth_1 x CROWDSAP"),
    _number("odd_even_sigma", "", "stat.value", "Difference in depth of odd and even primaries, in sigmas"),
    _number("centroid_shift_arcsec", "arcsec", "pos.angDistance", "Shift of the centroid in primary eclipse", 0),
    _number("centroid_shift_sigma", "", "stat.value;pos.angDistance", "The same in sigmas"),
)
_FLAG = Column("flags", INT, "", "meta.code.qual", _flags(), (0, None), True)
_CONTAMINANT = _number(
    "contaminant_depth",
    "",
    "src.var.amplitude",
    "Depth that the light of all contaminants would need, depth_1 x CROWDSAP / (1 - CROWDSAP); above 1 excludes them",
)

SYSTEMS = Table(
    name="systems",
    meaning="One ephemeris of a star, vetted.",
    columns=(TIC, _EB_ID, *_EPHEMERIS, _CONTAMINANT, _FLAG),
    key=("tic_id", "eb_id"),
    made_by="python -m jobs.score_sectors",
)

_STAR = (
    TIC,
    _EB_ID,
    RA,
    DEC,
    Column("ref_epoch", FLOAT, "yr", "time.epoch", "Epoch of ra and dec, Julian year"),
    _number("pmra", "mas/yr", "pos.pm;pos.eq.ra", "Proper motion in right ascension (times cos dec, TIC)"),
    _number("pmdec", "mas/yr", "pos.pm;pos.eq.dec", "Proper motion in declination (TIC)"),
    TMAG,
    _number("teff", "K", "phys.temperature.effective", "Effective temperature (TIC)", 0),
    _number("radius", "solRad", "phys.size.radius", "Radius of the star (TIC)", 0),
    _number(
        "crowdsap_min", "", "arith.factor;phot.flux", "Lowest CROWDSAP of the sectors: the star's share of light", 0
    ),
)

_SEEN = (
    Column("sectors", pa.list_(INT), "", "meta.id;obs", "TESS sectors scored, ascending", (1, 9999)),
    Column("cadence_s", pa.list_(FLOAT), "s", "time.resolution", "Time between cadences in each of sectors", (1, 7200)),
    Column("n_cadences", LONG, "", "meta.number;obs", "Good cadences in the segments scored", (0, None)),
    START,
    END,
    Column("duty_cycle", FLOAT, "", "arith.factor;time.interval", "Share of t_start to t_end with good data", (0, 1)),
)

_SHOWN = (
    "Meant are those that show eclipses in these data: a binary whose eclipses are all lost in the noise or fall "
    "outside the data counts neither way"
)

_VERDICT = (
    Column(
        "p_eb",
        FLOAT,
        "",
        "stat.probability",
        f"Probability of an eclipsing binary: p_ea + p_beta + p_ew. {_SHOWN}",
        (0, 1),
    ),
    _number(
        "p_prior",
        "",
        "stat.probability",
        f"Share of eclipsing binaries among stars that p_eb holds for. {_SHOWN}",
        0,
        1,
    ),
    Column("threshold", FLOAT, "", "stat.param", "p_eb from which tier is high", (0, 1)),
    Column("tier", TEXT, "", "meta.code.class", _words(TIERS), pattern="|".join(TIERS)),
    Column("score_max", FLOAT, "", "stat.probability;stat.max", "Highest score of a segment", (0, 1)),
    *classes(),
)


def _star_of_group(name: str, meaning: str) -> Column:
    return Column(name, LONG, "", "meta.id.assoc", meaning, (0, None), True)


_UNREVIEWED = "null throughout as long as there are no reviews"

_CONTEXT = (
    _star_of_group("blend_group", "Smallest TIC among the stars that share this ephemeris; null if it is alone"),
    _star_of_group("source_tic_id", "Star of the blend group that the eclipses are likely of"),
    _number(
        "completeness",
        "",
        "stat.probability",
        "Share of injected eclipses like these that are found with tier high, whatever the tier of the row; null where "
        "period is a lower limit, and where too few were injected",
        0,
        1,
    ),
    _number(
        "reliability",
        "",
        "stat.probability",
        "Share of such detections that are no false alarm, in the sectors that it was measured in; null where there "
        "were too few trials for the number of rows to tell",
        0,
        1,
    ),
    Column(
        "known_in",
        TEXT,
        "",
        "meta.bib",
        "Published lists that have the star, with what else they call it",
        nullable=True,
    ),
    Column(
        "is_new",
        pa.bool_(),
        "",
        "meta.code",
        "No list given calls it an eclipsing binary; null if none was given, and where tier is none",
        nullable=True,
    ),
    _FLAG,
    Column("review_label", TEXT, "", "meta.code.class", f"What a person called it; {_UNREVIEWED}", nullable=True),
    Column("reviewed_by", TEXT, "", "meta.id;meta.curation", f"Who; {_UNREVIEWED}", nullable=True),
    Column(
        "reviewed_at", TEXT, "", "time.creation;meta.curation", f"When, ISO 8601, UTC; {_UNREVIEWED}", nullable=True
    ),
    Column("n_segments", INT, "", "meta.number;obs", "Segments combined, of one cadence a sector", (1, None)),
    GLS_PERIOD,
)

STARS = Table(
    name="eclipsing_binaries",
    meaning="One system of a star; one row too for a star that has none, without an ephemeris.",
    columns=(*_STAR, *_SEEN, *_VERDICT, *_EPHEMERIS, *_CONTEXT, *PROVENANCE),
    key=("tic_id", "eb_id"),
    made_by="python -m jobs.score_sectors",
)

#: Columns that fit on a screen.
BRIEF = (
    *("tic_id", "eb_id", "ra", "dec", "tmag", "sectors", "p_eb", "tier", "morph"),
    *("period", "period_flag", "epoch", "depth_1", "depth_2", "is_new", "flags"),
)
