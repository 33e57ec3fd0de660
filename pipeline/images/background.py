"""Sky level and its noise, on a mesh, between the sources."""

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.images.frame import Pixels

__all__ = ["poisson_sky", "sky"]


def sky(data: Pixels, mask: NDArray[np.bool_] | None = None, mesh: int = 64) -> tuple[Pixels, Pixels]:
    """Return the sky level and the noise about it at every pixel.

    Clipped means of boxes, or modes where sources crowd them, then a median over 3×3 boxes and a bicubic spline:
    SExtractor's way (Bertin & Arnouts 1996, A&AS 117, 393), by `sep`. A mesh does not fit through a part of the image
    where everything is masked: the boxes around fill it.

    Parameters
    ----------
    data : (ny, nx) float32
        Counts, finite where they are not masked.
    mask : (ny, nx) bool, optional
        True: leave this pixel out.
    mesh : int
        Side of a box, px.

    Returns
    -------
    level, rms : (ny, nx) float32
        In the units of `data`.
    """
    data = np.ascontiguousarray(data, np.float32)
    side = min(mesh, *data.shape)
    found = sep.Background(data, mask=mask, bw=side, bh=side, fw=3, fh=3)
    return found.back(dtype=np.float32), found.rms(dtype=np.float32)


def poisson_sky(data: Pixels, mask: NDArray[np.bool_] | None = None, mesh: int = 64) -> tuple[Pixels, Pixels]:
    """Return the sky level and its noise where photons are counted one by one: clipped medians would be 0 or 1.

    Parameters and returns are those of `sky`. Means of boxes, without pixels whose count chance does not make and
    their neighbours; the noise is that of Poisson.
    """
    good = np.ones(data.shape, bool) if mask is None else ~mask
    mean = float(data[good].mean()) if good.any() else 0.0
    for _ in range(5):
        smooth = ndimage.uniform_filter(np.where(good, data, np.float32(mean)), 3)
        calm = good & (smooth < mean + 4 * np.sqrt(max(mean, 1e-6) / 9) + 1 / 9)
        if not calm.any():
            break
        mean = float(data[calm].mean())
    rows, columns = np.arange(0, data.shape[0], mesh), np.arange(0, data.shape[1], mesh)
    total = np.add.reduceat(np.add.reduceat(np.where(calm, data, 0), rows, 0), columns, 1)
    count = np.add.reduceat(np.add.reduceat(calm.astype(np.float32), rows, 0), columns, 1)
    boxes = (total + mean * mesh**2 / 16) / (count + mesh**2 / 16)
    boxes = ndimage.median_filter(boxes, 3, mode="nearest")
    y = np.clip((np.arange(data.shape[0]) - (mesh - 1) / 2) / mesh, 0, len(rows) - 1)
    x = np.clip((np.arange(data.shape[1]) - (mesh - 1) / 2) / mesh, 0, len(columns) - 1)
    level = ndimage.map_coordinates(boxes, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest").astype(np.float32)
    return level, np.sqrt(np.maximum(level, np.float32(1e-6)))
