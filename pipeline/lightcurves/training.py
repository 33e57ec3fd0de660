"""Labelled light curves to learn from: simulated ones, and real ones out of one Parquet file → a store of segments.

A partition is 256 light curves. A simulated star is seen at one cadence in one sector, or in as many as the settings
say, and follows, with all its noise, from the seed and its number. What a segment of it shows is what that is
labelled: a star whose eclipses all fall outside it is "other" there, and where they are lost in the noise the segment
has no weight. Each segment of a real star carries the star's class and weight, whatever it shows: when a real star is
eclipsed is not known.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import schema, write
from catalogs.folder import Folder
from pipeline import stores
from pipeline.errors import SkysiftError
from pipeline.lightcurves import preprocess
from pipeline.lightcurves.clean import Segment, prepare
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.views import FACTS
from pipeline.manifest import Object, Record
from pipeline.partition import Key
from pipeline.settings import PreprocessSettings, TrainingSetSettings
from pipeline.simulate.lightcurves import PhotometryCurve, observe
from pipeline.simulate.stars import draw_star, simulated_tic_id
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["ECLIPSING", "KLASSES", "TrainingSet", "index_path", "store_path"]

Floats = NDArray[np.float64]

CURVES = 256  # a partition
CAPACITY = CURVES * preprocess.SEGMENTS_A_TARGET

#: Class of a segment → its code; ELL does not eclipse.
KLASSES = {"other": 0, "ELL": 1, "EA": 2, "EB": 3, "EW": 4, "E": 5}
ECLIPSING = KLASSES["E"]  #: an eclipsing binary of unknown class

# Seconds between cadences and their shares: what real archives hold, with those that cost most thinned out.
_CADENCES = {1800.0: 0.44, 120.0: 0.42, 600.0: 0.07, 200.0: 0.05, 20.0: 0.02}
_SECTORS = 88
_DETECTABLE = 5.0  # signal to noise of all eclipses in a segment below which it teaches nothing

_LOG_NOISE = FACTS.index("log_noise")


def store_path(name: str) -> str:
    """Return where a training set lies in the workspace."""
    return f"training/{name}.zarr"


def index_path(key: Key) -> str:
    """Return where the index of a partition of a training set lies."""
    return f"training/{key.where}.segments/part-{key.part:05d}.parquet"


class TrainingSet(Stage):
    """Segments with labels, by recipe `robust` or `calnet`.

    Parameters
    ----------
    workspace : Folder
        Receives the store.
    settings : TrainingSetSettings
        How many simulated stars, seed, recipe.
    labelled : Labelled, optional
        Real light curves; without, the stars are simulated.
    """

    name = "training"
    version = 1

    settings: TrainingSetSettings

    def __init__(self, workspace: Folder, settings: TrainingSetSettings, labelled: Labelled | None = None) -> None:
        super().__init__(workspace, settings)
        self.labelled = labelled
        source = f"simulated-{settings.seed}x{settings.sectors}"
        source = source if labelled is None else f"labelled-{labelled.sha256[:8]}"
        self.where = f"{source}-{settings.recipe}"
        self._together = CURVES if labelled is not None else max(1, CURVES // settings.sectors)

    def first(self, stars: int) -> "TrainingSet":
        """Return the set of its first simulated stars."""
        few = self.settings.model_copy(update={"stars": min(stars, self.settings.stars)})
        return TrainingSet(self.workspace, few, self.labelled)

    def describe(self) -> dict[str, Any]:
        """Return what the set is made of, for a model's card."""
        stars: dict[str, Any] = {"store": store_path(self.where), "recipe": self.settings.recipe, "stars": self._stars}
        if self.labelled is None:
            return stars | {"simulated_with_seed": self.settings.seed, "sectors": self.settings.sectors}
        facts = {"doubted": self.labelled.doubted_here, "left_out": sorted(self.labelled.left_out)}
        return stars | {"file": Path(self.labelled.path).name, "sha256": self.labelled.sha256} | facts

    @property
    def _stars(self) -> int:
        if self.labelled is not None:
            return len(self.labelled)
        return -(-self.settings.stars // self._together) * self._together

    def keys(self) -> list[Key]:
        """Return a partition for every 256 light curves."""
        return [Key("training", self.where, part) for part in range(-(-self._stars // self._together))]

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the checksum of the file of real light curves, if they come from one."""
        return {} if self.labelled is None else self.labelled.upstream

    def compare(self, key: Key, record: Record) -> None:
        """Check as any stage does; the file of real light curves may have been moved."""
        super().compare(key, record if self.labelled is None else self.labelled.recognise(record))

    def _numbers(self, key: Key) -> range:
        first = key.part * self._together
        return range(first, min(first + self._together, self._stars))

    def inputs(self, key: Key) -> list[str]:
        """Return the stars of a partition by number."""
        return [f"star {number}" for number in self._numbers(key)]

    def prepare(self) -> None:
        """Create the store, or let it grow."""
        settings = PreprocessSettings(recipe=self.settings.recipe, compression=1)
        layout = preprocess.layout(settings, CAPACITY, {"title": f"training set {self.where}"})
        stores.create(self.workspace, store_path(self.where), layout, len(self.keys()))

    def probe(self, key: Key, name: str) -> None:
        """Make the segments of one star."""
        self._made(int(name.removeprefix("star ")))

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Make the segments of some stars and write them with their labels; a star that raises an error is failed."""
        rows: list[dict[str, Any]] = []
        segments: list[Segment] = []
        outcomes = []
        for number in self._numbers(key):
            if (name := f"star {number}") in skip:
                outcomes.append(skip[name])
                continue
            try:
                found = self._made(number)
            except SkysiftError:
                raise
            except Exception as error:  # noqa: BLE001 — whatever it was, it was this star's
                outcomes.append(InputOutcome(name, State.FAILED, "exception", f"{type(error).__name__}: {error}"))
                continue
            state = State.DONE if found else State.NOTHING
            outcomes.append(InputOutcome(name, state, None, None if found else "no segment of good data"))
            for segment, facts in found[: CAPACITY - len(segments)]:
                rows.append(facts | {"row": key.part * CAPACITY + len(segments)})
                segments.append(segment)
        table = pa.Table.from_pylist(rows, schema=schema.TRAINING.arrow_schema())
        written = [Object(*write.write(self.workspace, index_path(key), table, schema.TRAINING))]
        if segments:
            arrays = preprocess.stack(segments, self.settings.recipe)
            written += stores.write(self.workspace, store_path(self.where), key.part, arrays)
        return Product(written, len(rows), outcomes)

    def _made(self, number: int) -> list[tuple[Segment, dict[str, Any]]]:
        return self._simulated(number) if self.labelled is None else self._real(number)

    def _simulated(self, number: int) -> list[tuple[Segment, dict[str, Any]]]:
        seed = self.settings.seed
        rng = np.random.default_rng([seed, number])
        cadence = float(rng.choice(list(_CADENCES), p=list(_CADENCES.values())))
        star = draw_star(simulated_tic_id(number, seed), seed)
        rows = []
        for sector in rng.permutation(np.arange(1, _SECTORS + 1))[: self.settings.sectors]:
            curve = observe(star, int(sector), seed, cadence, columns="photometry")
            segments = prepare(curve.time, curve.flux, curve.quality, self.settings.recipe, cadence, curve.flux_err)
            for order, segment in enumerate(segments):
                klass, weight = _seen(curve, segment)
                morph = curve.morph if klass != "other" and weight else np.nan
                facts: dict[str, Any] = {"tic_id": star.tic_id, "sector": curve.sector, "cadence_s": cadence}
                facts |= {"segment": order, "klass": klass, "kind": star.kind, "morph": morph, "weight": weight}
                rows.append((segment, facts | {"t_start": segment.t_start, "t_end": segment.t_end}))
        return rows

    def _real(self, number: int) -> list[tuple[Segment, dict[str, Any]]]:
        assert self.labelled is not None
        star = self.labelled.star(number)
        if not np.isfinite(star.cadence_s):
            return []
        segments = prepare(star.time, star.flux, star.quality, self.settings.recipe, star.cadence_s)
        facts: dict[str, Any] = {"tic_id": star.tic_id, "sector": star.sector, "cadence_s": star.cadence_s}
        facts |= {"kind": star.label, "klass": star.klass, "morph": star.morph, "weight": star.weight}
        return [
            (segment, facts | {"segment": order, "t_start": segment.t_start, "t_end": segment.t_end})
            for order, segment in enumerate(segments)
        ]


def _seen(curve: PhotometryCurve, segment: Segment) -> tuple[str, float]:
    """Class that a segment of a simulated star shows, and its weight: 0 where it shows too little to tell."""
    if not curve.klass:
        return "other", 1.0
    if curve.klass == "ELL":
        return "ELL", 1.0
    good = np.isfinite(curve.flux) & (curve.quality == 0)
    time = curve.time[good]
    time = time[(time >= segment.t_start) & (time <= segment.t_end)]
    signal, seen = 0.0, False
    for depth, duration, phase in (
        (curve.depth_primary, curve.duration_1, 0.0),
        (curve.depth_secondary, curve.duration_2, curve.phase_2),
    ):
        if not (depth > 0 and duration > 0):
            continue
        inside = np.abs((time - curve.t0) / curve.period - phase - np.round((time - curve.t0) / curve.period - phase))
        count = int(np.count_nonzero(inside * curve.period < duration / 2))
        seen |= count > 0
        signal += count * depth**2
    if not seen:
        return "other", 1.0
    noise = _noise(segment, curve)
    return curve.klass, float(np.sqrt(signal) / noise >= _DETECTABLE)


def _noise(segment: Segment, curve: PhotometryCurve) -> float:
    """Relative noise of a cadence."""
    if segment.facts is not None:
        return float(10 ** segment.facts[_LOG_NOISE])
    return float(np.nanmedian(curve.flux_err) / np.nanmedian(curve.flux))
