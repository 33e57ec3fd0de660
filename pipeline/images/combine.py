"""Candidates of all pairs → the catalogue of candidates, one row a detection, as an immutable snapshot.

What only a whole pair knows, its self-test, comes to its candidates here, and what they are known as. Pairs in any
order, or all at once, give the same bytes.
"""

import time
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs import write
from catalogs.candidates import CANDIDATES
from catalogs.folder import Folder
from catalogs.transients import Transients, label
from pipeline import manifest
from pipeline.images.assessment import Assessment, assess
from pipeline.images.difference import DifferenceImages, part_path
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.report import Report
from pipeline.settings import digest
from pipeline.snapshots import Series, Snapshot

__all__ = ["SERIES", "VERSION", "combine", "publish", "told"]

#: Of what is done here.
VERSION = 1

#: The states of the catalogue.
SERIES = Series(CANDIDATES, VERSION)

#: Pairs that a report names, at most.
_NAMED = 20


def combine(stage: DifferenceImages, known: Sequence[Transients] = ()) -> tuple[Snapshot, Report]:
    """Put the catalogue together and commit it; the same inputs give the snapshot that is there.

    Parameters
    ----------
    stage : DifferenceImages
        Whose pairs they are; of pairs that are not done in full nothing is taken, and the report names them.
    known : sequence of Transients
        Lists that candidates are looked up in, in whatever order.

    Returns
    -------
    snapshot : Snapshot
        Not published yet.
    report : Report
        What there is to say of the pairs.
    """
    started, workspace = time.time(), stage.workspace
    bands = {name: list(keys) for name, keys in groupby(stage.keys(), key=lambda key: key.where)}
    found = {name: assess(workspace, keys) for name, keys in bands.items()}
    done = {name: one for name, one in sorted(found.items()) if one is not None}
    report = _report(done, sorted(found.keys() - done.keys()), started)
    records = [record for one in done.values() for record in one.records]
    upstream = {manifest.path(stage.name, record.key): record.identity for record in records}
    settings = {"known": sorted(digest(one.table.to_dict("records")) for one in known)}
    release = digest([upstream, VERSION, settings])[:16]
    snapshot = SERIES.renewed(workspace, release)
    if snapshot is None:
        tables = [table for one in done.values() for table in _tables(workspace, one, known)]
        table = pa.concat_tables([CANDIDATES.empty(), *tables])
        for name, value in SERIES.provenance(release, settings).items():
            table = _with(table, name, pa.array([value] * len(table), CANDIDATES[name].dtype))
        inputs = sum(record.rows for record in records)
        snapshot = SERIES.commit(
            workspace, release, table, settings=settings, upstream=upstream, inputs=inputs, started=started,
            details={"pairs": len(done)},
        )  # fmt: skip
    report.rows = snapshot.rows
    report.notes.insert(0, f"snapshot {snapshot.number} ({snapshot.release}): {workspace.url(SERIES.current)}")
    report.seconds = time.time() - started
    return snapshot, report


def publish(workspace: Folder, snapshot: Snapshot) -> None:
    """Make a snapshot the table people open; atomically."""
    SERIES.publish(workspace, snapshot)


def told(workspace: Folder, record: Record, found: Assessment, known: Iterable[Transients] = ()) -> pa.Table:
    """Return the candidates of a band with what its pair knows, without those that were injected.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    record : Record
        Manifest of the band.
    found : Assessment
        Of the pair.
    known : iterable of Transients
        Lists that they are looked up in.
    """
    key = Key.parse(record.key)
    table = write.read(workspace, part_path(key.where, key.part), CANDIDATES)
    table = table.filter(pc.invert(table["is_injected"]))
    n, test = len(table), found.selftest
    for name, value in (("scorr_std_blank", test.blank.std), ("scorr_std_src", test.sources.std)):
        table = _with(table, name, pa.array(np.full(n, value), CANDIDATES[name].dtype, from_pandas=True))
    flags = table["frame_flags"].to_numpy() | np.int32(found.flags)
    table = _with(table, "frame_flags", pa.array(flags, CANDIDATES["frame_flags"].dtype))
    ra, dec = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in ("ra", "dec"))
    names, separation = label(ra, dec, known)
    table = _with(table, "known_name", pa.array(names, CANDIDATES["known_name"].dtype))
    return _with(
        table, "known_sep_arcsec", pa.array(separation, CANDIDATES["known_sep_arcsec"].dtype, from_pandas=True)
    )


def _tables(workspace: Folder, found: Assessment, known: Sequence[Transients]) -> list[pa.Table]:
    return [told(workspace, record, found, known) for record in found.records]


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), CANDIDATES[name].field, values)


def _report(done: dict[str, Assessment], partial: Sequence[str], started: float) -> Report:
    report = Report("candidates", "", partitions=len(done), seconds=time.time() - started)
    report.counts["done"] = len(done)
    failing = [f"{name}: {one}" for name, one in done.items() if one.flags]
    report.notes = [f"not published as good: {text}" for text in failing[:_NAMED]]
    if len(failing) > _NAMED:
        report.notes.append(f"… and {len(failing) - _NAMED} more: frame_flags of their candidates say so")
    report.notes += [f"left out until all of it is done: {name}" for name in partial]
    return report
