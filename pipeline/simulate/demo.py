"""The demo's archives: simulated stars seen in two sectors, a field seen at three times, and files that are no use."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from distributed import Client

from catalogs import movers, transients
from catalogs.folder import Folder
from pipeline import recipes
from pipeline.images.supernovae import Lists
from pipeline.report import Report
from pipeline.settings import (
    AssociateSettings,
    DifferenceSettings,
    ImageSettings,
    PairSettings,
    SelectSettings,
)
from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.epochs import draw_epochs
from pipeline.simulate.spoc import write_archive

__all__ = ["SEED", "find_candidates", "find_supernovae", "write_demo_archive", "write_demo_images"]

_TRUTH = "sky/truth.csv"

#: No shipped model learns from simulated stars of this seed.
SEED = 900


def write_demo_archive(folder: str | Path, stars: int) -> pd.DataFrame:
    """Write the demo's archive, but for the parts that are there.

    Parameters
    ----------
    folder : str or Path
        Top of the archive.
    stars : int
        Stars in ``sky/``, each seen in sectors 1 and 2.

    Returns
    -------
    pandas.DataFrame
        What each star is: tic_id, label ('EB' or 'not EB'), kind, period (d) and more.
    """
    folder = Path(folder)
    if not (folder / _TRUTH).exists():  # written last
        write_archive(folder / "sky", [1, 2], stars, seed=SEED)
    write_damaged(folder / "damaged", 1, seed=SEED + 1)
    return pd.read_csv(folder / _TRUTH)


def write_demo_images(folder: str | Path) -> Path:
    """Write the demo's images, unless they are there.

    Parameters
    ----------
    folder : str or Path
        Top of their archive: a reference and three epochs of one field, what is true of it (truth.csv), and lists of
        what an observer would know of it (variables.csv, movers.csv).
    """
    folder = Path(folder)
    if not (folder / "truth.csv").exists():  # written last
        draw_epochs(SEED).write(folder)
    return folder


def find_candidates(client: Client | None, workspace: Folder, field: Path) -> Iterator[Report]:
    """Go from images to candidates with triplets, with the settings that nobody chose.

    Parameters
    ----------
    client : distributed.Client or None
        Where to work; None: here.
    workspace : Folder
        Receives everything.
    field : Path
        Archive as of `write_demo_images`.

    Yields
    ------
    Report
        One a step.
    """
    images, pairing = ImageSettings.load(None, "images"), PairSettings.load(None, "pairs")
    yield from recipes.ingest_images(client, workspace, Folder(field), images)
    yield from recipes.difference_images(client, workspace, pairing, DifferenceSettings.load(None, "difference"))


def find_supernovae(client: Client | None, workspace: Folder, field: Path, pages: int, about: str) -> Iterator[Report]:
    """Go on from candidates, scored or not, to supernova candidates.

    Parameters
    ----------
    client, workspace, field
        As of `find_candidates`.
    pages : int
        Largest number of pages of candidates.
    about : str
        What is to stand above them.

    Yields
    ------
    Report
        One a step.
    """
    known = Lists(transients.read(f"{field}/variables.csv").table, movers.read(f"{field}/movers.csv"))
    near, chosen = AssociateSettings.load(None, "associate"), SelectSettings.load(None, "select")
    yield from recipes.select_supernovae(client, workspace, near, chosen, known, pages, [about])
