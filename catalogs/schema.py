"""What readers are promised: one table per product, each column with type, unit, UCD, meaning and bounds.

A schema is the single source of the Arrow types, of the check before every write, of the metadata of exports
and of the written documentation.
"""

import pyarrow as pa

from catalogs.table import CatalogError, Column, SchemaError, Table

__all__ = [
    "OUTCOMES",
    "PLAN",
    "PROVENANCE",
    "SCORES",
    "SEGMENTS",
    "STARS",
    "TABLES",
    "CatalogError",
    "Column",
    "SchemaError",
    "Table",
]

_TEXT, _FLOAT, _INT, _LONG = pa.string(), pa.float64(), pa.int32(), pa.int64()
_MODEL_ID = r"[\w.-]+-[0-9a-f]{8}"

#: What tells where a row of a catalogue comes from. Times are in the manifest, never in a catalogue.
PROVENANCE = (
    Column("catalog_release", _TEXT, ucd="meta.version", meaning="Release of the catalogue; immutable"),
    Column("model_id", _TEXT, ucd="meta.id", meaning="Model that gave the score", pattern=_MODEL_ID),
    Column("model_sha256", _TEXT, "", "meta.checksum", "SHA-256 of the model's weights", pattern="[0-9a-f]{64}"),
    Column("stage_version", _INT, "", "meta.version", "Version of the stage that made the row", (1, None)),
    Column("settings_hash", _TEXT, ucd="meta.checksum", meaning="Hash of that stage's settings"),
    Column("manifest_key", _TEXT, ucd="meta.ref", meaning="Manifest with inputs, settings and times"),
)

_TIC = Column("tic_id", _LONG, "", "meta.id;meta.main", "TESS Input Catalog identifier", (0, None))
_RA = Column("ra", _FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS at epoch J2000 (TIC)", (0, 360), True)
_DEC = Column("dec", _FLOAT, "deg", "pos.eq.dec;meta.main", "Declination, ICRS at epoch J2000 (TIC)", (-90, 90), True)
_TMAG = Column("tmag", _FLOAT, "mag", "phot.mag;em.opt.I", "TESS magnitude (TIC)", (-5, 40), True)
_SECTOR = Column("sector", _INT, "", "meta.id;obs", "TESS sector", (1, 9999))
_CADENCE = Column("cadence_s", _FLOAT, "s", "time.resolution", "Time between cadences", (1, 7200))
_SEGMENT = Column("segment", _INT, "", "meta.id.part", "Number of the segment in its light curve, from 0", (0, None))
_START = Column("t_start", _FLOAT, "d", "time.start;obs", "First cadence used, BTJD = BJD(TDB) - 2457000")
_END = Column("t_end", _FLOAT, "d", "time.end;obs", "Last cadence used, BTJD = BJD(TDB) - 2457000")
_PERIOD = Column(
    "gls_period",
    _FLOAT,
    "d",
    "time.period;stat.Fourier",
    "Period of highest floating-mean Lomb-Scargle power; often half the orbital period",
    (0, None),
    True,
)

SEGMENTS = Table(
    name="segments",
    meaning="Index of a partition of the curves store: one light-curve segment that a model sees.",
    columns=(
        Column("row", _LONG, "", "meta.record", "Row in the curves store", (0, None)),
        _SECTOR,
        _CADENCE,
        _TIC,
        _SEGMENT,
        _START,
        _END,
        Column("n_cadences", _INT, "", "meta.number;obs", "Good cadences, before the recipe cuts any", (0, None)),
        _PERIOD,
        Column(
            "gls_power",
            _FLOAT,
            "",
            "stat.value",
            "Power at that period, standard normalisation",
            (0, 1),
            True,
        ),
        Column("flux_median", _FLOAT, "electron/s", "phot.flux;stat.median", "Median PDCSAP flux", nullable=True),
        Column(
            "flux_min",
            _FLOAT,
            "electron/s",
            "phot.flux;stat.min",
            "Flux that the curve shows as 0",
            nullable=True,
        ),
        Column(
            "flux_max",
            _FLOAT,
            "electron/s",
            "phot.flux;stat.max",
            "Flux that the curve shows as 1",
            nullable=True,
        ),
        _RA,
        _DEC,
        _TMAG,
        Column("flags", _INT, "", "meta.code.qual", "Bits of the recipe that cut the segment", (0, None)),
    ),
    key=("sector", "cadence_s", "tic_id", "segment"),
    sort=("row",),
    made_by="python -m jobs.preprocess_sectors",
)

SCORES = Table(
    name="eclipsing_binary_scores",
    meaning="One segment of a light curve and a model's score for it.",
    columns=(
        _SECTOR,
        _CADENCE,
        _TIC,
        _SEGMENT,
        _START,
        _END,
        Column("score", _FLOAT, "", "stat.probability", "Model score: 1 eclipsing binary, 0 not", (0, 1)),
        *PROVENANCE,
    ),
    key=("sector", "cadence_s", "tic_id", "segment"),
    made_by="python -m jobs.score_sectors",
    combined_in="eclipsing_binaries",
)

STARS = Table(
    name="eclipsing_binaries",
    meaning="One star, all its segments of all sectors combined.",
    columns=(
        _TIC,
        _RA,
        _DEC,
        _TMAG,
        Column("sectors", pa.list_(_INT), "", "meta.id;obs", "TESS sectors scored, ascending", (1, 9999)),
        Column("n_segments", _INT, "", "meta.number;obs", "Segments combined, of one cadence a sector", (1, None)),
        Column("score", _FLOAT, "", "stat.probability", "Score of all segments combined", (0, 1)),
        Column("score_max", _FLOAT, "", "stat.probability;stat.max", "Highest score of a segment", (0, 1)),
        _PERIOD,
        *PROVENANCE,
    ),
    key=("tic_id",),
    made_by="python -m jobs.score_sectors",
)

OUTCOMES = Table(
    name="outcomes",
    meaning="The final state of one input of one stage.",
    columns=(
        Column("input", _TEXT, ucd="meta.id;meta.main", meaning="File or light curve"),
        Column(
            "state",
            _TEXT,
            "",
            "meta.code.status",
            "What became of it",
            pattern="done|nothing|rejected|failed",
        ),
        Column("reason", _TEXT, "", "meta.code.error", "Reason code, where it is not done", nullable=True),
        Column("message", _TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("input",),
)

# The plan holds what strangers' headers say, right or wrong: only our own columns are bounded.
PLAN = Table(
    name="plan",
    meaning="One file of the archive: what its header says and where its light curve goes.",
    columns=(
        Column("file", _TEXT, ucd="meta.id;meta.main", meaning="Path in the archive"),
        Column("size", _LONG, "byte", "phys.size;meta.file", "Size of the file", (0, None)),
        Column("checksum", _TEXT, "", "meta.checksum", "Checksum of the file", nullable=True),
        Column("tic_id", _LONG, "", "meta.id", "TIC identifier in the header", nullable=True),
        Column("sector", _INT, "", "meta.id;obs", "Sector in the header", nullable=True),
        Column("cadence_s", _FLOAT, "s", "time.resolution", "Time between cadences", nullable=True),
        Column("mtime", _FLOAT, "s", "time.epoch", "When the file was last changed, Unix time"),
        Column("data_rel", _INT, "", "meta.version", "Data release in the header", nullable=True),
        Column("date", _TEXT, "", "time.creation", "Date of the file in its header", nullable=True),
        Column("first_cadence", _LONG, "", "meta.number;obs", "First CADENCENO", nullable=True),
        Column("last_cadence", _LONG, "", "meta.number;obs", "Last CADENCENO", nullable=True),
        Column("row", _LONG, "", "meta.record", "Row in the light-curve store; null if rejected", (0, None), True),
        Column("partition", _INT, "", "meta.id.part", "Partition of that row; null if rejected", (0, None), True),
        Column("verdict", _TEXT, "", "meta.code.status", "What the plan decided", pattern="accepted|rejected"),
        Column("reason", _TEXT, "", "meta.code.error", "Reason code, if rejected", nullable=True),
        Column("message", _TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("file",),
    made_by="python -m jobs.ingest_sectors",
)

#: Catalogues that people query, by name.
TABLES = {table.name: table for table in (STARS, SCORES)}
