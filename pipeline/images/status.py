"""What became of every image of the archive."""

import pandas as pd

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.images import plan
from pipeline.images.image import STAGE
from pipeline.partition import Key
from pipeline.stage import State, outcome_path

__all__ = ["outcomes"]


def outcomes(workspace: Folder) -> pd.DataFrame:
    """Return the final state of every image: those that the plan refused, and those that were tried.

    Parameters
    ----------
    workspace : Folder
        Holds plans, manifests and the tables of outcomes.

    Returns
    -------
    pandas.DataFrame
        survey, input, state, reason, message; sorted.
    """
    rows = []
    for survey in plan.surveys(workspace):
        table = plan.load(workspace, survey)
        assert table is not None
        refused = [row for row in table.to_pylist() if row["verdict"] == plan.REJECTED]
        rows += [row | {"state": str(State.REJECTED)} for row in refused]
    for text in manifest.committed(workspace, STAGE):
        key = Key.parse(text)
        table = write.read(workspace, outcome_path(STAGE, key), schema.OUTCOMES)
        rows += [row | {"survey": key.where.split("/")[0]} for row in table.to_pylist()]
    found = pd.DataFrame(rows, columns=["survey", *schema.OUTCOMES.names])
    return found.sort_values(["survey", "input"], ignore_index=True)
