"""What a run would do, before it does it: files, partitions, bytes, free space, time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from catalogs.folder import Folder
from pipeline.lightcurves import plan, preprocess, status

__all__ = ["Estimate", "ingest", "segments"]

#: Bytes a cadence in the store (measured on real files: 16.9), a segment (curve, periodogram, index), a score.
_BYTES_CADENCE, _BYTES_SEGMENT, _BYTES_SCORE = 17.0, 15_000, 100

_SEGMENTS_A_STAR = 2.0

#: Seconds a two-minute file or star, one core; the order of magnitude, not a promise.
_INGEST_S, _PREPROCESS_S, _SCORE_S = 0.009, 0.005, 0.002


@dataclass(frozen=True)
class Estimate:
    """Size and time of a run; `free_bytes` is None where there is no such thing, as on S3."""

    inputs: int
    partitions: int
    read_bytes: int
    write_bytes: int
    free_bytes: int | None
    seconds: float

    def __str__(self) -> str:
        free = "" if self.free_bytes is None else f" of {_size(self.free_bytes)} free"
        minutes, seconds = divmod(round(self.seconds), 60)
        return (
            f"{self.inputs} inputs in {self.partitions} partitions; reads {_size(self.read_bytes)}, "
            f"writes about {_size(self.write_bytes)}{free}; about {minutes} min {seconds:02d} s"
        )


def ingest(
    workspace: Folder, changes: Iterable[tuple[str, plan.Change]], workers: int, overwrite: bool = False
) -> Estimate:
    """Return what ingesting these plans would do; what is committed already is left out.

    Parameters
    ----------
    workspace : Folder
        Where stores will go.
    changes : iterable of tuple
        Stores and their plans, from `pipeline.recipes.plan_sectors`.
    workers : int
        Processes.
    overwrite : bool
        What is committed is made again.
    """
    inputs = partitions = read = written = 0
    seconds = 0.0
    for name, change in changes:
        done = set() if overwrite else status.committed_parts(workspace, "ingest", f"lightcurves/{name}")
        parts = [part for part in plan.partitions(change.plan) if f"{name}/part-{part:05d}" not in done]
        rows = [row for part in parts for row in plan.members(change.plan, part)]
        cadences = sum(row["last_cadence"] - row["first_cadence"] + 1 for row in rows)
        inputs, partitions = inputs + len(rows), partitions + len(parts)
        read += sum(row["size"] for row in rows)
        written += round(cadences * _BYTES_CADENCE)
        seconds += cadences / 20_000 * _INGEST_S
    return Estimate(inputs, partitions, read, written, workspace.free, seconds / workers)


def segments(
    workspace: Folder,
    sectors: Sequence[int] | None,
    stage: str,
    done: Collection[str],
    workers: int,
    allow_missing: bool = False,
) -> Estimate:
    """Return what preprocessing or scoring would do; what the run would refuse is refused.

    Parameters
    ----------
    workspace : Folder
        Holds plans and manifests.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    stage : str
        ``preprocess`` or ``score``.
    done : collection of str
        ``s0001/part-00007`` of what will be left as it is.
    workers : int
        Processes.
    allow_missing : bool
        Go on without sectors that were not ingested and input partitions that are not committed.

    Raises
    ------
    Missing
        If a sector was not ingested, or input partitions are not committed.
    Stale
        If one of them was made from what has changed since.
    """
    scoring = stage == "score"
    before = "preprocess" if scoring else "ingest"
    names = status.planned(workspace, sectors)
    if not allow_missing:
        status.check_sectors(workspace, names, sectors)
        status.check_complete(workspace, names, before)
    todo = status.committed_parts(workspace, before) - set(done)
    inputs = partitions = 0
    for name in names:
        table = plan.load(workspace, name)
        assert table is not None
        parts = [part for part in plan.partitions(table) if f"{name}/part-{part:05d}" in todo]
        inputs += sum(len(plan.members(table, part)) for part in parts)
        partitions += len(parts)
    count = inputs * _SEGMENTS_A_STAR
    read = count * 4 * (preprocess.SAMPLES + preprocess.BINS) if scoring else inputs * 20_000 * 16
    seconds = inputs * (_SCORE_S if scoring else _PREPROCESS_S)
    written = count * (_BYTES_SCORE if scoring else _BYTES_SEGMENT)
    return Estimate(inputs, partitions, round(read), round(written), workspace.free, seconds / workers)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
