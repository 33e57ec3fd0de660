"""The catalogue of candidates of image differencing: its flags and its columns, one row a detection.

`CANDIDATES` holds every significant peak of every difference image, either sign. Nothing is ever left out of it: what
speaks against a row stands in `Flag`, `FrameFlag` and `catalogs.supernovae.Selection`.
"""

from dataclasses import replace
from enum import IntFlag

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.columns import FLOAT, INT, LONG, PROVENANCE, SHA256, TEXT
from catalogs.table import Column, Table

__all__ = [
    "BRIEF",
    "CANDIDATES",
    "FLUX_UNITS",
    "SPOILED",
    "UNSCORED",
    "Flag",
    "FrameFlag",
    "Worded",
    "is_good",
    "measured",
    "words",
]


class Worded(IntFlag):
    """Bits that each say in words what they mean, as `text`."""

    text: str

    def __new__(cls, value: int, text: str = "") -> "Worded":
        """Return the bit that has a value and a text."""
        flag = int.__new__(cls, value)
        flag._value_ = value
        flag.text = text
        return flag


class Flag(Worded):
    """What there is to say of a candidate's own pixels and shape, as bits of ``flags``; `text` says each in words."""

    # The first seven are the bits of an image's mask: pipeline.images.frame.Bit.
    BAD = 1, "a bad pixel within one FWHM"
    SATURATED = 2, "a saturated pixel within one FWHM"
    COSMIC_RAY = 4, "a pixel within one FWHM was hit by a particle"
    TRAIL = 8, "the trail of a satellite within one FWHM"
    HOT = 16, "a hot or dead pixel within one FWHM"
    EDGE = 32, "pixels within one FWHM are not covered by both images"
    WEAK = 64, "a pixel within one FWHM is to be used with care, by the survey's data-quality plane"
    SHARP = 128, "more like an event in a single pixel of one of the two images than like a point source"
    DIPOLE = 256, "positive and negative side by side: a residue of two images that do not lie on each other"
    ELONGATED = 512, "not of the shape of a point source: longer, wider or narrower, significantly"
    SIDELOBE = 1024, "less than a twentieth of a brighter peak within three FWHM: may be part of it"
    PADDED = 2048, "the triplet reaches over the edge of the frame; NaN there"
    NO_TRIPLET = 4096, "no triplet was kept: too many candidates in this part of the image"


class FrameFlag(Worded):
    """What there is to say of both images of a candidate, as bits of ``frame_flags``; `text` says each in words."""

    UNDERSAMPLED = 1, "FWHM below two pixels: images were smoothed to a sampled PSF first"
    LOW_COUNTS = 2, "fewer than 20 counts in the area of a PSF: noise is Poisson's, not Gaussian"
    SELF_TEST = 4, "the significance of this difference is not one, or had to be made so by too much"
    EXCESS = 8, "more pixels beyond 5 sigma than noise and a few transients make, of both signs"
    GAIN_ESTIMATED = 16, "gain or read noise are estimated from the pixels, not in the header"
    FEW_STARS = 32, "too few stars to measure PSF, flux ratio or alignment well"
    ALIGNMENT = 64, "stars of both images are more than 0.1 pixels apart (RMS)"
    NO_DATE = 128, "the date of one of the images is unknown"
    PSF_ASSUMED = 256, "the PSF is a model of assumed shape: no star to measure it on"
    PSF_VARIES = 512, "the PSF varies over the field by more than the tiles follow"
    NO_ZERO_POINT = 1024, "no zero point: fluxes are in counts of the science image"


#: Bits of ``flags`` that speak against a candidate; the others say something of its pixels or of its triplet.
SPOILED = (
    Flag.BAD | Flag.SATURATED | Flag.COSMIC_RAY | Flag.TRAIL | Flag.HOT | Flag.EDGE
    | Flag.SHARP | Flag.DIPOLE | Flag.ELONGATED | Flag.SIDELOBE
)  # fmt: skip

#: Value → meaning of ``flux_unit``.
FLUX_UNITS = {"uJy": "microjansky", "count": "counts of the science image, which has no zero point"}


def is_good(flags: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows have none of the bits `SPOILED`."""
    return np.asarray((np.asarray(flags, np.int64) & int(SPOILED)) == 0)


def words(flags: type[Worded]) -> str:
    """Return the bits of a set of flags with their meanings, for the meaning of a column."""
    return "; ".join(f"{int(flag)}: {flag.text}" for flag in flags)


def measured(
    name: str, unit: str, ucd: str, meaning: str, low: float | None = None, high: float | None = None
) -> Column:
    """Return a column of numbers that is null where it is not known."""
    return Column(name, FLOAT, unit, ucd, meaning, (low, high), True)


def _text(name: str, ucd: str, meaning: str, pattern: str = "", nullable: bool = False) -> Column:
    return Column(name, TEXT, "", ucd, meaning, nullable=nullable, pattern=pattern)


#: Provenance of what no model has scored yet: which model it was is null then.
UNSCORED = tuple(
    replace(column, nullable=True, meaning=f"{column.meaning}; null where no model has scored the row")
    if column.name.startswith("model_")
    else column
    for column in PROVENANCE
)

_IMAGES = (
    _text("candidate_id", "meta.id;meta.main", "Place, then a hash of pair, x, y and sign: the same for the same peak"),
    _text("pair_id", "meta.id;obs.image", "Identifiers of the science and of the reference image"),
    _text("survey", "meta.id;obs", "Survey, by the profile that read the header"),
    _text("mission", "meta.id;instr.obsty", "Mission or telescope, by the header; empty if it does not say"),
    _text("instrument", "meta.id;instr", "Instrument, by the header; empty if it does not say"),
    _text("ccd", "meta.id;instr.det", "Detector, by the header; empty if it does not say"),
    _text("filter", "meta.id;instr.filter", "Filter, by the header; empty if it does not say"),
    _text("science_file", "meta.id;meta.file", "File of the science image, in its archive"),
    _text("science_sha256", "meta.checksum", "SHA-256 of that file", SHA256),
    _text("reference_file", "meta.id;meta.file", "File of the reference image, in its archive"),
    _text("reference_sha256", "meta.checksum", "SHA-256 of that file", SHA256),
    Column("science_extension", INT, "", "meta.id.part", "Number of the HDU in science_file; 0: the primary one",
           (0, None), True),
    Column("reference_extension", INT, "", "meta.id.part", "Number of the HDU in reference_file; 0: the primary one",
           (0, None), True),
    measured("mjd_mid", "d", "time.epoch;obs.exposure", "Middle of the science exposure, MJD in time_scale"),
    _text("time_scale", "time.scale", "Time scale of mjd_mid, ref_mjd_min and ref_mjd_max: utc, tdb, …"),
    measured("exptime_s", "s", "time.duration;obs.exposure", "Exposure of the science image", 0),
    measured("ref_mjd_min", "d", "time.start;obs.exposure", "Begin of the reference image's data, MJD in time_scale"),
    measured("ref_mjd_max", "d", "time.end;obs.exposure", "End of the reference image's data, MJD in time_scale"),
    Column("ref_after_event", pa.bool_(), "", "meta.code", "The reference was taken after the science image; null "
           "where a date is unknown", nullable=True),
)  # fmt: skip

_PLACE = (
    measured("ra", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS, by the reference image's WCS", 0, 360),
    measured("dec", "deg", "pos.eq.dec;meta.main", "Declination, ICRS, by the reference image's WCS", -90, 90),
    measured("ra_err", "arcsec", "stat.error;pos.eq.ra", "Standard error along right ascension, on the sky", 0),
    measured("dec_err", "arcsec", "stat.error;pos.eq.dec", "Standard error in declination", 0),
    Column("x", FLOAT, "pixel", "pos.cartesian.x;instr.det", "Column in the difference image; 0: middle of the first"),
    Column("y", FLOAT, "pixel", "pos.cartesian.y;instr.det", "Row in the difference image; 0: middle of the first"),
    measured("x_sci", "pixel", "pos.cartesian.x;instr.det", "Column in the science image as it was taken"),
    measured("y_sci", "pixel", "pos.cartesian.y;instr.det", "Row in the science image as it was taken"),
)

_LIGHT = (
    Column("snr", FLOAT, "", "stat.snr", "S_corr at the peak (ZOGY 2016, eq. 25), signed: in sigmas"),
    Column("is_positive", pa.bool_(), "", "meta.code", "Brighter in the science image than in the reference"),
    Column("flux", FLOAT, "", "phot.flux;arith.diff", "Flux of the difference as a point source, signed, in flux_unit"),
    Column("flux_err", FLOAT, "", "stat.error;phot.flux", "Standard error of flux, in flux_unit", (0, None)),
    _text("flux_unit", "meta.unit", "; ".join(f"{unit}: {text}" for unit, text in FLUX_UNITS.items()),
          "|".join(FLUX_UNITS)),
    measured("mag_ab", "mag", "phot.mag;arith.diff", "AB magnitude of flux; null if negative, or without zero point"),
    measured("zp_ab", "mag", "phot.mag;arith.zp", "AB magnitude of one science count; null if unknown, never guessed"),
    measured("maglim_5sigma", "mag", "phot.mag;stat.max", "AB magnitude of a point source of 5 sigma in the difference "
             "here; null without zero point"),
    measured("ref_flux", "", "phot.flux", "Flux of the nearest source of the reference image, in flux_unit"),
)  # fmt: skip

_QUALITY = (
    measured("fwhm_arcsec", "arcsec", "phys.angSize;src", "FWHM of the candidate in the difference, by moments", 0),
    measured("seeing_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of stars in the science image", 0),
    measured("ref_seeing_arcsec", "arcsec", "instr.obsty.seeing", "FWHM of stars in the reference image", 0),
    measured("pixscale", "arcsec/pixel", "instr.scale;instr.pixel", "Size of a pixel of the difference", 0),
    measured("scorr_std_blank", "", "stat.stdev", "Robust spread of S_corr on blank sky in this difference; 1 is right",
             0),
    measured("scorr_std_src", "", "stat.stdev", "Robust spread of S_corr on sources in this difference; 1 is right", 0),
    measured("align_rms_px", "pixel", "stat.error;pos", "RMS distance of stars of the aligned images, a coordinate", 0),
    Column("overlap", FLOAT, "", "arith.factor;obs.field", "Share of the science image that the reference covers",
           (0, 1), True),
)  # fmt: skip

_SHAPE = (
    measured("sharpness", "", "src.morph.param", "Light in the core over light in a PSF, 1 for a point source"),
    measured("roundness", "", "src.morph.param", "Longer along x (> 0) or y (< 0) than a point source, 0 if neither"),
    measured("ellipticity", "", "src.ellipticity", "1 - b/a by moments; null where noise leaves none", 0, 1),
    measured("dipole", "", "stat.value", "Highest |S_corr| of the other sign within 1.5 FWHM, over the peak's", 0),
    measured("delta_ratio", "", "stat.value", "Signal to noise as an event in a single pixel, over that as a point "
             "source; above 1 it is the former", 0),
    Column("n_neighbours", INT, "", "meta.number;src", "Other candidates within 5 FWHM", (0, None)),
)  # fmt: skip

_SURROUNDINGS = (
    measured("ref_sep_arcsec", "arcsec", "pos.angDistance", "Distance of the nearest source of the reference image", 0),
    Column("ref_is_star", pa.bool_(), "", "src.class.starGalaxy", "Whether that is a star; null if there is none",
           nullable=True),
    measured("host_sep_arcsec", "arcsec", "pos.angDistance", "Distance of the likely host: the galaxy of the least "
             "host_dlr", 0),
    measured("host_dlr", "", "pos.angDistance;arith.ratio", "That distance over the host's radius in this direction "
             "(Sullivan et al. 2006, Gupta et al. 2016); null beyond 5", 0),
    measured("ssdistnr", "arcsec", "pos.angDistance", "Distance of the nearest known body of the solar system; null if "
             "none was looked up", 0),
    _text("known_name", "meta.id.cross", "Known transient within 1 arcsec, by the lists given", nullable=True),
    measured("known_sep_arcsec", "arcsec", "pos.angDistance", "Distance of that transient", 0),
)  # fmt: skip

_VERDICT = (
    measured("p_real", "", "stat.probability", "Probability of a real source; null until a model has scored it", 0, 1),
    Column("is_injected", pa.bool_(), "", "meta.code", "Put in to measure completeness; never in a release"),
    Column("triplet_row", LONG, "", "meta.record", "Row in the store of triplets; null if none was kept", (0, None),
           True),
    _text("object_id", "meta.id.assoc", "Object that it was associated with; null before that", nullable=True),
    Column("flags", INT, "", "meta.code.qual", f"Bits on this candidate: {words(Flag)}", (0, None)),
    Column("frame_flags", INT, "", "meta.code.qual", f"Bits on the pair of images: {words(FrameFlag)}", (0, None)),
    Column("selection", INT, "", "meta.code.qual", "Bits of cuts made later, as in supernova_candidates", (0, None)),
)  # fmt: skip

CANDIDATES = Table(
    name="candidates",
    meaning="One significant peak of a difference image, positive or negative.",
    columns=(*_IMAGES, *_PLACE, *_LIGHT, *_QUALITY, *_SHAPE, *_SURROUNDINGS, *_VERDICT, *UNSCORED),
    key=("candidate_id",),
    sort=("pair_id", "candidate_id"),
    made_by="python -m jobs.difference_images",
)

#: Columns of candidates for the screen.
BRIEF = (
    *("candidate_id", "object_id", "filter", "mjd_mid", "ra", "dec", "snr", "flux", "flux_unit", "mag_ab"),
    *("host_sep_arcsec", "known_name", "p_real", "flags", "frame_flags", "selection"),
)
