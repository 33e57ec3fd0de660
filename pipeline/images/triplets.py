"""Triplets of candidates: the science image as it was aligned, the reference, and their difference.

A store of triplets has a partition for each band of rows of the difference image, of fixed capacity; its rows are
packed from the partition's first. What does not fit has no triplet, and its row in the table of candidates says so.
What lies off the frame is NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.candidates import Flag, is_good
from catalogs.folder import Folder
from pipeline import stores
from pipeline.images.frame import Pixels
from pipeline.images.sampling import SIZE
from pipeline.manifest import Object
from pipeline.stores import Array, Template

__all__ = ["CAPACITY", "CHANNELS", "NAME", "SIZE", "Triplets", "assign", "cut", "path", "template", "write"]

#: Name of the array in the store.
NAME = "triplet"

#: What the second dimension holds.
CHANNELS = ("science", "reference", "difference")

#: Triplets of a partition, at most.
CAPACITY = 2048


class Triplets(NamedTuple):
    """Triplets that were cut.

    Parameters
    ----------
    pixels : (n, 3, size, size) float32
        Science as aligned, reference, difference, in their own counts; NaN off the frame.
    padded : (n,) bool
        Whether a part of it lies off the frame: `catalogs.candidates.Flag.PADDED`.
    """

    pixels: NDArray[np.float32]
    padded: NDArray[np.bool_]


def path(pair_id: str) -> str:
    """Return the path of a pair's store of triplets in the workspace."""
    return f"triplets/{pair_id}.zarr"


def template(size: int = SIZE, capacity: int = CAPACITY, compression: int = 1) -> Template:
    """Return the layout of a store of triplets.

    Parameters
    ----------
    size : int
        Pixels on a side, odd.
    capacity : int
        Rows a partition.
    compression : int
        zstd level.
    """
    attrs = {"long_name": "aligned science, reference, difference", "channels": list(CHANNELS), "off_frame": "NaN"}
    # Zeros, not NaN, for what is not written: a triplet of NaN alone is one that was cut off the frame.
    array = Array(NAME, "float32", ("row", "channel", "y", "x"), 0.0, attrs)
    sizes = {"channel": len(CHANNELS), "y": _odd(size), "x": size}
    return Template((array,), sizes, capacity, compression, {}, {"rows": "row", "rows_per_partition": capacity})


def assign(candidates: pd.DataFrame, band: int, capacity: int = CAPACITY) -> pd.DataFrame:
    """Return the candidates of a band with the rows of their triplets; good ones first, then the brightest.

    Parameters
    ----------
    candidates : pandas.DataFrame
        Columns candidate_id, snr and flags.
    band : int
        Number of the partition.
    capacity : int
        Rows a partition.

    Returns
    -------
    pandas.DataFrame
        In the order of their triplets, with triplet_row (Int64; missing beyond the capacity, where flags get
        `Flag.NO_TRIPLET`).
    """
    good, size = is_good(candidates["flags"]), candidates["snr"].abs().to_numpy()
    order = np.lexsort([candidates["candidate_id"].to_numpy(str), -size, ~good])
    table = candidates.iloc[order].reset_index(drop=True)
    place = np.arange(len(table))
    rows = pd.Series(band * capacity + place, dtype="Int64").mask(place >= capacity)
    bit = np.where(place >= capacity, int(Flag.NO_TRIPLET), 0)
    return table.assign(triplet_row=rows, flags=(table["flags"].to_numpy() | bit).astype(np.int32))


def cut(
    images: Sequence[Pixels], x: NDArray[np.floating], y: NDArray[np.floating], size: int = SIZE,
    *, origin: tuple[int, int] = (0, 0), frame: tuple[int, int] | None = None,
) -> Triplets:  # fmt: skip
    """Cut triplets around the pixels nearest to places.

    Parameters
    ----------
    images : sequence of (ny, nx) float32
        Science as aligned, reference, difference: the whole frame or a window of it.
    x, y : (n,) array
        Places in the frame, px.
    size : int
        Pixels on a side, odd.
    origin : tuple of int
        x and y of the window's first pixel in the frame.
    frame : tuple of int, optional
        Rows and columns of the frame; the window is the frame if left out.

    Raises
    ------
    ValueError
        If a triplet needs pixels of the frame that the window does not have.
    """
    half = _odd(size) // 2
    (ny, nx), (x0, y0) = images[0].shape, origin
    rows_all, columns_all = frame or (ny, nx)
    columns = np.rint(np.asarray(x, float)).astype(np.int64)[:, None] + np.arange(-half, half + 1)
    rows = np.rint(np.asarray(y, float)).astype(np.int64)[:, None] + np.arange(-half, half + 1)
    on_x, on_y = (columns >= 0) & (columns < columns_all), (rows >= 0) & (rows < rows_all)
    in_x, in_y = (columns >= x0) & (columns < x0 + nx), (rows >= y0) & (rows < y0 + ny)
    if (on_x & ~in_x).any() or (on_y & ~in_y).any():
        raise ValueError(f"triplets of {size} px reach beyond the window {nx}x{ny} at {origin}; give a larger one")
    inside = on_y[:, :, None] & on_x[:, None, :]
    pixels = np.full((len(columns), len(images), size, size), np.nan, np.float32)
    columns, rows = (columns - x0).clip(0, nx - 1), (rows - y0).clip(0, ny - 1)
    for channel, image in enumerate(images):
        pixels[:, channel][inside] = image[rows[:, :, None], columns[:, None, :]][inside]
    return Triplets(pixels, ~inside.all((1, 2)))


def write(folder: Folder, where: str, band: int, pixels: NDArray[np.float32]) -> list[Object]:
    """Write the triplets of a band; none are nothing to write.

    Parameters
    ----------
    folder, where : Folder, str
        The store.
    band : int
        Number of the partition.
    pixels : (n, 3, size, size) float32
        Triplets, at most as many as a partition holds, in the order of their rows.
    """
    return stores.write(folder, where, band, {NAME: pixels}) if len(pixels) else []


def _odd(size: int) -> int:
    if size < 3 or size % 2 == 0:
        raise ValueError(f"triplets of {size} px have no middle pixel; give an odd size of 3 or more")
    return size
