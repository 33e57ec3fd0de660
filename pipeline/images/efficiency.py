"""What differencing finds of transients that are known to be there, and what it finds that is not there.

Everything is kept as counts, which add over fields; rates, intervals and percentiles are worked out from sums.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import chi2, norm

from pipeline.images.frame import UNUSABLE, Pixels
from pipeline.images.spread import Spread
from pipeline.metrics import wilson

__all__ = ["BINS", "Efficiency", "compared", "counted", "own", "poisson", "score"]

#: Lower edges of the bins of S/N_opt, and their names.
BINS = {3.0: "3-5", 5.0: "5-7", 7.0: "7-10", 10.0: ">10"}
#: Sources above it are bright, transients above `_CERTAIN` measure fluxes.
_BRIGHT, _CERTAIN = 50.0, 20.0
# Blank sky is this many FWHM away from every source and transient.
_CLEAR = 3.0

_COUNTS = ["injected", "masked", "expected", "recovered", "unflagged"]


@dataclass(frozen=True, eq=False)
class Efficiency:
    """Counts of one field or, added, of many.

    Parameters
    ----------
    area_mpix : float
        Usable pixels, 10^6.
    false, false_unflagged : int
        Candidates of either sign that no transient explains; those of them with flags == 0.
    transients : pandas.DataFrame
        A row for every environment and bin of S/N_opt (`BINS`): injected (on usable pixels), masked (on others, counted
        nowhere else), expected (Σ Φ(S/N_opt - threshold)), recovered, unflagged (recovered with flags == 0).
    ratios : dict of str to (n,) float64
        Measured over true flux of transients with S/N_opt > 20, by environment.
    blank, cores : Spread
        Of significances on blank sky, and within one FWHM of sources with S/N > 50 in both frames.
    """

    area_mpix: float
    false: int
    false_unflagged: int
    transients: pd.DataFrame
    ratios: dict[str, NDArray[np.float64]]
    blank: Spread
    cores: Spread

    def __add__(self, other: "Efficiency") -> "Efficiency":
        """Add counts."""
        none = np.empty(0)
        names = sorted({*self.ratios, *other.ratios})
        return Efficiency(
            self.area_mpix + other.area_mpix,
            self.false + other.false,
            self.false_unflagged + other.false_unflagged,
            self.transients.add(other.transients, fill_value=0),
            {name: np.concatenate([self.ratios.get(name, none), other.ratios.get(name, none)]) for name in names},
            self.blank + other.blank,
            self.cores + other.cores,
        )

    def recovery(self, by: str | None = None) -> pd.DataFrame:
        """Compare what was recovered with the matched-filter limit.

        Parameters
        ----------
        by : str, optional
            ``environment`` or ``bin`` to sum over the other; both kept by default.

        Returns
        -------
        pandas.DataFrame
            Counts, and ratio (recovered over expected) with its 95% binomial interval low, high.
        """
        table = self.transients if by is None else self.transients.groupby(level=by, sort=False).sum()
        return compared(table)

    def false_rate(self, unflagged: bool = False) -> tuple[float, float, float]:
        """Return false candidates in 10^6 pixels.

        Parameters
        ----------
        unflagged : bool
            Only those with flags == 0.

        Returns
        -------
        tuple of float
            The rate and its 95% Poisson interval.
        """
        count = self.false_unflagged if unflagged else self.false
        low, high = poisson(count)
        return count / self.area_mpix, low / self.area_mpix, high / self.area_mpix

    def flux_ratios(self) -> dict[str, tuple[float, float, int]]:
        """Return how measured fluxes compare with true ones.

        Returns
        -------
        dict of str to tuple
            Of every environment: median of the ratio, its standard error (1.253 σ/√n, σ from percentiles), number.
        """
        found = {}
        for name, values in self.ratios.items():
            if len(values):
                low, high = np.percentile(values, [15.87, 84.13])
                error = 1.2533 * (high - low) / 2 / np.sqrt(len(values))
                found[name] = float(np.median(values)), float(error), len(values)
        return found


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Compare what was recovered with the matched-filter limit.

    Parameters
    ----------
    table : pandas.DataFrame
        Counts: injected, expected, recovered.

    Returns
    -------
    pandas.DataFrame
        The same, and ratio (recovered over expected) with its 95% binomial interval low, high.
    """
    shares = [wilson(int(k), int(n)) for k, n in zip(table["recovered"], table["injected"], strict=True)]
    per = (table["injected"] / table["expected"]).to_numpy()
    low, high = (np.array([share[side] for share in shares]) * per for side in (0, 1))
    return table.assign(ratio=table["recovered"] / table["expected"], low=low, high=high)


def poisson(count: int) -> tuple[float, float]:
    """Return the 95% interval of the mean of a Poisson count.

    Parameters
    ----------
    count : int
        Events seen.

    Returns
    -------
    tuple of float
        Both limits.

    References
    ----------
    Garwood 1936, Biometrika 28, 437.
    """
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * count + 2) / 2)


def score(
    truth: pd.DataFrame,
    candidates: pd.DataFrame,
    fwhm: float,
    significance: Pixels,
    sources: pd.DataFrame,
    mask: NDArray[np.uint16] | None = None,
    known: pd.DataFrame | None = None,
    forced_flux: NDArray[np.floating] | None = None,
    threshold: float = 5.0,
) -> Efficiency:
    """Score the candidates of one difference image.

    Parameters
    ----------
    truth : pandas.DataFrame
        Transients: x, y (px of the difference image), flux (above 0), sign, snr_opt, environment.
    candidates : pandas.DataFrame
        x, y, snr (signed), flux (signed, in the truth's unit), flags.
    fwhm : float
        Of the science frame, px of the difference image: candidates within max(1 px, 0.5 FWHM) of a transient are its.
    significance : (ny, nx) float32
        S_corr; NaN where there is none.
    sources : pandas.DataFrame
        All stars and galaxies that show: x, y and snr, the smaller of those in the two frames.
    mask : (ny, nx) uint16, optional
        `Bit`; all pixels are usable by default.
    known : pandas.DataFrame, optional
        Other changes that are real, movers say: x, y, radius (px). Candidates there are neither false nor recovered.
    forced_flux : (n,) ndarray, optional
        Flux measured at every transient's true place, signed; by default that of the candidate nearest to it.
    threshold : float
        Candidates have at least this |snr|; others do not count.

    Returns
    -------
    Efficiency
        Counts.
    """
    usable = np.isfinite(significance)
    if mask is not None:
        usable &= (mask & np.uint16(UNUSABLE)) == 0
    candidates = candidates[candidates["snr"].abs() >= threshold].reset_index(drop=True)
    false = _false(truth, candidates, max(1.0, 0.5 * fwhm), known)
    near = own(truth, candidates, max(1.0, 0.5 * fwhm))
    flux = np.append(candidates["flux"].to_numpy(), 0)[near]
    on = _at(usable, truth)
    with np.errstate(invalid="ignore"):
        measured = np.where(near >= 0, flux, np.nan) if forced_flux is None else np.asarray(forced_flux, float)
    sure = on & (truth["snr_opt"].abs() > _CERTAIN).to_numpy() & np.isfinite(measured)
    ratio = measured / (truth["sign"] * truth["flux"]).to_numpy(float)
    environment = truth["environment"].to_numpy()
    blank, cores = _pixels(significance.shape, truth, sources, fwhm)
    return Efficiency(
        float(usable.sum() / 1e6),
        int(false.sum()),
        int((false & (candidates["flags"] == 0).to_numpy()).sum()),
        counted(truth, candidates, fwhm, on, threshold),
        {str(name): ratio[sure & (environment == name)] for name in np.unique(environment)},
        Spread.of(significance[usable & blank]),
        Spread.of(significance[usable & cores]),
    )


def _false(
    truth: pd.DataFrame, candidates: pd.DataFrame, radius: float, known: pd.DataFrame | None
) -> NDArray[np.bool_]:
    """Which candidates nothing explains."""
    places = candidates[["x", "y"]].to_numpy(float)
    false = np.ones(len(places), bool)
    explained = [(truth[["x", "y"]].to_numpy(float), np.full(len(truth), radius))]
    if known is not None:
        explained.append((known[["x", "y"]].to_numpy(float), np.maximum(known["radius"].to_numpy(float), radius)))
    if len(places):
        tree = cKDTree(places)
        for where, reach in explained:
            for near in tree.query_ball_point(where, reach):
                false[near] = False
    return false


def own(truth: pd.DataFrame, candidates: pd.DataFrame, radius: float) -> NDArray[np.intp]:
    """Return the nearest candidate of each transient's own sign, -1 without.

    Parameters
    ----------
    truth : pandas.DataFrame
        x, y (px of the difference image), sign.
    candidates : pandas.DataFrame
        x, y, snr (signed).
    radius : float
        How far it may be, px.

    Returns
    -------
    (n,) int
        Rows of the candidates, counted.
    """
    found = np.full(len(truth), -1)
    for sign in (-1, 1):
        rows = np.flatnonzero(truth["sign"] == sign)
        there = np.flatnonzero(np.sign(candidates["snr"]) == sign)
        if len(rows) and len(there):
            tree = cKDTree(candidates[["x", "y"]].to_numpy(float)[there])
            distance, nearest = tree.query(truth[["x", "y"]].to_numpy(float)[rows])
            found[rows] = np.where(distance <= radius, there[nearest], -1)
    return found


def _at(usable: NDArray[np.bool_], truth: pd.DataFrame) -> NDArray[np.bool_]:
    ny, nx = usable.shape
    x, y = (np.rint(truth[name].to_numpy(float)).astype(int) for name in ("x", "y"))
    inside = (x >= 0) & (y >= 0) & (x < nx) & (y < ny)
    return inside & usable[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]


def counted(
    truth: pd.DataFrame, candidates: pd.DataFrame, fwhm: float, on: NDArray[np.bool_], threshold: float = 5.0
) -> pd.DataFrame:
    """Count transients, by environment and bin of S/N_opt.

    Parameters
    ----------
    truth, candidates, fwhm
        As of `score`.
    on : (n,) bool
        Transients on usable pixels.
    threshold : float
        Candidates have at least this |snr|.

    Returns
    -------
    pandas.DataFrame
        As `Efficiency.transients`.
    """
    candidates = candidates[candidates["snr"].abs() >= threshold]
    near = own(truth, candidates, max(1.0, 0.5 * fwhm))
    recovered, flags = near >= 0, np.append(candidates["flags"].to_numpy(), 0)[near]
    strength = truth["snr_opt"].abs().to_numpy(float)
    number = np.searchsorted(list(BINS), strength, side="right") - 1
    table = pd.DataFrame(
        {
            "injected": on,
            "masked": ~on,
            "expected": norm.cdf(strength - threshold) * on,
            "recovered": recovered & on,
            "unflagged": recovered & (flags == 0) & on,
            "environment": truth["environment"].to_numpy(),
            "bin": np.array(list(BINS.values()))[np.maximum(number, 0)],
        }
    )[number >= 0]
    return table.astype(dict.fromkeys(_COUNTS, float)).groupby(["environment", "bin"])[_COUNTS].sum()


def _pixels(
    shape: tuple[int, ...], truth: pd.DataFrame, sources: pd.DataFrame, fwhm: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pixels are blank sky, and which are cores of bright sources."""
    blank, cores = np.ones(shape, bool), np.zeros(shape, bool)
    _paint(blank, sources, _CLEAR * fwhm, False)
    _paint(cores, sources[sources["snr"] > _BRIGHT], fwhm, True)
    for image in (blank, cores):
        _paint(image, truth, _CLEAR * fwhm, False)
    return blank, cores


def _paint(image: NDArray[np.bool_], places: pd.DataFrame, radius: float, value: bool) -> None:
    ny, nx = image.shape
    for x, y in places[["x", "y"]].to_numpy(float):
        x0, x1 = max(0, int(np.ceil(x - radius))), min(nx, int(x + radius) + 1)
        y0, y1 = max(0, int(np.ceil(y - radius))), min(ny, int(y + radius) + 1)
        if x0 < x1 and y0 < y1:
            disk = np.hypot(np.arange(y0, y1)[:, None] - y, np.arange(x0, x1)[None, :] - x) <= radius
            image[y0:y1, x0:x1][disk] = value
