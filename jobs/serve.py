#!/usr/bin/env python
"""Score triplets and alerts over HTTP."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the rooms are beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click

from catalogs.folder import Folder
from cluster.address import is_loopback
from jobs import options
from models import serve
from models.service import Service
from models.service_models import Choice
from models.service_token import read_token
from pipeline.errors import UsageError
from pipeline.settings import CandidateScoreSettings, ScoreSettings


@options.job
@options.workspace
@options.settings_file
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; off loopback with a token only.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--replicas", type=click.IntRange(1), help="Processes that score.  [default: 2, or a core each less one]")
@click.option("--reserve", type=click.IntRange(0),
              help="More of them, for when one dies.  [default: 1; 0 with --ray-address]")  # fmt: skip
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="What every request must bring.")
@click.option("--model", multiple=True, default=["realbogus"], show_default=True,
              help="NAME or NAME@ALIAS to have ready; the first scores what names none.")  # fmt: skip
@click.option("--ray-address", envvar="RAY_ADDRESS", show_envvar=True, help="A running head.  [default: start one]")
def main(
    workspace: Folder, config: Path | None, host: str, port: int, replicas: int | None, reserve: int | None,
    token_file: Path | None, model: tuple[str, ...], ray_address: str | None,
) -> None:  # fmt: skip
    """Serve POST /score, /models, /health, /metrics; GET /openapi.json tells how to ask.

    The token comes from --token-file or SKYSIFT_TOKEN. A model that is promoted scores within a second.
    """
    token = read_token(token_file)
    if not token and not is_loopback(host):
        raise UsageError(f"--host {host}: off loopback everyone may ask; set SKYSIFT_TOKEN or give --token-file")
    settings = ScoreSettings.load(config, "score", {"batch_size": serve.BATCH})
    for one in model:
        click.echo(f"{one}: {Choice(workspace, one).resolve(one).id}")
    count = replicas or serve.default_replicas()
    more = int(not ray_address) if reserve is None else reserve
    with (
        serve.quiet(),
        options.ray_session(count + more, ray_address, workspace) as (_, gpus),
        serve.replicas(workspace, list(model), count, settings, gpus, more) as backend,
    ):
        click.echo(f"listening on http://{host}:{port}")
        lanes = serve.LANES * count
        service = Service(
            workspace, backend, model[0], token, batch=settings.batch_size, lanes=lanes,
            settings=CandidateScoreSettings.load(config, "candidates"),
        )  # fmt: skip
        serve.listen(service, host, port)


if __name__ == "__main__":
    main()
