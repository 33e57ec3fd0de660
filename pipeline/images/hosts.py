"""What lies near a candidate in the reference image: its nearest source, and the galaxy that it likely belongs to."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.images.frame import Bit

__all__ = ["DLR_LIMIT", "directional_radius", "surroundings"]

#: Directional light radii beyond which a galaxy is no host: as Sullivan et al. 2006 (ApJ 648, 868); Gupta et al. 2016
#: (AJ 152, 154) take 4.
DLR_LIMIT = 5.0

#: Radii of a galaxy, in px, below which its size is the PSF's and no radius at all.
_SMALLEST = 0.5

_FWHM = 2.3548200450309493

#: Bits of sources of which nobody can say whether they are stars: a bright star that is cut off, a hit of a particle.
_UNTOLD = int(Bit.SATURATED | Bit.COSMIC_RAY)


def directional_radius(
    a: NDArray[np.float64], b: NDArray[np.float64], theta: NDArray[np.float64], angle: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the radius of ellipses in a direction: a·b / √((a sin φ)² + (b cos φ)²) (Gupta et al. 2016, eq. 1).

    Parameters
    ----------
    a, b : (n,) float64
        Half axes, of any unit.
    theta : (n,) float64
        Angle of the major axis, rad, from x to y.
    angle : (n,) float64
        Direction, rad, from x to y.
    """
    phi = angle - theta
    return np.asarray(a * b / np.sqrt((a * np.sin(phi)) ** 2 + (b * np.cos(phi)) ** 2))


def surroundings(
    x: NDArray[np.float64], y: NDArray[np.float64], sources: pd.DataFrame, pixscale: float, limit: float = DLR_LIMIT
) -> pd.DataFrame:
    """Return nearest source and likely host of places.

    The host is the galaxy of the least distance over its radius in the direction of the place (Sullivan et al. 2006):
    a large galaxy may be the host of what is nearer to a small one.

    Parameters
    ----------
    x, y : (n,) float64
        Places in the reference image, px.
    sources : pandas.DataFrame
        Sources of the reference image: x, y (px), flux, is_star, mask (`Bit`; 0 if left out), theta (rad), and a, b
        (half axes, px) or fwhm (px) and ellipticity, of which a = FWHM/2.355 / √(1 − e) and b = a (1 − e) follow.
    pixscale : float
        Arcsec a pixel.
    limit : float
        Largest distance of a host, in its radii.

    Returns
    -------
    pandas.DataFrame
        ref_sep_arcsec, ref_is_star (boolean), ref_flux (as in `sources`), host_sep_arcsec, host_dlr; missing where
        there is none. What is saturated or was hit by a particle is no host, and is_star of it is missing.
    """
    n = len(x)
    result = pd.DataFrame(
        {name: np.full(n, np.nan) for name in ("ref_sep_arcsec", "ref_flux", "host_sep_arcsec", "host_dlr")}
    )
    result.insert(1, "ref_is_star", pd.array([None] * n, dtype="boolean"))
    if not n or not len(sources):
        return result
    place = np.column_stack([x, y]).astype(float)
    there = sources[["x", "y"]].to_numpy(float)
    separation, nearest = cKDTree(there).query(place)
    result["ref_sep_arcsec"] = separation * pixscale
    untold = _untold(sources)
    is_star = pd.array(sources["is_star"].to_numpy(bool), dtype="boolean")
    is_star[untold] = pd.NA
    result["ref_is_star"] = is_star[nearest]
    result["ref_flux"] = sources["flux"].to_numpy(float)[nearest]
    separation, radii = _host(place, sources[~untold], limit)
    result["host_sep_arcsec"], result["host_dlr"] = separation * pixscale, radii
    return result


def _untold(sources: pd.DataFrame) -> NDArray[np.bool_]:
    if "mask" not in sources:
        return np.zeros(len(sources), bool)
    return np.asarray((sources["mask"].to_numpy(np.int64) & _UNTOLD) != 0)


def _host(
    place: NDArray[np.float64], sources: pd.DataFrame, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distance (px) and directional light radii of the hosts, NaN where there is none."""
    galaxies = sources[~sources["is_star"].to_numpy(bool)]
    a, b = _axes(galaxies)
    usable = np.isfinite(a) & np.isfinite(b) & (b > 0)
    galaxies, a, b = galaxies[usable], a[usable], b[usable]
    best, distance = np.full(len(place), np.inf), np.full(len(place), np.nan)
    there, theta = galaxies[["x", "y"]].to_numpy(float), np.nan_to_num(galaxies["theta"].to_numpy(float))
    near = cKDTree(place).query_ball_point(there, limit * a, return_sorted=True) if len(there) else []
    for galaxy, members in enumerate(near):
        own = np.asarray(members, int)
        dx, dy = (place[own] - there[galaxy]).T
        separation = np.hypot(dx, dy)
        radius = directional_radius(a[galaxy], b[galaxy], theta[galaxy], np.arctan2(dy, dx))
        closer = (separation / radius < best[own]) & (separation / radius <= limit)
        best[own[closer]], distance[own[closer]] = (separation / radius)[closer], separation[closer]
    return distance, np.where(np.isfinite(best), best, np.nan)


def _axes(sources: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if "a" in sources and "b" in sources:
        a, b = sources["a"].to_numpy(float), sources["b"].to_numpy(float)
    else:
        axis_ratio = 1 - sources["ellipticity"].to_numpy(float).clip(0, 0.95)
        a = sources["fwhm"].to_numpy(float) / _FWHM / np.sqrt(axis_ratio)
        b = a * axis_ratio
    return np.maximum(a, _SMALLEST), np.maximum(b, _SMALLEST)
