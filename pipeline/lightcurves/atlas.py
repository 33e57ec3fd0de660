"""The vetting pages of the best candidates: tasks that workers draw in any order, then the index.

Pages keep their names while the catalogue does; what an older catalogue left is removed last, once all else is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline.errors import Missing
from pipeline.lightcurves import candidate, plan
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.snapshot import CURRENT
from pipeline.lightcurves.star import load
from pipeline.partition import where

__all__ = ["PATH", "Task", "complete", "draw", "ranked", "spoil", "tasks"]

#: Where the pages lie in the workspace.
PATH = "reports/candidates"

#: The report, as the pages see it.
_REPORT = "../eclipsing_binaries.html"

_EPHEMERIS = {field.name: field.type for field in fields(Ephemeris)}


@dataclass(frozen=True, eq=False)
class Task:
    """What a worker needs for the page of one candidate.

    Parameters
    ----------
    rank : int
        From 1.
    neighbours : tuple of str
        Names of the pages before and after, empty where there is none.
    sources : tuple of tuple
        Store and row of the star's light curves.
    row : dict
        Its row of the catalogue.
    ephemerides : tuple of Ephemeris
        Systems of the star.
    """

    rank: int
    neighbours: tuple[str, str]
    sources: tuple[tuple[str, int], ...]
    row: Mapping[str, Any]
    ephemerides: tuple[Ephemeris, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Star and system."""
        return int(self.row["tic_id"]), int(self.row["eb_id"])

    @property
    def name(self) -> str:
        """Name of the page."""
        return candidate.page_path(self.rank, *self.key)


def ranked(workspace: Folder) -> pd.DataFrame:
    """Return the published catalogue, the most probable eclipsing binaries first.

    Raises
    ------
    Missing
        If there is none yet.
    """
    if not workspace.exists(CURRENT):
        raise Missing(f"{workspace.url(CURRENT)}: no catalogue to report on; run score_sectors")
    systems = write.read(workspace, CURRENT, schema.STARS).to_pandas()
    order = ["p_eb", "score_max", "tic_id", "eb_id"]
    return systems.sort_values(order, ascending=[False, False, True, True], ignore_index=True)


def tasks(workspace: Folder, most: int) -> list[Task]:
    """Return the pages to draw, by rank: of the systems of tier high and low the first `most`.

    Parameters
    ----------
    workspace : Folder
        Holds the catalogue and the plans of its sectors.
    most : int
        Largest number of pages.

    Raises
    ------
    Missing
        If there is no catalogue yet.
    """
    systems = ranked(workspace)
    rows = systems[systems["tier"] != "none"].head(most).to_dict("records")
    stars = {int(row["tic_id"]) for row in rows}
    every = systems[systems["tic_id"].isin(stars) & systems["period_flag"].notna()].sort_values("eb_id")
    found: dict[int, list[Ephemeris]] = {}
    for system in every.to_dict("records"):
        found.setdefault(int(system["tic_id"]), []).append(_ephemeris(system))
    places = _places(workspace, stars, {store for row in rows for store in _stores(row)})
    names = ["", *(candidate.page_path(rank, row["tic_id"], row["eb_id"]) for rank, row in enumerate(rows, 1)), ""]
    return [
        Task(
            rank,
            (names[rank - 1], names[rank + 1]),
            tuple((store, places[store, row["tic_id"]]) for store in _stores(row) if (store, row["tic_id"]) in places),
            row,
            tuple(found.get(int(row["tic_id"]), ())),
        )
        for rank, row in enumerate(rows, 1)
    ]


def _ephemeris(row: Mapping[str, Any]) -> Ephemeris:
    """Return the ephemeris of a row, whose integers are floats where others in their column are null."""
    values: dict[str, Any] = {name: int(row[name]) if kind is int else row[name] for name, kind in _EPHEMERIS.items()}
    return Ephemeris(**values)


def _stores(row: Mapping[str, Any]) -> Iterator[str]:
    return (where(int(sector), cadence) for sector, cadence in zip(row["sectors"], row["cadence_s"], strict=True))


def _places(workspace: Folder, stars: set[int], stores: set[str]) -> dict[tuple[str, int], int]:
    """Return the row of each star in each store."""
    wanted = pa.array(sorted(stars), pa.int64())
    places: dict[tuple[str, int], int] = {}
    for store in sorted(stores):
        table = plan.load(workspace, store)
        if table is not None:
            kept = table.filter(pc.and_(pc.is_in(table["tic_id"], wanted), pc.is_valid(table["row"])))
            places |= {
                (store, tic): row for tic, row in zip(*kept.select(["tic_id", "row"]).to_pydict().values(), strict=True)
            }
    return places


def draw(workspace: Folder, batch: Sequence[Task]) -> list[tuple[str, str]]:
    """Write the pages of some candidates; one that fails gets a page that says so, and the others go on.

    Parameters
    ----------
    workspace : Folder
        Holds the light curves, receives the pages.
    batch : sequence of Task
        Pages to write.

    Returns
    -------
    list of tuple
        Page and error, empty if there was none, of each.
    """
    folder, done = workspace.child(PATH), []
    for task in batch:
        try:
            star = load(workspace, task.sources)
            candidate.write_candidate(folder, task.rank, task.neighbours, star, task.row, task.ephemerides)
            done.append((task.name, ""))
        except Exception as error:  # noqa: BLE001 — whatever it was, it was this star's
            done.append(spoil(workspace, task, f"{type(error).__name__}: {error}"))
    return done


def spoil(workspace: Folder, task: Task, error: str) -> tuple[str, str]:
    """Write a page that says why a candidate could not be drawn; return its name and the error."""
    candidate.write_failure(workspace.child(PATH), task.rank, task.neighbours, task.row, error)
    return task.name, error


def complete(workspace: Folder, drawn: Sequence[Task]) -> dict[tuple[int, int], str]:
    """Write the index, and remove pages that are not of these.

    Parameters
    ----------
    workspace : Folder
        Holds the pages.
    drawn : sequence of Task
        All of them, by rank.

    Returns
    -------
    dict
        Star and system → page, as seen from the folder of the report.
    """
    folder = workspace.child(PATH)
    candidate.write_index(folder, pd.DataFrame([task.row for task in drawn]), _REPORT)
    pages = -(-len(drawn) // candidate.ROWS)
    wanted = {task.name for task in drawn} | {candidate.index_path(number) for number in range(pages)}
    for entry in folder.files():
        if entry.path.endswith(".html") and entry.path not in wanted:
            folder.remove(entry.path)
    return {task.key: f"{PATH.rpartition('/')[2]}/{task.name}" for task in drawn}
