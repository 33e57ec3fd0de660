"""Where transients are put, and how bright they must be to be as significant as wanted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from pipeline.images.frame import Pixels
from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure
from pipeline.simulate.limit import WINDOW, flux_at, weights
from pipeline.simulate.optics import Optics, stretched
from pipeline.simulate.pointing import Pointing
from pipeline.simulate.profiles import Floats

__all__ = ["ENVIRONMENTS", "View", "fluxes", "further", "places"]

#: Where a transient can be: off all sources, in a galaxy's disk, in its core.
ENVIRONMENTS = ("blank", "disk", "core")

# Transients keep this far from each other, and from stars that outshine them, px.
_APART, _STAR, _SATURATED = 25.0, 12.0, 60.0

# What is scattered over the field keeps this far from saturated stars, and variable stars are at least so significant.
_BEYOND, _VARIABLE = 20.0, 10.0


@dataclass(frozen=True, eq=False)
class View:
    """A frame before chance: what it is expected to show.

    Parameters
    ----------
    exposure : Exposure
        Its settings.
    optics : Optics
        Its blur.
    sky : (ny, nx) float32
        Counts of the sky alone.
    variance : (ny, nx) float32
        Of every pixel, all sources included, counts².
    """

    exposure: Exposure
    optics: Optics
    sky: Pixels
    variance: Pixels


def places(
    sources: pd.DataFrame, count: int, pointing: Pointing, blur: float, rng: np.random.Generator, edge: float = 40.0
) -> pd.DataFrame:
    """Draw places, equally many in every environment.

    Parameters
    ----------
    sources : pandas.DataFrame
        Stars and galaxies of the field, with snr_science, snr_reference and saturated.
    count : int
        Wanted in all; fewer where hosts or room run out.
    pointing : Pointing
        The frames.
    blur : float
        Larger FWHM of the two frames, px.
    rng : numpy.random.Generator
        Source of chance.
    edge : float
        Least distance from the edges of either frame, px.

    Returns
    -------
    pandas.DataFrame
        x, y (px of the reference), environment.
    """
    share = -(-count // 3)
    visible = sources[sources["snr_reference"] > 5]
    stars = sources[(sources["kind"] == "star") & (sources["snr_science"] > 30)]
    galaxies = visible[(visible["kind"] == "galaxy") & (visible["snr_reference"] > 30)]
    galaxies = galaxies.iloc[rng.permutation(len(galaxies))]
    wide = galaxies["half_light"] >= 2
    hosts = {"disk": galaxies[wide], "core": galaxies[~wide]}
    spare = 2 * len(hosts["disk"]) // 3
    hosts = {"disk": hosts["disk"][:spare], "core": pd.concat([hosts["core"], hosts["disk"][spare:]])}
    hosts["core"] = hosts["core"].iloc[rng.permutation(len(hosts["core"]))]
    ny, nx = pointing.reference.array_shape
    kept: list[tuple[float, float, str]] = []
    for environment in ("core", "disk", "blank"):
        if environment == "blank":
            x, y = rng.uniform(0, nx, 60 * share), rng.uniform(0, ny, 60 * share)
            good = _clear(x, y, visible, 5 * blur + 2 * visible["half_light"].to_numpy())
        else:
            x, y = _beside(hosts[environment], environment, rng)
            good = _clear(x, y, stars, _STAR)
        good &= _clear(x, y, sources[sources["saturated"]], _SATURATED) & _inside(x, y, pointing, edge)
        kept += _thin(x[good], y[good], environment, share, kept)
    return pd.DataFrame(kept, columns=["x", "y", "environment"]).astype({"x": float, "y": float})[:count]


def further(
    truth: pd.DataFrame,
    sources: pd.DataFrame,
    counts: tuple[int, int],
    pointing: Pointing,
    rng: np.random.Generator,
    edge: float,
) -> pd.DataFrame:
    """Draw further places: anywhere, whatever is there, and stars that vary.

    Parameters
    ----------
    truth : pandas.DataFrame
        Places there are already, as of `places`.
    sources : pandas.DataFrame
        Stars and galaxies of the field, with snr_science, snr_reference and saturated.
    counts : tuple of int
        How many are scattered, and how many stars vary; fewer where room runs out.
    pointing : Pointing
        The frames.
    rng : numpy.random.Generator
        Source of chance.
    edge : float
        Least distance from the edges of either frame, px.

    Returns
    -------
    pandas.DataFrame
        All of them; environment ``any`` and ``star`` beside those of `places`.
    """
    ny, nx = pointing.reference.array_shape
    saturated = sources[sources["saturated"]]
    shown = (sources["kind"] == "star") & ~sources["saturated"] & (sources["snr_reference"] > _VARIABLE)
    stars = sources[shown]
    stars = stars.iloc[rng.permutation(len(stars))]
    kept: list[tuple[float, float, str]] = [tuple(row) for row in truth.itertuples(index=False)]
    anywhere = rng.uniform(0, nx, 60 * counts[0]), rng.uniform(0, ny, 60 * counts[0])
    for environment, count, (x, y) in (
        ("star", counts[1], (stars["x"].to_numpy(), stars["y"].to_numpy())),
        ("any", counts[0], anywhere),
    ):
        good = _clear(x, y, saturated, _BEYOND) & _inside(x, y, pointing, edge)
        kept += _thin(x[good], y[good], environment, count, kept)
    return pd.DataFrame(kept, columns=["x", "y", "environment"]).astype({"x": float, "y": float})


def _beside(hosts: pd.DataFrame, environment: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return a place in every host: within 0.3 px of its centre, or at 0.7 to 1.3 half-light radii of its disk."""
    angle, radius = rng.uniform(0, 2 * np.pi, len(hosts)), np.sqrt(rng.uniform(0, 1, len(hosts))) * 0.3
    dx, dy = np.cos(angle), np.sin(angle)
    if environment == "disk":
        e1, e2 = hosts["e1"].to_numpy(), hosts["e2"].to_numpy()
        ratio, turn = 1 - np.hypot(e1, e2), np.arctan2(e2, e1) / 2
        u, v = dx / np.sqrt(ratio), dy * np.sqrt(ratio)
        dx, dy = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
        radius = rng.uniform(0.7, 1.3, len(hosts)) * hosts["half_light"].to_numpy()
    return hosts["x"].to_numpy() + radius * dx, hosts["y"].to_numpy() + radius * dy


def _clear(x: Floats, y: Floats, sources: pd.DataFrame, radius: Floats | float) -> np.ndarray:
    """Which places lie further than a radius (one for each source, or for all) from every source."""
    good = np.ones(len(x), bool)
    if len(sources) and len(x):
        tree = cKDTree(np.column_stack([x, y]))
        for near in tree.query_ball_point(sources[["x", "y"]].to_numpy(), radius):
            good[near] = False
    return good


def _inside(x: Floats, y: Floats, pointing: Pointing, edge: float) -> np.ndarray:
    good = np.ones(len(x), bool)
    frames = ((x, y, pointing.reference), (*pointing.to_science(x, y), pointing.science)) if len(x) else ()
    for px, py, wcs in frames:
        ny, nx = wcs.array_shape
        good &= (px > edge) & (py > edge) & (px < nx - 1 - edge) & (py < ny - 1 - edge)
    return good


def _thin(x: Floats, y: Floats, environment: str, count: int, others: list) -> list[tuple[float, float, str]]:
    """Take places in turn that keep apart from those taken before."""
    taken: list[tuple[float, float, str]] = []
    for px, py in zip(x, y, strict=True):
        if len(taken) == count:
            break
        if all((px - one[0]) ** 2 + (py - one[1]) ** 2 > _APART**2 for one in [*others, *taken]):
            taken.append((float(px), float(py), environment))
    return taken


def fluxes(truth: pd.DataFrame, pointing: Pointing, science: View, reference: View) -> pd.DataFrame:
    """Return what makes transients as significant as they shall be, and where they are.

    Parameters
    ----------
    truth : pandas.DataFrame
        x, y (px of the reference), snr_opt (> 0), sign (1: only in the science frame, -1: only in the reference).
    pointing : Pointing
        The frames.
    science, reference : View
        What they show without transients.

    Returns
    -------
    pandas.DataFrame
        The same with x_sci, y_sci, ra, dec (degrees) and flux (counts of the science frame, above 0).
    """
    truth = truth.copy()
    x, y = truth["x"].to_numpy(), truth["y"].to_numpy()
    truth["x_sci"], truth["y_sci"] = pointing.to_science(x, y)
    truth["ra"], truth["dec"] = pointing.reference.all_pix2world(x, y, 0)
    jacobian = pointing.jacobian(x, y)
    matrices = (
        stretched(
            science.optics.matrices(*truth[["x_sci", "y_sci"]].to_numpy().T),
            np.asarray(np.linalg.inv(jacobian), np.float64),
        ),
        reference.optics.matrices(x, y),
    )
    truth["flux"] = [
        _flux(truth.iloc[i], jacobian[i], (matrices[0][i], matrices[1][i]), science, reference)
        for i in range(len(truth))
    ]
    return truth


def _flux(row: pd.Series, jacobian: Floats, matrices: tuple[Floats, Floats], science: View, reference: View) -> float:
    """Work on the reference's grid, on which the science frame's pixels are counted by their area."""
    x, y, half = row["x"], row["y"], WINDOW // 2
    x0, y0 = round(x) - half, round(y) - half
    dense = abs(np.linalg.det(jacobian))
    psf = [_stamp(view, matrix, x - x0, y - y0) for view, matrix in zip((science, reference), matrices, strict=True)]
    rows, columns = np.mgrid[y0 : y0 + WINDOW, x0 : x0 + WINDOW]
    offset = jacobian @ np.stack([columns.ravel() - x, rows.ravel() - y])
    there = (row["y_sci"] + offset[1]).reshape(rows.shape), (row["x_sci"] + offset[0]).reshape(rows.shape)
    variances = (_sampled(science.variance, *there) * dense, _sampled(reference.variance, rows, columns))
    detector = [(view.exposure.read_noise / view.exposure.gain) ** 2 for view in (science, reference)]
    sky = (_sampled(science.sky, *there)[half, half], _sampled(reference.sky, rows, columns)[half, half])
    noise = [
        one / view.exposure.gain + read for one, view, read in zip(sky, (science, reference), detector, strict=True)
    ]
    ratio = reference.exposure.scale / science.exposure.scale
    new, ref = weights(psf[0], psf[1], np.sqrt(noise[0] * dense), np.sqrt(noise[1]), ratio)
    variance = (new**2 * variances[0]).sum() + (ref**2 * variances[1]).sum()
    if row["sign"] > 0:
        own = (new**2 * psf[0]).sum() / science.exposure.gain
    else:
        own = ratio * (ref**2 * psf[1]).sum() / reference.exposure.gain
    return flux_at(row["snr_opt"], float((new * psf[0]).sum()), variance, own)


def _stamp(view: View, matrix: Floats, x: float, y: float) -> Floats:
    image = np.zeros((WINDOW, WINDOW))
    render(image, np.array([x]), np.array([y]), np.ones(1), view.optics.profile, matrix[None], 1e-9)
    return image


def _sampled(image: Pixels, y: Floats, x: Floats) -> Floats:
    return np.asarray(map_coordinates(image, [y, x], np.float64, order=1, mode="nearest"))
