"""Where stacks and what is made of them lie in a workspace, and the stages that make them: names alone, no code."""

from catalogs.visual_binaries import VISUAL_SCORES
from pipeline.partition import Key

__all__ = ["INGEST", "MEASURE", "SCORE", "STACK", "score_folder", "score_key", "stacks_index", "stacks_key",
           "stacks_store"]  # fmt: skip

#: The stages, in order.
INGEST, STACK, MEASURE, SCORE = "ingest_stamps", "stack_stamps", "measure_stamps", "score_stamps"


def score_folder(model_id: str) -> str:
    """Return the folder of a model's partitions of scores, below ``catalogs/``."""
    return f"{VISUAL_SCORES.name}/model={model_id}"


def score_key(model_id: str, stacks: Key) -> Key:
    """Return the key of the scores of a partition of stacks; it is the path below ``catalogs/`` too."""
    return Key(VISUAL_SCORES.name, f"model={model_id}/survey={stacks.where}", stacks.part)


def stacks_key(key: Key) -> Key:
    """Return the partition of stacks that a partition of scores is made from."""
    return Key("stacks", key.where.rpartition("survey=")[2], key.part)


def stacks_store(key: Key) -> str:
    """Return where the stacks of a survey lie."""
    return f"{key.product}/{key.where}.zarr"


def stacks_index(key: Key) -> str:
    """Return where the index of a partition of stacks lies."""
    return f"{key.product}/{key.where}.index/part-{key.part:05d}.parquet"
