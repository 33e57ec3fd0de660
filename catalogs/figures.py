"""Figures of pages: drawn without pyplot, carried as PNG."""

import base64
import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["COLORS", "Picture", "canvas", "embed"]

#: Colours of figures, told apart by colour-blind readers (Okabe & Ito 2008), in the order of use.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True)
class Picture:
    """A picture inside a page.

    Parameters
    ----------
    png : bytes
        The picture.
    alt : str
        What it shows, for those who do not see it.
    caption : str
        Line below it.
    plot : bool
        Whether it is line art on no background, which a dark page shows inverted; False for photographs.
    wide : bool
        Whether it takes the width of the page, rather than stand beside another.
    """

    png: bytes
    alt: str
    caption: str = ""
    plot: bool = True
    wide: bool = False

    def __post_init__(self) -> None:
        if self.png[:8] != b"\x89PNG\r\n\x1a\n" or not self.alt.strip():
            raise ValueError(f"picture {self.alt!r}: needs PNG bytes and a text that says what it shows")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def canvas(
    rows: int = 1, columns: int = 1, width: float = 7.2, height: float = 3.2, **options: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, shape (rows, columns), in the style of the pages.

    Parameters
    ----------
    rows, columns : int
        Panels.
    width, height : float
        Size of the figure in inches.
    **options : object
        Passed to `matplotlib.figure.Figure.subplots`.

    Notes
    -----
    It is made without pyplot, so that workers and threads share nothing.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        _style(axis)
    return figure, axes


def embed(
    figure: Figure, alt: str, caption: str = "", *, wide: bool = False, dpi: int = 144, colors: int | None = None
) -> Picture:
    """Return a matplotlib figure as a picture; the same figure gives the same bytes.

    An inch of the figure is 72 pixels of the page: 13 inches fill its width. With `colors` it is reduced to a palette
    of so many, which takes a fifth of the bytes.
    """
    buffer = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    if colors is None:
        canvas.print_figure(
            buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Software": None}
        )
    else:
        figure.set_dpi(dpi)
        canvas.draw()
        image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
        # The one method that keeps what is transparent.
        image.quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return Picture(buffer.getvalue(), alt, caption, wide=wide)


def _style(axis: Axes) -> None:
    axis.set_facecolor("none")
    axis.set_prop_cycle(color=COLORS)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#555555")
    axis.tick_params(labelsize=9, color="#555555", labelcolor="#333333")
    axis.xaxis.label.set_fontsize(10)
    axis.yaxis.label.set_fontsize(10)
    axis.title.set_fontsize(10)
    axis.set_axisbelow(True)
    axis.grid(color="#888888", alpha=0.25, linewidth=0.6)
