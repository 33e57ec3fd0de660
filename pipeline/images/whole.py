"""An image that is in memory as a whole, for what is small: tests, benchmarks, one pair without a workspace."""

from functools import cached_property

import numpy as np
import pandas as pd
import sep
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, uniform_filter

from pipeline.images.frame import UNUSABLE, Bit, Facts, Frame, Pixels

__all__ = ["Whole"]

_KERNEL = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0])

# Pixels beside saturated ones are wrong too: charge spills.
_SPILL = 2

# What lies under a source, px from its middle.
_AROUND = np.arange(-3, 4)


class Whole:
    """An image in memory: a `pipeline.images.match.Image`.

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
        self.level, self.rms = _sky(frame.data, (frame.mask & np.uint16(UNUSABLE)) != 0, mesh)
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
        level, rms = _sky(data, (mask & np.uint16(UNUSABLE)) != 0, mesh)
        # Smoothed: a variance that follows its own pixel's noise makes fluctuations upwards count less than downwards.
        light = np.maximum(uniform_filter(data - level, 3), 0) / np.float32(facts.gain)
        variance = np.maximum(rms**2 + light, np.float32(1e-12))
        return cls(Frame(data, variance, mask, wcs, facts), mesh)

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
        """Its sources: x, y, flux, flux_err, peak, fwhm, ellipticity, theta, snr, mask, is_star."""
        data = self.frame.data - self.level
        # Cosmic rays and bad pixels are not to be found; saturated stars are, as neighbours and as hosts.
        bad = (self.frame.mask & np.uint16(UNUSABLE & ~Bit.SATURATED)) != 0
        found = sep.extract(data, 3.0, err=self.rms, mask=bad, minarea=5, filter_kernel=_KERNEL)
        x, y = found["x"], found["y"]
        radius, _ = sep.flux_radius(data, x, y, 6 * found["a"], 0.5, mask=bad)
        aperture = 3 * float(np.median(radius)) if len(x) else 1.0
        flux, flux_err, _ = sep.sum_circle(data, x, y, aperture, err=self.rms, gain=self.facts.gain, mask=bad)
        table = pd.DataFrame(
            {
                "x": x,
                "y": y,
                "flux": flux,
                "flux_err": flux_err,
                "peak": found["peak"],
                "fwhm": 1.86 * radius,  # of a Moffat profile of β = 3.5 whose half-light radius it is
                "ellipticity": 1 - found["b"] / found["a"],
                "theta": found["theta"],
                "snr": flux / np.maximum(flux_err, 1e-30),
                "mask": _bits(self.frame.mask, x, y),
            }
        )
        table["is_star"] = _stars(table)
        return table.astype({"mask": "int32"})


def _sky(data: Pixels, bad: NDArray[np.bool_], mesh: int) -> tuple[Pixels, Pixels]:
    side = min(mesh, *data.shape)
    found = sep.Background(np.ascontiguousarray(data), mask=bad, bw=side, bh=side)
    return found.back(dtype=np.float32), found.rms(dtype=np.float32)


def _bits(
    mask: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64], reach: int = 3
) -> NDArray[np.int64]:
    """Return all bits of the pixels around each place."""
    ny, nx = mask.shape
    rows = np.clip(np.rint(y)[:, None, None].astype(int) + _AROUND[:, None], 0, ny - 1)
    columns = np.clip(np.rint(x)[:, None, None].astype(int) + _AROUND, 0, nx - 1)
    bits: NDArray[np.int64] = np.bitwise_or.reduce(mask[rows, columns].reshape(len(x), -1), axis=1).astype(np.int64)
    return bits


def _stars(table: pd.DataFrame) -> pd.Series:
    """Return which sources are as wide as most bright ones, round and unharmed."""
    harmed = (table["mask"] & int(UNUSABLE)) != 0
    bright = table[(table["snr"] > 30) & (table["fwhm"] > 0) & ~harmed]["fwhm"].to_numpy()
    if not len(bright):
        return pd.Series(False, table.index)
    near = (np.abs(np.log(bright[:, None] / bright)) < 0.1).sum(axis=1)
    width = float(np.median(bright[np.abs(np.log(bright / bright[near.argmax()])) < 0.1]))
    off = (table["fwhm"] - width).abs() < 0.12 * width + 1 / np.sqrt(table["snr"].clip(lower=1))
    return off & (table["ellipticity"] < 0.3) & ~harmed
