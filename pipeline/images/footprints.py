"""Where images look: footprints as polygons on the sphere, how much of one another covers, and what lies inside.

Polygons of few degrees are cut in the plane that touches the sphere at their middle (gnomonic: great circles are
straight lines there), after Sutherland & Hodgman (1974, CACM 17, 32); corners go around a convex figure.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["contains", "corners", "overlap", "unit_vectors"]

_Points = NDArray[np.float64]


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> _Points:
    """Return directions as unit vectors.

    Parameters
    ----------
    ra, dec : (n,) array_like
        Degrees.

    Returns
    -------
    (n, 3) float64
        Vectors.
    """
    a, d = np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def corners(footprint: ArrayLike | None) -> _Points:
    """Return the corners of a footprint as unit vectors: (n, 3); three of NaN if it is unknown.

    Parameters
    ----------
    footprint : (2·n,) array_like or None
        Corners in order: ra, dec, ra, dec, … (deg).
    """
    if footprint is None or np.size(footprint) < 6:
        return np.full((3, 3), np.nan)
    flat = np.asarray(footprint, float).reshape(-1, 2)
    return unit_vectors(flat[:, 0], flat[:, 1])


def overlap(science: ArrayLike | None, reference: ArrayLike | None) -> float:
    """Return the share of a footprint that another covers.

    Parameters
    ----------
    science, reference : (2·n,) array_like
        Corners of convex polygons in order: ra, dec, ra, dec, … (deg).
    """
    one, other = corners(science), corners(reference)
    middle = one.mean(0) / np.linalg.norm(one.mean(0))
    # What is unknown, or on the other side of the sky, covers nothing.
    if not (np.isfinite(one).all() and np.isfinite(other).all()) or (other @ middle <= 0.1).any():
        return 0.0
    own, theirs = (_oriented(_plane(points, middle)) for points in (one, other))
    whole = _area(own)
    return float(np.clip(_area(_clipped(own, theirs)) / whole, 0, 1)) if whole > 0 else 0.0


def contains(footprint: ArrayLike, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    """Return which places lie inside a footprint.

    Parameters
    ----------
    footprint : (2·n,) array_like
        Corners of a convex polygon: ra, dec, ra, dec, … (deg).
    ra, dec : (m,) array_like
        Degrees.
    """
    polygon, points = corners(footprint), unit_vectors(ra, dec)
    # Inside is on the same side of every edge's great circle as the middle of the polygon.
    normals = np.cross(polygon, np.roll(polygon, -1, axis=0))
    side = np.sign(normals @ polygon.mean(0))
    return np.asarray(((points @ normals.T) * side >= 0).all(-1))


def _plane(points: _Points, middle: _Points) -> _Points:
    """Return the gnomonic projection of unit vectors, (n, 2), rad."""
    pole = np.array([0.0, 0.0, 1.0]) if abs(middle[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    east = np.cross(pole, middle)
    east /= np.linalg.norm(east)
    north = np.cross(middle, east)
    return np.stack([points @ east, points @ north], axis=1) / (points @ middle)[:, None]


def _signed_area(polygon: _Points) -> float:
    x, y = polygon.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _area(polygon: _Points) -> float:
    return abs(_signed_area(polygon)) if len(polygon) > 2 else 0.0


def _oriented(polygon: _Points) -> _Points:
    return polygon if _signed_area(polygon) >= 0 else polygon[::-1]


def _clipped(polygon: _Points, window: _Points) -> _Points:
    """Return the part of a polygon inside a convex one, both counterclockwise."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(polygon):
            break
        (ex, ey), relative = end - start, polygon - start
        side = ex * relative[:, 1] - ey * relative[:, 0]
        kept = []
        for k in range(len(polygon)):
            before, here = polygon[k - 1], polygon[k]
            if (side[k - 1] < 0) != (side[k] < 0):
                kept.append(before + (here - before) * (side[k - 1] / (side[k - 1] - side[k])))
            if side[k] >= 0:
                kept.append(here)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon
