"""Pictures of one source: its stacks of all surveys at one contrast, and the surface of their counts.

The stretch is asinh (Lupton, Gunn & Szalay 1999, AJ 118, 1406), from noise to the source's own peak, the same for every
survey; the surface is what the poster of Gezer et al. calls the two-dimensional peak plot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from catalogs import write
from catalogs.figures import COLORS, Picture, embed
from catalogs.folder import Folder
from catalogs.stamps import STACKS
from pipeline import stores
from pipeline.stamps.surveys import REACH

__all__ = ["Seen", "both", "companion", "indexed", "load", "stacks", "surfaces"]

Pixels = NDArray[np.float32]

_AROUND = 4.5  # arcsec on each side of the source that are shown, at least
_CELLS = 5  # cells on each side, at least
_MESH = 44  # cells a side of a surface, at most
_SOFT, _DEPTH = 2.0, 40.0  # the stretch is linear below so many noises, or so small a part of the peak
_ACROSS = 4  # panels in a row
_IMAGE, _SURFACE, _ROOM = 3.5, 2.9, 0.26  # heights of rows of either sort, and above and below them, inches
_UNCOVERED = "#335577"


class Seen(NamedTuple):
    """A stack, and what its index says of it.

    Parameters
    ----------
    image : (side, side) float32
        Counts above the sky, north up, east left; NaN without pixels.
    row : mapping
        Of `catalogs.stamps.STACKS`.
    """

    image: Pixels
    row: Mapping[str, Any]

    def number(self, name: str) -> float:
        """Return a number of the index; NaN where it is not known."""
        value = self.row.get(name)
        return float("nan") if value is None or pd.isna(value) else float(value)


def indexed(workspace: Folder, sources: Sequence[str] | None = None) -> pd.DataFrame:
    """Return where stacks are.

    Parameters
    ----------
    workspace : Folder
        Holds their stores and indices.
    sources : sequence of str, optional
        Of these sources only.

    Returns
    -------
    pandas.DataFrame
        Rows of `catalogs.stamps.STACKS` of all surveys, and `store`, the path of the store that they lie in.
    """
    wanted, found = None if sources is None else set(sources), [STACKS.empty().to_pandas().assign(store="")]
    paths = (entry.path for entry in workspace.list("stacks", ".parquet") if ".index/" in entry.path)
    for path in paths:
        rows = write.read(workspace, path, STACKS).to_pandas()
        rows = rows if wanted is None else rows[rows["source_id"].isin(wanted)]
        if len(rows):
            found.append(rows.assign(store=path.rpartition("/")[0].removesuffix(".index") + ".zarr"))
    return pd.concat(found, ignore_index=True) if len(found) > 1 else found[0]


def load(workspace: Folder, rows: pd.DataFrame) -> list[Seen]:
    """Read the stacks of one source, the sharpest first.

    Parameters
    ----------
    workspace : Folder
        Holds them.
    rows : pandas.DataFrame
        Of `indexed`.
    """
    found = []
    for row in rows.sort_values(["fwhm_arcsec", "survey"]).to_dict("records"):
        place = int(row["row"])
        image = stores.read(workspace, row["store"], ["stack"], slice(place, place + 1))["stack"][0]
        found.append(Seen(np.asarray(image, np.float32), {str(name): value for name, value in row.items()}))
    return found


def companion(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return where the second star is, arcsec to the east and to the north of the first; None if that is not known.

    Parameters
    ----------
    row : mapping
        Of the catalogue: sep_arcsec, and pa_deg east of north.
    """
    separation, angle = row.get("sep_arcsec"), row.get("pa_deg")
    if separation is None or angle is None or pd.isna(separation) or pd.isna(angle):
        return None
    radians = np.radians(float(angle))
    return float(separation) * float(np.sin(radians)), float(separation) * float(np.cos(radians))


def stacks(seen: Sequence[Seen], found: tuple[float, float] | None, name: str) -> Picture:
    """Draw the stacks of a source, a panel a survey.

    Parameters
    ----------
    seen : sequence of Seen
        One at least.
    found : tuple of float, optional
        Place of the second star, as `companion` gives it; a ring marks it, lines point at the first star.
    name : str
        Of the source.
    """
    what = ", ".join(str(one.row["survey"]) for one in seen)
    caption = f"North up, east left; the bar is {REACH}\" long. Counts by asinh, from noise to the source's peak."
    return _embed(_sheet(seen, found, [_IMAGE]), f"Stacks of {name}: {what}", caption)


def surfaces(seen: Sequence[Seen], found: tuple[float, float] | None, name: str) -> Picture:
    """Draw the counts around a source as surfaces, one a survey, looked at from beside the line of the two stars.

    Parameters
    ----------
    seen, found, name
        As of `stacks`.
    """
    return _embed(_sheet(seen, found, [_SURFACE]), f"Counts around {name}", "Counts around the source, not stretched.")


def both(seen: Sequence[Seen], found: tuple[float, float] | None, name: str) -> Picture:
    """Draw `stacks`, and `surfaces` below them, as one picture.

    Parameters
    ----------
    seen, found, name
        As of `stacks`.
    """
    what = ", ".join(str(one.row["survey"]) for one in seen)
    return _embed(_sheet(seen, found, [_IMAGE, _SURFACE]), f"Stacks of {name}, and their counts: {what}", "")


def _embed(figure: Figure, alt: str, caption: str) -> Picture:
    return replace(embed(figure, alt, caption, wide=True, colors=128), plot=False)


def _sheet(seen: Sequence[Seen], found: tuple[float, float] | None, parts: Sequence[float]) -> Figure:
    """Return a figure as wide as four panels however few there are; `parts` are heights of rows, inches."""
    # Margins are given, as finding them takes as long as the drawing.
    rows, number = -(-len(seen) // _ACROSS), len(parts)
    height = rows * sum(parts)
    figure = Figure(figsize=(12.6, height), facecolor="white")
    grid = figure.add_gridspec(rows * number, _ACROSS, height_ratios=list(parts) * rows, left=0.01, right=0.98,
                               bottom=_ROOM / height, top=1 - _ROOM / height, wspace=0.06,
                               hspace=2 * _ROOM / (height / rows / number - 2 * _ROOM))  # fmt: skip
    for place, one in enumerate(seen):
        for row, part in enumerate(parts):
            cell = grid[place // _ACROSS * number + row, place % _ACROSS]
            if part == _IMAGE:
                _image(figure.add_subplot(cell), one, found)
            else:
                _surface(figure.add_subplot(cell, projection="3d"), one, found)
    return figure


def _half(one: Seen) -> float:
    """Return how far around the source is shown, in cells: no further than there are any."""
    edges = (one.row["x0"], one.row["y0"], *(size - 1 - one.row[name] for name, size in
             zip(("y0", "x0"), one.image.shape, strict=True)))  # fmt: skip
    return float(min(max(_AROUND / one.row["pixscale"], _CELLS), max(*edges, 1.0) + 0.5))


def _core(one: Seen) -> Pixels:
    """Return the cells in which the two stars are, if there are two."""
    rows, columns = np.indices(one.image.shape)
    reach = max(REACH / one.row["pixscale"], 1.5)
    return one.image[np.hypot(rows - one.row["y0"], columns - one.row["x0"]) <= reach]


def _stretched(one: Seen) -> NDArray[np.float64]:
    """Return the stack from 0 (three noises below the sky) to 1 (the highest count within 2.5 arcsec)."""
    core = _core(one)
    core = core[np.isfinite(core)]
    noise = one.number("noise")
    if not noise > 0:
        known = one.image[np.isfinite(one.image)]
        noise = float(1.4826 * np.median(np.abs(known - np.median(known)))) if known.size else 1.0
    noise = noise if noise > 0 else 1.0
    peak = max(float(core.max()) if core.size else 0.0, 5 * noise)
    soft = max(_SOFT * noise, peak / _DEPTH)
    low, high = np.arcsinh(-3 * noise / soft), np.arcsinh(peak / soft)
    bright: NDArray[np.float64] = np.clip((np.arcsinh(one.image.astype(float) / soft) - low) / (high - low), 0, 1)
    return bright


def _image(axis: Axes, one: Seen, found: tuple[float, float] | None) -> None:
    half, x0, y0 = _half(one), one.row["x0"], one.row["y0"]
    axis.imshow(_stretched(one), cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axis.set_facecolor(_UNCOVERED)
    axis.set_xlim(x0 - half, x0 + half)
    axis.set_ylim(y0 - half, y0 + half)
    axis.set_xticks([])
    axis.set_yticks([])
    facts = [f"S/N {one.number('snr'):.0f}" if np.isfinite(one.number("snr")) else ""]
    facts.append(f'FWHM {one.number("fwhm_arcsec"):.2f}"' if np.isfinite(one.number("fwhm_arcsec")) else "")
    axis.set_title(f"{one.row['survey']} {one.row['filters']}", fontsize=9)
    axis.set_xlabel(", ".join(filter(None, facts)), fontsize=8, labelpad=2)
    _marks(axis, one, found)


def _marks(axis: Axes, one: Seen, found: tuple[float, float] | None) -> None:
    half = _half(one)
    scale, x0, y0 = one.row["pixscale"], one.row["x0"], one.row["y0"]
    left, low = x0 - 0.92 * half, y0 - 0.88 * half
    axis.plot([left, left + REACH / scale], [low, low], color="white", lw=2.2, solid_capstyle="butt")
    axis.annotate(f'{REACH}"', (left, low + 0.05 * half), color="white", fontsize=7, va="bottom")
    if found is not None:
        x, y = x0 - found[0] / scale, y0 + found[1] / scale
        for gap, arm in ((0.07 * half, 0.16 * half), (-0.07 * half, -0.16 * half)):
            axis.plot([x0 + gap, x0 + arm], [y0, y0], color=COLORS[5], lw=1.2)
            axis.plot([x0, x0], [y0 + gap, y0 + arm], color=COLORS[5], lw=1.2)
        axis.add_patch(Circle((x, y), 0.1 * half, fill=False, color=COLORS[1], lw=1.2))


def _surface(axis: Any, one: Seen, found: tuple[float, float] | None) -> None:
    angle = 30.0 if found is None else float(np.degrees(np.arctan2(*found)))
    west, north, counts = _mesh(one, 0.0 if found is None else float(np.hypot(*found)))
    peak = float(np.nanmax(counts)) if np.isfinite(counts).any() else 1.0
    axis.plot_surface(west, north, np.nan_to_num(counts), cmap="viridis", vmin=0, vmax=max(peak, 1e-12), rcount=_MESH,
                      ccount=_MESH, linewidth=0.15, edgecolor="#00000030")  # fmt: skip
    # Of the two sides that nearer to where matplotlib looks from by itself.
    axis.view_init(elev=28, azim=(angle + 150) % 180 - 150)
    axis.set_title(str(one.row["survey"]), fontsize=9, pad=0)
    axis.set_xlabel("west (″)", fontsize=7, labelpad=-8)
    axis.set_ylabel("north (″)", fontsize=7, labelpad=-8)
    axis.tick_params(labelsize=6, pad=-3)
    axis.ticklabel_format(axis="z", scilimits=(-2, 4))
    axis.zaxis.get_offset_text().set_fontsize(6)


def _mesh(one: Seen, separation: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return west and north of the source (arcsec) and counts, means of blocks where there are too many cells."""
    scale, fwhm = one.row["pixscale"], one.number("fwhm_arcsec")
    half = min(max(1.5 * separation / scale, 4 * fwhm / scale if fwhm > 0 else 0, _CELLS), _half(one))
    window = []
    for middle, size in ((one.row["y0"], one.image.shape[0]), (one.row["x0"], one.image.shape[1])):
        start = int(np.clip(np.floor(middle - half), 0, size - 2))
        window.append(slice(start, int(np.clip(np.ceil(middle + half) + 1, start + 2, size))))
    north, west = np.indices(one.image.shape, dtype=float)
    maps = [(west - one.row["x0"]) * scale, (north - one.row["y0"]) * scale, one.image.astype(float)]
    shown = [values[tuple(window)] for values in maps]
    step = -(-max(shown[0].shape) // _MESH)
    rows, columns = (max(size // step, 1) * step for size in shown[0].shape)
    if step > 1:
        shown = [values[:rows, :columns].reshape(rows // step, step, -1, step).mean((1, 3)) for values in shown]
    return shown[0], shown[1], shown[2]
