"""Ephemerides: seconds a star, exact periods and pulls on simulated binaries of each class."""

import numpy as np

from pipeline.lightcurves.ephemeris import Ephemeris, find
from pipeline.lightcurves.star import Observation, StarCurves
from pipeline.simulate.lightcurves import observe
from pipeline.simulate.stars import Star, draw_star, simulated_tic_id
from tests.benchmarks.figures import figure, heading, timed

CLASSES = ("EA", "EB", "EW")
STARS, SEED, CADENCE_S = 60, 31, 120.0
HIGHEST = {1: 0.5, 3: 0.5, 10: 1.9}  # seconds a star


def main() -> None:
    """Print speed and quality."""
    heading("ephemerides, one core")
    find(curves(binary(0, "EA"), (1,)))  # compiles
    for sectors, most in HIGHEST.items():
        made = [curves(binary(n, kind), range(1, sectors + 1)) for n in range(3) for kind in CLASSES]
        with timed() as timing:
            for star in made:
                find(star)
        each = timing.cpu / len(made)
        figure(f"CPU s a star of {sectors} sectors, 2 min", each, f"≤ {most}", each <= most)
    for kind in CLASSES:
        quality(kind)


def binary(number: int, kind: str) -> Star:
    """Draw a star of a class."""
    return draw_star(simulated_tic_id(number, SEED), SEED, 1.0, [kind])


def curves(star: Star, sectors: range | tuple[int, ...]) -> StarCurves:
    """Observe it."""
    observations = []
    for sector in sectors:
        curve = observe(star, sector, SEED, CADENCE_S, columns="photometry")
        timed_rows = np.isfinite(curve.time)
        columns = (np.asarray(c[timed_rows], float) for c in (curve.time, curve.flux, curve.flux_err))
        observations.append(Observation(sector, CADENCE_S, *columns, curve.quality[timed_rows], crowdsap=star.crowdsap))
    return StarCurves(star.tic_id, tuple(observations))


def quality(kind: str) -> None:
    """Print the share of exact periods and the pulls of a class, two sectors each."""
    exact, pulls = [], []
    for number in range(STARS):
        star = binary(number, kind)
        seen = curves(star, (5, 6))
        if not decidable(star, seen):
            continue
        found = find(seen)
        baseline = np.ptp(np.concatenate([o.time for o in seen.observations]))
        shortest = 0.1 * np.nanmin([star.duration_1, star.duration_2])
        right = bool(found) and abs(found[0].period - star.period) * baseline / star.period <= shortest
        exact.append(right)
        if right:
            pulls.append(_pulls(star, found[0]))
    share = float(np.mean(exact))
    figure(f"{kind}: exact periods", share, "≥ 0.95", share >= 0.95, f"{sum(exact)} of {len(exact)}")
    for name, values in zip(("period", "epoch", "depth", "duration"), np.array(pulls).T, strict=True):
        width = float(1.4826 * np.nanmedian(np.abs(values))) if np.isfinite(values).any() else np.nan
        met = 0.8 <= width <= 1.2 if np.isfinite(width) else None
        figure(f"{kind}: pulls of the {name}, 1.48 MAD", width, "0.8-1.2", met)


def decidable(star: Star, seen: StarCurves) -> bool:
    """Whether two eclipses of each kind are in the data, each with a signal to noise of 10."""
    good = [(o.quality == 0) & np.isfinite(o.flux) for o in seen.observations]
    time = np.concatenate([o.time[g] for o, g in zip(seen.observations, good, strict=True)])
    first, ok = seen.observations[0], good[0]
    noise = 1.5 * float(np.median(first.flux_err[ok]) / np.median(first.flux[ok]))
    for lag, depth, width in (
        (0.0, star.depth_primary, star.duration_1),
        (star.phase_2, star.depth_secondary, star.duration_2),
    ):
        if not depth * np.sqrt(width * 86400 / CADENCE_S) > 10 * noise:
            return False
        cycle = (time - star.t0) / star.period - lag
        inside = np.abs(cycle - np.rint(cycle)) * star.period < width / 2
        count = np.unique(np.rint(cycle[inside]), return_counts=True)[1]
        if np.sum(count > 0.6 * width * 86400 / CADENCE_S) < 2:
            return False
    return True


def _pulls(star: Star, found: Ephemeris) -> tuple[float, ...]:
    turns = (found.epoch - star.t0) / star.period
    late = [turn - np.rint(turn) for turn in (turns, turns - star.phase_2)]
    swapped = abs(late[1]) < abs(late[0])
    depth = star.depth_secondary if swapped else star.depth_primary
    width = star.duration_2 if swapped else star.duration_1
    return (
        (found.period - star.period) / found.period_err,
        late[swapped] * star.period / found.epoch_err,
        (found.depth_1 - depth) / found.depth_1_err,
        (found.duration_1_h - 24 * width) / found.duration_1_h_err,
    )
