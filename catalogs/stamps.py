"""Stamps of single sources: what was ingested, what was stacked, and what simulated ones show.

`STAMPS` has a row a (source, survey, filter), `STACKS` a row a (source, survey), `LESSONS` a row a stack to learn from,
`COMPLETENESS` a row for each bin of simulated pairs.
"""

from catalogs.candidates import Worded, measured
from catalogs.columns import FLOAT, INT, LONG, TEXT
from catalogs.table import Column, Table

__all__ = ["COMPLETENESS", "EVERY", "LESSONS", "METHODS", "NOT_DOUBLE", "STACKS", "STAMPS", "StampFlag"]

#: How filters became one image: one alone; weighted by what each tells of the source; clipped; the plain mean.
METHODS = ("single", "weighted", "clipped", "mean")


class StampFlag(Worded):
    """What there is to say of a stamp or a stack, as bits of ``flags``; `text` says each in words."""

    RESAMPLED = 1, "resampled: other pixels than the survey's own, or turned, or flipped"
    SATURATED = 2, "a saturated pixel within one FWHM of the source"
    BAD = 4, "a bad or missing pixel within one FWHM of the source"
    COSMIC_RAY = 8, "a pixel within one FWHM was hit by a particle"
    CUT = 16, "does not reach 2.5 arcsec and one FWHM around the source on all sides"
    SHIFTED = 32, "the source's centroid differs between filters by more than 0.1 FWHM: may look double for it"
    OFF_CENTRE = 64, "the brightest point near the place asked for is not there, but within reach: it was taken"
    FAINT = 128, "the source's signal to noise is below 5"
    UNABLE = 256, "the survey cannot resolve 2.5 arcsec: nothing is said by it alone"
    NOMINAL_FWHM = 512, "neither its header nor a star tells the FWHM: fits begin with the survey's"
    UNORIENTED = 1024, "no WCS: which side is north is not known; by it alone no angles and no places are told"


#: Kind of a simulated stack that is not double → what it shows.
NOT_DOUBLE = {
    "single": "one star",
    "neighbour": "one star, and others further than 2.5 arcsec, but near",
    "galaxy": "an extended source, alone or under the star",
    "artefact": "one star, with a particle's hit, a trail or bad pixels",
    "misregistered": "one star, stacked of filters that do not lie on each other",
    "saturated": "one star, saturated",
}

_SOURCE = Column("source_id", TEXT, "", "meta.id;meta.main", "The source, as its files call it")
_SURVEY = Column("survey", TEXT, "", "meta.id;obs", "Survey, as pipeline/stamps/surveys.toml calls it")
_RA = Column("ra", FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension of the source, ICRS", (0, 360), True)
_DEC = Column("dec", FLOAT, "deg", "pos.eq.dec;meta.main", "Declination of the source, ICRS", (-90, 90), True)
_PLACE = (
    Column("x0", FLOAT, "pixel", "pos.cartesian.x", "Place of the source in the array, from 0, pixel centres whole"),
    Column("y0", FLOAT, "pixel", "pos.cartesian.y", "The same in y; north is up (+y), east is left (-x)"),
    Column("pixscale", FLOAT, "arcsec/pixel", "pos.angResolution", "Arcsec a pixel of the array", (1e-3, 100)),
)
_ROW = Column("row", LONG, "", "meta.record", "Row in the store", (0, None))
_FLAGS = Column("flags", INT, "", "meta.code.qual", "Bits of catalogs.stamps.StampFlag", (0, None))

STAMPS = Table(
    name="stamps",
    meaning="Index of a partition of stamps: one source, survey and filter a row.",
    columns=(
        _ROW, _SOURCE, _RA, _DEC, _SURVEY,
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter, as the survey calls it"),
        Column("file", TEXT, "", "meta.ref", "File below the archive"),
        measured("mjd", "d", "time.epoch;obs.exposure", "Middle of the exposure, MJD"),
        measured("exptime_s", "s", "time.duration;obs.exposure", "Exposure time", 0),
        *_PLACE,
        measured("pixscale_file", "arcsec/pixel", "pos.angResolution", "Arcsec a pixel of the file", 0),
        measured("fwhm_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of stars by the header, else by measurement", 0),
        measured("noise", "ct", "stat.stdev;instr.background", "Scatter of the sky a pixel, counts of the file", 0),
        measured("sky", "ct", "instr.skyLevel", "Sky, counts of the file; the store holds the stamp as delivered"),
        measured("saturation", "ct", "instr.saturation", "Counts from which pixels are saturated"),
        measured("zeropoint", "mag", "phot.mag;arith.zp", "Magnitude of one count, by the header"),
        _FLAGS,
    ),
    key=("row",),
    made_by="python -m jobs.ingest_stamps",
)  # fmt: skip

STACKS = Table(
    name="stacks",
    meaning="Index of a partition of stacks: the filters of one source and survey as one image.",
    columns=(
        _ROW, _SOURCE, _RA, _DEC, _SURVEY,
        Column("filters", TEXT, "", "meta.id;instr.filter", "Filters that went in, by wavelength, with commas between"),
        Column("n_filters", INT, "", "meta.number", "How many", (1, None)),
        Column("method", TEXT, "", "meta.code", "How they became one", pattern="|".join(METHODS)),
        *_PLACE,
        measured("wavelength_um", "um", "em.wl", "Wavelength, weighted as the stack", 0),
        measured("mjd", "d", "time.epoch;obs.exposure", "Middle of the exposures, MJD"),
        Column("noise", FLOAT, "", "stat.stdev;instr.background", "Scatter of the sky a pixel, in the stack's units",
               (0, None)),
        measured("snr", "", "stat.snr", "Signal to noise of the source's flux"),
        measured("fwhm_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of the PSF: of other stars, else nominal", 0),
        measured("ellipticity", "", "src.ellipticity", "Of the source itself: 1 - b/a of its second moments", 0),
        measured("centroid_shift", "arcsec", "pos.angDistance", "Largest shift of a filter from the others", 0),
        _FLAGS,
    ),
    key=("row",),
    made_by="python -m jobs.ingest_stamps",
)  # fmt: skip

LESSONS = Table(
    name="stamp_lessons",
    meaning="Index of a partition of simulated stacks to learn from: one stack and what it shows.",
    columns=(
        *(column for column in STACKS.columns if column.name not in ("ra", "dec", "mjd")),
        Column("label", INT, "", "meta.code.class", "1: a second point source within 2.5 arcsec; 0: none", (0, 1)),
        Column("kind", TEXT, "", "meta.code.class", "What it is", pattern="|".join(("pair", *NOT_DOUBLE))),
        measured("sep_arcsec", "arcsec", "pos.angDistance", "Separation, true; of a pair", 0),
        measured("pa_deg", "deg", "pos.posAng", "Position angle, true, east of north from the brighter one", 0),
        measured("delta_mag", "mag", "phot.mag;arith.diff", "Difference of magnitudes in the stack, true", 0),
        measured("snr_1", "", "stat.snr", "Signal to noise of the primary in the stack, with the PSF known"),
        measured("psf_fwhm_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of the PSF in the stack, true", 0),
        Column("weight", FLOAT, "", "stat.weight", "In training; 0 where nothing is to be learnt", (0, None)),
    ),
    key=("row",),
    made_by="python -m jobs.train --model visualbinary",
)  # fmt: skip

#: `survey` of the rows of a group, all its surveys together.
EVERY = "all"


def _edges(name: str, unit: str, ucd: str, what: str) -> tuple[Column, Column]:
    return (
        Column(f"{name}_low", FLOAT, unit, f"{ucd};stat.min", f"Lower edge of the bin in {what}"),
        Column(f"{name}_high", FLOAT, unit, f"{ucd};stat.max", f"Upper edge of the bin in {what}"),
    )


def _count(name: str, meaning: str) -> Column:
    return Column(name, LONG, "", "meta.number", meaning, (0, None))


def _share(name: str, meaning: str) -> Column:
    return Column(name, FLOAT, "", "stat.probability", meaning, (0, 1), True)


COMPLETENESS = Table(
    name="completeness",
    meaning="Share of simulated pairs that are found in a survey, in a bin of separation, difference of magnitudes and "
    "signal to noise.",
    columns=(
        Column("group", INT, "", "meta.code.class", "Group of surveys by what they deliver, 1 to 4, the finest last",
               (1, 4)),
        Column("survey", TEXT, "", "meta.id;obs", f"Survey; {EVERY}: of all surveys of the group"),
        *_edges("sep", "arcsec", "pos.angDistance", "true separation"),
        *_edges("dm", "mag", "phot.mag;arith.diff", "true difference of magnitudes"),
        *_edges("snr", "", "stat.snr", "signal to noise of the brighter star"),
        _count("own", "Pairs simulated in this bin"),
        Column("borrowed", INT, "", "meta.code", "0: own bin alone; else steps of neighbours added", (0, None)),
        _count("pairs", "Pairs that count here, borrowed ones too"),
        _count("found", "Of these, at the threshold or above"),
        _share("completeness", "found / pairs; null where even with neighbours too few were simulated"),
        _share("lower", "Lower end of its 95% interval (Wilson)"),
        _share("upper", "Upper end of its 95% interval"),
    ),
    key=("group", "survey", "sep_low", "dm_low", "snr_low"),
    made_by="python -m jobs.train --model visualbinary",
)  # fmt: skip
