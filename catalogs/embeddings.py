"""The table of embeddings: numbers by which a network describes a candidate, kept beside its scores."""

import pyarrow as pa

from catalogs.columns import TEXT
from catalogs.table import Column, Table

__all__ = ["EMBEDDINGS"]

#: In ``catalogs/transient_candidates_embeddings/model=<id>/``, a file for each partition of scores.
EMBEDDINGS = Table(
    name="transient_candidates_embeddings",
    meaning="How a network describes a candidate; of use only beside other rows of the same model.",
    columns=(
        Column("candidate_id", TEXT, "", "meta.id;meta.main", "The candidate"),
        Column("embedding", pa.list_(pa.float32()), "", "stat.value", "Numbers, as many as the network has of them"),
    ),
    key=("candidate_id",),
    made_by="python -m jobs.score_candidates",
)
