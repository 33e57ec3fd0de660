"""An image that is in memory as a whole, for what is small: tests, benchmarks, one pair without a workspace."""

from functools import cached_property

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from pipeline.images import background, sources
from pipeline.images.frame import UNUSABLE, Bit, Facts, Frame, Pixels
from pipeline.images.variance import variance

__all__ = ["Whole"]

# Pixels beside saturated ones are wrong too: charge spills.
_SPILL = 2


class Whole:
    """An image in memory: a `pipeline.images.view.Image`.

    Parameters
    ----------
    frame : Frame
        All of it.
    mesh : int
        Side of the cells in which the sky is measured, px.

    Attributes
    ----------
    frame : Frame
        The same.
    level, rms : (ny, nx) float32
        Sky, and scatter of the sky's pixels, counts.
    sky, sky_rms : float
        Their medians.
    """

    def __init__(self, frame: Frame, mesh: int = 64) -> None:
        self.frame = frame
        self.level, self.rms = background.sky(frame.data, _unusable(frame.mask), mesh)
        self.sky, self.sky_rms = float(np.median(self.level)), float(np.median(self.rms))

    @classmethod
    def of(
        cls, data: Pixels, wcs: WCS, facts: Facts, mask: NDArray[np.uint16] | None = None, mesh: int = 64
    ) -> "Whole":
        """Make one of pixels whose variance nobody has told.

        Parameters
        ----------
        data : (ny, nx) array
            Counts; what is no number becomes `Bit.BAD`.
        wcs : WCS
            Pixel → sky.
        facts : Facts
            Gain and saturation are used.
        mask : (ny, nx) uint16, optional
            `Bit`, where something is known; saturated pixels are added.
        mesh : int
            Side of the cells in which the sky is measured, px.

        Returns
        -------
        Whole
            With variance of the sky as measured, and photons of the sources.
        """
        data = np.array(data, np.float32, order="C")
        mask = np.zeros(data.shape, np.uint16) if mask is None else np.array(mask, np.uint16)
        lost = ~np.isfinite(data)
        mask[lost] |= np.uint16(Bit.BAD)
        if facts.saturation is not None:
            full = data >= facts.saturation
            if full.any():
                mask[binary_dilation(full, iterations=_SPILL)] |= np.uint16(Bit.SATURATED)
        data[lost] = np.median(data[~lost][::7]) if not lost.all() else 0.0
        level, rms = background.sky(data, _unusable(mask), mesh)
        return cls(Frame(data, variance(data, level, rms, facts.gain), mask, wcs, facts), mesh)

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return self.frame.facts

    @property
    def wcs(self) -> WCS:
        """Pixel → sky."""
        return self.frame.wcs

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frame.shape

    def read(self, y0: int, y1: int, x0: int = 0, x1: int | None = None) -> Frame:
        """Return a copy of rows y0 to y1 and columns x0 to x1, upper ends excluded; its WCS is that of the whole."""
        part, frame = (slice(y0, y1), slice(x0, x1)), self.frame
        return Frame(
            frame.data[part].copy(), frame.variance[part].copy(), frame.mask[part].copy(), self.wcs, self.facts
        )

    @cached_property
    def sources(self) -> pd.DataFrame:
        """Its sources, with the columns of `pipeline.images.sources.COLUMNS`."""
        found = sources.detect(self.frame, self.level, self.rms)
        return sources.classify(found, sources.width_of_stars(self.frame, self.level, found)[0])


def _unusable(mask: NDArray[np.uint16]) -> NDArray[np.bool_]:
    return (mask & np.uint16(UNUSABLE)) != 0
