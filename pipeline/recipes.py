"""The ways through the house, as short lists of stages, readable like a page.

::

    eclipsing binaries:  archive → plan → Ingest → Preprocess → (Ray) Score → Systems → combine
    supernovae:          archive → plan → IngestImages → pairs → MatchImages → DifferenceImages → combine
                         → select_supernovae
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client

from catalogs.folder import Folder
from catalogs.transients import Transients
from pipeline import manifest
from pipeline.errors import Missing, Refused, SkysiftError
from pipeline.images import combine, roster, trials
from pipeline.images import ingest as images
from pipeline.images import plan as inventory
from pipeline.images.delivery import Result, deliver
from pipeline.images.difference import DIFFERENCE, MATCH, DifferenceImages, MatchImages
from pipeline.images.image import STAGE
from pipeline.images.onepair import OnePair
from pipeline.images.status import outcomes
from pipeline.lightcurves import ingest, plan, preprocess, status
from pipeline.lightcurves.ingest import Ingest
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.partition import where_sector
from pipeline.report import Report
from pipeline.run import map_batches, run
from pipeline.selection import select_supernovae
from pipeline.settings import (
    DifferenceSettings,
    ImageSettings,
    IngestSettings,
    InjectionSettings,
    PairSettings,
    PreprocessSettings,
)
from pipeline.stage import State
from pipeline.vetting import draw_candidates

__all__ = [
    "difference_images",
    "difference_pair",
    "draw_candidates",
    "ingest_images",
    "ingest_sectors",
    "plan_images",
    "plan_sectors",
    "preprocess_sectors",
    "select_supernovae",
]

#: Files whose headers one task of the inventory reads.
_BATCH = 500

#: The same of images: all their bytes are read, for the checksum.
_FILES = 8

#: Inputs that a report names, at most.
_TOLD = 20


def plan_sectors(
    client: Client,
    workspace: Folder,
    archive: Folder,
    sectors: Sequence[int] | None,
    settings: IngestSettings,
    overwrite: bool = False,
) -> Iterator[tuple[str, plan.Change]]:
    """Take stock of an archive, headers only, sector by sector; write nothing.

    Parameters
    ----------
    client : distributed.Client
        Where headers are read.
    workspace, archive : Folder
        Where plans are, and the files.
    sectors : sequence of int, optional
        Sectors wanted; default all that the archive has.
    settings : IngestSettings
        The pattern of file names.
    overwrite : bool
        Make the plans anew.

    Yields
    ------
    name : str
        Store.
    change : plan.Change
        Its plan, as it is and as it will be.

    Raises
    ------
    Missing
        If there is no file at all.
    Refused
        If new files would change rows that are already there.
    """
    found = plan.find(archive, sectors, settings.pattern)
    if not found:
        wanted = "any sector" if sectors is None else f"sectors {', '.join(map(str, sectors))}"
        raise Missing(f"{archive}: no file of {wanted} matches {settings.pattern!r}; see --archive and --pattern")

    def inspect(files: Sequence[plan.Found], sector: int | None) -> list[dict[str, Any]]:
        """Return plan rows of the files that are fresh in a sector, or (None) in any."""
        known = [] if overwrite else plan.names(workspace, None if sector is None else [sector])
        fresh = plan.fresh(workspace, known, files)
        rows, killers = map_batches(client, partial(plan.inspect, archive), fresh, _BATCH, "inventory")
        return rows + [plan.killed(item) for item in killers]

    # What lies in no sector's folder is placed by its header, and what has no readable one comes last, as sector 0.
    loose = inspect(found.pop(0, []), None)
    placed = {row["sector"] for row in loose if not row["sector"] or sectors is None or row["sector"] in sectors}
    for sector in sorted(found.keys() | placed, key=lambda sector: (sector == 0, sector)):
        rows = inspect(found.pop(sector, []), sector) + [row for row in loose if row["sector"] == sector]
        yield from plan.changes(workspace, sector, rows, overwrite).items()


def ingest_sectors(
    client: Client,
    workspace: Folder,
    archive: Folder,
    sectors: Sequence[int] | None,
    settings: IngestSettings,
    overwrite: bool = False,
) -> Iterator[Report]:
    """Read light-curve files into stores, one report a store. See `plan_sectors` for the parameters."""
    workspace.sweep()
    for name, change in plan_sectors(client, workspace, archive, sectors, settings, overwrite):
        if overwrite:
            _discard(workspace, "ingest", f"lightcurves/{name}", [ingest.store_path(name)])
            workspace.remove(plan.path(name))
        plan.save(workspace, name, change)
        stage = Ingest(workspace, archive, name, settings)
        stage.prepare()
        report = run(stage, client)
        report.label = name
        report.counts["rejected"] += change.refused
        yield report
    if absent := sorted(set(sectors or ()) - {where_sector(name) for name in plan.names(workspace)}):
        report = Report("ingest", "nothing")
        report.notes.append(f"{archive} has no file of sectors {', '.join(map(str, absent))}")
        yield report


def preprocess_sectors(
    client: Client,
    workspace: Folder,
    sectors: Sequence[int] | None,
    settings: PreprocessSettings,
    overwrite: bool = False,
    allow_missing: bool = False,
) -> Iterator[Report]:
    """Cut light curves into segments with curve and periodogram, one report a store.

    Parameters
    ----------
    client : distributed.Client
        Where to work.
    workspace : Folder
        Holds the light curves, receives the segments.
    sectors : sequence of int, optional
        Sectors wanted; default all that are planned.
    settings : PreprocessSettings
        Recipe.
    overwrite : bool
        Replace what was made with other settings or inputs.
    allow_missing : bool
        Go on without partitions that are not ingested.

    Raises
    ------
    Missing
        If a sector is not ingested, or not in full.
    """
    workspace.sweep()
    names = status.planned(workspace, sectors)
    if not allow_missing:
        status.check_sectors(workspace, names, sectors)
        status.check_complete(workspace, names, "ingest")
    for name in names:
        if overwrite:
            paths = [preprocess.store_path(name), f"curves/{name}.segments"]
            _discard(workspace, "preprocess", f"curves/{name}", paths)
        stage = Preprocess(workspace, name, settings)
        stage.prepare()
        report = run(stage, client)
        report.label = name
        yield report


def _discard(workspace: Folder, stage: str, product: str, paths: Sequence[str]) -> None:
    """Undo the commits of a product, manifests first, then what lies at `paths`."""
    for key in manifest.committed(workspace, stage, product):
        manifest.discard(workspace, stage, key)
    for path in paths:
        workspace.remove_tree(path)


def plan_images(
    client: Client | None, workspace: Folder, archive: Folder, settings: ImageSettings, overwrite: bool = False
) -> dict[str, inventory.Change]:
    """Take stock of an archive of images, headers only; write nothing.

    Parameters
    ----------
    client : distributed.Client or None
        Where headers are read; None: here.
    workspace, archive : Folder
        Where plans are, and the files.
    settings : ImageSettings
        The pattern of file names.
    overwrite : bool
        Make the plans anew.

    Returns
    -------
    dict
        Survey → its plan, as it is and as it will be.

    Raises
    ------
    Missing
        If there is no file at all.
    Refused
        If a file has changed since it was ingested.
    """
    found = inventory.find(archive, settings.pattern)
    if not found:
        raise Missing(f"{archive}: no file matches {settings.pattern!r}; see --archive, and pattern in [images]")
    entries = found if overwrite else inventory.fresh(workspace, found)
    inspect = partial(inventory.inspect, archive, settings)
    rows, killers = map_batches(client, inspect, entries, _FILES, "inventory")
    return inventory.changes(workspace, rows + [inventory.killed(entry) for entry in killers], overwrite)


def ingest_images(
    client: Client | None,
    workspace: Folder,
    archive: Folder,
    settings: ImageSettings,
    references: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Iterator[Report]:
    """Read images into stores with variance and mask, one report a survey, and write their index.

    See `plan_images` for the parameters; `references` are the calibration frames of `IngestImages`.
    """
    workspace.sweep()
    changes = plan_images(client, workspace, archive, settings, overwrite)
    if overwrite:
        _discard(workspace, STAGE, "images", ["images"])
        for survey in inventory.surveys(workspace):
            workspace.remove(inventory.path(survey))
    for survey, change in changes.items():
        inventory.save(workspace, survey, change)
        stage = images.IngestImages(workspace, archive, survey, settings, references)
        stage.prepare()
        report = run(stage, client)
        report.label = survey
        report.counts["rejected"] += change.refused
        yield report
    images.write_index(workspace)


def difference_images(
    client: Client | None,
    workspace: Folder,
    pairing: PairSettings,
    settings: DifferenceSettings,
    explicit: Sequence[tuple[str, str]] | None = None,
    known: Sequence[Transients] = (),
    overwrite: bool = False,
    injections: InjectionSettings | None = None,
) -> Iterator[Report]:
    """Pair the images, subtract the pairs, and put the catalogue of candidates together; a report a step.

    Parameters
    ----------
    client : distributed.Client or None
        Where to work; None: here.
    workspace : Folder
        Holds the images, receives differences and candidates.
    pairing : PairSettings
        Which image is whose reference.
    settings : DifferenceSettings
        How they are subtracted.
    explicit : sequence of (str, str), optional
        Science and reference, by image id, path or file name: pairs that are added, instead of choosing any.
    known : sequence of Transients
        Lists that candidates are looked up in.
    overwrite : bool
        Replace what was made with other settings or inputs, the plan of pairs included.
    injections : InjectionSettings, optional
        Transients to put into the images of all pairs, for the completeness of what is found.

    Yields
    ------
    report : Report
        Of the plan, of the two stages, of the catalogue.

    Raises
    ------
    Missing
        If there is no image.
    """
    workspace.sweep()
    made = roster.change(workspace, pairing, explicit, overwrite)
    if overwrite:
        _discard(workspace, trials.INJECT, "injections", [])
        _discard(workspace, DIFFERENCE, "differences", ["differences", "triplets"])
        _discard(workspace, MATCH, "matches", [])
        workspace.remove(roster.PATH)
    roster.save(workspace, made)
    yield made.report
    pairs = roster.rows(made.plan)
    match, difference = MatchImages(workspace, pairs, settings), DifferenceImages(workspace, pairs, settings)
    for stage in (match, difference):
        stage.prepare()
        report = run(stage, client)
        if report.counts["rejected"] or report.counts["failed"]:
            bad = outcomes(workspace, stage.name, (State.REJECTED, State.FAILED))
            told = zip(bad["state"], bad["input"], bad["reason"], bad["message"], strict=True)
            report.notes += [f"{state} {name}: {reason}: {text}" for state, name, reason, text in list(told)[:_TOLD]]
        yield report
    snapshot, report = combine.combine(difference, known)
    combine.publish(workspace, snapshot)
    yield report
    if injections is not None and injections.count:
        yield _recover(client, difference, injections)


def _recover(client: Client | None, difference: DifferenceImages, settings: InjectionSettings) -> Report:
    """Put transients into pairs that are subtracted, and say what is found of them."""
    stage = trials.InjectImages(difference, settings)
    report = run(stage, client)
    report.notes += stage.told()
    return report


def difference_pair(
    client: Client | None, pair: OnePair, known: Sequence[Transients] = (), overwrite: bool = False, keep: bool = False,
    injections: InjectionSettings | None = None,
) -> str:  # fmt: skip
    """Subtract one pair of files, write its results, and return what there is to say.

    Parameters
    ----------
    client : distributed.Client or None
        Where to work; None: here.
    pair : OnePair
        The files, and where the results go.
    known : sequence of Transients
        Lists that candidates are looked up in.
    overwrite : bool
        Replace the results of other images or settings.
    keep : bool
        Leave the temporary workspace.
    injections : InjectionSettings, optional
        Transients to put into the science image.

    Raises
    ------
    Refused
        If the two are no pair, or one of them is no use; the message says why.
    """
    pair.begin(overwrite)
    try:
        difference = _stages_of(client, pair)
    except Refused:
        # The files will not change their mind: there is nothing to go on from.
        if not keep:
            pair.end()
        raise
    workspace = pair.workspace
    snapshot, _ = combine.combine(difference, known)
    combine.publish(workspace, snapshot)
    text = list[str]()
    if injections is not None and injections.count:
        text = _recover(client, difference, injections).notes
    result = Result(workspace, difference, pair.identity)
    trials.deliver(workspace, result.pair_id, pair.out)
    deliver(result, pair.out, Path(workspace.root) / "results")
    text = [result.summary(pair.out), *(f"  {line}" for line in text)]
    if not keep:
        pair.end()
    return "\n".join(text)


def _stages_of(client: Client | None, pair: OnePair) -> DifferenceImages:
    """Ingest, match and subtract a pair of files."""
    for ingest_stage, keys in pair.ingests():
        ingest_stage.prepare()
        _whole(run(ingest_stage, client, keys))
    pair.check(STAGE)
    pairs, psfs = pair.pair(), pair.given.psfs
    match = MatchImages(pair.workspace, pairs, pair.settings, psfs)
    difference = DifferenceImages(pair.workspace, pairs, pair.settings, psfs)
    for stage in (match, difference):
        stage.prepare()
        _whole(run(stage, client))
        pair.check(stage.name)
    return difference


def _whole(report: Report) -> None:
    """Check that every partition of a report is committed."""
    if report.failures:
        raise SkysiftError("; ".join(f"{key}: {error}" for key, error in report.failures.items()))
