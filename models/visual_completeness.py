"""How complete a model of visual binaries is: a table that is kept with its weights, and laid beside its catalogue.

It is counted once, at the threshold of the model's card, and so for the card's prior and precision, whatever a
catalogue is asked for.
"""

import pandas as pd

from catalogs.figures import Picture
from catalogs.folder import Folder
from catalogs.visual_binaries import VISUAL_BINARIES
from models.registry import Entry
from models.visual_standing import VisualStanding
from pipeline.stamps import completeness, surveys

__all__ = ["FILE", "adopt", "figures", "kept"]

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
    # What cannot resolve a pair makes no double by itself, whatever the network says of it.
    scored = scored[scored["survey"].map(lambda name: surveys.able(surveys.get(name))).astype(bool)]
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
    where = _folder(entry)
    path = f"{where}/{FILE}"
    if not workspace.exists(path):
        table = completeness.read(entry.folder)
        if table is None:
            return None
        completeness.write(workspace, where, table)
    return workspace.url(path)


def figures(workspace: Folder, entry: Entry) -> list[Picture]:
    """Return the picture of the table beside a model's catalogue; none if there is no table.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue.
    entry : Entry
        The model.
    """
    table = completeness.read(workspace, _folder(entry))
    return [] if table is None else [completeness.draw(table)]


def _folder(entry: Entry) -> str:
    return f"catalogs/{VISUAL_BINARIES.name}/model={entry.id}"
