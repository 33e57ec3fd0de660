"""An ingested image as others see it: its facts at once, its pixels row by row."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from catalogs import write
from catalogs.folder import Folder
from catalogs.images import IMAGE_SOURCES, IMAGES
from pipeline import manifest, stores
from pipeline.errors import Missing
from pipeline.images import coordinates
from pipeline.images.frame import Facts, Frame
from pipeline.partition import Key

__all__ = ["INDEX", "STAGE", "Image", "index", "key_of", "load", "sources_path", "store_path"]

#: Stage whose manifests say what images there are.
STAGE = "ingest_images"

#: Where the index of all images lies.
INDEX = "catalogs/images.parquet"


def key_of(where: str) -> Key:
    """Return the key of an image, ``<survey>/<image_id>``."""
    return Key("images", where, 0)


def store_path(where: str) -> str:
    """Return where the pixels of an image lie in the workspace."""
    return f"images/{where}.zarr"


def sources_path(where: str) -> str:
    """Return where the sources of an image lie in the workspace."""
    return f"images/{where}.sources.parquet"


@dataclass(frozen=True)
class Image:
    """An ingested image; making one reads nothing of its pixels.

    Parameters
    ----------
    workspace : Folder
        Where it lies.
    where : str
        ``<survey>/<image_id>``.
    details : dict
        Every fact of it, as in the table IMAGES.
    """

    workspace: Folder
    where: str
    details: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.details["ny"]), int(self.details["nx"])

    @cached_property
    def facts(self) -> Facts:
        """What is known beside the pixels."""
        told = {f.name: self.details[f.name] for f in fields(Facts) if f.name in self.details}
        estimated = tuple(name for name in str(told["estimated"]).split(",") if name)
        return Facts(**(told | {"estimated": estimated}))

    @cached_property
    def wcs(self) -> WCS:
        """0-based pixel → right ascension and declination, distortions included."""
        return coordinates.wcs_from(self.details["wcs"])

    @property
    def sky(self) -> float:
        """Level of the sky, counts."""
        return float(self.details["sky"])

    @property
    def sky_rms(self) -> float:
        """Scatter of the sky's pixels, counts."""
        return float(self.details["sky_rms"])

    def read(self, y0: int, y1: int, x0: int = 0, x1: int | None = None) -> Frame:
        """Return a part of the image.

        Parameters
        ----------
        y0, y1 : int
            First row and the one after the last; clipped to the image.
        x0, x1 : int
            The same of columns.
        """
        ny, nx = self.shape
        y0, y1, x0, x1 = max(0, y0), min(ny, y1), max(0, x0), nx if x1 is None else min(nx, x1)
        path = store_path(self.where)
        arrays = stores.read(self.workspace, path, ("data", "variance", "mask"), slice(y0, y1))
        data, variance, mask = (np.ascontiguousarray(arrays[name][:, x0:x1]) for name in ("data", "variance", "mask"))
        return Frame(data, variance, mask, coordinates.sliced(self.wcs, y0, x0), self.facts)

    def sources(self) -> pd.DataFrame:
        """Return the sources found in it, as in the table IMAGE_SOURCES."""
        return write.read(self.workspace, sources_path(self.where), IMAGE_SOURCES).to_pandas()


def load(workspace: Folder, where: str) -> Image:
    """Return an ingested image.

    Parameters
    ----------
    workspace : Folder
        Where it lies.
    where : str
        ``<survey>/<image_id>``.

    Raises
    ------
    Missing
        If it is not committed, or was rejected.
    """
    record = manifest.read(workspace, STAGE, key_of(where))
    if record is None or "image" not in record.details:
        raise Missing(f"{where}: no such image in {workspace}; run ingest_images, or see status --outcomes {STAGE}")
    return Image(workspace, where, record.details["image"])


def index(workspace: Folder) -> pd.DataFrame:
    """Return the facts of all committed images, by image_id, as in the table IMAGES."""
    records = [manifest.read(workspace, STAGE, text) for text in sorted(manifest.committed(workspace, STAGE))]
    images = [record.details["image"] for record in records if record is not None and "image" in record.details]
    table = pd.DataFrame(images, columns=IMAGES.names)
    return table.sort_values("image_id", ignore_index=True)
