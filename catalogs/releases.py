"""Which files make up a catalogue, now or as of an earlier snapshot, release or time.

Only what is committed exists: a partition or snapshot without its manifest is left out. The state of a model's
catalogue is the snapshot that was made last. One that is made once more, as when a catalogue goes back to its former
prior, is not written again: ``manifest/again/`` remembers that it has become the newest.
"""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from catalogs.folder import Folder
from catalogs.schema import TABLES, CatalogError
from catalogs.table import Table
from catalogs.write import read

__all__ = ["CatalogNotFound", "QueryError", "Release", "releases", "renew", "sources"]

_COMBINED, _SCORED, _AGAIN = "manifest/combine", "manifest/score", "manifest/again"


class QueryError(CatalogError):
    """A question that a catalogue cannot answer; the message says what to ask instead."""

    exit_status = 2


class CatalogNotFound(QueryError, FileNotFoundError):
    """No such catalogue yet; the message names the command that makes it."""


@dataclass(frozen=True, order=True)
class Release:
    """A committed snapshot of a catalogue: its number, release name, file, and when it was finished."""

    number: int
    name: str
    path: str
    finished: datetime


def sources(
    folder: Folder, catalog: str, as_of: int | str | datetime | None = None, model: str | None = None
) -> list[str]:
    """Return the paths of the Parquet files that hold a catalogue.

    Parameters
    ----------
    folder : Folder
        The workspace.
    catalog : str
        Name of the catalogue.
    as_of : int or str or datetime, optional
        Number of a snapshot, release, ISO date (its end) or time (UTC if it names no zone); now if left out.
    model : str, optional
        Model id; the model of the published catalogue if left out.

    Raises
    ------
    CatalogNotFound
        If there is no such catalogue yet.
    QueryError
        If there is none of that name, or none as of then, or of several models none is named.
    """
    if catalog not in TABLES:
        raise QueryError(f"there is no catalogue {catalog!r}; there are {', '.join(sorted(TABLES))}")
    table = TABLES[catalog]
    published = f"catalogs/{table.combined_in or catalog}.parquet"
    if table.combined_in and as_of is not None:
        raise QueryError(f"as_of: {catalog} is written once and has no older states; leave as_of out")
    if table.combined_in:
        keys = _keys(folder, _SCORED, catalog, model or _published_model(folder, published))
        found = [f"catalogs/{key}.parquet" for key in keys]
    elif as_of is None and model is None:
        found = [published] if folder.exists(published) else []
    else:
        known = releases(folder, catalog, model or _published_model(folder, published))
        found = [(known[-1] if as_of is None else _as_of(known, as_of)).path] if known else []
    if not found:
        raise CatalogNotFound(_absence(folder, table, model))
    return found


def releases(folder: Folder, catalog: str, model: str | None = None) -> list[Release]:
    """Return the states of a catalogue, one after the other: its committed snapshots, the newest last.

    A snapshot that became the newest once more stands there once more, finished when it did.

    Raises
    ------
    QueryError
        If there are snapshots of several models and none is named, or a manifest does not parse.
    """
    made = {one.name: one for one in (_release(folder, key) for key in _keys(folder, _COMBINED, catalog, model))}
    states = [((one.number, 0), one) for one in made.values()]
    for key in _keys(folder, _AGAIN, catalog, model) if made else []:
        number, _, count = key.rpartition("/")[2].partition("-")
        name, finished = _again(folder, key)
        if name in made:
            states.append(((int(number), int(count)), replace(made[name], finished=finished)))
    return [release for _, release in sorted(states, key=lambda state: state[0])]


def renew(folder: Folder, catalog: str, model: str | None, name: str) -> None:
    """Make a committed snapshot the newest state of a model's catalogue, unless it is.

    Parameters
    ----------
    folder : Folder
        The workspace.
    catalog, model : str
        Whose snapshot it is; None for a catalogue that no model makes.
    name : str
        Its release.
    """
    states = releases(folder, catalog, model)
    if states[-1].name == name:
        return
    content = json.dumps({"release": name, "finished": datetime.now(UTC).isoformat(timespec="milliseconds")})
    # Named by the snapshot that it comes after: no clock decides what is newest.
    below = f"{_AGAIN}/{catalog}" + (f"/model={model}" if model else "")
    where, count = f"{below}/{max(state.number for state in states):06d}", 1
    while not folder.create(f"{where}-{count:06d}.json", content.encode()):
        count += 1


def _again(folder: Folder, key: str) -> tuple[str, datetime]:
    """Return which release became the newest once more, and when."""
    name = f"{_AGAIN}/{key}.json"
    try:
        content = json.loads(folder.read(name))
        return str(content["release"]), _utc(datetime.fromisoformat(content["finished"]))
    except (ValueError, KeyError, TypeError) as error:
        raise QueryError(f"{folder.url(name)}: does not name a release ({error!r}); delete it") from error


def _release(folder: Folder, key: str) -> Release:
    name = f"{_COMBINED}/{key}.json"
    try:
        record = json.loads(folder.read(name))
        snapshot = record["details"]["snapshot"]
        finished = _utc(datetime.fromisoformat(record["provenance"]["finished"]))
        return Release(int(snapshot["number"]), str(snapshot["release"]), str(snapshot["path"]), finished)
    except (ValueError, KeyError, TypeError) as error:
        raise QueryError(
            f"{folder.url(name)}: not the manifest of a snapshot ({error!r}); delete it and make the catalogue anew"
        ) from error


def _keys(folder: Folder, log: str, catalog: str, model: str | None) -> list[str]:
    """Return the keys of a catalogue's committed partitions or snapshots, of one model."""
    below = f"{log}/{catalog}" + (f"/model={model}" if model else "")
    entries = folder.list(below, ".json")
    keys = [entry.path.removeprefix(f"{log}/").removesuffix(".json") for entry in entries]
    models = sorted({part.removeprefix("model=") for key in keys if (part := key.split("/")[1]).startswith("model=")})
    if len(models) > 1:
        raise QueryError(f"{catalog}: there are {len(models)} models, name one: {', '.join(models)}")
    return keys


def _published_model(folder: Folder, published: str) -> str | None:
    if not folder.exists(published):
        return None
    ids = read(folder, published).column("model_id")
    return ids[0].as_py() if len(ids) else None  # null in a catalogue that no model has scored


def _absence(folder: Folder, table: Table, model: str | None) -> str:
    who = f" of model {model}" if model else ""
    there = [name for name in sorted(TABLES) if name != table.name and folder.exists(f"catalogs/{name}.parquet")]
    others = f"; there are {', '.join(f'--catalog {name}' for name in there)}" if there else ""
    return f"{folder}: no catalogue {table.name}{who} yet; `{table.made_by} --workspace {folder}` makes it{others}"


def _as_of(known: list[Release], when: int | str | datetime) -> Release:
    """Return the release of a name or number, or the newest that was finished at a time."""
    text = str(when).strip()
    number = re.fullmatch(r"(?:snapshot-)?(\d{1,6})", text)
    moment = None if number else _moment(when)
    found = [release for release in known if release.name == text]
    span = ", ".join(dict.fromkeys(f"{release.number} ({release.name})" for release in known[-5:]))
    if not found and number:
        found = [release for release in known if release.number == int(number[1])]
    elif not found and moment is not None:
        found = [release for release in known if release.finished <= moment]
        span = f"the first was finished {min(release.finished for release in known).isoformat()}"
    if not found:
        raise QueryError(f"as_of: there is no state {text!r} of {known[0].path.rpartition('/')[0]}; known: {span}")
    return found[-1]


def _moment(when: int | str | datetime) -> datetime | None:
    try:
        moment = when if isinstance(when, datetime) else datetime.fromisoformat(str(when).strip())
    except ValueError:
        return None
    if isinstance(when, str) and len(when.strip()) <= len("2026-01-31"):
        moment = datetime.combine(moment, time.max)
    return _utc(moment)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
