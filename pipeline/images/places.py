"""Places for transients that are put into real images: on blank sky, and on the galaxies that the reference shows."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.images.frame import UNUSABLE

__all__ = ["ENVIRONMENTS", "draw"]

#: Where a transient can be: off all sources, in a galaxy's disk, in its core.
ENVIRONMENTS = ("blank", "disk", "core")

# Injected transients keep this far from each other, from the reference's edges and from stars, in FWHM.
_APART, _EDGE, _STAR = 6.0, 8.0, 3.0
# Of a galaxy's half-light radius: where its disk is taken to be; and how near its middle its core is, px.
_DISK, _CORE = (0.7, 1.3), 0.3
# A disk that is told from the core has at least this half-light radius, in FWHM of stars.
_WIDE = 0.5


def draw(
    sources: pd.DataFrame,
    shape: tuple[int, int],
    count: int | Mapping[str, int],
    fwhm: float,
    rng: np.random.Generator,
    avoid: pd.DataFrame | None = None,
    covered: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]] | None = None,
) -> pd.DataFrame:
    """Draw places.

    Parameters
    ----------
    sources : pandas.DataFrame
        Of the reference: x, y, fwhm, ellipticity, theta, snr, mask, is_star.
    shape : tuple of int
        Rows and columns of the reference.
    count : int or mapping
        Wanted in all, equally many in every environment; or in each, those first that come first. Fewer where hosts or
        room run out.
    fwhm : float
        The larger of the two images' PSFs, px of the reference.
    rng : numpy.random.Generator
        Source of chance.
    avoid : pandas.DataFrame, optional
        x, y of what the image itself shows: candidates of the plain subtraction.
    covered : callable, optional
        x, y → whether the other image covers a place; everywhere by default.

    Returns
    -------
    pandas.DataFrame
        x, y (px of the reference), environment, sign (1).
    """
    star = sources["is_star"].to_numpy(bool)
    radius = np.sqrt(np.maximum((sources["fwhm"] / 2) ** 2 - (_width(sources, fwhm) / 2) ** 2, 0))
    sure = ~star & (sources["snr"] > 20) & ((sources["mask"] & int(UNUSABLE)) == 0)
    wide = sure & (radius > _WIDE * _width(sources, fwhm))
    off = [] if avoid is None else [(avoid, 2 * fwhm)]
    own = {"disk": sources[wide].assign(radius=radius[wide]), "core": sources[sure].assign(radius=radius[sure])}
    taken: list[tuple[float, float, str]] = []
    if isinstance(count, int):
        count = dict.fromkeys(("disk", "core", "blank"), -(-count // len(ENVIRONMENTS)))
    for environment, share in count.items():
        if environment == "blank":
            x, y = rng.uniform(0, shape[1], 60 * share), rng.uniform(0, shape[0], 60 * share)
            good = _clear(x, y, [(sources, 3 * fwhm + sources["fwhm"].to_numpy()), *off])
        else:
            hosts = own[environment].iloc[rng.permutation(len(own[environment]))]
            x, y = _beside(hosts, environment, rng)
            good = _clear(x, y, [(sources[star], _STAR * fwhm), *off])
        edge = _EDGE * fwhm
        good &= (x > edge) & (y > edge) & (x < shape[1] - 1 - edge) & (y < shape[0] - 1 - edge)
        if covered is not None:
            good[good] = covered(x[good], y[good])
        taken += _apart(x[good], y[good], environment, share, taken, _APART * fwhm)
    table = pd.DataFrame(taken, columns=["x", "y", "environment"]).astype({"x": float, "y": float})
    return table.sort_values(["y", "x"], ignore_index=True).assign(sign=1)


def _width(sources: pd.DataFrame, fwhm: float) -> float:
    stars = sources[sources["is_star"].to_numpy(bool)]
    return float(stars["fwhm"].median()) if len(stars) >= 3 else fwhm


def _beside(
    hosts: pd.DataFrame, environment: str, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a place in every host: by its middle, or about its half-light radius away along its ellipse."""
    angle, n = rng.uniform(0, 2 * np.pi, len(hosts)), len(hosts)
    dx, dy = np.cos(angle), np.sin(angle)
    reach = np.sqrt(rng.uniform(0, 1, n)) * _CORE
    if environment == "disk":
        ratio, turn = 1 - hosts["ellipticity"].clip(0, 0.9).to_numpy(), hosts["theta"].to_numpy()
        u, v = dx / np.sqrt(ratio), dy * np.sqrt(ratio)
        dx, dy = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
        reach = rng.uniform(*_DISK, n) * hosts["radius"].to_numpy()
    return hosts["x"].to_numpy() + reach * dx, hosts["y"].to_numpy() + reach * dy


def _clear(
    x: NDArray[np.float64], y: NDArray[np.float64], obstacles: list[tuple[pd.DataFrame, NDArray[np.float64] | float]]
) -> NDArray[np.bool_]:
    """Which places lie further from everything than it reaches."""
    good = np.ones(len(x), bool)
    tree = cKDTree(np.column_stack([x, y])) if len(x) else None
    for table, radius in obstacles:
        if tree is not None and len(table):
            for near in tree.query_ball_point(table[["x", "y"]].to_numpy(float), radius):
                good[near] = False
    return good


def _apart(
    x: NDArray[np.float64], y: NDArray[np.float64], environment: str, count: int, others: list, distance: float
) -> list[tuple[float, float, str]]:
    """Take places in turn that keep apart from those taken before."""
    start = len(others)
    there = np.full((start + count, 2), np.inf)
    if start:
        there[:start] = [one[:2] for one in others]
    n = start
    for px, py in zip(x, y, strict=True):
        if n == len(there):
            break
        if (np.hypot(*(there[:n] - (px, py)).T) > distance).all():
            there[n] = px, py
            n += 1
    return [(float(px), float(py), environment) for px, py in there[start:n]]
