"""The catalogue of supernova candidates: objects seen in one or many differences, and their light curves."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from catalogs.candidates import FLUX_UNITS, UNSCORED, Flag, FrameFlag, Worded, measured, words
from catalogs.columns import FLOAT, INT, TEXT
from catalogs.table import Column, Table

__all__ = ["BRIEF", "CUTS", "LIGHT_CURVE", "MEMBERS", "OBJECTS", "Selection", "is_selected", "tally"]


class Selection(Worded):
    """What the search for supernovae has to say of an object, as bits of ``selection``; `text` says it in words."""

    LOW_P_REAL = 1, "p_real of all detections below the threshold"
    NO_P_REAL = 2, "no model has scored it"
    UNCONFIRMED = 4, "fewer than two detections half an hour apart, although it was looked at again"
    SINGLE_EPOCH = 8, "seen at all in one epoch only: there was no other look to confirm it"
    MOVING = 16, "it moves between epochs, significantly"
    SOLAR_SYSTEM = 32, "a known body of the solar system was there at that time"
    KNOWN_VARIABLE = 64, "a known variable star or active nucleus"
    STELLAR = 128, "on a star of the reference image"
    NUCLEAR = 256, "on the nucleus of a galaxy: supernova or active nucleus"
    NEGATIVE = 512, "never brighter than in the reference image"
    SPOILED = 1024, "every detection is flagged"
    BAD_FRAMES = 2048, "every difference that it is seen in failed its self-test"
    INJECTED = 4096, "put in to measure completeness"


#: Bits that take an object off the list; `NO_P_REAL`, `SINGLE_EPOCH` and `NUCLEAR` are for the reader.
CUTS = (
    Selection.LOW_P_REAL | Selection.UNCONFIRMED | Selection.MOVING | Selection.SOLAR_SYSTEM | Selection.KNOWN_VARIABLE
    | Selection.STELLAR | Selection.NEGATIVE | Selection.SPOILED | Selection.BAD_FRAMES | Selection.INJECTED
)  # fmt: skip


def is_selected(selection: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows have none of the bits `CUTS`."""
    return np.asarray((np.asarray(selection, np.int64) & int(CUTS)) == 0)


def tally(selection: ArrayLike) -> list[tuple[Selection, int]]:
    """Return how many rows have each bit, in the order of the bits; of a row all bits count."""
    bits = np.asarray(selection, np.int64)
    return [(bit, int(((bits & int(bit)) != 0).sum())) for bit in Selection]


_UNIT = Column(
    "flux_unit", TEXT, "", "meta.unit", "; ".join(f"{unit}: {text}" for unit, text in FLUX_UNITS.items()),
    pattern="|".join(FLUX_UNITS),
)  # fmt: skip
_ID = Column("object_id", TEXT, "", "meta.id;meta.main", "Place of its first detection, then a hash of that")
_SCALE = Column("time_scale", TEXT, "", "time.scale", "Time scale of all times of the row")

_DETECTED = (
    Column("ra", FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS, weighted mean", (0, 360)),
    Column("dec", FLOAT, "deg", "pos.eq.dec;meta.main", "Declination, ICRS, weighted mean", (-90, 90)),
    measured("ra_err", "arcsec", "stat.error;pos.eq.ra", "Standard error along right ascension, on the sky", 0),
    measured("dec_err", "arcsec", "stat.error;pos.eq.dec", "Standard error in declination", 0),
    Column("n_det", INT, "", "meta.number;obs", "Science images in which it is detected", (1, None)),
    Column("n_nondet", INT, "", "meta.number;obs", "Differences that cover it with good pixels, without detection",
           (0, None)),
    measured("mjd_first", "d", "time.start;obs", "First detection, MJD in time_scale"),
    measured("mjd_last", "d", "time.end;obs", "Last detection, MJD in time_scale"),
    _SCALE,
    Column("filters", pa.list_(TEXT), "", "meta.id;instr.filter", "Filters with a detection, in alphabetical order"),
    Column("snr_max", FLOAT, "", "stat.snr;stat.max", "Highest |snr| of a detection, with its sign"),
    Column("flux_peak", FLOAT, "", "phot.flux;stat.max", "Flux of the detection of highest |flux|, in flux_unit"),
    _UNIT,
    measured("mag_peak", "mag", "phot.mag;stat.max", "Brightest AB magnitude of a detection; null without zero point"),
    Column("filter_peak", TEXT, "", "meta.id;instr.filter", "Filter of the detection of highest |flux|"),
)  # fmt: skip

_WHAT = (
    measured("motion_ra", "arcsec/h", "pos.pm;pos.eq.ra", "Motion along right ascension, on the sky; null if it cannot "
             "be told"),
    measured("motion_dec", "arcsec/h", "pos.pm;pos.eq.dec", "Motion in declination; null if it cannot be told"),
    measured("motion_sigma", "", "stat.value;pos.pm", "Significance of the motion, in sigmas", 0),
    measured("ref_sep_arcsec", "arcsec", "pos.angDistance", "Distance of the nearest source of the reference image, "
             "median of the detections", 0),
    Column("ref_is_star", pa.bool_(), "", "src.class.starGalaxy", "Whether that is a star, by most detections; null if "
           "there is none", nullable=True),
    measured("host_sep_arcsec", "arcsec", "pos.angDistance", "Distance of the likely host, median of the detections",
             0),
    measured("host_dlr", "", "pos.angDistance;arith.ratio", "Directional light radii to the host, median", 0),
    measured("ssdistnr", "arcsec", "pos.angDistance", "Least distance of a known body of the solar system", 0),
    Column("known_name", TEXT, "", "meta.id.cross", "Known transient within 1 arcsec, by the lists given",
           nullable=True),
    measured("known_sep_arcsec", "arcsec", "pos.angDistance", "Distance of that transient", 0),
    measured("p_real", "", "stat.probability", "Highest p_real of a detection; null until a model has scored one", 0,
             1),
    Column("is_injected", pa.bool_(), "", "meta.code", "Put in to measure completeness; never in a release"),
    Column("flags", INT, "", "meta.code.qual", f"Bits that every detection has: {words(Flag)}", (0, None)),
    Column("frame_flags", INT, "", "meta.code.qual", f"Bits that every pair of images has: {words(FrameFlag)}",
           (0, None)),
    Column("selection", INT, "", "meta.code.qual", f"Bits of the selection: {words(Selection)}", (0, None)),
)  # fmt: skip

OBJECTS = Table(
    name="supernova_candidates",
    meaning="One object: candidates of all epochs and filters at one place.",
    columns=(_ID, *_DETECTED, *_WHAT, *UNSCORED),
    key=("object_id",),
    made_by="python -m jobs.select_supernovae",
)

LIGHT_CURVE = Table(
    name="forced_photometry",
    meaning="Flux of an object in one difference, at its mean place, whether it was detected there or not.",
    columns=(
        _ID,
        Column("pair_id", TEXT, "", "meta.id;obs.image", "The difference it was measured in"),
        Column("candidate_id", TEXT, "", "meta.id.assoc", "The detection there; null if there is none", nullable=True),
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter, by the header; empty if it does not say"),
        measured("mjd_mid", "d", "time.epoch;obs.exposure", "Middle of the exposure, MJD in time_scale"),
        _SCALE,
        measured("flux", "", "phot.flux;arith.diff", "Flux of the difference as a point source, signed, in flux_unit; "
                 "null where the pixel cannot be used"),
        measured("flux_err", "", "stat.error;phot.flux", "Standard error of flux, in flux_unit", 0),
        _UNIT,
        measured("snr", "", "stat.snr", "flux over flux_err"),
        measured("mag_ab", "mag", "phot.mag;arith.diff", "AB magnitude where snr is 3 or more; null else, and without "
                 "zero point"),
        measured("mag_err", "mag", "stat.error;phot.mag", "Standard error of mag_ab", 0),
        measured("flux_limit", "", "phot.flux;stat.max", "Flux that the object does not exceed with 3 sigma, in "
                 "flux_unit; null where snr is 3 or more", 0),
        measured("mag_limit", "mag", "phot.mag;stat.max", "flux_limit as AB magnitude; null without zero point"),
        Column("flags", INT, "", "meta.code.qual", "Bits of the mask within one FWHM, as the first of candidates",
               (0, None)),
    ),
    key=("object_id", "pair_id"),
    made_by="python -m jobs.select_supernovae",
)  # fmt: skip

MEMBERS = Table(
    name="supernova_detections",
    meaning="Which object a candidate is a detection of.",
    columns=(
        Column("candidate_id", TEXT, "", "meta.id;meta.main", "The candidate"),
        replace(_ID, ucd="meta.id.assoc"),
        Column("pair_id", TEXT, "", "meta.id;obs.image", "The difference it was found in"),
        Column("selection", INT, "", "meta.code.qual", "Bits of the object's selection", (0, None)),
    ),
    key=("candidate_id",),
    made_by="python -m jobs.select_supernovae",
)

#: Columns of objects for the screen.
BRIEF = (
    *("object_id", "ra", "dec", "n_det", "n_nondet", "mjd_first", "mjd_last", "snr_max", "mag_peak", "flux_peak"),
    *("filter_peak", "host_sep_arcsec", "known_name", "p_real", "flags", "selection"),
)
