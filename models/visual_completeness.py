"""How complete a model of visual binaries is: a table that is kept with its weights, and laid beside its catalogue."""

import pandas as pd

from catalogs.folder import Folder
from catalogs.visual_binaries import VISUAL_BINARIES
from models.registry import Entry
from models.visual_standing import VisualStanding
from pipeline.stamps import completeness

__all__ = ["FILE", "adopt", "kept"]

#: Beside the weights.
FILE = "completeness.parquet"


def kept(scored: pd.DataFrame, standing: VisualStanding) -> dict[str, bytes]:
    """Return the file that is to be kept with a model, by its name.

    Parameters
    ----------
    scored : pandas.DataFrame
        Stacks that nothing was learnt from: columns of `catalogs.stamps.LESSONS` and of `models.visual.read`.
    standing : VisualStanding
        Where the model stands: what its scores mean, and its threshold.
    """
    p = standing.p_prior(standing.odds(standing.evidence(scored)))
    return {FILE: completeness.to_bytes(completeness.table(scored.assign(p=p), standing.threshold))}


def adopt(workspace: Folder, entry: Entry) -> str | None:
    """Lay what is kept with a model beside its catalogue, with a picture, unless it lies there.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue.
    entry : Entry
        The model.

    Returns
    -------
    str or None
        Full address of the table; None if nothing is kept with the model.
    """
    where = f"catalogs/{VISUAL_BINARIES.name}/model={entry.id}"
    path = f"{where}/{FILE}"
    if not workspace.exists(path):
        table = completeness.read(entry.folder)
        if table is None:
            return None
        completeness.write(workspace, where, table)
    return workspace.url(path)
