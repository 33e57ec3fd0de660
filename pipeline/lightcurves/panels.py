"""The panels of a vetting page on one system: its eclipses, the periodogram, and where the light is lost."""

from dataclasses import replace

import numpy as np
from matplotlib import transforms
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from catalogs.pages import COLORS, Picture
from pipeline.lightcurves.centroid import ARCSEC_PER_PIXEL, Shift, shift
from pipeline.lightcurves.ephemeris import Ephemeris
from pipeline.lightcurves.events import Folded, Minimum, depths, fold, minima
from pipeline.lightcurves.sheet import Points, profile, shown, strip, strongest, thin
from pipeline.lightcurves.star import StarCurves

__all__ = ["eclipses"]

_PRIMARY, _SECONDARY, _LINES = COLORS[0], COLORS[1], "#333333"

DRAWN = 10  # sectors whose photocentre is drawn: more hide one another, and take time
FITS = 150  # what these share


def eclipses(
    star: StarCurves, data: Points, ephemeris: Ephemeris | None, name: str, sigma: float = float("nan")
) -> Picture:
    """Draw primaries (odd and even) and secondaries, the periodogram, and where the light is lost.

    Parameters
    ----------
    star : StarCurves
        Light curves.
    data : Points
        Of the star.
    ephemeris : Ephemeris or None
        Of the system; without one there is only the periodogram.
    name : str
        Whose curve it is.
    sigma : float
        Of the photocentre's shift in all sectors, as vetting found it; measured on those drawn if NaN.
    """
    if ephemeris is None:
        figure, (axis,) = strip()
        _periodogram(axis, data, float("nan"))
        return shown(figure, f"Periodogram of {name}.", "")
    figure, axes = strip(4, 3.0, width_ratios=[1, 1, 1.1, 0.9])
    kinds = minima(ephemeris)
    folded = [fold(star, ephemeris, minimum.kind) for minimum in kinds]
    limits = _zoom_limits(folded, ephemeris)
    for axis, what, one, minimum in zip(axes, ("primary", "secondary"), folded, kinds, strict=False):
        _zoom(axis, one, minimum.half, minimum.kind)
        axis.set(title=what + (_odd_even(one, minimum, ephemeris) if minimum.kind == 1 else ""), ylim=limits)
    if len(kinds) == 1:
        _nothing(axes[1], "no secondary")
    _periodogram(axes[2], data, ephemeris.period if np.isfinite(kinds[0].period) else float("nan"))
    chosen = _spread(star)
    moved = shift(star, ephemeris) if chosen is star else shift(chosen, ephemeris, FITS)
    _source(axes[3], moved, moved.sigma if np.isnan(sigma) else sigma)
    alt = f"Eclipses of {name} over each other, its periodogram, and where on the sky the light is lost."
    caption = (
        "Left: eclipses, levelled by the data beside them; even ones blue, odd ones orange, and the "
        "difference of their mean depths in per cent of the deeper. Right: where the light is "
        "lost, as the photocentre tells, by sector; within the dashed circle it is the star."
    )
    if chosen is not star:
        caption += f" {len(chosen.observations)} of {len(star.observations)} sectors are drawn there."
    return shown(figure, alt, caption)


def _spread(star: StarCurves) -> StarCurves:
    """Return the star with at most `DRAWN` of its sectors, spread over all."""
    count = len(star.observations)
    if count <= DRAWN:
        return star
    places = np.linspace(0, count - 1, DRAWN).round().astype(int)
    return replace(star, observations=tuple(star.observations[place] for place in places))


def _odd_even(folded: Folded, minimum: Minimum, ephemeris: Ephemeris) -> str:
    """Return by how much odd and even primaries differ: a difference may be certain, and too small to matter."""
    if np.isnan(ephemeris.odd_even_sigma):
        return ""
    depth, _, cycle = depths(folded, minimum.half)
    means = [float(depth[cycle % 2 == parity].mean()) for parity in (0, 1) if (cycle % 2 == parity).any()]
    size = f"{100 * (max(means) - min(means)) / max(means):.1f}%, " if len(means) == 2 and max(means) > 0 else ""
    return f", odd – even {size}{ephemeris.odd_even_sigma:.1f} σ"


def _zoom_limits(folded: list[Folded], ephemeris: Ephemeris) -> tuple[float, float]:
    flux = np.concatenate([one.flux for one in folded])
    if not len(flux):
        return 0.9, 1.1
    top = float(np.percentile(flux, 98))
    low = min(float(np.percentile(flux, 0.2)), 1 - np.nan_to_num(ephemeris.depth_1))
    return low - 0.08 * (top - low), top + 0.12 * (top - low)


def _zoom(axis: Axes, folded: Folded, half: float, kind: int) -> None:
    if not len(folded.x):
        _nothing(axis, "no level beside\nthe eclipses")
        return
    hours = 24 * folded.x
    reach = 24 * float(np.abs(folded.x).max())
    for parity, color, pale in ((0, _PRIMARY, "#a3cbe6"), (1, _SECONDARY, "#f2c39f")):
        own = folded.cycle % 2 == parity
        if own.any():
            label = f"{('even', 'odd')[parity]} ({len(np.unique(folded.cycle[own]))})"
            x, flux = thin(hours[own], folded.flux[own])
            axis.plot(x, flux, ".", color=pale, markersize=2.2, markeredgewidth=0, zorder=1)
            axis.plot(
                *profile(hours[own], folded.flux[own], -reach, reach, 60), color=color, linewidth=1.5, label=label
            )
    for edge in (-half, half):
        axis.axvline(24 * edge, color="#888888", linewidth=0.7, linestyle=":")
    axis.set(xlabel="hours from mid-eclipse", xlim=(-reach, reach))
    axis.legend(frameon=False, fontsize=8, loc="lower right", handlelength=1, borderpad=0)


def _nothing(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=10, color=_LINES)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)


def _periodogram(axis: Axes, data: Points, period: float) -> None:
    periods, power = strongest(data)
    if not len(periods):
        _nothing(axis, "too few data\nfor a periodogram")
        return
    axis.plot(periods, power, color=_LINES, linewidth=0.9)
    axis.set(xscale="log", xlabel="period (d)", title="Lomb-Scargle power", ylim=(0, max(1.15 * power.max(), 1e-3)))
    axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    for value, text in ((period / 2, "P/2"), (period, "P"), (2 * period, "2P")):
        if periods[0] < value < periods[-1]:
            axis.axvline(value, color=_PRIMARY, linewidth=1.1 if text == "P" else 0.8, linestyle=(0, (3, 2)))
            place = transforms.offset_copy(axis.get_xaxis_transform(), axis.get_figure(root=True), 2, 0, "points")
            axis.text(value, 0.94, text, fontsize=8, color=_PRIMARY, transform=place)


def _source(axis: Axes, moved: Shift, sigma: float) -> None:
    """Draw, in arcsec, the place of the lost light relative to the photocentre of each sector."""
    if not moved.sectors:
        _nothing(axis, "no photocentre\nin these data")
        return
    places = -ARCSEC_PER_PIXEL * np.array([one.mean for one in moved.sectors])
    errors = ARCSEC_PER_PIXEL * np.array([one.error for one in moved.sectors])
    allowed = 3 * ARCSEC_PER_PIXEL * float(np.hypot(moved.allowance, moved.offset_error))
    reach = 1.15 * max(ARCSEC_PER_PIXEL, allowed, float(np.abs(places).max()))
    axis.add_patch(Circle((0, 0), allowed, fill=False, color="#888888", linestyle="--", linewidth=1))
    axis.errorbar(
        places[:, 0],
        places[:, 1],
        yerr=errors[:, 1],
        xerr=errors[:, 0],
        fmt="o",
        color=_SECONDARY,
        markersize=4,
        linewidth=1,
    )
    axis.plot(0, 0, "+", color=_LINES, markersize=10)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="columns (arcsec)")
    axis.set_ylabel("rows (arcsec)", labelpad=0)
    axis.set_title(f"light lost {ARCSEC_PER_PIXEL * moved.offset:.1f}″ away, {sigma:.1f} σ")
