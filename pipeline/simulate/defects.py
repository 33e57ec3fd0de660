"""What frames show that is not on the sky, or on it for a moment: particles, bad pixels, satellites, asteroids."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.images.frame import Bit, Pixels
from pipeline.simulate.drawing import render
from pipeline.simulate.exposure import Exposure, noise_of
from pipeline.simulate.optics import Optics
from pipeline.simulate.profiles import Floats
from pipeline.simulate.scene import area

__all__ = ["KINDS", "Defects", "damage", "passing"]

#: Columns of a table of defects; kind is ``cosmic_ray``, ``hot``, ``dead``, ``column``, ``trail`` or ``mover``.
KINDS = ["frame", "kind", "x", "y", "length", "angle", "flux"]

# A pixel belongs to a trail where its light exceeds this share of the noise, and to a cosmic ray likewise.
_SEEN = 0.5


@dataclass(eq=False)
class Defects:
    """What is wrong with a frame.

    Parameters
    ----------
    mask : (ny, nx) uint16
        `Bit`.
    rows : list of dict
        Each defect, in `KINDS`.
    """

    mask: NDArray[np.uint16]
    rows: list[dict[str, object]]

    def table(self, frame: str) -> pd.DataFrame:
        """Return the defects.

        Parameters
        ----------
        frame : str
            Name of the frame.

        Returns
        -------
        pandas.DataFrame
            `KINDS`: x, y (0-based px, where it starts), length (px), angle (rad), flux (counts).
        """
        return pd.DataFrame([{"frame": frame, **row} for row in self.rows], columns=KINDS)


def passing(counts: Floats, exposure: Exposure, optics: Optics, rng: np.random.Generator, defects: Defects) -> None:
    """Add light that moves: satellites' trails and asteroids.

    Parameters
    ----------
    counts : (ny, nx) float64
        Expected counts, changed in place.
    exposure : Exposure
        How many there shall be.
    optics : Optics
        What blurs them.
    rng : numpy.random.Generator
        Source of chance.
    defects : Defects
        They are noted there.
    """
    ny, nx = counts.shape
    noise = float(np.sqrt(noise_of(np.array(exposure.sky), exposure)))
    for _ in range(exposure.trails):
        x, y, angle = rng.uniform(0.2, 0.8) * nx, rng.uniform(0.2, 0.8) * ny, rng.uniform(0, np.pi)
        peak = noise * 10 ** rng.uniform(0.3, 1.7)
        shine = peak * _across(counts.shape, (x, y, angle), optics)
        counts += shine
        defects.mask[shine > _SEEN * noise] |= np.uint16(Bit.TRAIL)
        defects.rows.append({"kind": "trail", "x": x, "y": y, "length": np.hypot(nx, ny), "angle": angle, "flux": peak})
    for _ in range(exposure.movers):
        x, y, angle = rng.uniform(30, nx - 30), rng.uniform(30, ny - 30), rng.uniform(0, 2 * np.pi)
        length = float(rng.uniform(2, 20) * rng.integers(2))
        flux = noise * np.sqrt(area(optics) * (1 + length / optics.fwhm)) * 10 ** rng.uniform(0.9, 1.7)
        steps = np.arange(-length / 2, length / 2 + 0.25, 0.5) if length else np.zeros(1)
        xs, ys = x + steps * np.cos(angle), y + steps * np.sin(angle)
        matrices = optics.matrices(xs, ys)
        render(counts, xs, ys, np.full(len(xs), flux / len(xs)), optics.profile, matrices, 1e-3 * noise)
        defects.rows.append({"kind": "mover", "x": x, "y": y, "length": length, "angle": angle, "flux": flux})


def _across(shape: tuple[int, ...], line: tuple[float, float, float], optics: Optics) -> Floats:
    """Brightness of a straight line blurred by the optics at its middle, 1 on the line."""
    x, y, angle = line
    normal = np.array([-np.sin(angle), np.cos(angle)])
    xx, xy, yy = optics.matrices(np.array([x]), np.array([y]))[0]
    stretch = normal @ np.array([[xx, xy], [xy, yy]]) @ normal
    variance = optics.profile.variance * stretch + 1 / 12
    rows, columns = np.indices(shape, sparse=True)
    distance = (columns - x) * normal[0] + (rows - y) * normal[1]
    grid = np.linspace(0, 60 * optics.fwhm, 6001)
    amplitude = optics.profile.weight / np.sqrt(variance)
    section = (amplitude * np.exp(-(grid[:, None] ** 2) / (2 * variance))).sum(axis=1) / amplitude.sum()
    return np.interp(np.abs(distance).ravel(), grid, section, right=0.0).reshape(shape)


def damage(image: Pixels, exposure: Exposure, rng: np.random.Generator, defects: Defects) -> None:
    """Add what is the detector's own: cosmic rays, hot and dead pixels, dead columns.

    Parameters
    ----------
    image : (ny, nx) float32
        Counts, changed in place, nowhere above saturation.
    exposure : Exposure
        How many there shall be.
    rng : numpy.random.Generator
        Source of chance.
    defects : Defects
        They are noted there.
    """
    ny, nx = image.shape
    noise = float(np.sqrt(noise_of(np.array(exposure.sky), exposure)))
    for _ in range(rng.poisson(exposure.cosmic_rays * image.size / 1e6)):
        _hit(image, noise, rng, defects)
    for kind, density in (("hot", exposure.hot_pixels), ("dead", exposure.dead_pixels)):
        for _ in range(rng.poisson(density * image.size / 1e6)):
            x, y = int(rng.integers(nx)), int(rng.integers(ny))
            charge = noise * 10 ** rng.uniform(1, 3) if kind == "hot" else -rng.uniform(0.5, 1) * float(image[y, x])
            image[y, x] += charge
            defects.mask[y, x] |= np.uint16(Bit.HOT)
            defects.rows.append({"kind": kind, "x": x, "y": y, "length": 1.0, "angle": 0.0, "flux": charge})
    for _ in range(exposure.dead_columns):
        x, start = int(rng.integers(nx)), int(rng.integers(ny)) * int(rng.integers(2))
        image[start:, x] *= np.float32(rng.uniform(0, 0.3))
        defects.mask[start:, x] |= np.uint16(Bit.HOT)
        row = {"kind": "column", "x": x, "y": start, "length": float(ny - start), "angle": np.pi / 2, "flux": 0.0}
        defects.rows.append(row)
    np.minimum(image, np.float32(exposure.saturation), out=image)


def _hit(image: Pixels, noise: float, rng: np.random.Generator, defects: Defects) -> None:
    """Draw a particle's track: sharp, straight, its charge spread unevenly, some into the pixels beside it."""
    ny, nx = image.shape
    x, y, angle = rng.uniform(0, nx - 1), rng.uniform(0, ny - 1), rng.uniform(0, 2 * np.pi)
    # A muon leaves as much in every pixel of its path; most paths are short, for most come steeply.
    length = min(20.0, rng.exponential(4.0)) if rng.random() < 0.7 else 0.0
    per_pixel = noise * 10 ** rng.uniform(0.8, 2.5)
    steps = np.arange(0, length + 0.1, 0.1)
    charge = per_pixel * np.full(len(steps), 0.1 if length else 1.0) * rng.lognormal(0, 0.4, len(steps))
    # Charge diffuses by a third of a pixel.
    along = np.repeat(np.stack([x + steps * np.cos(angle), y + steps * np.sin(angle)]), 4, axis=1)
    columns, rows = np.rint(along + rng.normal(0, 0.3, along.shape)).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < nx) & (rows < ny)
    columns, rows, charge = columns[inside], rows[inside], np.repeat(charge / 4, 4)[inside]
    if not len(columns):
        return
    corner = columns.min(), rows.min()
    track = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1))
    np.add.at(track, (rows - corner[1], columns - corner[0]), charge)
    window = np.s_[corner[1] : corner[1] + track.shape[0], corner[0] : corner[0] + track.shape[1]]
    image[window] += track.astype(np.float32)
    defects.mask[window][track > _SEEN * noise] |= np.uint16(Bit.COSMIC_RAY)
    row = {"kind": "cosmic_ray", "x": x, "y": y, "length": length, "angle": angle, "flux": float(track.sum())}
    defects.rows.append(row)
