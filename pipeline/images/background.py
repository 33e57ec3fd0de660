"""Sky level and its noise, on a mesh, between the sources."""

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from pipeline.images.frame import Pixels

__all__ = ["level", "poisson_sky", "sky"]

#: Share of a box's pixels that must be usable for its level to count.
_LEAST = 0.15


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


def level(image: Pixels, good: NDArray[np.bool_], mesh: int) -> Pixels:
    """Return the smooth part of an image whose sources are masked or subtracted.

    Means of boxes, clipped at 3σ on both sides of the median, then a median over 3×3 boxes and a bicubic spline. A
    mode, as in `sky`, would be wrong by the skewness of the noise, and what adds up over a PSF is the mean. Beyond the
    outermost boxes the level goes on as a plane, so that a gradient is not bent at the edges.

    Parameters
    ----------
    image : (ny, nx) float32
        Counts.
    good : (ny, nx) bool
        Pixels that count.
    mesh : int
        Side of a box, px.

    Returns
    -------
    (ny, nx) float32
        Counts.
    """
    ny, nx = image.shape
    rows, columns = (max(1, round(n / mesh)) for n in (ny, nx))
    y, x = (np.linspace(0, n, k + 1).round().astype(int) for n, k in ((ny, rows), (nx, columns)))
    boxes = np.full((rows, columns), np.nan)
    for j in range(rows):
        for i in range(columns):
            part = (slice(y[j], y[j + 1]), slice(x[i], x[i + 1]))
            values = image[part][good[part]]
            if values.size > _LEAST * good[part].size:
                boxes[j, i] = _clipped_mean(values)
    if not np.isfinite(boxes).any():
        return np.zeros_like(image)
    boxes = (
        ndimage.median_filter(np.pad(_filled(boxes), 2, "reflect", reflect_type="odd"), 3)[1:-1, 1:-1]
        if (min(boxes.shape) > 2)
        else np.pad(_filled(boxes), 1, "edge")
    )
    centres = [_centres(edges) for edges in (y, x)]
    degrees = [min(3, len(c) - 1) for c in centres]
    spline = RectBivariateSpline(*centres, boxes, kx=degrees[0], ky=degrees[1])
    smooth: Pixels = spline(np.arange(ny), np.arange(nx)).astype(np.float32)
    return smooth


def _clipped_mean(values: Pixels) -> float:
    for _ in range(3):
        low, middle, high = np.percentile(values[:: max(1, values.size // 4000)], [15.87, 50, 84.13])
        width = 1.5 * (high - low)
        values = values[np.abs(values - middle) <= max(width, 1e-12)]
    return float(values.mean(dtype=np.float64))


def _centres(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the middles of boxes and one more on either side."""
    middle = (edges[:-1] + edges[1:] - 1) / 2
    first, last = edges[1] - edges[0], edges[-1] - edges[-2]
    return np.concatenate([[middle[0] - first], middle, [middle[-1] + last]])


def _filled(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes with the missing ones put in: the mean of the known ones, by distance."""
    missing = ~np.isfinite(boxes)
    if not missing.any():
        return boxes
    known = np.argwhere(~missing)
    for j, i in np.argwhere(missing):
        weight = 1 / ((known - [j, i]) ** 2).sum(axis=1) ** 2
        boxes[j, i] = (weight * boxes[~missing]).sum() / weight.sum()
    return boxes
