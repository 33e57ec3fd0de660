"""How much of what is there the catalogue has, and how much of what it has is there: tables measured by trials.

A trial is a light curve whose truth is known, put through everything that makes the catalogue. `INJECTIONS` has a row
a trial, `COMPLETENESS` and `RELIABILITY` what follows from them by place. `IMAGE_INJECTIONS` are trials of image
differencing: transients put into real images.
"""

import pyarrow as pa

from catalogs.columns import FLOAT, INT, LONG, TEXT, TIC, TMAG
from catalogs.table import Column, Table

__all__ = ["COMPLETENESS", "IMAGE_INJECTIONS", "INJECTIONS", "KLASSES", "PLACES", "RELIABILITY", "SORTS"]

#: Value → meaning of ``sort``.
SORTS = {
    "injected": "the light of a simulated eclipsing binary in the light curve of a quiet star",
    "inverted": "the light curve of a star that is no eclipsing binary, upside down",
    "simulated": "the light of a simulated star that varies without eclipses in the light curve of a quiet star",
    "labelled": "a real star that is labelled as varying without eclipses",
}

#: Value → meaning of a class found.
KLASSES = {
    "EA": "p_ea is the highest of p_ea, p_beta, p_ew",
    "EB": "p_beta is",
    "EW": "p_ew is",
    "E": "the model gives no class",
}

#: Value → meaning of ``environment``.
PLACES = {
    "blank": "off all sources",
    "disk": "about the half-light radius of a galaxy away from its middle",
    "core": "within a third of a pixel of a galaxy's middle",
}

_MADE_BY = "python -m jobs.completeness"


def _words(values: dict[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in values.items())


def _count(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, LONG, "", "meta.number", meaning, (0, None), nullable)


def _share(name: str, meaning: str) -> Column:
    return Column(name, FLOAT, "", "stat.probability", meaning, (0, 1), True)


def _edges(name: str, unit: str, ucd: str, what: str, nullable: bool = False) -> tuple[Column, Column]:
    return (
        Column(f"{name}_low", FLOAT, unit, f"{ucd};stat.min", f"Lower edge of the bin in {what}", nullable=nullable),
        Column(f"{name}_high", FLOAT, unit, f"{ucd};stat.max", f"Upper edge of the bin in {what}", nullable=nullable),
    )


def _place(name: str, unit: str, ucd: str, meaning: str) -> Column:
    return Column(name, FLOAT, unit, ucd, meaning)


def _measured(name: str, unit: str, ucd: str, meaning: str, low: float | None = None) -> Column:
    return Column(name, FLOAT, unit, ucd, meaning, (low, None), True)


_BORROWED = Column("borrowed", INT, "", "meta.code", "0: own bin alone; else steps of neighbours added", (0, None))

INJECTIONS = Table(
    name="injections",
    meaning="One trial: a light curve whose truth is known, and what the catalogue would say of it.",
    columns=(
        Column("sort", TEXT, "", "meta.code.class", _words(SORTS), pattern="|".join(SORTS)),
        Column("number", LONG, "", "meta.id;meta.main", "Number of the trial among those of its sort", (0, None)),
        TIC,
        TMAG,
        Column("sectors", pa.list_(INT), "", "meta.id;obs", "TESS sectors of the light curve; 0 if unknown", (0, 9999)),
        Column("kind", TEXT, "", "meta.note", "What the light is of, as simulated or labelled; what the star is not"),
        Column(
            "klass", TEXT, "", "src.class", "True class; null if it does not eclipse", (None, None), True, "EA|EB|EW"
        ),
        Column("period", FLOAT, "d", "time.period", "True period of what was put in", (0, None), True),
        Column("depth", FLOAT, "", "src.var.amplitude", "True primary depth, or range of the light", (0, None), True),
        _count("n_eclipses", "Eclipses whose middle half has a good cadence", True),
        Column(
            "snr", FLOAT, "", "stat.snr", "Depths over noise, all good cadences in eclipse together", (0, None), True
        ),
        _share("p_eb", "Probability of an eclipsing binary that the catalogue would give"),
        Column("tier", TEXT, "", "meta.code.class", "Tier that the catalogue would give", pattern="high|low|none"),
        Column("klass_found", TEXT, "", "src.class", f"Class found. {_words(KLASSES)}", pattern="|".join(KLASSES)),
        Column("period_found", FLOAT, "d", "time.period", "Period found, where one was looked for", (0, None), True),
        Column("depth_found", FLOAT, "", "src.var.amplitude", "depth_1 found, where one was looked for", nullable=True),
    ),
    key=("sort", "number"),
    made_by=_MADE_BY,
)

COMPLETENESS = Table(
    name="completeness",
    meaning="Share of injected eclipsing binaries that are found, in a bin of magnitude, period and depth.",
    columns=(
        *_edges("tmag", "mag", "phot.mag", "Tmag"),
        *_edges("period", "d", "time.period", "true period"),
        *_edges("depth", "", "src.var.amplitude", "true primary depth"),
        _count("own", "Injections into this bin"),
        _BORROWED,
        _count("injected", "Injections that count here, borrowed ones too"),
        _count("found", "Of these, tier high"),
        _count("found_low", "Of these, tier high or low"),
        _share("completeness", "found / injected; null where even with neighbours too few were injected"),
        _share("lower", "Lower end of its 95% interval (Wilson)"),
        _share("upper", "Upper end of its 95% interval"),
    ),
    key=("tmag_low", "period_low", "depth_low"),
    made_by=_MADE_BY,
)

RELIABILITY = Table(
    name="reliability",
    meaning="Share of the catalogue's rows of a class that are no false alarm, in a bin of period and depth.",
    columns=(
        Column("tier", TEXT, "", "meta.code.class", "Tier of the rows, and of the false alarms", pattern="high|low"),
        Column("klass", TEXT, "", "src.class", "Class found", pattern="|".join(KLASSES)),
        Column("place", INT, "", "meta.id", "Number of the bin; 0 for rows without an ephemeris", (0, None)),
        *_edges("period", "d", "time.period", "period found", True),
        *_edges("depth", "", "src.var.amplitude", "depth_1 found", True),
        _BORROWED,
        _count("rows", "Rows of the catalogue that count here, borrowed ones too"),
        _count("dips_trials", "Stars looked at upside down"),
        _count("dips_alarms", "Of these, found here; 0 where they are no null for the class"),
        _count("waves_trials", "Stars looked at that vary without eclipses"),
        _count("waves_alarms", "Of these, found here; 0 where they are no null for the class"),
        Column("expected", FLOAT, "", "meta.number;stat.mean", "Expected false rows among rows", (0, None), True),
        _share(
            "reliability",
            "1 - expected / rows, from 0 to 1; null where under 20 trials would be found here if all rows were false",
        ),
        _share("lower", "The same for the upper end of the 95% interval (Wilson) of the false-alarm rates"),
        _share("upper", "The same for their lower end"),
    ),
    key=("tier", "klass", "place"),
    made_by=_MADE_BY,
)

IMAGE_INJECTIONS = Table(
    name="image_injections",
    meaning="One transient put into a science image by its own PSF, and what differencing found of it. No detection.",
    columns=(
        Column("pair_id", TEXT, "", "meta.id;obs.image", "Identifiers of the science and of the reference image"),
        Column("number", INT, "", "meta.id;meta.main", "Number of the transient in its pair", (0, None)),
        Column(
            "round", INT, "", "meta.id.part", "Number of the image that it was put into together with others", (0, None)
        ),
        _place("x", "pixel", "pos.cartesian.x;instr.det", "Column in the difference image; 0: middle of the first"),
        _place("y", "pixel", "pos.cartesian.y;instr.det", "Row in the difference image; 0: middle of the first"),
        _place("ra", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS, by the reference image's WCS"),
        _place("dec", "deg", "pos.eq.dec;meta.main", "Declination, ICRS, by the reference image's WCS"),
        Column("environment", TEXT, "", "meta.code.class", _words(PLACES), pattern="|".join(PLACES)),
        _measured("host_sep_arcsec", "arcsec", "pos.angDistance", "Distance from the middle of the likely host", 0),
        _measured("host_dlr", "", "pos.angDistance", "The same over the host's light radius in that direction", 0),
        Column("flux", FLOAT, "count", "phot.count", "What was put in, counts of the science image", (0, None)),
        _measured("snr_opt", "", "stat.snr", "Flux over the error of a flux there, its own photons included"),
        Column("usable", pa.bool_(), "", "meta.code.qual", "The pixel that it is on is not masked"),
        Column("found", pa.bool_(), "", "meta.code", "A positive candidate lies within max(1 px, 0.5 FWHM) of it"),
        _measured("snr", "", "stat.snr", "S_corr of that candidate"),
        _measured("sep_px", "pixel", "pos.angDistance", "How far it is from the true place", 0),
        Column("flags", INT, "", "meta.code.qual", "Its flags, as in the table candidates", (0, None), True),
        _measured("flux_forced", "count", "phot.count", "Flux measured at the true place, found or not"),
        _measured("flux_err", "count", "stat.error;phot.count", "Its error", 0),
    ),
    key=("pair_id", "number"),
    made_by="python -m jobs.difference_images --injections N",
)
