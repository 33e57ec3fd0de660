"""An archive of stamps of a few sources in many surveys, some of them no use, and its way to measures."""

from collections.abc import Sequence
from pathlib import Path

from catalogs.folder import Folder
from pipeline.report import Report
from pipeline.settings import MeasureSettings, StampSettings
from pipeline.stamps import measures, recipe
from tests.pipeline.stamps.files import RA, stamp

__all__ = ["SURVEYS", "fill", "ingest", "measure", "write"]

#: Survey → its filters, pixels a side. Every source is in the last ones, the first surveys have not seen all.
SURVEYS = {"HST": (("F814W",), 140), "Pan-STARRS": (("r", "i"), 72), "SDSS": (("g", "r"), 72), "unWISE": (("W1",), 72)}


def write(folder: Path, sources: Sequence[int], bad: bool = True, surveys: Sequence[str] = tuple(SURVEYS)) -> Path:
    """Write the stamps of sources, by number, and files that are no use; return the folder."""
    for number in sources:
        ra = RA + 0.01 * number
        for place, survey in enumerate(SURVEYS):
            if survey not in surveys or place < number % len(SURVEYS):
                continue
            filters, side = SURVEYS[survey]
            for k, name in enumerate(filters):
                own = {"seed": 100 * number + 10 * place + k, "flux": 4000.0 + 300 * number}
                stamp(folder, f"s{number:03d}", survey, name, size=side, RA_OBJ=ra, CRVAL1=ra, **own)
    if bad:
        stamp(folder, "off", "SDSS", "r", RA_OBJ=RA + 0.0035)
        (folder / "junk_SDSS_r.fits").write_bytes(b"junk")
        (folder / "nameless.fits").write_bytes(b"junk")
    return folder


def ingest(workspace: Folder, archive: Path | Folder, overwrite: bool = False, client: object = None) -> list[Report]:
    """Ingest and stack an archive."""
    return list(recipe.ingest_stamps(client, workspace, Folder(archive), StampSettings(), overwrite))


def measure(workspace: Folder, overwrite: bool = False, client: object = None) -> list[Report]:
    """Measure what is ingested."""
    return list(measures.measure_stamps(client, workspace, MeasureSettings(), overwrite))


def fill(workspace: Folder, archive: Path | Folder) -> None:
    """Ingest, stack and measure an archive."""
    ingest(workspace, archive)
    measure(workspace)
