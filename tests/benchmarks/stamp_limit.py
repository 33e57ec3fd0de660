"""The limit on the frozen benchmark of stamps: what a test finds that knows the PSF exactly, of stars that stand alone.

python -m tests.benchmarks stamp_limit                # 256 pairs and 256 single stars a survey, minutes
python -m tests.benchmarks stamp_limit --fields 1500  # nearly all the single stars that it has

Pairs and stars alone are the first of stamps.toml, so separations, differences of magnitudes and signal to noise are
those of the benchmark. What is idealised ("known PSF, clean"): every filter sees the primary and its companion and
nothing else, with no third star, neighbours, galaxy, artefact, cosmic ray, saturation, gradient or missing part; it is
neither resampled nor smoothed, and the source does not move; the point-spread function and the variance of each pixel
are known; what is not double is a star alone, so there are no hard ones. Filters are used as they are, not stacked.

The test is the generalised likelihood ratio of two stars against one (Wilks 1938, Ann. Math. Statist. 9, 60; Kay 1998,
Fundamentals of Statistical Signal Processing II, section 6.4.2): the χ² that the best star with sky leaves, less what
the best two with sky leave, summed over the filters. Each filter has its own fluxes, sky and place of the primary;
where the companion is from the primary is common to all. Its flux is not negative. The two are looked for near the
primary's true place, where a shift of it is a matter of the derivatives of the point-spread function.

Beside it stands what is classical, on sources of the benchmark with all that is hard: the fits of their filters by two
stars, by what χ² they gain and by their p_fit; and boosted trees, which see no pixels but the moments and facts that
the network is given, and those and all that the fits say. Trees learn from as many stacks of the training description
as they are judged on.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import fft
from sklearn.ensemble import HistGradientBoostingClassifier

from catalogs.folder import Folder
from models.evaluate import metrics
from models.stamp_planes import COLUMNS, prepare
from models.visual_rates import FALSE, at_false
from models.visual_views import views
from pipeline.settings import StampSetSettings
from pipeline.simulate.spectra import Grid, Spectrum, image, points
from pipeline.simulate.stamp_scenes import Description, Exposure, Scene
from pipeline.simulate.stamp_truth import truth
from pipeline.simulate.stamps import described, drawn, grid, places, point
from pipeline.stamps import surveys
from pipeline.stamps.training import STACKS, StampSet, read_index
from tests.benchmarks.figures import figure, heading, timed
from tests.benchmarks.sets import complete, kept
from tests.benchmarks.stamps import ASKED, DESCRIPTION, FIT, PAIR, _stacks, fitted

__all__ = ["Clean", "clean", "likelihood_ratio", "main", "scenes"]

FEW = 256
TREES = 4  # stacks that fits and trees are judged on, and learn from, for each pair of the limit

Floats = NDArray[np.float64]

#: Nearer to the primary than this no second star is looked for: arcsec, and FWHM.
_LEAST = 0.1

#: Steps of the offsets that are tried, about so many a FWHM.
_STEPS = 5


@dataclass(frozen=True, eq=False)
class Clean:
    """What one filter sees of nothing but the stars that count, and all that is known of it.

    Parameters
    ----------
    on : Grid
        With its margin in what is kept: as a spectrum has it, what leaves at one edge comes in at the other.
    spread : Spectrum
        Of a point of unit flux.
    x, y, flux : (n,) float64
        Of the stars: px of `on`, electrons.
    fwhm : float
        Arcsec.
    pixels : (side, side) float64
        Electrons.
    weight : (side, side) float64
        1 over their variance; 0 in the margin, where there are no data.
    """

    on: Grid
    spread: Spectrum
    x: Floats
    y: Floats
    flux: Floats
    fwhm: float
    pixels: Floats
    weight: Floats

    def star(self, x: float, y: float) -> tuple[Floats, Floats, Floats]:
        """Return the image of a star of unit flux, and what it changes by a pixel further in x and in y."""
        spectrum = self.spread * points(self.on, np.array([x]), np.array([y]), np.ones(1))
        turns = (-2j * np.pi * self.on.pixscale * k for k in self.on.frequencies())
        one, right, up = (image(self.on, part).astype(float) for part in (spectrum, *(spectrum * k for k in turns)))
        return one, right, up


def clean(scene: Scene, filter: str, rng: np.random.Generator) -> Clean:
    """Return what a filter sees of the primary and its companion alone."""
    seen, kept = scene.exposures[filter], grid(scene.survey)
    spread, flux = point(kept, seen)
    x, y = (at + kept.margin / 2 for at in places(kept, scene, seen))
    on = replace(kept, side=kept.cells, margin=0)
    light = flux * scene.sky.light(seen.wavelength)
    expected = image(on, spread * points(on, x, y, light)).astype(float) + seen.sky
    variance = np.maximum(expected, 0) + seen.read_noise**2
    start, weight = kept.margin // 2, np.zeros_like(variance)
    inside = (slice(start, start + kept.side),) * 2
    weight[inside] = 1 / variance[inside]
    pixels = expected + np.sqrt(variance) * rng.standard_normal(variance.shape)
    return Clean(on, spread, x, y, light, seen.fwhm, pixels, weight)


def _residual(seen: Clean, model: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return what a linear model leaves of the pixels, what it is made of, orthonormal, and its coefficients."""
    columns = np.stack([one.ravel() for one in model])
    weighted = columns * seen.weight.ravel()
    root = np.linalg.cholesky(weighted @ columns.T)
    basis = np.linalg.solve(root, columns)
    along = np.linalg.solve(root, weighted @ seen.pixels.ravel())
    left = seen.pixels - (along @ basis).reshape(seen.pixels.shape)
    return left, basis.reshape(-1, *left.shape), np.linalg.solve(root.T, along)


def _single(seen: Clean) -> float:
    """Return the χ² that the best star leaves, looked for from the brightest one on (Gauss–Newton)."""
    brightest = int(np.argmax(seen.flux))
    x, y = float(seen.x[brightest]), float(seen.y[brightest])
    most, best = 0.5 * seen.fwhm / seen.on.pixscale, np.inf
    sky = np.ones_like(seen.pixels)
    for _ in range(20):
        one, right, up = seen.star(x, y)
        left = _residual(seen, [one, sky])[0]
        best = min(best, float((seen.weight * left**2).sum()))
        told = _residual(seen, [one, right, up, sky])[2]
        step = np.clip(told[1:3] / told[0], -most, most)
        x, y = x + float(step[0]), y + float(step[1])
        if np.abs(step).max() < 1e-3 * most:
            break
    return best


def _gain(seen: Clean, fine: int) -> tuple[float, Floats]:
    """Return the χ² that is left about the primary's place, and what a second star takes of it at each offset.

    The offsets are (fine × side, fine × side), in steps of 1 / fine px in y and x, negative ones last: for each part of
    a pixel the whole ones are a correlation.
    """
    x, y = float(seen.x[0]), float(seen.y[0])
    left, basis, _ = _residual(seen, [*seen.star(x, y), np.ones_like(seen.pixels)])
    maps = fft.rfft2(seen.weight * np.concatenate([left[None], basis]))
    weight, size = fft.rfft2(seen.weight), seen.pixels.shape
    found = np.empty((fine * size[0], fine * size[1]))
    for row in range(fine):
        for column in range(fine):
            at = np.array([x + column / fine]), np.array([y + row / fine])
            one = image(seen.on, seen.spread * points(seen.on, *at, np.ones(1))).astype(float)
            along, *spanned = fft.irfft2(np.conj(fft.rfft2(one)) * maps, s=size)
            own = fft.irfft2(np.conj(fft.rfft2(one * one)) * weight, s=size)
            norm = own - np.square(spanned).sum(0)
            found[row::fine, column::fine] = np.maximum(along, 0) ** 2 / np.maximum(norm, 1e-6 * own.max())
    return float((seen.weight * left**2).sum()), found


def likelihood_ratio(seen: list[Clean]) -> float:
    """Return the gain of χ² of two stars over one, of all filters of a source together."""
    on, width = seen[0].on, min(one.fwhm for one in seen)
    fine = max(1, round(_STEPS * on.pixscale / width))
    steps = fft.fftfreq(fine * on.side, 1 / on.side) * on.pixscale
    away = np.hypot(steps, steps[:, None])
    allowed = (away <= surveys.REACH) & (away >= max(_LEAST, _LEAST * width))
    one = sum(_single(each) for each in seen)
    about, gains = zip(*(_gain(each, fine) for each in seen), strict=True)
    return one - sum(about) + _highest(sum(gains), allowed)


def _highest(gain: Floats, allowed: NDArray[np.bool_]) -> float:
    """Return the highest gain among the offsets that are allowed, or between them: a parabola along each axis."""
    row, column = np.unravel_index(np.argmax(np.where(allowed, gain, -1.0)), gain.shape)
    top = found = float(gain[row, column])
    for axis, at in ((gain[:, column], row), (gain[row], column)):
        before, after = float(axis[at - 1]), float(axis[(at + 1) % len(axis)])
        if max(before, after) <= top and before + after < 2 * top:
            found += (after - before) ** 2 / (8 * (2 * top - before - after))
    return found


def _alone(scene: Scene) -> Scene:
    """Return a scene with the primary and its companion, if it has one, in the place where they are looked for."""
    sky = scene.sky
    kept = {name: getattr(sky, name)[: 1 + sky.label] for name in ("east", "north", "mag", "slope")}
    still = {name: replace(one, shift=(0.0, 0.0), moved=(0.0, 0.0)) for name, one in scene.exposures.items()}
    return replace(scene, sky=replace(sky, **kept, galaxy=None), exposures=still)


def scenes(description: Description, survey: str, kind: str) -> Iterator[tuple[Scene, int, int]]:
    """Yield the pairs or the stars alone of a survey, in order, with their part and their number in it."""
    for number in range(description.stacks[survey]):
        place = number // STACKS, number % STACKS
        scene = drawn(description, survey, *place)
        if scene.sky.kind == kind:
            yield _alone(scene), *place


def _row(description: Description, scene: Scene, part: int, number: int) -> dict[str, Any]:
    """Return what is true of a source, and the gain of two stars over one."""
    rng = np.random.default_rng([description.seed, crc32(scene.survey.encode()), part, number, 2])

    def facts(seen: Exposure) -> dict[str, Any]:
        return {"snr": seen.snr, "fwhm_arcsec": seen.fwhm, "light": scene.sky.light(seen.wavelength)}

    told = truth(scene.sky, [facts(seen) for seen in scene.exposures.values()], description.weightless)
    return told | {"gain": likelihood_ratio([clean(scene, name, rng) for name in scene.exposures])}


def _moments(workspace: Folder, rows: pd.DataFrame) -> Floats:
    """Return facts and moments of stacks, (n, 20)."""
    planes = prepare(_stacks(workspace, rows), rows[list(COLUMNS)].to_numpy(float))
    with torch.inference_mode():
        _, _, measured, _ = views(*(torch.from_numpy(plane) for plane in planes))
    return np.concatenate([planes[-1], measured.numpy()], 1).astype(float)


def _seen(
    workspace: Folder, description: Path | None, survey: str, stacks: int, pool: ProcessPoolExecutor
) -> tuple[pd.DataFrame, Floats, pd.DataFrame]:
    """Return the index of the first stacks of a set, made where they are not there, their moments, and their fits."""
    told = None if description is None else str(description)
    stage = StampSet(workspace, StampSetSettings(stacks=stacks, seed=None, description=told))
    keys = [key for key in stage.keys() if stage.survey(key) == survey]  # noqa: SIM118
    complete(stage, keys)
    parts = [read_index(workspace, key) for key in keys]
    fits = pd.concat(pool.map(fitted, parts, repeat(description)), ignore_index=True)
    return pd.concat(parts, ignore_index=True), np.concatenate([_moments(workspace, part) for part in parts]), fits


def _classical(workspace: Folder, survey: str, stacks: int, pool: ProcessPoolExecutor) -> None:
    """Print what fits, and boosted trees without and with them, find of a survey's stacks."""
    taught, known, fits = _seen(workspace, None, survey, stacks, pool)
    rows, seen, told = _seen(workspace, DESCRIPTION, survey, stacks, pool)
    # What cannot be fitted is not called double, before anything that is.
    scores = {f"fits, {name}": told[name].fillna(-1e9).to_numpy() for name in ("gain", "p_fit")}
    columns = [*FIT, *PAIR]
    for name, examples, judged in (
        ("moments", known, seen),
        ("moments and fits", np.hstack([known, fits[columns]]), np.hstack([seen, told[columns]])),
    ):
        trees = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=300, early_stopping=True, random_state=0)
        trees.fit(examples, taught["label"], taught["weight"])
        scores[f"trees of {name}, learnt from {len(taught)}"] = trees.predict_proba(judged)[:, 1]
    for name, score in scores.items():
        _print(f"{name}: {survey}", rows, score, f"AUC {metrics(rows['label'], score)['roc_auc']:.3f}")


def _print(name: str, rows: pd.DataFrame, score: Floats, note: str) -> None:
    for share in FALSE:
        at = at_false(rows, score, share)
        if at["completeness"] is None or at["others"] * share < 1:
            print(f"{name}, at {share:.1%} false: not told of {at['doubles']} pairs and {at['others']} others")
            continue
        for what, interval in (("completeness", "interval"), ("easy", "easy_interval")):
            if at[what] is not None:
                low, high = at[interval]
                figure(f"{name}, {what} at {share:.1%} false", at[what], "-", None,
                       f"{low:.3f} to {high:.3f}, {at['doubles']} pairs, {at['others']} others, "
                       f"score {at['cut']:.3g}, {note}")  # fmt: skip


def main(sources: int = FEW, names: Sequence[str] = tuple(ASKED)) -> None:
    """Print what is found of so many pairs a survey among as many stars alone; then what classical methods find."""
    heading("double or single: the limit, with the PSF known and nothing in the way")
    description = described(DESCRIPTION)
    for survey in names:
        with timed() as spent:
            rows = pd.DataFrame([
                _row(description, *one)
                for kind in ("pair", "single") for one in islice(scenes(description, survey, kind), sources)
            ])  # fmt: skip
        note = f"{1e3 * spent.cpu / len(rows):.0f} CPU ms each"
        _print(f"known-PSF limit: {survey}", rows, rows["gain"].to_numpy(), note)
    with kept() as workspace, ProcessPoolExecutor(os.cpu_count()) as pool:
        for survey in names:
            _classical(workspace, survey, TREES * sources, pool)


if __name__ == "__main__":
    main(1500)
