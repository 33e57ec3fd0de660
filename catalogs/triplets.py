"""Index of the triplets that real/bogus networks learn from: one row a triplet, what it shows and how that is known."""

from catalogs.candidates import measured
from catalogs.columns import DEC, FLOAT, INT, LONG, RA, TEXT
from catalogs.table import Column, Table

__all__ = ["BOGUS", "ENVIRONMENTS", "REAL", "SIZE", "TRIPLETS"]

#: Pixels on a side of a triplet, what braai and its kin were trained on.
SIZE = 63

#: Kind of a real candidate → what it means; empty where only that it is real is known.
REAL = {
    "transient": "a new source, or one gone",
    "variable": "a star or a nucleus that has changed",
    "mover": "a body of the Solar System",
}

#: Kind of a bogus candidate → what it means; empty where only that it is bogus is known.
BOGUS = {
    "cosmic_ray": "a particle's track",
    "hot": "a hot pixel",
    "dead": "a dead pixel or column",
    "trail": "a satellite's or an aircraft's trail",
    "residue": "what is left of a star or galaxy where PSFs or counts do not match",
    "dipole": "the same with both signs side by side: misregistration",
    "edge": "the edge of a frame",
    "saturated": "what is left of a saturated star",
    "noise": "none of these",
}

#: Where a real candidate lies; empty where that is not known, or it is bogus.
ENVIRONMENTS = ("blank", "core", "disk", "star")


def _words(kinds: dict[str, str]) -> str:
    return "; ".join(f"{kind}: {meaning}" for kind, meaning in kinds.items())


TRIPLETS = Table(
    name="triplets",
    meaning="Index of a partition of a set of triplets to learn from: one triplet and what it shows.",
    columns=(
        Column("row", LONG, "", "meta.record", "Row in the store", (0, None)),
        Column("candidate_id", TEXT, "", "meta.id;meta.main", "The candidate, in its set, catalogue or survey"),
        Column("field", TEXT, "", "meta.id;obs.field", "What is split by: nothing of one field is in two folds"),
        Column("object_id", TEXT, "", "meta.id;src", "The object, the same in all its triplets"),
        Column("survey", TEXT, "", "meta.id;obs", "Survey, camera or simulated camera"),
        Column("ccd", TEXT, "", "meta.id;instr.det", "Detector; empty if unknown"),
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter; empty if unknown"),
        measured("mjd_mid", "d", "time.epoch;obs.exposure", "Middle of the science exposure, MJD"),
        RA,
        DEC,
        measured("pixscale", "arcsec/pixel", "pos.angResolution", "Arcsec a pixel of the triplet", 0),
        measured("seeing_px", "pixel", "instr.obsty.seeing", "FWHM of the science image", 0),
        measured("ref_seeing_px", "pixel", "instr.obsty.seeing", "FWHM of the reference", 0),
        measured("snr", "", "stat.snr", "Signal to noise of the detection; below 0 if it is negative"),
        Column("flags", INT, "", "meta.code.qual", "As in the table candidates; null if unknown", (0, None), True),
        Column("environment", TEXT, "", "meta.code.class", "Where a real one lies",
               pattern="|".join(("", *ENVIRONMENTS))),
        measured("host_sep_arcsec", "arcsec", "pos.angDistance", "Distance from the middle of the likely host", 0),
        measured("host_dlr", "", "pos.angDistance", "The same over the host's light radius in that direction", 0),
        Column("label", INT, "", "meta.code.class", "1: the change of flux is astrophysical; 0: it is not", (0, 1)),
        Column("kind", TEXT, "", "meta.code.class", _words(REAL | BOGUS), pattern="|".join(("", *REAL, *BOGUS))),
        Column("weight", FLOAT, "", "stat.weight", "In training; 0 where nothing is to be learnt", (0, None)),
    ),
    key=("row",),
    made_by="python -m jobs.train --model realbogus",
)  # fmt: skip
