"""What readers are promised: one table per product, each column with type, unit, UCD, meaning and bounds.

A schema is the single source of the Arrow types, of the check before every write, of the metadata of exports
and of the written documentation.
"""

from catalogs.binaries import STARS, SYSTEMS, classes
from catalogs.candidates import CANDIDATES
from catalogs.columns import (
    CADENCE,
    DEC,
    END,
    FLOAT,
    GLS_PERIOD,
    INT,
    LONG,
    PROVENANCE,
    RA,
    SECTOR,
    SEGMENT,
    START,
    TEXT,
    TIC,
    TMAG,
)
from catalogs.labels import LABELS
from catalogs.monitor import MONITOR
from catalogs.recovery import COMPLETENESS, INJECTIONS, RELIABILITY
from catalogs.supernovae import LIGHT_CURVE, MEMBERS, OBJECTS
from catalogs.table import CatalogError, Column, SchemaError, Table
from catalogs.transient_candidates import TRANSIENT_CANDIDATES
from catalogs.triplets import TRIPLETS
from catalogs.visual_binaries import VISUAL_BINARIES, VISUAL_BINARY_FILTERS

__all__ = [
    "CANDIDATES",
    "COMPLETENESS",
    "INJECTIONS",
    "LABELS",
    "LIGHT_CURVE",
    "MEMBERS",
    "MONITOR",
    "OBJECTS",
    "OUTCOMES",
    "PLAN",
    "PROVENANCE",
    "RELIABILITY",
    "SCORES",
    "SEGMENTS",
    "STARS",
    "SYSTEMS",
    "TABLES",
    "TRAINING",
    "TRIPLETS",
    "TRANSIENT_CANDIDATES",
    "VISUAL_BINARIES",
    "VISUAL_BINARY_FILTERS",
    "CatalogError",
    "Column",
    "SchemaError",
    "Table",
]

SEGMENTS = Table(
    name="segments",
    meaning="Index of a partition of the curves store: one light-curve segment that a model sees.",
    columns=(
        Column("row", LONG, "", "meta.record", "Row in the curves store", (0, None)),
        SECTOR,
        CADENCE,
        TIC,
        SEGMENT,
        START,
        END,
        Column("n_cadences", INT, "", "meta.number;obs", "Good cadences, before the recipe cuts any", (0, None)),
        GLS_PERIOD,
        Column(
            "gls_power",
            FLOAT,
            "",
            "stat.value",
            "Power at that period, standard normalisation",
            (0, 1),
            True,
        ),
        Column("flux_median", FLOAT, "electron/s", "phot.flux;stat.median", "Median PDCSAP flux", nullable=True),
        Column(
            "flux_min",
            FLOAT,
            "electron/s",
            "phot.flux;stat.min",
            "Flux that the curve shows as 0",
            nullable=True,
        ),
        Column(
            "flux_max",
            FLOAT,
            "electron/s",
            "phot.flux;stat.max",
            "Flux that the curve shows as 1",
            nullable=True,
        ),
        RA,
        DEC,
        TMAG,
        Column("flags", INT, "", "meta.code.qual", "Bits of the recipe that cut the segment", (0, None)),
    ),
    key=("sector", "cadence_s", "tic_id", "segment"),
    sort=("row",),
    made_by="python -m jobs.preprocess_sectors",
)

SCORES = Table(
    name="eclipsing_binary_scores",
    meaning="One segment of a light curve and a model's score for it.",
    columns=(
        SECTOR,
        CADENCE,
        TIC,
        SEGMENT,
        START,
        END,
        Column("score", FLOAT, "", "stat.probability", "Model score: 1 eclipsing binary, 0 not", (0, 1)),
        *classes(),
        *PROVENANCE,
    ),
    key=("sector", "cadence_s", "tic_id", "segment"),
    made_by="python -m jobs.score_sectors",
    combined_in="eclipsing_binaries",
)

TRAINING = Table(
    name="training",
    meaning="Index of a partition of a training set: one segment and what it shows.",
    columns=(
        Column("row", LONG, "", "meta.record", "Row in the store", (0, None)),
        TIC,
        Column("sector", INT, "", "meta.id;obs", "TESS sector; 0 if unknown", (0, 9999)),
        CADENCE,
        SEGMENT,
        START,
        END,
        Column("klass", TEXT, "", "meta.code.class", "What the segment shows", pattern="other|ELL|EA|EB|EW|E"),
        Column("kind", TEXT, "", "meta.note", "What the star is, as simulated or labelled"),
        Column("morph", FLOAT, "", "src.class", "Morphology, 0 detached to 1 ellipsoidal", nullable=True),
        Column("weight", FLOAT, "", "stat.weight", "In training; 0 where nothing is to be learnt", (0, None)),
    ),
    key=("row",),
    made_by="python -m jobs.train --model eb",
)

OUTCOMES = Table(
    name="outcomes",
    meaning="The final state of one input of one stage.",
    columns=(
        Column("input", TEXT, ucd="meta.id;meta.main", meaning="File or light curve"),
        Column(
            "state",
            TEXT,
            "",
            "meta.code.status",
            "What became of it",
            pattern="done|nothing|rejected|failed",
        ),
        Column("reason", TEXT, "", "meta.code.error", "Reason code, where it is not done", nullable=True),
        Column("message", TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("input",),
)

# The plan holds what strangers' headers say, right or wrong: only our own columns are bounded.
PLAN = Table(
    name="plan",
    meaning="One file of the archive: what its header says and where its light curve goes.",
    columns=(
        Column("file", TEXT, ucd="meta.id;meta.main", meaning="Path in the archive"),
        Column("size", LONG, "byte", "phys.size;meta.file", "Size of the file", (0, None)),
        Column("checksum", TEXT, "", "meta.checksum", "Checksum of the file", nullable=True),
        Column("tic_id", LONG, "", "meta.id", "TIC identifier in the header", nullable=True),
        Column("sector", INT, "", "meta.id;obs", "Sector in the header", nullable=True),
        Column("cadence_s", FLOAT, "s", "time.resolution", "Time between cadences", nullable=True),
        Column("mtime", FLOAT, "s", "time.epoch", "When the file was last changed, Unix time"),
        Column("data_rel", INT, "", "meta.version", "Data release in the header", nullable=True),
        Column("date", TEXT, "", "time.creation", "Date of the file in its header", nullable=True),
        Column("first_cadence", LONG, "", "meta.number;obs", "First CADENCENO", nullable=True),
        Column("last_cadence", LONG, "", "meta.number;obs", "Last CADENCENO", nullable=True),
        Column("row", LONG, "", "meta.record", "Row in the light-curve store; null if rejected", (0, None), True),
        Column("partition", INT, "", "meta.id.part", "Partition of that row; null if rejected", (0, None), True),
        Column("verdict", TEXT, "", "meta.code.status", "What the plan decided", pattern="accepted|rejected"),
        Column("reason", TEXT, "", "meta.code.error", "Reason code, if rejected", nullable=True),
        Column("message", TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("file",),
    made_by="python -m jobs.ingest_sectors",
)

_QUERIED = (STARS, SCORES, CANDIDATES, OBJECTS, LIGHT_CURVE, MEMBERS, TRANSIENT_CANDIDATES, VISUAL_BINARIES,
            VISUAL_BINARY_FILTERS)  # fmt: skip

#: Catalogues that people query, by name.
TABLES = {table.name: table for table in _QUERIED}
