"""Candidates → ephemerides, vetted: stars in, one row a system out.

A partition is a bucket of stars, and its key names everything it was made from by digest: new sectors make new
partitions beside the old ones, on which older snapshots rest.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import manifest
from pipeline.commits import each
from pipeline.errors import FATAL, Corrupt, Missing, Stale
from pipeline.lightcurves.ephemeris import find
from pipeline.lightcurves.scored import Scored
from pipeline.lightcurves.star import load
from pipeline.lightcurves.vetting import vet
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import SystemsSettings, digest
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["BUCKETS", "Candidate", "Systems", "choose", "path"]

#: Stars of one bucket have the same remainder: a task is the candidates among four thousand targets of a mission.
BUCKETS = 256


@dataclass(frozen=True)
class Candidate:
    """A star to be looked at, and what of it.

    Parameters
    ----------
    tic_id : int
        The star.
    p_contact : float or None
        Probability that it is a contact binary if it is an eclipsing one, to 0.01; None if the model does not tell.
    sources : tuple of tuple
        Store and row of its light curves.
    upstream : tuple of str
        Manifests it rests on: of these light curves, and of their scores.
    """

    tic_id: int
    p_contact: float | None
    sources: tuple[tuple[str, int], ...]
    upstream: tuple[str, ...]


def path(key: Key | str) -> str:
    """Return where the systems of a partition lie in the workspace."""
    return f"{key}.parquet"


def choose(
    stars: pd.DataFrame, rows: pd.DataFrame, scored: Scored, min_p: float | None, listed: Collection[int] = ()
) -> list[Candidate]:
    """Return the stars whose systems are to be found.

    Parameters
    ----------
    stars : pandas.DataFrame
        From `pipeline.lightcurves.evidence.evidence`.
    rows : pandas.DataFrame
        From `pipeline.lightcurves.scored.rows`.
    scored : Scored
        What the stars' probabilities rest on.
    min_p : float or None
        Lowest p_eb; None for the model's lower threshold.
    listed : collection of int
        Stars that are taken whatever their p_eb.
    """
    least = stars["low_threshold"] if min_p is None else min_p
    chosen = stars[(stars["p_eb"] >= least) | stars["tic_id"].isin(list(listed))].set_index("tic_id")
    contact = (chosen["p_ew"] / chosen["p_eb"].clip(lower=1e-12)).round(2)
    found = []
    for tic_id, own in rows[rows["tic_id"].isin(chosen.index)].groupby("tic_id", sort=True):
        parts = [(str(store), int(part)) for store, part in zip(own["store"], own["part"], strict=True)]
        ingested = {manifest.path("ingest", Key("lightcurves", *part)) for part in parts}
        upstream = sorted(ingested | {scored.curves[Key("curves", *part)] for part in parts})
        sources = tuple((str(store), int(row)) for store, row in zip(own["store"], own["row"], strict=True))
        p_contact = None if np.isnan(contact[tic_id]) else float(contact[tic_id])
        found.append(Candidate(int(tic_id), p_contact, sources, tuple(upstream)))
    return found


class Systems(Stage):
    """The systems of a model's candidates.

    Parameters
    ----------
    workspace : Folder
        Holds the light curves; receives the systems.
    model_id : str
        Whose candidates they are.
    candidates : sequence of Candidate
        From `choose`.
    settings : SystemsSettings
        What changes results.

    Raises
    ------
    Missing
        If a light curve or a score that a candidate rests on is not committed.
    """

    name = "systems"
    version = 2

    def __init__(
        self, workspace: Folder, model_id: str, candidates: Sequence[Candidate], settings: SystemsSettings
    ) -> None:
        super().__init__(workspace, settings)
        self.model_id = model_id
        self._identities = _identities(workspace, {name for star in candidates for name in star.upstream})
        buckets: dict[int, list[Candidate]] = {}
        for star in sorted(candidates, key=lambda star: star.tic_id):
            buckets.setdefault(star.tic_id % BUCKETS, []).append(star)
        self._stars = {self._key(bucket, stars): stars for bucket, stars in sorted(buckets.items())}

    def _key(self, bucket: int, stars: list[Candidate]) -> Key:
        content = [self.version, self.settings.model_dump(mode="json"), self._sources(stars)]
        content += [[star.tic_id, star.p_contact, star.sources] for star in stars]
        return Key("systems", f"model={self.model_id}/inputs={digest(content)[:16]}", bucket)

    def _sources(self, stars: list[Candidate]) -> dict[str, str]:
        names = sorted({name for star in stars for name in star.upstream})
        return {name: self._identities[name] for name in names}

    def keys(self) -> list[Key]:
        """Return the buckets that hold a candidate, sorted."""
        return sorted(self._stars)

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of light curves and scores as they are now.

        Raises
        ------
        Stale
            If they are not those that the partition is named by.
        """
        planned = self._sources(self._stars[key])
        now = _identities(self.workspace, set(planned))
        if changed := sorted(name for name in planned if now[name] != planned[name]):
            raise Stale(f"{key}: {changed[0]} has changed while its stars were scored; run score_sectors again")
        return now

    def inputs(self, key: Key) -> list[str]:
        """Return the stars of a bucket, by identifier."""
        return [f"TIC {star.tic_id}" for star in self._stars[key]]

    def probe(self, key: Key, name: str) -> None:
        """Find the systems of one star."""
        self._solve(next(star for star in self._stars[key] if name == f"TIC {star.tic_id}"))

    def _solve(self, star: Candidate) -> pa.Table:
        """Return the systems of a star, checked: what one star gives must not spoil the others' partition."""
        curves = load(self.workspace, star.sources)
        if curves.tic_id != star.tic_id:
            raise Corrupt(f"{star.sources[0]}: holds TIC {curves.tic_id}, not {star.tic_id}; ingest it anew")
        found = find(curves, star.p_contact)
        rows = []
        for system in found:
            verdict = vet(curves, system, [other for other in found if other is not system])
            rows.append({"tic_id": star.tic_id} | asdict(system) | asdict(verdict))
        table = schema.SYSTEMS.of(rows)
        schema.SYSTEMS.check(table)
        return table

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Find and vet the systems of a bucket's stars; one that raises an error of its own is failed."""
        tables, outcomes = [schema.SYSTEMS.empty()], []
        for name, star in zip(self.inputs(key), self._stars[key], strict=True):
            if name in skip:
                outcomes.append(skip[name])
                continue
            try:
                tables.append(self._solve(star))
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this star's
                outcomes.append(InputOutcome(name, State.FAILED, "exception", f"{type(error).__name__}: {error}"))
                continue
            found = len(tables[-1])
            nothing = InputOutcome(name, State.NOTHING, None, "nothing repeats or dips")
            outcomes.append(InputOutcome(name, State.DONE) if found else nothing)
        table = pa.concat_tables(tables)
        written = Object(*write.write(self.workspace, path(key), table, schema.SYSTEMS))
        return Product([written], len(table), outcomes)


def _identities(workspace: Folder, names: set[str]) -> dict[str, str]:
    """Return the identity of each manifest."""

    def identity(name: str) -> str:
        """Return that of one."""
        stage, key = name.removeprefix("manifest/").removesuffix(".json").split("/", 1)
        record = manifest.read(workspace, stage, key)
        if record is None:
            raise Missing(f"{workspace.url(name)}: not committed; run that job again")
        return record.identity

    ordered = sorted(names)
    return dict(zip(ordered, each(identity, ordered), strict=True))
