"""Columns that several tables share: what a star, an observation and a provenance are called everywhere."""

import pyarrow as pa

from catalogs.table import Column

__all__ = [
    "CADENCE",
    "DEC",
    "END",
    "FLOAT",
    "GLS_PERIOD",
    "INT",
    "LONG",
    "PROVENANCE",
    "RA",
    "SECTOR",
    "SEGMENT",
    "START",
    "SHA256",
    "TEXT",
    "TIC",
    "TMAG",
]

TEXT, FLOAT, INT, LONG = pa.string(), pa.float64(), pa.int32(), pa.int64()
_MODEL_ID = r"[\w.-]+-[0-9a-f]{8}"

#: How a SHA-256 reads.
SHA256 = "[0-9a-f]{64}"

#: What tells where a row of a catalogue comes from. Times are in the manifest, never in a catalogue.
PROVENANCE = (
    Column("catalog_release", TEXT, ucd="meta.version", meaning="Release of the catalogue; immutable"),
    Column("model_id", TEXT, ucd="meta.id", meaning="Model that gave the score", pattern=_MODEL_ID),
    Column("model_sha256", TEXT, "", "meta.checksum", "SHA-256 of the model's weights", pattern=SHA256),
    Column("stage_version", INT, "", "meta.version", "Version of the stage that made the row", (1, None)),
    Column("settings_hash", TEXT, ucd="meta.checksum", meaning="Hash of that stage's settings"),
    Column("manifest_key", TEXT, ucd="meta.ref", meaning="Manifest with inputs, settings and times"),
)

TIC = Column("tic_id", LONG, "", "meta.id;meta.main", "TESS Input Catalog identifier", (0, None))
RA = Column("ra", FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS at epoch J2000 (TIC)", (0, 360), True)
DEC = Column("dec", FLOAT, "deg", "pos.eq.dec;meta.main", "Declination, ICRS at epoch J2000 (TIC)", (-90, 90), True)
TMAG = Column("tmag", FLOAT, "mag", "phot.mag;em.opt.I", "TESS magnitude (TIC)", (-5, 40), True)
SECTOR = Column("sector", INT, "", "meta.id;obs", "TESS sector", (1, 9999))
CADENCE = Column("cadence_s", FLOAT, "s", "time.resolution", "Time between cadences", (1, 7200))
SEGMENT = Column("segment", INT, "", "meta.id.part", "Number of the segment in its light curve, from 0", (0, None))
START = Column("t_start", FLOAT, "d", "time.start;obs", "First cadence used, BTJD = BJD(TDB) - 2457000")
END = Column("t_end", FLOAT, "d", "time.end;obs", "Last cadence used, BTJD = BJD(TDB) - 2457000")
GLS_PERIOD = Column(
    "gls_period",
    FLOAT,
    "d",
    "time.period;stat.Fourier",
    "Period of highest floating-mean Lomb-Scargle power; often half the orbital period",
    (0, None),
    True,
)
