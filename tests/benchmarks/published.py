"""The published way from a FITS file to CALNet's input, written plainly: the reference of the benchmarks.

Liu et al. 2025, arXiv:2504.15875: read with astropy, split into segments, reject "outliers" of an
interpolating spline, spline again, resample to 4,000 points, generalised Lomb-Scargle by the direct sum at
1,000 periods, append both to CSV files. One function a step, so that each can be timed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Floats = NDArray[np.float64]

PERIODS = np.logspace(-3, 1, 1125)[125:]


def read(path: Path) -> tuple[Floats, Floats]:
    """Times and PDCSAP flux of the good cadences of one file."""
    with fits.open(path) as hdus:
        table = hdus[1].data
        time, flux, quality = table["TIME"], table["PDCSAP_FLUX"], table["QUALITY"]
        good = (quality == 0) & np.isfinite(time) & np.isfinite(flux)
        return np.array(time[good], np.float64), np.array(flux[good], np.float64)


def split(time: Floats, flux: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Segments between gaps over 0.75 d with 2,000 cadences or more, without the top 1% of flux."""
    bounds = np.flatnonzero(np.diff(time) > 0.75) + 1
    for t, f in zip(np.split(time, bounds), np.split(flux, bounds), strict=True):
        if t.size >= 2000:
            below = f < np.percentile(f, 99)
            yield t[below], f[below]


def resample(time: Floats, flux: Floats) -> Floats:
    """Three splines: reject outliers of the first, refill with the second, sample the third; min-max."""
    x = (time - time[0]) / (time[-1] - time[0])
    residual = flux - CubicSpline(x, flux)(x)
    kept = np.abs(residual) <= 3 * residual.std()
    filled = CubicSpline(x[kept], flux[kept])(x)
    curve = CubicSpline(x, filled)(np.linspace(0, 1, 4000))
    return np.asarray((curve - curve.min()) / (curve.max() - curve.min()))


def power(time: Floats, flux: Floats, periods: Floats = PERIODS, chunk: int = 50) -> Floats:
    """Floating-mean Lomb-Scargle power by the direct sum (Zechmeister & Kuerster 2009), equal weights."""
    t = time - time.mean()
    y = flux - flux.mean()
    out = []
    for start in range(0, periods.size, chunk):
        phase = 2 * np.pi / periods[start : start + chunk, None] * t
        cosine, sine = np.cos(phase), np.sin(phase)
        c, s = cosine.mean(axis=1), sine.mean(axis=1)
        yc, ys = cosine @ y / t.size, sine @ y / t.size
        squares = (cosine * cosine).mean(axis=1)
        cc, ss = squares - c * c, 1 - squares - s * s
        cs = (cosine * sine).mean(axis=1) - c * s
        out.append((ss * yc**2 + cc * ys**2 - 2 * cs * yc * ys) / ((cc * ss - cs**2) * (y * y).mean()))
    return np.concatenate(out)


def append(path: Path, row: Floats) -> None:
    """Append one row to a CSV file."""
    with path.open("a", encoding="ascii") as file:
        file.write(",".join(f"{value:.8f}" for value in row) + "\n")


def process_file(path: Path, csv: Path) -> int:
    """All steps for one file; rows go to <csv>-curve.csv and -periodogram.csv. Returns the segments done."""
    done = 0
    for time, flux in split(*read(path)):
        curve, powers = resample(time, flux), power(time, flux)
        scaled = (powers - powers.min()) / (powers.max() - powers.min())
        append(csv.with_name(csv.stem + "-curve.csv"), curve)
        append(csv.with_name(csv.stem + "-periodogram.csv"), scaled)
        done += 1
    return done
