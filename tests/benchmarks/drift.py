"""Alarms on batches of simulated candidates: none on those like training, one on every shift."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from catalogs.folder import Folder
from models import monitor
from models.drift import compare
from models.inputs import statistics
from models.reference import Reference, learn
from models.scorer import Scorer
from pipeline.errors import ModelNotFound
from pipeline.images import triplets
from pipeline.images.degraded import subtracted
from pipeline.images.truth import labelled
from pipeline.simulate.fields import draw
from pipeline.simulate.nights import Night, described, draw_night
from tests.benchmarks.figures import figure, heading, timed
from tests.models import toy_realbogus

#: Images that are learnt from, that like batches are drawn of, and that each shift is made of.
LEARNT, HELD_OUT, SHIFTED = 60, 40, 20

SIZE, BATCHES, SHIFTED_BATCHES = 500, 20, 5

#: Those of the simulated surveys that nothing is learnt from.
OTHER = "simulated-C"

Change = Callable[[Night], Night]


def main() -> None:
    """Simulate, score and compare; minutes."""
    heading(f"drift, batches of {SIZE} candidates, {LEARNT} images learnt from")
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        scorer = _scorer(Folder(name))
    known = _rows(_nights(False, 0), LEARNT, scorer)
    reference = learn(known.assign(image=known["field"]))
    held_out = _rows(_nights(False, 10_000), HELD_OUT, scorer)
    images = [_images(held_out, seed) for seed in range(BATCHES)]
    mixed = [held_out.sample(SIZE, random_state=seed) for seed in range(BATCHES)]
    for what, batches in (("whole images", images), ("drawn of all", mixed)):
        _alarms(reference, f"alarms on {BATCHES} batches like training, {what}", batches, False)
    for what, nights, change in (
        ("seeing × 1.5", _nights(False, 20_000), _seeing),
        ("background × 4", _nights(False, 30_000), _background),
        ("another survey", _nights(True, 40_000), None),
    ):
        rows = _rows(nights, SHIFTED, scorer, change)
        batches = [_images(rows, seed) for seed in range(SHIFTED_BATCHES)]
        _alarms(reference, f"alarms on {SHIFTED_BATCHES} batches of {what}", batches, True)
    pixels = np.random.default_rng(0).normal(size=(1024, 3, 63, 63)).astype(np.float32)
    with timed() as timing:
        statistics(pixels)
    each = timing.cpu / len(pixels) * 1e6
    figure("statistics of a triplet, µs", each, "≤ 50", each <= 50)


def _scorer(workspace: Folder) -> Scorer:
    """Return the model that ships, or one that has learnt nothing."""
    try:
        return Scorer.load(workspace)
    except ModelNotFound:
        toy_realbogus.save(workspace)
        return Scorer.load(workspace)


def _nights(is_other: bool, first: int) -> Iterator[Night]:
    description = described()
    number = first
    while True:
        night = draw_night(description, number)
        number += 1
        if (night.survey == OTHER) == is_other:
            yield night


def _seeing(night: Night) -> Night:
    science = replace(night.settings.science, fwhm=1.5 * night.settings.science.fwhm)
    return replace(night, settings=replace(night.settings, science=science))


def _background(night: Night) -> Night:
    science = replace(night.settings.science, sky=4 * night.settings.science.sky)
    return replace(night, settings=replace(night.settings, science=science))


def _rows(nights: Iterable[Night], images: int, scorer: Scorer, change: Change | None = None) -> pd.DataFrame:
    """Return the candidates of so many images: facts, truth, statistics and scores."""
    parts = []
    for night, _ in zip(nights, range(images), strict=False):
        night = change(night) if change else night
        field = draw(night.seed, night.settings)
        found = subtracted(field, night)
        widest = max(night.settings.science.fwhm / night.settings.zoom, night.settings.reference.fwhm)
        truth = labelled(found.candidates, field, found.band, widest)
        truth = truth[truth["label"] >= 0].sample(frac=1, random_state=night.number).groupby("kind").head(10)
        if truth.empty:
            continue
        place = found.candidates.loc[truth.index]
        planes = (found.band.science, found.band.reference, found.difference)
        pixels, _ = triplets.cut(planes, place["x"].to_numpy(), place["y"].to_numpy())
        scores = scorer.score(pixels)
        facts = {"survey": night.survey, "filter": night.filter, "field": str(night.number)}
        names = ("logit", "p_real", "novelty", "ood")
        parts.append(
            statistics(pixels).assign(
                **facts, **{name: getattr(scores, name) for name in names}, label=truth["label"].to_numpy(),
                mjd_mid=night.settings.science.mjd,
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _images(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the candidates of whole images, drawn without going back, until they are enough."""
    order = np.random.default_rng(seed).permutation(rows["field"].unique())
    whole = rows.set_index("field", drop=False).loc[order]
    return whole[:SIZE].reset_index(drop=True)


def _alarms(reference: Reference, what: str, batches: list[pd.DataFrame], is_asked: bool) -> None:
    raised, named = 0, set()
    for batch in batches:
        log = monitor.summary("realbogus-00000000", "one", batch.assign(image=batch["field"])).to_pandas()
        table = compare(reference, log, ("batch",))
        raised += int(table["is_alarm"].any())
        named |= set(table.loc[table["is_alarm"], "statistic"])
    asked = len(batches) if is_asked else 0
    figure(what, raised, str(asked), raised == asked, ", ".join(sorted(named)))
