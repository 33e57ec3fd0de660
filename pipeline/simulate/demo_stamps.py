"""The demo's stamps: simulated sources seen by surveys that can tell two stars apart and by one that cannot."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
from distributed import Client

from catalogs import write
from catalogs.folder import Folder
from catalogs.stamp_measures import MEASURES
from catalogs.visual_binaries import VISUAL_BINARIES
from pipeline.report import Report
from pipeline.settings import MeasureSettings, StampSettings
from pipeline.simulate.stamp_archive import TRUTH, write_archive
from pipeline.simulate.stamp_scenes import described
from pipeline.stamps import measures, recipe

__all__ = ["SEED", "compare", "measure_sources", "write_demo_stamps"]

#: No shipped model learns from simulated sources of this seed.
SEED = 901

_SURVEYS = ("Pan-STARRS", "SDSS", "HST", "2MASS")

#: Files that are no use: what is in them, by name.
_DAMAGED = {
    "damaged/901_SDSS_r.fits": b"no FITS file",
    "damaged/902_SDSS.fits.gz": b"\x1f\x8b",
    "damaged/readme.fits": b"",
}

_TRUE = ["source_id", "kind", "sep_arcsec", "pa_deg", "delta_mag"]
_FOUND = ["source_id", "surveys_able", "p_double", "tier", "n_components", "sep_arcsec", "pa_deg", "delta_mag"]


def write_demo_stamps(folder: str | Path, sources: int = 24) -> pd.DataFrame:
    """Write the demo's archive of stamps, unless it is there.

    Parameters
    ----------
    folder : str or Path
        Top of the archive.
    sources : int
        How many, about half of them double; each is seen by four surveys.

    Returns
    -------
    pandas.DataFrame
        What each source is: source_id, kind, sep_arcsec, pa_deg, delta_mag and more.
    """
    folder = Path(folder)
    if not (folder / TRUTH).exists():  # written last
        for name, content in _DAMAGED.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        write_archive(folder, described().with_seed(SEED), sources, _SURVEYS)
    return pd.read_csv(folder / TRUTH, dtype={"source_id": str})


def measure_sources(client: Client | None, workspace: Folder, archive: Path) -> Iterator[Report]:
    """Go from files to stacks and measures, with the settings that nobody chose.

    Parameters
    ----------
    client : distributed.Client or None
        Where to work; None: here.
    workspace : Folder
        Receives everything.
    archive : Path
        As of `write_demo_stamps`.

    Yields
    ------
    Report
        One a step.
    """
    yield from recipe.ingest_stamps(client, workspace, Folder(archive), StampSettings.load(None, "stamps"))
    yield from measures.measure_stamps(client, workspace, MeasureSettings.load(None, "measure"))


def compare(workspace: Folder, truth: pd.DataFrame) -> str:
    """Return in words what was found of what is true.

    Parameters
    ----------
    workspace : Folder
        Holds measures, and the catalogue if a model has scored the sources.
    truth : pandas.DataFrame
        Of `write_demo_stamps`.
    """
    path = f"catalogs/{VISUAL_BINARIES.name}.parquet"
    if scored := workspace.exists(path):
        found = write.read(workspace, path, VISUAL_BINARIES).select(_FOUND).to_pandas()
        called = found["tier"] == "double"
    else:
        paths = [entry.path for entry in workspace.list("measures", ".parquet") if ".sources/" in entry.path]
        found = pa.concat_tables([MEASURES.empty(), *(write.read(workspace, one, MEASURES) for one in paths)])
        found = found.select([name for name in _FOUND if name in MEASURES.names]).to_pandas()
        called = found["n_components"] > 1
    rows = truth[_TRUE].merge(found.assign(called=called), on="source_id", suffixes=("_true", ""))
    double, called = rows["kind"] == "pair", rows["called"].astype(bool)
    by = "the network" if scored else "the fits alone (no model ships that could score them)"
    return (
        f"of {double.sum()} pairs of stars {(double & called).sum()} are found by {by}, and of {(~double).sum()} other "
        f"sources {(~double & called).sum()} taken for pairs; what is true, and what was found:\n"
    ) + rows.drop(columns="called").to_string(index=False, float_format="%.2f", na_rep="-")
