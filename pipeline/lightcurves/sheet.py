"""What a vetting page shows of a star: its whole light curve, and folded."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalogs.pages import COLORS, Picture, canvas, embed
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import minima
from pipeline.lightcurves.periodogram import gls
from pipeline.lightcurves.star import StarCurves, good

__all__ = ["Points", "curve", "folds", "points", "profile", "shown", "strip", "strongest", "thin"]

Floats = NDArray[np.float64]

_PRIMARY, _SECONDARY, _PLAIN = COLORS[0], COLORS[1], "#6b7686"
_WIDE, _LINES = 13.0, "#333333"
_DOTS = {"color": _PLAIN, "markeredgewidth": 0, "rasterized": True}

BIN = 10 / 1440  # d: bins of the pictures
MOST = 3500  # dots of a panel: more add bytes, nothing to see
PAUSE = 3.0  # d: longer gaps are drawn as long as this
DPI = 144
COLORS_OF_PICTURES = 32


class Points:
    """A star's good cadences in bins of ten minutes, by observation.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    width : float
        Of the bins, d.

    Attributes
    ----------
    time, flux : (n,) float64
        BTJD, and flux relative to the median of the observation.
    sector : (n,) int64
        Where they were seen.
    """

    def __init__(self, star: StarCurves, width: float = BIN) -> None:
        times, fluxes, sectors = [], [], []
        for observation in star.observations:
            time, flux, _ = good(observation)
            _, group, counts = np.unique(np.floor(time / width), return_inverse=True, return_counts=True)
            times.append(np.bincount(group, time) / counts)
            fluxes.append(np.bincount(group, flux) / counts)
            sectors.append(np.full(len(counts), observation.sector))
        self.time: Floats = np.concatenate([np.empty(0), *times])
        self.flux: Floats = np.concatenate([np.empty(0), *fluxes])
        self.sector: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *sectors])


def points(star: StarCurves, period: float) -> Points:
    """Return what is drawn of a star: bins of ten minutes, finer ones where its period is short."""
    fine = np.isfinite(period) and period < 100 * BIN
    return Points(star, max(period / 100, 2 / 1440) if fine else BIN)


def strongest(data: Points) -> tuple[Floats, Floats]:
    """Return log-spaced periods and their Lomb-Scargle power in the sector with most data; empty without any."""
    if len(data.time) < 50:
        return np.empty(0), np.empty(0)
    sectors, counts = np.unique(data.sector, return_counts=True)
    own = data.sector == sectors[np.argmax(counts)]
    time, flux = data.time[own], data.flux[own]
    span = float(np.ptp(time))
    if span < 0.5 or np.ptp(flux) == 0:
        return np.empty(0), np.empty(0)
    periods = np.geomspace(0.05, span, 1500)
    return periods, gls(time, flux, periods)


def _limits(flux: Floats, depth: float = 0.0) -> tuple[float, float]:
    """Return limits that show all but stray points, and an eclipse of a depth however rare it is."""
    if not len(flux):
        return 0.9, 1.1
    low, high = (float(value) for value in np.percentile(flux, [0.1, 99.7]))
    low = min(low, float(np.median(flux)) - depth) if depth > 0 else low
    room = max(high - low, 1e-4)
    return low - 0.1 * room, high + 0.12 * room


def thin(*columns: Floats) -> list[Floats]:
    """Return every so-maniest value of columns, each of shape (n,), so that at most `MOST` are left."""
    step = len(columns[0]) // MOST + 1
    return [column[::step] for column in columns]


def curve(data: Points, ephemeris: Ephemeris | None, name: str) -> Picture:
    """Draw the whole light curve, long gaps shortened, with marks where eclipses are due.

    Parameters
    ----------
    data : Points
        Of the star.
    ephemeris : Ephemeris or None
        Of the system.
    name : str
        Whose curve it is.
    """
    figure, (axis,) = strip()
    gaps = np.r_[0.0, np.maximum(np.diff(data.time) - PAUSE, 0.0)]
    x = data.time - np.cumsum(np.where(gaps > PAUSE, gaps, 0.0))
    axis.plot(*_envelope(x, data.flux), ".", markersize=3.2, **_DOTS)
    low, high = _limits(data.flux, 0.0 if ephemeris is None else ephemeris.depth_1)
    marked = ephemeris is not None and _marks(axis, data.time, x, ephemeris, low - 0.06 * (high - low))
    _sectors(axis, data, x)
    axis.set(ylim=(low - 0.12 * (high - low), high), ylabel="relative flux", xlabel="BTJD (d)")
    alt = f"Light curve of {name} in {len(set(data.sector.tolist()))} sectors, with marks where eclipses are due."
    caption = "Triangles: eclipses due (blue the primary, orange the secondary), hollow where there are no data."
    return shown(figure, alt, caption if marked else "" if ephemeris is not None else "No ephemeris was found.")


def _envelope(x: Floats, flux: Floats) -> tuple[Floats, Floats]:
    """Return at most `MOST` dots: lowest and highest of neighbours where there are more, so no eclipse is lost."""
    step = -(-len(x) * 2 // MOST)
    if step <= 2:
        return x, flux
    starts = np.arange(0, len(x), step)
    low, high = np.minimum.reduceat(flux, starts), np.maximum.reduceat(flux, starts)
    return np.r_[x[starts], x[starts]], np.r_[low, high]


def _marks(axis: Axes, time: Floats, x: Floats, ephemeris: Ephemeris, level: float) -> bool:
    """Mark where eclipses are due; return whether they are few enough for that."""
    marked = False
    for minimum, color in zip(minima(ephemeris), (_PRIMARY, _SECONDARY), strict=False):
        if not len(time) or minimum.period < (time[-1] - time[0]) / 400:
            continue
        marked = True
        if np.isfinite(minimum.period):
            first, last = np.ceil((time[0] - minimum.mid) / minimum.period), (time[-1] - minimum.mid) / minimum.period
            due = minimum.mid + np.arange(first, np.floor(last) + 1) * minimum.period
        else:
            due = np.array([minimum.mid])
        after = np.clip(np.searchsorted(time, due), 1, len(time) - 1)
        away = np.minimum(np.abs(time[after] - due), np.abs(time[after - 1] - due))
        covered = away < minimum.half
        place = np.interp(due, time, x)
        # In a long gap, marks would lie on one another.
        near = covered | (np.diff(x)[after - 1] < 1.5 * PAUSE) & (np.diff(time)[after - 1] < 2 * PAUSE)
        for own, face in ((covered, color), (near & ~covered, "none")):
            axis.plot(
                place[own],
                np.full(own.sum(), level),
                "^",
                color=color,
                markerfacecolor=face,
                markersize=5,
                clip_on=False,
            )
    return marked


def _sectors(axis: Axes, data: Points, x: Floats) -> None:
    """Name the sectors at the top, and the days at the ends of their stretches below."""
    sectors, starts = np.unique(data.sector, return_index=True)
    crowded = len(sectors) > 14
    for i, (sector, start) in enumerate(zip(sectors.tolist(), starts.tolist(), strict=True)):
        if i:
            axis.axvline(x[start] - 0.5 * (x[start] - x[start - 1]), color="#888888", linewidth=0.6, linestyle=":")
        if not crowded or i % (len(sectors) // 14 + 1) == 0:
            axis.annotate(
                f"S{sector}", (x[start], 1.0), xycoords=("data", "axes fraction"), fontsize=8, color=_LINES, va="bottom"
            )
    days, places = list[float](), list[float]()
    each = max(5.0, 5 * np.ceil(np.ptp(x) / 60)) if len(x) else 5.0
    for start, stop in zip(starts, np.r_[starts[1:], len(x)], strict=True):
        if stop > start and not (crowded and len(places) and x[start] - places[-1] < np.ptp(x) / 12):
            whole = np.arange(np.ceil(data.time[start] / each) * each, data.time[stop - 1], each)
            days += whole.tolist()
            places += np.interp(whole, data.time[start:stop], x[start:stop]).tolist()
    axis.set_xticks(places, [f"{day:.0f}" for day in days])
    if len(x):
        axis.set_xlim(x[0] - 0.01 * np.ptp(x), x[-1] + 0.01 * np.ptp(x))


def folds(data: Points, periods: dict[str, float], epoch: float, name: str) -> Picture:
    """Draw the light curve folded at some periods.

    Parameters
    ----------
    data : Points
        Of the star.
    periods : dict
        What each period is → days.
    epoch : float
        BTJD of phase 0.
    name : str
        Whose curve it is.
    """
    figure, axes = strip(len(periods), sharey=True)
    low, high = _limits(data.flux)
    bins = int(np.clip(len(data.flux) / 12, 40, 200))
    for axis, (what, period) in zip(axes, periods.items(), strict=True):
        phase = ((data.time - epoch) / period + 0.25) % 1 - 0.25
        axis.plot(*thin(phase, data.flux), ".", markersize=2.8, **_DOTS)
        if what == "P":
            axis.plot(*profile(phase, data.flux, -0.25, 0.75, bins), color=_PRIMARY, linewidth=1.4)
        axis.set(xlabel="phase", xlim=(-0.25, 0.75), ylim=(low, high), title=f"{what}: {period:.6g} d")
    axes[0].set_ylabel("relative flux")
    text = ", ".join(f"{period:.6g} d" for period in periods.values())
    return shown(figure, f"Light curve of {name} folded at {text}.", "The line is the median.")


def profile(x: Floats, y: Floats, low: float, high: float, bins: int) -> tuple[Floats, Floats]:
    """Return middles of bins and medians in them, NaN with fewer than three data."""
    number = np.floor((x - low) / (high - low) * bins).astype(int)
    kept = (number >= 0) & (number < bins)
    order = np.lexsort([y[kept], number[kept]])
    number, y = number[kept][order], y[kept][order]
    places, start, counts = np.unique(number, return_index=True, return_counts=True)
    medians = np.full(bins, np.nan)
    medians[places] = 0.5 * (y[start + (counts - 1) // 2] + y[start + counts // 2])
    medians[places[counts < 3]] = np.nan
    return low + (np.arange(bins) + 0.5) / bins * (high - low), medians


def strip(columns: int = 1, height: float = 2.5, **options: object) -> tuple[Figure, NDArray[np.object_]]:
    """Return a figure as wide as the page and its axes, whose places are known without drawing it twice."""
    figure, axes = canvas(1, columns, width=_WIDE, height=height, **options)
    figure.set_layout_engine(None)
    figure.subplots_adjust(0.06, 0.48 / height, 0.99, 1 - 0.27 / height, wspace=0.2 if columns > 3 else 0.04)
    return figure, axes[0]


def shown(figure: Figure, alt: str, caption: str) -> Picture:
    """Return a figure as a small picture as wide as the page."""
    return embed(figure, alt, caption, wide=True, dpi=DPI, colors=COLORS_OF_PICTURES)
