"""One picture of a difference: the images, what was found in them, and whether the significance is one.

It is drawn from small copies of the images and from a histogram that is summed over tiles, so that a large frame never
has to be in memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalogs.candidates import is_good
from catalogs.pages import COLORS, Picture, embed
from pipeline.images.frame import UNUSABLE, Pixels
from pipeline.images.triplets import CHANNELS

__all__ = ["EDGES", "counts", "panel", "thumbnail"]

#: Edges of the histogram of S_corr, sigmas; what is beyond counts in the outermost.
EDGES = np.linspace(-10, 10, 201)

#: Candidates marked and triplets shown, at most.
_MARKED, _SHOWN = 400, 12

_POSITIVE, _NEGATIVE, _FLAGGED = COLORS[2], COLORS[1], "#999999"


def thumbnail(image: Pixels, size: int = 480) -> Pixels:
    """Return a small copy: means of blocks, NaN where all of a block is.

    Parameters
    ----------
    image : (ny, nx) float32
        Pixels; NaN is left out.
    size : int
        Pixels of the longer side, at most.
    """
    step = max(1, -(-max(image.shape) // size))
    rows, columns = (np.arange(0, n, step) for n in image.shape)
    finite = np.isfinite(image)
    weight = _blocks(finite.astype(np.float32), rows, columns)
    total = _blocks(np.where(finite, image, np.float32(0)), rows, columns)
    return np.where(weight > 0, total / np.maximum(weight, 1), np.float32(np.nan)).astype(np.float32)


def _blocks(image: Pixels, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Pixels:
    return np.asarray(np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1))


def counts(significance: Pixels, mask: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return how many usable pixels have which S_corr, by `EDGES`; counts of tiles may be added up.

    Parameters
    ----------
    significance : (ny, nx) float32
        S_corr.
    mask : (ny, nx) uint16
        `pipeline.images.frame.Bit`.
    """
    values = significance[((mask & int(UNUSABLE)) == 0) & np.isfinite(significance)]
    return np.histogram(np.clip(values, EDGES[0], EDGES[-1]), EDGES)[0]


def panel(
    images: Sequence[Pixels],
    shape: tuple[int, int],
    histogram: NDArray[np.int64],
    candidates: pd.DataFrame,
    triplets: NDArray[np.float32],
    title: str,
    facts: Mapping[str, str],
) -> Picture:
    """Draw a difference.

    Parameters
    ----------
    images : sequence of (n, m) float32
        Science as aligned, reference, difference: thumbnails.
    shape : tuple of int
        Rows and columns of the whole frame.
    histogram : (200,) int
        Of S_corr, as `counts` gives it.
    candidates : pandas.DataFrame
        x, y (px of the frame), snr and flags, in the order of `triplets`.
    triplets : (k, 3, size, size) float32
        Of the first candidates; the first good ones, else the first at all, are shown.
    title : str
        What is subtracted from what.
    facts : mapping
        Name → value, in words: the figures of the self-test and what else there is to say.

    Returns
    -------
    Picture
        PNG; the same input gives the same bytes.
    """
    figure = Figure(figsize=(13, 9.6), layout="constrained", facecolor="white")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.15, 1.0])
    top, bottom = parts
    axes = top.subplots(1, 3)
    for axis, name, image in zip(axes, CHANNELS, images, strict=True):
        # Every number of a difference is about zero, those of an image are above its sky.
        _show(axis, image, shape, symmetric=name == CHANNELS[2])
        axis.set_title(name if name != CHANNELS[0] else "science, aligned", fontsize=11)
    _mark(axes[2], candidates)
    left, right = bottom.subfigures(1, 2, width_ratios=[1.0, 1.7])
    _spread(left.subplots(1, 1), histogram)
    beside, gallery = right.subfigures(1, 2, width_ratios=[1.0, 1.9])
    _say(beside, facts)
    _gallery(gallery, candidates, triplets)
    figure.suptitle(title, fontsize=12)
    FigureCanvasAgg(figure)
    good = int(is_good(candidates["flags"]).sum()) if len(candidates) else 0
    return embed(figure, f"{title}: images, {good} candidates without and {len(candidates) - good} with a flag against "
                 "them, and the spread of S_corr.", wide=True, dpi=100)  # fmt: skip


def _show(axis: Axes, image: Pixels, shape: tuple[int, int], symmetric: bool) -> None:
    known = image[np.isfinite(image)]
    low, high = (0.0, 1.0) if not len(known) else (float(v) for v in np.percentile(known, [1.0, 99.5]))
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    extent = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    span = max(high - low, 1e-12)
    axis.imshow(
        np.arcsinh(np.clip((image - low) / span, 0, 1) * (1 if symmetric else 5)), origin="lower", extent=extent,
        cmap="gray", interpolation="nearest", aspect="equal",
    )  # fmt: skip
    axis.set_facecolor("#335577")  # what is not covered
    axis.tick_params(labelsize=7)


def _mark(axis: Axes, candidates: pd.DataFrame) -> None:
    """Mark the brightest; the legend counts them all."""
    good, snr = is_good(candidates["flags"]), candidates["snr"].to_numpy(float)
    marked = np.zeros(len(candidates), bool)
    marked[np.argsort(-np.abs(snr), kind="stable")[:_MARKED]] = True
    kinds = (
        (~good, _FLAGGED, "flagged"),
        (good & (snr < 0), _NEGATIVE, "negative"),
        (good & (snr > 0), _POSITIVE, "positive"),
    )
    for chosen, color, name in kinds:
        own = candidates[chosen & marked]
        axis.plot(own["x"], own["y"], "o", mfc="none", mec=color, ms=9, mew=1.1, label=f"{name} ({int(chosen.sum())})")
    axis.legend(fontsize=7, loc="upper right", framealpha=0.8)


def _spread(axis: Axes, histogram: NDArray[np.int64]) -> None:
    total, step = max(int(histogram.sum()), 1), EDGES[1] - EDGES[0]
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    axis.stairs(np.maximum(histogram, 0.3), EDGES, color=COLORS[0], label="S_corr")
    axis.plot(
        middle, total * step * np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), color=COLORS[1], label="unit Gaussian"
    )
    axis.set_yscale("log")
    axis.set(ylim=(0.5, 3 * max(int(histogram.max(initial=0)), 1)), xlim=(EDGES[0], EDGES[-1]))
    axis.set_xlabel("S_corr", fontsize=9)
    axis.set_ylabel("pixels", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, loc="upper right", frameon=False)


def _say(figure: Figure, facts: Mapping[str, str]) -> None:
    text = "\n".join(f"{name}\n    {value}" for name, value in facts.items())
    figure.text(0.03, 0.97, text, fontsize=8.5, va="top", ha="left", linespacing=1.35)


def _gallery(figure: Figure, candidates: pd.DataFrame, triplets: NDArray[np.float32]) -> None:
    table = candidates.iloc[: len(triplets)]
    order = np.lexsort([np.arange(len(table)), ~is_good(table["flags"])])[:_SHOWN]
    if not len(order):
        figure.text(0.5, 0.5, "no candidate", ha="center", va="center", color=_FLAGGED)
        return
    blocks = 2 if len(order) > _SHOWN // 2 else 1
    axes = figure.subplots(-(-len(order) // blocks), 3 * blocks, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, row in enumerate(order):
        line, block = place % len(axes), place // len(axes)
        for channel, axis in enumerate(axes[line, 3 * block : 3 * block + 3]):
            cutout = triplets[row, channel]
            _show(axis, cutout, cutout.shape, symmetric=False)
        axes[line, 3 * block + 1].set_title(f"{table['snr'].iloc[row]:+.1f}σ", fontsize=7, pad=1)
