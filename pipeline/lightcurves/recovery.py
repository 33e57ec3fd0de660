"""Trials → what they say of the catalogue: tables of completeness and reliability beside it, one set a model.

::

    catalogs/eclipsing_binaries/model=<id>/injections.parquet      a row a trial
    catalogs/eclipsing_binaries/model=<id>/completeness.parquet    a row a bin of Tmag, period, depth
    catalogs/eclipsing_binaries/model=<id>/reliability.parquet     a row a tier, class and bin of period and depth

New trials replace them. A snapshot that carries their values names the manifest they were committed with.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.folder import Folder
from catalogs.recovery import COMPLETENESS, INJECTIONS, RELIABILITY
from catalogs.table import Table
from pipeline import manifest
from pipeline.lightcurves import completeness, reliability, snapshot
from pipeline.lightcurves.trials import Sky, class_found
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.settings import Settings
from pipeline.stage import InputOutcome, Outcome, Product, Stage, State

__all__ = ["Recovery", "Tables", "path", "read", "trials_path"]

log = logging.getLogger(__name__)


def trials_path(key: Key | str) -> str:
    """Return where the trials of a partition lie in the workspace."""
    return f"{key}.parquet"


def path(model_id: str, table: Table) -> str:
    """Return where a table of a model lies in the workspace."""
    return f"catalogs/{snapshot.folder(model_id)}/{table.name}.parquet"


def _key(model_id: str) -> Key:
    return Key("eclipsing_binaries", f"model={model_id}/completeness", 0)


class Tables(Stage):
    """All trials of a model, and the tables that follow from them and from its catalogue.

    Parameters
    ----------
    workspace : Folder
        Holds the trials; receives the tables.
    model_id : str
        The model.
    sky : Sky
        Its catalogue.
    trials : sequence of Key
        Partitions of the stage ``injections``.
    settings : Settings
        What the trials were made with.
    """

    name = "completeness"
    version = 3

    def __init__(self, workspace: Folder, model_id: str, sky: Sky, trials: Sequence[Key], settings: Settings) -> None:
        super().__init__(workspace, settings)
        self.model_id = model_id
        self.sky = sky
        self.trials = sorted(trials)

    def keys(self) -> list[Key]:
        """Return the one key there is."""
        return [_key(self.model_id)]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of the trials, and of what the catalogue was made from."""
        found = dict(self.sky.upstream)
        for trial in self.trials:
            found |= self.require("injections", trial)
        return found

    def inputs(self, key: Key) -> list[str]:
        """Return the partitions of trials."""
        return [str(trial) for trial in self.trials]

    def replace(self) -> Outcome:
        """Make the tables, unless those there are of the same trials; older ones make way."""
        (key,) = self.keys()
        done = manifest.read(self.workspace, self.name, key)
        same = (self.version, self.settings.hash)
        if done is not None and ((done.version, done.settings_hash) != same or done.upstream != self.upstream(key)):
            manifest.discard(self.workspace, self.name, key)
        return self.execute(key)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Read all trials, count, and write the tables."""
        tables = [write.read(self.workspace, trials_path(trial), INJECTIONS) for trial in self.trials]
        every = pa.concat_tables([INJECTIONS.empty(), *tables])
        trials = every.to_pandas()
        made = {
            INJECTIONS: every,
            COMPLETENESS: _arrow(completeness.tabulate(trials)),
            RELIABILITY: _arrow(reliability.tabulate(trials, self.sky.systems, self.sky.stars)),
        }
        written = [
            Object(*write.write(self.workspace, path(self.model_id, table), rows, table))
            for table, rows in made.items()
        ]
        outcomes = [InputOutcome(name, State.DONE) for name in self.inputs(key)]
        return Product(written, len(every), outcomes, {"sectors": self.sky.sectors})


def _arrow(table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(table, preserve_index=False)


@dataclass(frozen=True, eq=False)
class Recovery:
    """The committed tables of a model.

    Attributes
    ----------
    upstream : dict
        Path → identity of their manifest.
    completeness, reliability : pandas.DataFrame
        Rows of the tables.
    """

    upstream: dict[str, str]
    completeness: pd.DataFrame
    reliability: pd.DataFrame

    def joined(self, systems: pd.DataFrame) -> pd.DataFrame:
        """Return rows of the catalogue with ``completeness`` and ``reliability`` at their own places.

        Parameters
        ----------
        systems : pandas.DataFrame
            tmag, period, period_flag, depth_1, tier, p_ea, p_beta, p_ew. A period that is a lower limit has no
            completeness: whose share that would be is not known.
        """
        own = pd.DataFrame({name: systems[name].astype(float) for name in ("tmag", "period", "depth_1")})
        own = own.assign(tier=systems["tier"], klass=class_found(systems))
        known = own["period"].where(systems["period_flag"] != "lower_limit")
        return systems.assign(
            completeness=completeness.at(self.completeness, own["tmag"], known, own["depth_1"]),
            reliability=reliability.at(self.reliability, own),
        )


def read(workspace: Folder, model_id: str) -> Recovery | None:
    """Return the tables of a model; None where there are none, or they or their inputs would be others by now."""
    key = _key(model_id)
    record = manifest.read(workspace, Tables.name, key)
    if record is None:
        return None
    if record.version != Tables.version:
        log.warning(
            "completeness of %s left out: its tables are of version %d, this is %d; run jobs.completeness again, which "
            "keeps the trials", model_id, record.version, Tables.version,
        )  # fmt: skip
        return None
    if (changed := manifest.stale(workspace, record)) is not None:
        log.warning(
            "completeness of %s left out: stale, %s has changed; run jobs.completeness again", model_id, changed
        )
        return None
    tables = [write.read(workspace, path(model_id, table), table).to_pandas() for table in (COMPLETENESS, RELIABILITY)]
    return Recovery({manifest.path(Tables.name, key): record.identity}, *tables)
