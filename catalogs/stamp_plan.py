"""The inventory of an archive of stamps."""

from catalogs.columns import FLOAT, INT, LONG, SHA256, TEXT
from catalogs.table import Column, Table

__all__ = ["STAMP_PLAN"]

STAMP_PLAN = Table(
    name="stamp_plan",
    meaning="One file of the archive: what its name and header say, and whether it is taken.",
    columns=(
        Column("file", TEXT, "", "meta.id;meta.file;meta.main", "Path in the archive"),
        Column("size", LONG, "byte", "phys.size;meta.file", "Size of the file", (0, None)),
        Column("mtime", FLOAT, "s", "time.epoch", "When the file was last changed, Unix time"),
        Column("sha256", TEXT, "", "meta.checksum", "SHA-256 of the file as stored", nullable=True, pattern=SHA256),
        Column("source_id", TEXT, "", "meta.id", "Source, by the file's name", nullable=True),
        Column("survey", TEXT, "", "meta.id;obs", "Survey, by the file's name; unknown where that tells none"),
        Column("filter", TEXT, "", "meta.id;instr.filter", "Filter, as the survey calls it", nullable=True),
        Column("exptime_s", FLOAT, "s", "time.duration", "Exposure time by the header", (0, None), True),
        Column("told_ra", FLOAT, "deg", "pos.eq.ra", "Right ascension that the file tells", (0, 360), True),
        Column("told_dec", FLOAT, "deg", "pos.eq.dec", "Declination that the file tells", (-90, 90), True),
        Column("rank", INT, "", "meta.code.qual", "How it tells: 0 source, 1 pointing, 2 middle, 3 cut, 4 not",
               (0, 4), True),
        Column("ra", FLOAT, "deg", "pos.eq.ra;meta.main", "Right ascension of the source, of all its files", (0, 360),
               True),
        Column("dec", FLOAT, "deg", "pos.eq.dec;meta.main", "Declination of the source, of all its files", (-90, 90),
               True),
        Column("part", INT, "", "meta.id.part", "Partition", (0, None), True),
        Column("verdict", TEXT, "", "meta.code.status", "What the plan decided", pattern="accepted|rejected"),
        Column("reason", TEXT, "", "meta.code.error", "Reason code, if rejected", nullable=True),
        Column("message", TEXT, "", "meta.note", "What was wrong, in words", nullable=True),
    ),
    key=("file",),
    made_by="python -m jobs.ingest_stamps",
)  # fmt: skip
