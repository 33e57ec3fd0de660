"""Alarms on batches of simulated candidates and of real alerts: none on those like training, one on every shift.

No image is in two batches. The survey that nothing was learnt from is ZTF, with real alerts. What is usual is what the
card of the model that ships says; where there is no such model, it is learnt from images of its own.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalogs.folder import Folder
from models import monitor
from models.drift import compare
from models.inputs import statistics
from models.reference import Reference, learn
from models.scorer import Scorer
from pipeline.alerts.batches import Batch
from pipeline.alerts.batches import batches as batches_of
from pipeline.errors import ModelNotFound
from pipeline.images import triplets
from pipeline.images.degraded import subtracted
from pipeline.images.sampling import sampled
from pipeline.images.truth import labelled
from pipeline.settings import SamplingSettings
from pipeline.simulate.fields import draw
from pipeline.simulate.nights import Night, described, draw_night
from tests.benchmarks.figures import figure, heading, timed
from tests.models import toy_realbogus

#: Images that are learnt from if no model ships, and those of a batch.
LEARNT, IMAGES = 60, 24

#: The same of a small batch, of which the same is asked.
FEW_IMAGES = 8

#: Batches like training, and of each shift.
BATCHES, SHIFTED_BATCHES = 20, 3

#: Alerts of another survey than the simulated ones.
ALERTS = Path(__file__).parents[3] / "shared" / "data" / "alerts" / "ztf_alerts_triplets.parquet"

_UNUSED = 1_000_000  # no training has as many fields

Change = Callable[[Night], Night]


def main() -> None:
    """Simulate, score and compare; minutes."""
    heading(f"drift, batches of {IMAGES} images")
    with tempfile.TemporaryDirectory(prefix="skysift-bench-") as name:
        scorer = _scorer(Folder(name))
    reference = _usual(scorer)
    held_out = _rows(_nights(_UNUSED), BATCHES * IMAGES, scorer)
    mixed = held_out.sample(frac=1, random_state=0)
    drawn = [mixed[number::BATCHES].reset_index(drop=True) for number in range(BATCHES)]
    for what, batches in (("whole images", _images(held_out)), ("drawn of all", drawn)):
        _alarms(reference, f"alarms on {BATCHES} batches like training, {what}", batches, False)
    for what, nights, change in (
        ("seeing × 1.5", _nights(2 * _UNUSED), _seeing),
        ("background × 4", _nights(3 * _UNUSED), _background),
    ):
        rows = _rows(nights, SHIFTED_BATCHES * IMAGES, scorer, change)
        _alarms(reference, f"alarms on {SHIFTED_BATCHES} batches of {what}", _images(rows), True)
        few = _images(rows, FEW_IMAGES)
        raised = sum(_is_raised(reference, batch) for batch in few)
        figure(f"  in {len(few)} batches of {FEW_IMAGES} images", raised, str(len(few)), raised == len(few))
    if ALERTS.is_file():
        alerts = [_alerts(batch, scorer) for batch in batches_of([ALERTS], 256)]
        _alarms(reference, f"alarms on {len(alerts)} batches of another survey, ZTF", alerts, True)
    else:
        print(f"another survey: {ALERTS} is not here")
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


def _usual(scorer: Scorer) -> Reference:
    """Return what is usual by the model's card, or as learnt now where that does not say it."""
    if "drift" in scorer.entry.card:
        print(f"usual is what the card of {scorer.entry.id} says")
        return Reference.of(scorer.entry.card, scorer.entry.folder.url("card.json"))
    known = _rows(_nights(0), LEARNT, scorer)
    print(f"usual is what {LEARNT} images show: the card of {scorer.entry.id} does not say it")
    return learn(known.assign(image=known["field"]))


def _nights(first: int) -> Iterator[Night]:
    description = described()
    return (draw_night(description, number) for number in count(first))


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
        truth = truth[truth["label"] >= 0].sample(frac=1, random_state=night.number)
        # As in training: of each kind of bogus ones so many.
        few = truth[truth["label"] == 0].groupby("kind").head(described().most_of_a_kind)
        truth = pd.concat([truth[truth["label"] == 1], few])
        if truth.empty:
            continue
        place = found.candidates.loc[truth.index]
        planes = (found.band.science, found.band.reference, found.difference)
        pixels, _ = triplets.cut(planes, place["x"].to_numpy(), place["y"].to_numpy())
        facts = {"survey": night.survey, "filter": night.filter, "field": str(night.number)}
        facts |= {"label": truth["label"].to_numpy(), "mjd_mid": night.settings.science.mjd}
        parts.append(_scored(pixels, scorer).assign(**facts))
    return pd.concat(parts, ignore_index=True)


def _scored(pixels: NDArray[np.float32], scorer: Scorer) -> pd.DataFrame:
    """Return statistics and scores of triplets."""
    scores = scorer.score(pixels)
    return statistics(pixels).assign(**{name: getattr(scores, name) for name in ("logit", "p_real", "novelty", "ood")})


def _alerts(batch: Batch, scorer: Scorer) -> pd.DataFrame:
    """Return alerts as `_rows` returns candidates, each of an image of its own."""
    rows = pd.DataFrame(batch.rows)
    pixels, _ = sampled(batch.triplets, rows["fwhm_px"].to_numpy(float), SamplingSettings())
    facts = rows[["survey", "filter", "mjd_mid"]].assign(field=rows["candidate_id"])
    return pd.concat([_scored(pixels, scorer), facts], axis=1)


def _images(rows: pd.DataFrame, images: int = IMAGES) -> list[pd.DataFrame]:
    """Return the candidates of whole images, so many images a batch, each image in one."""
    fields = rows["field"].unique()
    groups = [fields[first : first + images] for first in range(0, len(fields), images)]
    return [rows[rows["field"].isin(group)].reset_index(drop=True) for group in groups]


def _log(batch: pd.DataFrame, number: int = 0) -> pd.DataFrame:
    return monitor.summary("realbogus-00000000", str(number), batch.assign(image=batch["field"])).to_pandas()


def _is_raised(reference: Reference, batch: pd.DataFrame) -> bool:
    return bool(compare(reference, _log(batch), ("batch",))["is_alarm"].any())


def _alarms(reference: Reference, what: str, batches: list[pd.DataFrame], is_asked: bool) -> None:
    """Judge each batch alone, then the log of all of them, as it is after these nights."""
    logs = [_log(batch, number) for number, batch in enumerate(batches)]
    tables = [compare(reference, log, ("batch",)) for log in logs]
    asked = len(batches) if is_asked else 0
    raised = sum(int(table["is_alarm"].any()) for table in tables)
    figure(what, raised, str(asked), raised == asked, _named(pd.concat(tables)))
    together = compare(reference, pd.concat(logs, ignore_index=True), ())
    is_raised = bool(together["is_alarm"].any())
    figure("  their log as a whole", int(is_raised), str(int(is_asked)), is_raised == is_asked, _named(together))


def _named(table: pd.DataFrame) -> str:
    return ", ".join(sorted(set(table.loc[table["is_alarm"], "statistic"])))
