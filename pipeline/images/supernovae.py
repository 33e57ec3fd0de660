"""Candidates of all epochs → objects with forced light curves and every reason for and against, as a snapshot.

::

    candidates → associate → objects → light curves in all differences → bits of the selection → snapshot

Everything follows from the candidates and the differences: epochs in any order, or all at once, give the same bytes.
What a model says of candidates comes from the catalogue of transient candidates, that of the model in production.
Candidates themselves are not written again: `catalogs.supernovae.MEMBERS` says whose detection each is, and
`catalogs.query` joins it to them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import transients, write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.supernovae import LIGHT_CURVE, MEMBERS, OBJECTS
from catalogs.transients import Transients
from pipeline.candidates import with_scores
from pipeline.errors import Missing
from pipeline.images.associate import associate
from pipeline.images.combine import SERIES
from pipeline.images.coverage import Coverage, Task, coverage, tasks
from pipeline.images.epochs import with_nondetections
from pipeline.images.select import P_REAL, select_supernovae
from pipeline.settings import AssociateSettings, SelectSettings, digest
from pipeline.snapshots import Series

__all__ = ["CURRENT", "VERSION", "Lists", "Tables", "catalogue", "combine", "read"]

#: The one file people open.
CURRENT = f"catalogs/{OBJECTS.name}.parquet"

#: To be raised whenever the same candidates and differences give other bytes.
VERSION = 1

#: Measures all tasks; the tables may come in any order.
Measure = Callable[[Sequence[Task]], Sequence[pd.DataFrame]]


@dataclass(frozen=True, eq=False)
class Lists:
    """What is known of the sky beforehand.

    Parameters
    ----------
    variables : pandas.DataFrame or None
        Known variables and active nuclei: ra, dec (deg).
    movers : pandas.DataFrame or None
        Known bodies of the solar system: name, mjd, ra, dec (deg).
    known : tuple of Transients
        Known transients, by which objects are named.
    """

    variables: pd.DataFrame | None = None
    movers: pd.DataFrame | None = None
    known: tuple[Transients, ...] = ()

    @property
    def digests(self) -> dict[str, Any]:
        """What tells these lists from others."""
        tables = {"variables": self.variables, "movers": self.movers}
        found: dict[str, Any] = {
            name: None if t is None else digest(t.to_csv(index=False)) for name, t in tables.items()
        }
        return found | {"known": sorted(digest(one.table.to_csv(index=False)) for one in self.known)}


@dataclass(frozen=True, eq=False)
class Tables:
    """The catalogue of supernova candidates, but for its provenance.

    Parameters
    ----------
    objects, curves, members : pandas.DataFrame
        As `OBJECTS`, `LIGHT_CURVE` and `MEMBERS` want them.
    """

    objects: pd.DataFrame
    curves: pd.DataFrame
    members: pd.DataFrame


def catalogue(
    candidates: pd.DataFrame,
    frames: pd.DataFrame,
    measure: Measure,
    association: AssociateSettings,
    selection: SelectSettings,
    lists: Lists | None = None,
) -> Tables:
    """Return objects, their light curves, and which detections are whose.

    Parameters
    ----------
    candidates : pandas.DataFrame
        As `CANDIDATES`, of all epochs, in any order.
    frames : pandas.DataFrame
        Differences, as in `pipeline.images.coverage.Coverage`.
    measure : callable
        Tasks → tables, as `pipeline.images.coverage.photographed` gives them.
    association, selection : AssociateSettings, SelectSettings
        Distances and limits.
    lists : Lists, optional
        What is known beforehand.
    """
    lists = lists or Lists()
    detections, objects = associate(candidates, association)
    objects = _named(objects, lists.known)
    found = [table for table in measure(tasks(frames, objects, detections)) if len(table)]
    curves = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=LIGHT_CURVE.names)
    curves = curves.sort_values(["object_id", "pair_id"], ignore_index=True)
    objects = select_supernovae(
        with_nondetections(objects, curves), detections, selection, curves=curves, variables=lists.variables,
        ephemerides=lists.movers,
    )  # fmt: skip
    members = detections.loc[detections["object_id"].notna(), ["candidate_id", "object_id", "pair_id"]]
    bits = objects.set_index("object_id")["selection"]
    return Tables(objects, curves, members.assign(selection=members["object_id"].map(bits).astype("int32")))


def _named(objects: pd.DataFrame, known: Sequence[Transients]) -> pd.DataFrame:
    """Return objects with the known transients that the lists given now have; those named before keep their names."""
    if not known or not len(objects):
        return objects
    names, separation = transients.label(objects["ra"], objects["dec"], known)
    fresh = objects["known_name"].isna().to_numpy() & np.array([name is not None for name in names])
    told = pd.Series(names, objects.index, dtype=object)
    return objects.assign(
        known_name=objects["known_name"].astype(object).where(~fresh, told),
        known_sep_arcsec=np.where(fresh, separation, objects["known_sep_arcsec"].astype(float)),
    )


def combine(
    workspace: Folder,
    measure: Measure,
    association: AssociateSettings,
    selection: SelectSettings,
    lists: Lists | None = None,
) -> dict[str, int]:
    """Make the catalogue of a workspace's candidates, commit it and make it the one people open.

    Parameters
    ----------
    workspace : Folder
        Holds candidates and differences.
    measure : callable
        See `catalogue`.
    association, selection : AssociateSettings, SelectSettings
        Distances and limits.
    lists : Lists, optional
        What is known beforehand.

    Returns
    -------
    dict
        Name of the table → rows.

    Raises
    ------
    Missing
        If there are no candidates yet, or their differences are not all committed.
    Stale
        If a difference was made from what has changed since.
    """
    started, lists = time.time(), lists or Lists()
    candidates, source = _candidates(workspace)
    candidates, scored = with_scores(workspace, candidates)
    if selection.p_real is None:
        selection = selection.model_copy(update={"p_real": P_REAL if scored is None else scored.threshold})
    known = _covering(workspace, candidates)
    settings = {
        "associate": association.model_dump(mode="json"), "select": selection.model_dump(mode="json"),
        "lists": lists.digests,
    }  # fmt: skip
    upstream, model = known.upstream | source | (scored.source if scored else {}), _model(candidates)
    release = digest([upstream, VERSION, settings])[:16]
    series = {table.name: Series(table, VERSION, model["model_id"] or "") for table in _TABLES}
    done = {name: one.find(workspace, release) for name, one in series.items()}
    if None in done.values():
        made = catalogue(candidates, known.frames, measure, association, selection, lists)
        for table, rows in zip(_TABLES, (made.curves, made.members, made.objects), strict=True):
            own = series[table.name]
            origin = {n: v for n, v in (own.provenance(release, settings) | model).items() if n in table.names}
            done[table.name] = own.commit(
                workspace, release, pa.Table.from_pandas(rows.assign(**origin), preserve_index=False),
                settings=settings, upstream=upstream, inputs=len(candidates), started=started,
            )  # fmt: skip
    for own in series.values():
        if (snapshot := own.renewed(workspace, release)) is not None:
            own.publish(workspace, snapshot)
    return {name: snapshot.rows for name, snapshot in done.items() if snapshot is not None}


#: In the order in which they are committed and published: objects last, as they lead to the others.
_TABLES = (LIGHT_CURVE, MEMBERS, OBJECTS)


def _candidates(workspace: Folder) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the candidates, and their table with its release."""
    newest = SERIES.newest(workspace)
    if newest is None:
        raise Missing(f"{workspace.url(SERIES.current)}: no candidates yet; run difference_images")
    # By its release: the number of a snapshot depends on what was made before.
    return write.read(workspace, newest.path, CANDIDATES).to_pandas(), {SERIES.current: newest.release}


def _covering(workspace: Folder, candidates: pd.DataFrame) -> Coverage:
    known = coverage(workspace)
    if missing := sorted(set(candidates["pair_id"]) - set(known.frames["pair_id"])):
        raise Missing(f"{workspace}: no difference of {', '.join(missing[:3])}; run difference_images again")
    return known


def _model(candidates: pd.DataFrame) -> dict[str, Any]:
    """Return the model that scored the candidates, if one did."""
    scored = candidates.dropna(subset=["model_id"])
    if not len(scored):
        return {"model_id": None, "model_sha256": None}
    return {name: str(scored[name].iloc[0]) for name in ("model_id", "model_sha256")}


def read(workspace: Folder) -> Tables:
    """Return the catalogue that people open.

    Parameters
    ----------
    workspace : Folder
        Holds it.

    Raises
    ------
    Missing
        If there is none yet.
    """
    if not workspace.exists(CURRENT):
        raise Missing(f"{workspace.url(CURRENT)}: no supernova candidates yet; run select_supernovae")
    curves, members, objects = (
        write.read(workspace, f"catalogs/{table.name}.parquet", table).to_pandas() for table in _TABLES
    )
    return Tables(objects, curves, members)
