"""The demo's archives: simulated stars seen in two sectors, a field seen at three times, and files that are no use."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from distributed import Client

from catalogs import binaries, movers, supernovae, transient_candidates, transients
from catalogs.folder import Folder
from catalogs.query import query
from pipeline import recipes
from pipeline.images.supernovae import Lists
from pipeline.report import Report
from pipeline.settings import (
    AssociateSettings,
    DifferenceSettings,
    ImageSettings,
    IngestSettings,
    PairSettings,
    PreprocessSettings,
    SelectSettings,
)
from pipeline.simulate.damaged import write_damaged
from pipeline.simulate.epochs import draw_epochs
from pipeline.simulate.spoc import write_archive

__all__ = ["SEED", "best", "find_candidates", "find_supernovae", "prepare_curves", "write_demo_archive",
           "write_demo_images"]  # fmt: skip

_TRUTH = "sky/truth.csv"

#: Catalogue → by what its rows are ordered, which columns are shown, and whether only clean ones are.
_SHOWN = {
    "eclipsing_binaries": ("p_eb", binaries.BRIEF, False),
    "transient_candidates": ("p_real", transient_candidates.BRIEF, False),
    "supernova_candidates": ("snr_max", supernovae.BRIEF, True),
}

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


def prepare_curves(client: Client, workspace: Folder, archive: Path) -> Iterator[Report]:
    """Go from light curves to what networks look at, with the settings that nobody chose.

    Parameters
    ----------
    client : distributed.Client
        Where to work.
    workspace : Folder
        Receives everything.
    archive : Path
        Archive as of `write_demo_archive`.

    Yields
    ------
    Report
        One a step.
    """
    yield from recipes.ingest_sectors(client, workspace, Folder(archive), None, IngestSettings.load(None, "ingest"))
    yield from recipes.preprocess_sectors(client, workspace, None, PreprocessSettings.load(None, "preprocess"))


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


def best(workspace: Folder) -> str:
    """Return the best rows of each catalogue, for the screen.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    """
    texts = []
    for name, (order, columns, clean) in _SHOWN.items():
        rows = query(workspace, name, columns=columns, clean=clean)
        texts.append(f"\ncatalogue: {', '.join(rows.attrs['source'])}; the best of its rows, and some of its columns:")
        texts.append(rows.nlargest(8, order).to_string())
    return "\n".join(texts)
