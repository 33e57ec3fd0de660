"""Pictures of the whole catalogue of eclipsing binaries: sky, magnitudes, periods and morphologies."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from catalogs.pages import COLORS, Picture, Section, canvas, embed

__all__ = ["magnitudes", "periods", "section", "sky"]

Floats = NDArray[np.float64]

_PAIR = 6.3
_CLASSES = {"EA": COLORS[0], "EB": COLORS[2], "EW": COLORS[1], "ELL": COLORS[3]}
_CHANCES = {"p_ea": "EA", "p_beta": "EB", "p_ew": "EW", "p_ell": "ELL"}
_OBLIQUITY = np.deg2rad(23.4393)
_PALETTE = 48


def section(systems: pd.DataFrame) -> Section:
    """Return the part of the report that shows the catalogue as a whole.

    Parameters
    ----------
    systems : pandas.DataFrame
        Its rows: tic_id, ra, dec, tmag, tier, period, morph and the probabilities of the classes. Shown are those of
        tier high and low.
    """
    found = systems[systems["tier"] != "none"]
    stars = found.drop_duplicates("tic_id")
    groups: dict[str, ArrayLike] = {"all stars": systems.drop_duplicates("tic_id")["tmag"]}
    tiers = [tier for tier in ("high", "low") if (stars["tier"] == tier).any()]
    groups |= {f"tier {tier}": stars.loc[stars["tier"] == tier, "tmag"] for tier in tiers}
    chances = found[list(_CHANCES)].astype(float).fillna(-1.0)
    klass = chances.idxmax(axis=1).map(_CHANCES).where(chances.max(axis=1) >= 0, "") if len(found) else []
    pictures = [
        sky(stars["ra"], stars["dec"], "Candidates on the sky, ICRS; dashed the ecliptic."),
        magnitudes(groups, "TESS magnitudes."),
    ]
    if found["morph"].notna().any():
        caption = "Systems by most probable class. Morphology: 0 widely detached, 1 ellipsoidal."
        pictures.append(periods(found["period"], found["morph"], klass, caption))
    text = f"{len(stars):,} stars of tier high or low, {found['period'].notna().sum():,} systems with a period."
    return Section("The catalogue", text, figures=pictures)


def sky(ra: ArrayLike, dec: ArrayLike, caption: str = "") -> Picture:
    """Draw where stars are, the whole sky of equal areas (Hammer's projection), east to the left.

    Parameters
    ----------
    ra, dec : (n,) array_like
        ICRS, deg; stars without a place are left out.
    caption : str
        Line below.
    """
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis = axes[0, 0]
    _graticule(axis)
    a, d = np.asarray(ra, float), np.asarray(dec, float)
    known = np.isfinite(a) & np.isfinite(d)
    size = float(np.clip(60 / np.sqrt(max(known.sum(), 1)), 1.5, 7))
    axis.plot(*_hammer(a[known], d[known]), ".", color=COLORS[1], markersize=size, alpha=0.7, markeredgewidth=0)
    return embed(figure, f"Sky map of {known.sum():,} stars.", caption, colors=_PALETTE)


def _hammer(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    longitude, latitude = np.deg2rad((ra + 180) % 360 - 180), np.deg2rad(dec)
    scale = np.sqrt(2 / (1 + np.cos(latitude) * np.cos(longitude / 2)))
    return -2 * scale * np.cos(latitude) * np.sin(longitude / 2), scale * np.sin(latitude)


def _graticule(axis: Axes) -> None:
    """Draw meridians and parallels of 30 degrees, and the ecliptic, which TESS's cameras start from."""
    fine = np.linspace(-180, 180, 361)
    # A hair less than half a turn, which would come out on the other side.
    for meridian in np.linspace(-179.999, 179.999, 13):
        x, y = _hammer(np.full(181, meridian), np.linspace(-90, 90, 181))
        outer = abs(meridian) > 179
        axis.plot(x, y, color="#888888", linewidth=0.9 if outer else 0.4, alpha=1 if outer else 0.5)
    for parallel in range(-60, 61, 30):
        axis.plot(
            *_hammer(np.clip(fine, -179.999, 179.999), np.full(361, parallel)), color="#888888", lw=0.4, alpha=0.5
        )
        if parallel:
            axis.annotate(
                f"{parallel:+d}°", (-2.9 * np.cos(np.deg2rad(parallel)), parallel / 62), fontsize=7, color="#555555"
            )
    for hour in (6, 18):
        x, y = _hammer(np.array([15.0 * hour - 0.001]), np.array([0.0]))
        axis.annotate(f"{hour}h", (float(x[0]), float(y[0])), fontsize=7, color="#555555")
    circle = np.deg2rad(fine)
    dec = np.rad2deg(np.arcsin(np.sin(_OBLIQUITY) * np.sin(circle)))
    x, y = _hammer(np.rad2deg(np.arctan2(np.cos(_OBLIQUITY) * np.sin(circle), np.cos(circle))), dec)
    cut = np.flatnonzero(np.abs(np.diff(x)) > 1) + 1
    for part_x, part_y in zip(np.split(x, cut), np.split(y, cut), strict=True):
        axis.plot(part_x, part_y, color=COLORS[0], linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(aspect="equal", xlim=(-2.95, 2.95), ylim=(-1.5, 1.5), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.grid(False)


def magnitudes(groups: dict[str, ArrayLike], caption: str = "") -> Picture:
    """Draw histograms of TESS magnitudes.

    Parameters
    ----------
    groups : dict
        Name of a group of stars → their magnitudes; NaN are left out.
    caption : str
        Line below.
    """
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis = axes[0, 0]
    values = {name: _finite(group) for name, group in groups.items()}
    every = np.concatenate([np.empty(0), *values.values()])
    low, high = (np.floor(every.min()), np.ceil(every.max())) if len(every) else (5.0, 16.0)
    bins = np.arange(low, max(high, low + 1) + 0.25, 0.5)
    for (name, group), color in zip(values.items(), COLORS, strict=False):
        axis.hist(group, bins, histtype="stepfilled", color=color, alpha=0.2)
        axis.hist(group, bins, histtype="step", color=color, linewidth=1.6, label=f"{name} ({len(group):,})")
    axis.set(xlabel="Tmag", ylabel="stars")
    axis.yaxis.get_major_locator().set_params(integer=True)
    if values:
        axis.legend(frameon=False, fontsize=9)
    counts = "; ".join(f"{name}: {len(group)}" for name, group in values.items())
    return embed(figure, f"Histogram of TESS magnitudes. {counts}.", caption, colors=_PALETTE)


def periods(period: ArrayLike, morph: ArrayLike, klass: ArrayLike, caption: str = "") -> Picture:
    """Draw morphology over period, by class.

    Parameters
    ----------
    period : (n,) array_like
        Days; NaN are left out, like those of `morph`.
    morph : (n,) array_like
        Prša's scale: 0 widely detached, 1 contact and ellipsoidal.
    klass : (n,) array_like of str
        EA, EB, EW, ELL, or anything else.
    caption : str
        Line below.
    """
    figure, axes = canvas(width=_PAIR, height=3.6)
    axis = axes[0, 0]
    table = pd.DataFrame(
        {"period": np.asarray(period, float), "morph": np.asarray(morph, float), "klass": np.asarray(klass, object)}
    ).dropna(subset=["period", "morph"])
    table = table[table["period"] > 0]
    size = float(np.clip(120 / np.sqrt(max(len(table), 1)), 2, 7))
    for name, color in {**_CLASSES, "": "#6b7686"}.items():
        own = table["klass"] == name if name else ~table["klass"].isin(list(_CLASSES))
        if own.any():
            part = table[own]
            label = f"{name or 'other'} ({len(part):,})"
            dots = {"markersize": size, "color": color, "alpha": 0.7, "markeredgewidth": 0}
            axis.plot(part["period"], part["morph"], "o", label=label, **dots)
    axis.set(xlabel="period (d)", ylabel="morphology", ylim=(-0.04, 1.04), xscale="log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if len(table):
        axis.legend(frameon=False, fontsize=9, loc="lower left", markerscale=max(1.0, 5 / size))
    return embed(figure, f"Morphology over period of {len(table):,} systems.", caption, colors=_PALETTE)


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, float)
    return array[np.isfinite(array)]
