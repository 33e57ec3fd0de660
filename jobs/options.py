"""Options that jobs share, and how a job ends: one message and one exit status."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import pandas as pd
from obstore.exceptions import BaseError as StoreError

from catalogs.folder import Folder
from catalogs.schema import CatalogError
from cluster import local
from cluster.address import check_workspace_path
from cluster.probe import probe_workspace
from pipeline.errors import SkysiftError, UsageError
from pipeline.partition import parse_sectors
from pipeline.report import Report

EXIT = """
Exit status: 0 every input is accounted for and none failed; 1 some failed; 2 wrong usage; 3 refused, because going on
would mix or overwrite results.
"""


class _Folder(click.ParamType[Folder]):
    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Folder:
        """Return the folder; inside a Ray job a relative one is refused, with the cure."""
        if isinstance(value, Folder):
            return value
        try:
            check_workspace_path(str(value), param.opts[0] if param else "folder")
            return Folder(value)
        except (ValueError, SkysiftError) as error:
            self.fail(str(error), param, ctx)


FOLDER = _Folder()

workspace = click.option(
    "--workspace",
    type=FOLDER,
    default="workspace",
    envvar="SKYSIFT_WORKSPACE",
    show_default=True,
    show_envvar=True,
    help="Where products go: a local path or s3://bucket/prefix.",
)

settings_file = click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML file with settings of steps."
)

overwrite = click.option("--overwrite", is_flag=True, help="Replace what was made with other inputs or settings.")

partial = click.option("--partial", is_flag=True, help="Go on without sectors and input partitions that are not there.")

model = click.option(
    "--model", default="eb", show_default=True, help="NAME, NAME@ID or NAME@ALIAS; the alias is production."
)


def _sectors(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    try:
        return None if value is None else parse_sectors(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


sectors = click.option("--sectors", callback=_sectors, help="Ranges and lists, 1-13,27; default: all there are.")


dry_run = click.option(
    "--dry-run", is_flag=True, help="Print inputs, partitions, bytes, free space and time; make nothing."
)


def dask(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of jobs that run on Dask."""
    function = click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")(function)
    return click.option(
        "--dask-address",
        envvar="SKYSIFT_DASK_ADDRESS",
        show_envvar=True,
        help="A running scheduler, tcp://host:8786.  [default: start one here]",
    )(function)


def ray(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of jobs that run on Ray."""
    function = click.option("--workers", type=click.IntRange(1), help="Actors.  [default: one a core or GPU]")(function)
    return click.option(
        "--ray-address",
        envvar="RAY_ADDRESS",
        show_envvar=True,
        help="A running head, host:6379 or auto.  [default: start one here]",
    )(function)


def star_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name labelled stars of the workspace."""
    for option in (
        click.option(
            "--unlisted-as-negative", type=click.IntRange(0), help="Draw N stars that are on no list as negatives."
        ),
        click.option("--negatives", help="Stars that are no eclipsing binaries, same formats."),
        click.option(
            "--labels", help="Labelled stars of the workspace: .dat (fixed width), .csv, .parquet; local or s3://."
        ),
    ):
        function = option(function)
    return function


def steps(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how long and how fast a model learns."""
    for option in (
        click.option("--max-seconds", type=float, help="Stop after this time, s. *"),
        click.option("--learning-rate", type=float, help="Highest learning rate. *"),
        click.option("--batch-size", type=click.IntRange(1), help="Segments or triplets a step, over all workers. *"),
        click.option("--epochs", type=click.IntRange(1), help="Passes over what is learnt from. *"),
    ):
        function = option(function)
    return function


def training_sets(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a model learns from beside the workspace's own stars."""
    for option in (
        click.option("--leave-out", help="List of stars that must not be learnt from."),
        click.option("--known", multiple=True, help="List of eclipsing binaries: negatives on it are not believed."),
        click.option("--labelled", help="Parquet file of real light curves with labels."),
        click.option(
            "--simulated",
            type=click.IntRange(0),
            help="Simulated stars; for realbogus fields, for stamps stacks a survey.  "
            "[default: eb 32768, realbogus 2000, visualbinary and poster 4096 to 16384, else 0]",
        ),
    ):
        function = option(function)
    return function


def triplet_sets(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a model of triplets learns from."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        click.option("--start-from", help="Begin with the weights of this model, an id or an alias; triplets, stamps."),
        click.option("--only-sets", is_flag=True, help="Make the sets of triplets; train nothing."),
        click.option("--set", "described", multiple=True, type=file, help="TOML file of a set of triplets, see above."),
    ):
        function = option(function)
    return function


def splits(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a training holds out."""
    for option in (
        click.option("--seed", type=click.IntRange(0), help="Of weights, order, split and drawn negatives."),
        click.option("--fold", type=click.IntRange(0), help="Which one, from 0.  [default: 0]"),
        click.option("--folds", type=click.IntRange(2), help="Hold out one of so many folds, see --fold."),
        click.option(
            "--split-by",
            help="Held out as a whole: star, sector; of triplets field, temporal, ccd, filter, survey, kind, or one "
            "of these, such as survey:ztf.  [default: star, for triplets field, for stamps source]",
        ),
    ):
        function = option(function)
    return function


@contextmanager
def dask_session(
    workers: int | None, address: str | None, workspace: Folder | None, small: bool = False
) -> Iterator[Any]:
    """Yield a Dask client whose workers all see the workspace, if one is given; print where its dashboard is.

    What is `small` is done in this process, and the client is None, unless an address or more than one worker is given.
    """
    if small and not address and (workers or 1) == 1:
        yield None
        return
    with local.dask_client(workers, address) as client:
        click.echo(f"Dask dashboard: {client.dashboard_link}")
        if workspace is not None:
            probe_workspace(workspace, client)
        yield client


@contextmanager
def ray_session(workers: int | None, address: str | None, workspace: Folder) -> Iterator[tuple[int, float]]:
    """Yield how many actors to use and GPUs each, on a Ray whose nodes all see the workspace.

    Without `workers` there is an actor for each GPU or core that is there now: where nodes are started on demand, say
    how many. `SKYSIFT_GPUS` says how many GPUs an actor asks for, of nodes not started yet too; 0 is none.
    """
    import ray

    with local.ray_session(workers, address) as session:
        click.echo(f"Ray dashboard: {session.dashboard or 'none'}")
        probe_workspace(workspace)
        there = ray.cluster_resources()
        asked = os.environ.get("SKYSIFT_GPUS") or str(int(there.get("GPU", 0) > 0))
        try:
            gpus = float(asked)
        except ValueError:
            raise UsageError(f"SKYSIFT_GPUS={asked}: not a number of GPUs an actor; say 0, 0.5 or 1") from None
        count = workers or int(there.get("GPU", 0) / gpus if gpus > 0 else there.get("CPU", 0))
        if not count:
            click.echo("no node with a free core or GPU is there yet: one actor; say --workers N for more")
        yield count or 1, gpus


def cores(client: Any) -> int:
    """Return how many threads a Dask cluster has."""
    return sum(client.nthreads().values())


def finish(reports: Iterable[Report]) -> None:
    """Print reports as they come and end with the worst exit status."""
    status = 0
    for report in reports:
        click.echo(str(report))
        status = max(status, report.exit_status)
    sys.exit(status)


def show(table: pd.DataFrame, otherwise: str) -> None:
    """Print a table whole, or what it means that it is empty."""
    click.echo(table.to_string(index=False) if len(table) else otherwise)


def _outside_errors() -> tuple[type[Exception], ...]:
    """Return the errors of disks, networks and clusters; Ray's only where Ray was loaded."""
    ray_exceptions = sys.modules.get("ray.exceptions")
    return (OSError, StoreError, *([ray_exceptions.RayError] if ray_exceptions else []))


def _line(error: Exception) -> str:
    """Return an error of others as one line, without the traceback that Ray puts into its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = lines[-1] if lines[0].endswith("(most recent call last):") or "ray::" in lines[0] else " ".join(lines)
    return f"{type(error).__name__}: {text[:500]}"


def _end(message: str, status: int) -> NoReturn:
    logging.getLogger(__name__).debug("the error in full", exc_info=True)
    click.echo(f"error: {message}", err=True)
    sys.exit(status)


def job(function: Callable[..., None]) -> click.Command:
    """Make a command of a job; errors raised on purpose end it with their message and status, others' with 1.

    Errors of disks, networks and clusters are told in a line; ``SKYSIFT_LOG=DEBUG`` shows them whole.
    """
    command = click.command(epilog=EXIT, context_settings={"max_content_width": 110})(function)
    inner = command.invoke

    def invoke(ctx: click.Context) -> Any:
        level = os.environ.get("SKYSIFT_LOG", "WARNING")
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
        try:
            return inner(ctx)
        except (SkysiftError, CatalogError) as error:
            _end(str(error), error.exit_status)
        except (KeyboardInterrupt, click.Abort):
            _end("interrupted; what is committed stays, and the same command goes on from there", 130)
        except BrokenPipeError:
            raise  # `| head` has read enough: click ends in silence
        except _outside_errors() as error:
            _end(_line(error), 1)

    command.invoke = invoke  # type: ignore[method-assign]
    return command
