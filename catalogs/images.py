"""The tables of images: what stands in an archive, what each image is, and the sources found in it."""

import pyarrow as pa

from catalogs.columns import FLOAT, INT, LONG, SHA256, TEXT
from catalogs.table import Column, Table

__all__ = ["IMAGES", "IMAGE_PLAN", "IMAGE_SOURCES", "PAIRS"]

_ID = Column("image_id", TEXT, ucd="meta.id;meta.main", meaning="File, extension and checksum of an image, in short")
_FILE = Column("file", TEXT, ucd="meta.id;meta.file", meaning="Path in the archive")
_EXTENSION = Column("extension", INT, "", "meta.id.part", "Number of the extension, 0 is the primary one", (0, None))
_SHA256 = Column("sha256", TEXT, "", "meta.checksum", "SHA-256 of the file as stored", pattern=SHA256)
_SURVEY = Column("survey", TEXT, "", "meta.id;instr", "Whose header words it was read by")
_BIT = "Bits: 1 bad, 2 saturated, 4 cosmic ray, 8 trail, 16 hot or dead, 32 edge, 64 weak"


def _text(name: str, ucd: str, meaning: str) -> Column:
    return Column(name, TEXT, "", ucd, meaning)


def _maybe(name: str, unit: str, ucd: str, meaning: str, low: float | None = None, high: float | None = None) -> Column:
    return Column(name, FLOAT, unit, ucd, meaning, (low, high), True)


IMAGE_PLAN = Table(
    name="image_plan",
    meaning="One image of the archive: what its header says and whether it is taken.",
    columns=(
        Column("input", TEXT, ucd="meta.id;meta.main", meaning="File, and in brackets the extension"),
        _FILE,
        _EXTENSION,
        Column("size", LONG, "byte", "phys.size;meta.file", "Size of the file", (0, None)),
        Column("mtime", FLOAT, "s", "time.epoch", "When the file was last changed, Unix time"),
        Column("sha256", TEXT, "", "meta.checksum", "SHA-256 of the file as stored", nullable=True),
        Column("image_id", TEXT, "", "meta.id", "Name of the image; null if rejected", nullable=True),
        _SURVEY,
        Column("mission", TEXT, "", "meta.id;instr.tel", "What pairing compares", nullable=True),
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter in the header", nullable=True),
        _maybe("mjd_mid", "d", "time.epoch", "Middle of the exposure, MJD (UTC)"),
        Column("nx", LONG, "pixel", "meta.number", "Columns", nullable=True),
        Column("ny", LONG, "pixel", "meta.number", "Rows", nullable=True),
        Column("verdict", TEXT, "", "meta.code.status", "What the plan decided", pattern="accepted|rejected"),
        Column("reason", TEXT, "", "meta.code.error", "Reason code, if rejected", nullable=True),
        Column("message", TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("input",),
    made_by="python -m jobs.ingest_images",
)

IMAGES = Table(
    name="images",
    meaning="One image: where it looks, when, how deep and how sharp it is.",
    columns=(
        _ID,
        _FILE,
        _EXTENSION,
        _SHA256,
        _SURVEY,
        _text("mission", "meta.id;instr.tel", "What pairing compares"),
        _text("instrument", "meta.id;instr", "Instrument in the header"),
        _text("ccd", "meta.id;instr.det", "Detector in the header"),
        _text("filter", "meta.id;instr.filter", "Filter in the header"),
        _maybe("mjd_mid", "d", "time.epoch", "Middle of the exposure, MJD", 3e4, 9e4),
        _text("time_scale", "time.scale", "Time scale of it"),
        _maybe("exptime_s", "s", "time.duration;obs.exposure", "Exposure", 0),
        Column("gain", FLOAT, "electron/count", "instr.det.gain", "Electrons a count", (0, None)),
        Column("read_noise", FLOAT, "electron", "instr.det.noise", "Read noise a pixel", (0, None)),
        _maybe("saturation", "count", "instr.saturation", "Level from which pixels are saturated"),
        _maybe("zp_ab", "mag", "phot.calib;phot.mag", "AB magnitude of one count; null if unknown"),
        _text("unit", "meta.unit", "What a count is: adu, electron, photon"),
        _text("estimated", "meta.note", "Facts estimated from the pixels or assumed, by commas"),
        Column("nx", LONG, "pixel", "meta.number", "Columns", (1, None)),
        Column("ny", LONG, "pixel", "meta.number", "Rows", (1, None)),
        Column("ra", FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension of the centre", (0, 360)),
        Column("dec", FLOAT, "deg", "pos.eq.dec;meta.main", "Declination of the centre", (-90, 90)),
        Column("footprint", pa.list_(FLOAT), "deg", "pos.outline;obs.field", "RA and Dec of the four corners in turn"),
        Column("pixscale", FLOAT, "arcsec/pixel", "instr.scale", "Side of a pixel", (0, None)),
        Column("sky", FLOAT, "count", "instr.skyLevel", "Median sky level"),
        Column("sky_rms", FLOAT, "count", "stat.stdev;instr.skyLevel", "Median noise of the sky", (0, None)),
        _maybe("fwhm", "pixel", "instr.obsty.seeing", "Median FWHM of stars", 0),
        Column("n_stars", LONG, "", "meta.number;src", "Stars found", (0, None)),
        _maybe("maglim_5sigma", "mag", "phot.mag;stat.max", "AB magnitude of a point source at 5 sigma"),
        _maybe("depth", "count", "phot.count;stat.min", "Counts of a point source at 5 sigma on blank sky", 0),
        Column("masked", FLOAT, "", "stat.value", "Share of pixels that tell nothing of the sky", (0, 1)),
        Column("undersampled", pa.bool_(), "", "meta.code", "FWHM of stars below 2 px"),
        Column("sky_subtracted", pa.bool_(), "", "meta.code", "The sky was subtracted before"),
        _text("wcs", "meta.note;pos.wcs", "The WCS as FITS cards and lookup tables"),
        _text("notes", "meta.note", "What is doubtful, by semicolons"),
    ),
    key=("image_id",),
    made_by="python -m jobs.ingest_images",
)

IMAGE_SOURCES = Table(
    name="image_sources",
    meaning="One source found in one image.",
    columns=(
        Column("x", FLOAT, "pixel", "pos.cartesian.x;instr.det", "Column, 0-based, windowed"),
        Column("y", FLOAT, "pixel", "pos.cartesian.y;instr.det", "Row, 0-based, windowed"),
        Column("flux", FLOAT, "count", "phot.count", "Sum in a circle of four half-light radii of the typical source"),
        Column("flux_err", FLOAT, "count", "stat.error;phot.count", "Its error", (0, None)),
        Column("peak", FLOAT, "count", "phot.count;stat.max", "Brightest pixel over the sky"),
        Column("fwhm", FLOAT, "pixel", "phys.angSize", "FWHM", (0, None)),
        Column("ellipticity", FLOAT, "", "src.ellipticity", "1 - b/a", (0, 1)),
        Column("theta", FLOAT, "rad", "pos.posAng", "Angle of the long axis from x towards y"),
        Column("snr", FLOAT, "", "stat.snr", "Flux over its error"),
        Column("mask", INT, "", "meta.code.qual", f"{_BIT}; of the pixels within the half-light radius", (0, None)),
        Column("is_star", pa.bool_(), "", "src.class.starGalaxy", "As wide and round as stars are, unharmed"),
    ),
    key=("y", "x"),
    made_by="python -m jobs.ingest_images",
)

PAIRS = Table(
    name="pairs",
    meaning="One pair of images: which is subtracted from which, and why it was chosen.",
    columns=(
        Column("pair_id", TEXT, "", "meta.id;meta.main", "Identifiers of the science and of the reference image"),
        _text("science", "meta.id;obs.image", "Science image: survey and identifier"),
        _text("reference", "meta.id;obs.image", "The image that is subtracted: survey and identifier"),
        Column(
            "overlap",
            FLOAT,
            "",
            "arith.factor;obs.field",
            "Share of the science image that the reference covers",
            (0, 1),
        ),
        _maybe("score", "", "stat.value", "Merit of the choice: the product of the three that follow", 0),
        _maybe("score_depth", "", "stat.value", "Merit of the reference's depth", 0),
        _maybe("score_seeing", "", "stat.value", "Merit of its seeing", 0),
        _maybe("score_epoch", "", "stat.value", "Merit of its date", 0),
        _maybe("days", "d", "time.duration", "From the reference to the science image"),
        Column(
            "ref_after_event",
            pa.bool_(),
            "",
            "meta.code",
            "The reference is the younger one; null where a date is unknown",
            nullable=True,
        ),
        Column("explicit", pa.bool_(), "", "meta.code", "It stood on a list of pairs, and was not chosen"),
    ),
    key=("pair_id",),
    made_by="python -m jobs.difference_images",
)
