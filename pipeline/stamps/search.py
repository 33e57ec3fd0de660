"""Where a further star may be: what one would gain, at every place, after all that was fitted already."""

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.stamps.descent import normal_equations
from pipeline.stamps.picture import Picture

__all__ = ["disc", "peaks", "ring", "scores", "splits"]

Array = NDArray[np.float64]

#: FWHM on either side that a star of the search has.
_HALF = 1.6

#: Phases of a pixel a star of the search is drawn at, a side.
_PHASES = 2


def scores(
    picture: Picture, places: Array, theta: Array, x: Array, y: Array, half: float = _HALF
) -> tuple[Array, Array]:
    """Return flux and error that a further star would have at places, all else following it to first order.

    Parameters
    ----------
    picture : Picture
        The image, with weights.
    places : (k, 2) float64
        Stars that were fitted, px.
    theta : (4,) float64
        The fitted PSF.
    x, y : (n,) float64
        Places to try, px; they are rounded to half a pixel.
    half : float
        FWHM on either side that are looked at.

    Returns
    -------
    flux, error : (n,) float64
        In units of the noise. Gain of χ² is their ratio squared; the error is infinite where no pixel is.
    """
    weight = 1 / picture.variance
    _, _, normal, _, columns, left = normal_equations(
        picture.px, picture.py, picture.value, weight, np.ascontiguousarray(places), theta, 0, picture.scale,
        picture.psf.rest,
    )  # fmt: skip
    first = 2 * len(places)
    normal[first : first + 4, first : first + 4] += picture.psf.precision
    normal[np.diag_indices(len(normal))] *= 1 + 1e-9
    normal[np.diag_indices(len(normal))] += 1e-12
    size = int(np.ceil(half * np.exp(theta[0]))) + 1
    fitted = type(picture.psf)(theta, picture.psf.covariance, picture.psf.rest)
    drawn = np.array([[fitted.stamp(size, p / _PHASES, q / _PHASES) for p in range(_PHASES)] for q in range(_PHASES)])
    flux, error = np.empty(x.size), np.empty(x.size)
    weighted = np.ascontiguousarray((columns * weight).T)
    _scan(picture.index, left * weight, weight, weighted, np.linalg.inv(normal), drawn,
          np.rint(x * _PHASES).astype(np.int64), np.rint(y * _PHASES).astype(np.int64), flux, error)  # fmt: skip
    return flux, error


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan(index, left, weight, weighted, inverse, drawn, columns, rows, flux, error):  # type: ignore[no-untyped-def]
    phases, half = drawn.shape[0], drawn.shape[2] // 2
    size = len(inverse)
    along = np.empty(size)
    for n in range(len(columns)):
        column, row = columns[n] // phases, rows[n] // phases
        stamp = drawn[rows[n] - row * phases, columns[n] - column * phases]
        above, below = 0.0, 0.0
        along[:] = 0.0
        for j in range(max(0, row - half), min(index.shape[0], row + half + 1)):
            for i in range(max(0, column - half), min(index.shape[1], column + half + 1)):
                at = index[j, i]
                if at >= 0:
                    value = stamp[j - row + half, i - column + half]
                    above += value * left[at]
                    below += value * value * weight[at]
                    for k in range(size):
                        along[k] += value * weighted[at, k]
        for k in range(size):
            part = 0.0
            for h in range(size):
                part += inverse[k, h] * along[h]
            below -= part * along[k]
        if below > 0:
            flux[n], error[n] = above / below, 1 / np.sqrt(below)
        else:
            flux[n], error[n] = 0.0, np.inf


def disc(radius: float, step: float) -> Array:
    """Return offsets (n, 2) of a square grid within a radius, the middle left out."""
    count = int(radius / step)
    side = np.arange(-count, count + 1) * step
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    distance = np.hypot(*grid.T)
    return grid[(distance <= radius) & (distance > 0.4 * step)]


def ring(radius: float, count: int = 8) -> Array:
    """Return offsets (count, 2) on a circle."""
    angle = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def splits(fwhm: float) -> Array:
    """Return offsets (n, 2) of close pairs to start from: separations below the FWHM, directions by thirty degrees."""
    half = [ring(share * fwhm, 12)[:6] for share in (0.35, 0.7, 1.0)]
    return np.concatenate(half)


def peaks(offsets: Array, gain: Array, apart: float, most: int, least: float = 0.0, summits: bool = False) -> Array:
    """Return the offsets (k, 2) of the highest gains, each further than `apart` from the ones before.

    Parameters
    ----------
    offsets : (n, 2) float64
        Places that were tried.
    gain : (n,) float64
        What a star there gains.
    apart : float
        In the units of `offsets`.
    most : int
        How many, at most.
    least : float
        Gain that a peak exceeds.
    summits : bool
        Only such that nothing within `apart` gains more.
    """
    found: list[Array] = []
    for k in np.argsort(-gain, kind="stable"):
        if gain[k] <= least or len(found) == most:
            break
        if summits and gain[np.hypot(*(offsets - offsets[k]).T) <= apart].max() > gain[k]:
            continue
        if all(np.hypot(*(offsets[k] - one)) > apart for one in found):
            found.append(offsets[k])
    return np.array(found).reshape(-1, 2)
