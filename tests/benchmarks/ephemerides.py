"""Ephemerides: seconds a star and a vetting page, exact periods and pulls on simulated binaries of each class."""

from tempfile import TemporaryDirectory

import numpy as np

from catalogs.folder import Folder
from pipeline.lightcurves.candidate import write_candidate
from pipeline.lightcurves.ephemeris import Ephemeris, find
from pipeline.lightcurves.star import Observation, StarCurves
from pipeline.simulate.lightcurves import observe
from pipeline.simulate.stars import OTHER_KINDS, Star, draw_star, simulated_tic_id
from tests.benchmarks.figures import figure, heading, timed

CLASSES = ("EA", "EB", "EW")
STARS, OTHERS, SEED = 60, 60, 31
HIGHEST = {1: 0.5, 3: 0.5, 10: 1.9, 30: 5.0}  # seconds a star
# sectors and cadence of one star after the other: neighbours, years between, full-frame images
OBSERVED = (((3, 4), 120.0), ((14,), 1800.0), ((30, 31), 600.0), ((4, 31), 120.0), ((15, 41), 1800.0))


def main() -> None:
    """Print speed and quality."""
    heading("ephemerides, one core")
    find(curves(star(0, "EA"), (1,), 120.0))  # compiles
    for sectors, most in HIGHEST.items():
        made = [curves(star(n, kind), range(1, sectors + 1), 120.0) for n in range(3) for kind in CLASSES]
        with timed() as timing:
            for one in made:
                find(one)
        each = timing.cpu / len(made)
        figure(f"CPU s a star of {sectors} sectors, 2 min", each, f"≤ {most}", each <= most)
        page(made)
    called = [value for kind in CLASSES for value in quality(kind)]
    share = float(np.mean(called))
    figure("right of those called exact", share, "≥ 0.98", share >= 0.98, f"{sum(called)} of {len(called)}")
    others()


def page(seen: list[StarCurves]) -> None:
    """Print how long the vetting page of a star takes."""
    found = [(one, systems) for one in seen if (systems := find(one))]
    with TemporaryDirectory() as path, timed() as timing:
        for rank, (one, systems) in enumerate(found, 1):
            row = {"tic_id": one.tic_id, "eb_id": 1, "period": systems[0].period, "period_flag": systems[0].period_flag}
            write_candidate(Folder(path), rank, ("", ""), one, row, systems)
    each = timing.cpu / max(len(found), 1)
    figure("CPU s its vetting page", each, "≤ 1", each <= 1)


def star(number: int, kind: str) -> Star:
    """Draw a star of a kind."""
    return draw_star(simulated_tic_id(number, SEED), SEED, 1.0, [kind])


def curves(star: Star, sectors: range | tuple[int, ...], cadence_s: float) -> StarCurves:
    """Observe it."""
    observations = []
    for sector in sectors:
        curve = observe(star, sector, SEED, cadence_s, columns="photometry")
        timed_rows = np.isfinite(curve.time)
        time, flux, error = (np.asarray(c[timed_rows], float) for c in (curve.time, curve.flux, curve.flux_err))
        quality = curve.quality[timed_rows]
        observations.append(Observation(sector, cadence_s, time, flux, error, quality, crowdsap=star.crowdsap))
    return StarCurves(star.tic_id, tuple(observations))


def quality(kind: str) -> list[bool]:
    """Print the share of exact periods and the pulls of a class; return which of those called exact are right."""
    called: list[bool] = []
    shares: dict[str, list[bool]] = {"two of each": [], "different": [], "elsewhere": []}
    pulls = []
    for number in range(STARS):
        drawn = star(number, kind)
        seen = curves(drawn, *OBSERVED[number % len(OBSERVED)])
        found = find(seen)
        exact = bool(found) and found[0].period_flag == "exact"
        right = bool(found) and is_right(drawn, seen, found[0])
        if exact:
            called.append(right)
        what = branch(drawn, seen)
        shares[what].append(right if what != "elsewhere" else right or not exact)
        if right and what != "elsewhere":
            pulls.append(_pulls(drawn, found[0]))
    decidable = shares["two of each"] + shares["different"]
    share = float(np.mean(decidable))
    note = f"{sum(decidable)} of {len(decidable)}, {len(shares['different'])} by a difference"
    figure(f"{kind}: exact periods", share, "≥ 0.95", share >= 0.95, note)
    rest = shares["elsewhere"]
    if rest:
        note = f"{sum(rest)} of {len(rest)}"
        figure(f"{kind}: right or said to be unresolved elsewhere", float(np.mean(rest)), "1", all(rest), note)
    for name, values in zip(("period", "epoch", "depth", "duration"), np.array(pulls).T, strict=True):
        width = float(1.4826 * np.nanmedian(np.abs(values))) if np.isfinite(values).any() else np.nan
        met = 0.8 <= width <= 1.2 if np.isfinite(width) else None
        figure(f"{kind}: pulls of the {name}, 1.48 MAD", width, "0.8-1.2", met)
    return called


def is_right(star: Star, seen: StarCurves, found: Ephemeris) -> bool:
    """Whether the period brings the last eclipse in time to a tenth of its duration."""
    baseline = np.ptp(np.concatenate([o.time for o in seen.observations]))
    shortest = 0.1 * np.nanmin([star.duration_1, star.duration_2])
    return bool(abs(found.period - star.period) * baseline / star.period <= shortest)


def others() -> None:
    """Print how many stars that do not eclipse are given an exact period; those of ellipsoidal stars are orbits."""
    kinds = [kind for kind in OTHER_KINDS if kind not in ("ELL", "HB", "PLANET")]
    wrong = 0
    for number in range(OTHERS):
        found = find(curves(star(number, kinds[number % len(kinds)]), *OBSERVED[number % 3]))
        wrong += bool(found) and found[0].period_flag == "exact"
    figure("called exact of stars without an orbit", wrong, "0", wrong == 0, f"of {OTHERS}")


def branch(star: Star, seen: StarCurves) -> str:
    """Tell what the data can decide: "two of each" kind of eclipse, "different" kinds of them, "elsewhere" neither."""
    good = [(o.quality == 0) & np.isfinite(o.flux) for o in seen.observations]
    time = np.concatenate([o.time[g] for o, g in zip(seen.observations, good, strict=True)])
    first, ok = seen.observations[0], good[0]
    noise = 1.5 * float(np.median(first.flux_err[ok]) / np.median(first.flux[ok]))
    depth = np.array([star.depth_primary, star.depth_secondary])
    width = np.array([star.duration_1, star.duration_2])
    if not np.isfinite(depth * width).all():
        return "elsewhere"
    samples = width * 86400 / first.cadence_s
    snr = depth * np.sqrt(samples) / noise
    counts = []
    for lag, w, most in zip((0.0, star.phase_2), width, samples, strict=True):
        cycle = (time - star.t0) / star.period - lag
        inside = np.abs(cycle - np.rint(cycle)) * star.period < w / 2
        counts.append(int(np.sum(np.unique(np.rint(cycle[inside]), return_counts=True)[1] > 0.6 * most)))
    if min(snr) <= 10 or counts[0] < 2 or counts[1] < 1:
        return "elsewhere"
    if counts[1] >= 2:
        return "two of each"
    together = snr * np.sqrt(counts)
    deeper, wider = (abs(np.diff(value)[0]) / np.hypot(*(value / together)) for value in (depth, width))
    later = 2 * abs(star.phase_2 - 0.5) * star.period / np.hypot(*(width / together))
    return "different" if max(deeper, wider, later) >= 3 else "elsewhere"


def _pulls(star: Star, found: Ephemeris) -> tuple[float, ...]:
    turns = (found.epoch - star.t0) / star.period
    late = [turn - np.rint(turn) for turn in (turns, turns - star.phase_2)]
    swapped = bool(abs(late[1]) < abs(late[0]))
    depth = star.depth_secondary if swapped else star.depth_primary
    width = star.duration_2 if swapped else star.duration_1
    return (
        (found.period - star.period) / found.period_err,
        late[swapped] * star.period / found.epoch_err,
        (found.depth_1 - depth) / found.depth_1_err,
        (found.duration_1_h - 24 * width) / found.duration_1_h_err,
    )
