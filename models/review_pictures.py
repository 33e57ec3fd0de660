"""What a reviewer sees of a candidate: its triplet at one contrast, and its light curve where there is one."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from catalogs.figures import COLORS, Picture, embed
from models.planes import levels

__all__ = ["candidate", "missing", "stacked"]

Pixels = NDArray[np.float32]

_TITLES = ("science", "reference", "difference")
_UNCOVERED = "#335577"
_SOFT = 3.0  # noises above which the stretch is logarithmic
_LOW, _HIGH = -3.0, 99.8  # noises below the sky that are black; percentile that is white
_ARM, _GAP = 7, 4  # pixels of the lines that point at the middle, and from it


def candidate(triplet: Pixels | None, curve: pd.DataFrame, name: str) -> Picture:
    """Draw a candidate.

    Parameters
    ----------
    triplet : (3, s, s) float32, optional
        Science, reference, difference, counts; NaN where there are no pixels.
    curve : pandas.DataFrame
        mjd, value, error (NaN for a limit), filter, and unit in ``attrs``; may be empty.
    name : str
        Of the candidate.
    """
    rows = int(triplet is not None) + int(len(curve) > 0)
    if not rows:
        return missing(f"Of {name} there is neither a triplet nor a light curve.")
    figure = Figure(figsize=(10.0, 3.6 * int(triplet is not None) + 2.3 * int(len(curve) > 0)), layout="constrained",
                    facecolor="white")  # fmt: skip
    ratios = [3.6] * int(triplet is not None) + [2.3] * int(len(curve) > 0)
    grid = figure.add_gridspec(rows, 3, height_ratios=ratios)
    if triplet is not None:
        for channel, image in enumerate(_stretched(triplet)):
            _show(figure.add_subplot(grid[0, channel]), image, _TITLES[channel])
    if len(curve):
        _points(figure.add_subplot(grid[rows - 1, :]), curve)
    what = " and ".join(["triplet"] * (triplet is not None) + ["light curve"] * (len(curve) > 0))
    return replace(embed(figure, f"{what} of {name}", wide=True, dpi=100, colors=128), plot=False)


def _stretched(triplet: Pixels) -> list[NDArray[np.float64]]:
    """Return the images from 0, black, to 1, white: the first two by one stretch, the difference by its own.

    asinh of what is above each image's own sky, in units of the larger noise of the two, so that as many counts are as
    bright in both; the difference in units of its own noise.
    """
    pixels = np.asarray(triplet, np.float64)
    sky, noise = (values[0, :, None, None].astype(np.float64) for values in levels(triplet[None]))
    # One unit for both: the counts of one image mean as much as those of the other.
    noise[:2] = noise[:2].max()
    seen = np.arcsinh((pixels - sky) / noise / _SOFT)
    both = seen[:2][np.isfinite(seen[:2])]
    low = np.arcsinh(_LOW / _SOFT)
    high = max(float(np.percentile(both, _HIGH)) if len(both) else 1.0, np.arcsinh(5 / _SOFT))
    change = seen[2][np.isfinite(seen[2])]
    far = max(float(np.percentile(np.abs(change), _HIGH)) if len(change) else 1.0, np.arcsinh(5 / _SOFT))
    bright = (np.clip(seen[:2], low, high) - low) / (high - low)
    return [bright[0], bright[1], (np.clip(seen[2], -far, far) + far) / (2 * far)]


def _show(axis: Axes, image: NDArray[np.float64], title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axis.set_facecolor(_UNCOVERED)
    middle = image.shape[0] // 2
    axis.plot([middle + _GAP, middle + _GAP + _ARM], [middle, middle], color=COLORS[1], lw=1.4)
    axis.plot([middle, middle], [middle + _GAP, middle + _GAP + _ARM], color=COLORS[1], lw=1.4)
    axis.set_xlim(-0.5, image.shape[1] - 0.5)
    axis.set_ylim(-0.5, image.shape[0] - 0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=11)


def _points(axis: Axes, curve: pd.DataFrame) -> None:
    unit = str(curve.attrs.get("unit", ""))
    for color, (band, rows) in zip(COLORS * 20, curve.groupby("filter", dropna=False), strict=False):
        seen = np.isfinite(rows["error"].to_numpy(float))
        label = str(band) or "no filter"
        axis.errorbar(rows["mjd"][seen], rows["value"][seen], rows["error"][seen], fmt="o", ms=4, color=color,
                      elinewidth=1, label=label if seen.any() else "")  # fmt: skip
        axis.plot(rows["mjd"][~seen], rows["value"][~seen], "v", ms=4, mfc="none", color=color,
                  label="" if seen.any() else f"{label}, limits")  # fmt: skip
    if "mag" in unit:
        axis.invert_yaxis()
    axis.ticklabel_format(axis="x", useOffset=False)
    axis.set_xlabel("MJD", fontsize=9)
    axis.set_ylabel(unit, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def missing(text: str) -> Picture:
    """Return a picture that says why there is none."""
    figure = Figure(figsize=(10.0, 1.4), facecolor="white")
    figure.text(0.5, 0.5, text[:160], ha="center", va="center", fontsize=11, color="#5a6475")
    return replace(embed(figure, text, dpi=100, colors=16), plot=False)


def stacked(pictures: Sequence[Picture]) -> Picture:
    """Return pictures as one, below each other on white."""
    images = [Image.open(io.BytesIO(one.png)).convert("RGBA") for one in pictures]
    size = (max(image.width for image in images), sum(image.height for image in images))
    sheet = Image.new("RGBA", size, "white")
    top = 0
    for image in images:
        sheet.alpha_composite(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    sheet.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG")
    return Picture(buffer.getvalue(), "; ".join(one.alt for one in pictures), plot=False, wide=True)
