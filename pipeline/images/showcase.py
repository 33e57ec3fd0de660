"""Pictures of whole differences, for the pages of supernova candidates."""

from collections.abc import Sequence
from dataclasses import replace

from catalogs.figures import Picture
from catalogs.folder import Folder
from catalogs.supernovae import is_selected
from pipeline import manifest
from pipeline.images import delivery, roster, supernovae
from pipeline.images.difference import DIFFERENCE, DifferenceImages
from pipeline.partition import Key
from pipeline.settings import DifferenceSettings

__all__ = ["panels", "telling"]

#: Differences that are shown, at most: a picture of one takes as long as ten pages.
_PANELS = 1


def panels(workspace: Folder, batch: Sequence[str]) -> list[tuple[str, Picture]]:
    """Draw differences; return the picture of each pair_id. Pairs that the plan of pairs does not name are left out.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    batch : sequence of str
        Their pair_id.
    """
    plan, drawn = roster.load(workspace), []
    for pair_id in batch:
        row = {} if plan is None else roster.rows(plan).get(pair_id, {})
        record = manifest.read(workspace, DIFFERENCE, Key("differences", pair_id, 0))
        if row and record is not None:
            stage = DifferenceImages(workspace, {pair_id: row}, DifferenceSettings(**record.settings))
            result = delivery.Result(workspace, stage, "")
            drawn.append((pair_id, replace(delivery.picture(result, *delivery.survey(result)), plot=False)))
    return drawn


def telling(workspace: Folder) -> list[str]:
    """Return the pair_id of the differences that detect most of what is selected, `_PANELS` at most.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue.
    """
    members = supernovae.read(workspace).members
    counts = members[is_selected(members["selection"])].groupby("pair_id").size()
    return list(counts.sort_index().sort_values(ascending=False, kind="stable").index[:_PANELS])
