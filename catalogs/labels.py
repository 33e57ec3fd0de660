"""The table of labels: what people said of items of catalogues; `catalogs.review` writes and counts them."""

import pyarrow as pa

from catalogs.columns import TEXT
from catalogs.table import Column, Table

__all__ = ["LABELS", "NAME"]

#: What names of products, types and queues look like.
NAME = r"[a-z0-9_]+"

LABELS = Table(
    name="labels",
    meaning="What somebody said of an item of a catalogue, or that they took it back.",
    columns=(
        Column("label_id", TEXT, "", "meta.id;meta.main", "When it was given, and something random",
               pattern=r"\d{8}T\d{12}-[0-9a-f]{12}"),
        Column("product", TEXT, "", "meta.id.part", "Catalogue that the item is of", pattern=NAME),
        Column("item_id", TEXT, "", "meta.id", "The item: candidate_id, or TIC and number", pattern=r"\S.{0,199}"),
        Column("label", TEXT, "", "meta.code.class", "What it is called; skip: cannot tell; undo: not what was said",
               pattern="real|bogus|skip|undo"),
        Column("type", TEXT, "", "src.class", "Kind of real or bogus, if it was given", nullable=True, pattern=NAME),
        Column("who", TEXT, "", "meta.id;meta.curation", "Name that they gave", pattern=r"\S.{0,79}"),
        Column("when", TEXT, "", "time.creation;meta.curation", "ISO 8601, UTC",
               pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
        Column("model_id", TEXT, "", "meta.id", "Model whose score they saw; null if none", nullable=True),
        Column("p", pa.float64(), "", "stat.probability", "That score; null if none", (0, 1), True),
        Column("why", TEXT, "", "meta.note", "Queue that the item came from", nullable=True, pattern=NAME),
        Column("undoes", TEXT, "", "meta.ref", "The label that is taken back; null unless label is undo",
               nullable=True),
    ),
    key=("label_id",),
    made_by="python -m jobs.serve",
)  # fmt: skip
