"""Trials: light curves whose truth is known, through everything that makes the catalogue, and what it says of them."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from catalogs import write
from catalogs.folder import Folder
from catalogs.recovery import INJECTIONS, SORTS
from models import predict
from models.registry import Entry, Registry
from models.runtime import Predictor
from models.spec import get_spec
from pipeline.errors import FATAL
from pipeline.lightcurves import recovery, trials
from pipeline.lightcurves.ephemeris import find
from pipeline.lightcurves.evidence import evidence
from pipeline.lightcurves.labelled import Labelled
from pipeline.lightcurves.search import Candidate
from pipeline.lightcurves.star import StarCurves, good, load
from pipeline.lightcurves.trials import Sky
from pipeline.manifest import Object, Record
from pipeline.partition import Key
from pipeline.settings import CompletenessSettings, digest
from pipeline.simulate.injection import draw_injection, draw_variable
from pipeline.stage import InputOutcome, Product, Stage, State

__all__ = ["TRIALS", "Injections"]

TRIALS = 64  #: a partition
_TOGETHER = 256  # segments given to the network at a time

_Result = TypeVar("_Result")


class _Ready(NamedTuple):
    """A trial to be scored: its columns so far, and its segments with what the network reads."""

    facts: dict[str, Any]
    segments: pd.DataFrame


class Injections(Stage):
    """Trials of one model on the light curves of its catalogue.

    Which star, which light and all else follow from the seed and the trial's number; more trials make more partitions
    and change none.

    Parameters
    ----------
    workspace : Folder
        Holds light curves; receives the trials.
    entry : Entry
        The model.
    sky : Sky
        Its catalogue.
    settings : CompletenessSettings
        How many trials, seed, runtime.
    labelled : Labelled, optional
        Real stars, of which those labelled as varying without eclipses are tried.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    """

    name = "injections"
    version = 1

    settings: CompletenessSettings

    def __init__(
        self,
        workspace: Folder,
        entry: Entry,
        sky: Sky,
        settings: CompletenessSettings,
        labelled: Labelled | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__(workspace, settings)
        self.entry = entry
        self.labelled = labelled
        self.device = device
        self.calibration = predict.calibration(entry)
        self._predictor: Predictor | None = None
        self._size = TRIALS
        self._stars = trials.choose_stars(sky, settings, labelled, self._size)
        wanted = {star for sort in SORTS if sort != "labelled" for star in self._stars[sort]}
        self._sources = sky.sources(wanted)
        self._tmag = dict(zip(sky.stars["tic_id"], sky.stars["tmag"].astype(float), strict=True))
        scores = {name: identity for name, identity in sky.upstream.items() if name.startswith("manifest/score/")}
        content = [self.version, settings.model_dump(mode="json"), scores, sky.quiet.tolist(), sky.others.tolist()]
        content += [None if self.calibration is None else self.calibration.model_dump(mode="json")]
        if not set(sky.scores.segments["sector"]) <= set(sky.sectors):
            content.append(sky.sectors)
        self._inputs = {sort: digest([*content, self._file if sort == "labelled" else ""])[:16] for sort in SORTS}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_predictor": None}

    @property
    def _file(self) -> str:
        return "" if self.labelled is None else self.labelled.sha256

    @property
    def predictor(self) -> Predictor:
        """The network, loaded at first use and kept: once per actor."""
        if self._predictor is None:
            weights = Registry(self.workspace).load_weights(self.entry)
            how = self.settings.model_dump(include={"runtime", "precision", "batch_size"})
            self._predictor = Predictor(get_spec(self.entry.name), weights, device=self.device, **how)
        return self._predictor

    def keys(self) -> list[Key]:
        """Return a partition for every 64 trials of a sort."""
        where = f"model={self.entry.id}/inputs="
        return sorted(
            Key("injections", f"{where}{self._inputs[sort]}/{sort}", part)
            for sort in SORTS
            for part in range(-(-len(self._stars[sort]) // self._size))
        )

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials of each sort."""
        return {sort: len(stars) for sort, stars in self._stars.items()}

    def _trials(self, key: Key) -> tuple[str, range]:
        sort = key.where.rpartition("/")[2]
        return sort, range(key.part * self._size, min((key.part + 1) * self._size, len(self._stars[sort])))

    def upstream(self, key: Key) -> dict[str, str]:
        """Return the identities of model, file, and the light curves and scores of the partition's stars."""
        sort, numbers = self._trials(key)
        found = {f"model/{self.entry.id}": self.entry.sha256}
        if self.labelled is not None and sort == "labelled":
            return found | self.labelled.upstream
        names = {name for number in numbers for name in self._source(sort, number).upstream}
        for name in sorted(names):
            stage, _, where = name.removeprefix("manifest/").removesuffix(".json").partition("/")
            found |= self.require(stage, Key.parse(where))
        return found

    def compare(self, key: Key, record: Record) -> None:
        """Check as any stage does; the file of labelled stars may have been moved."""
        super().compare(key, record if self.labelled is None else self.labelled.recognise(record))

    def _source(self, sort: str, number: int) -> Candidate:
        return self._sources[self._stars[sort][number]]

    def inputs(self, key: Key) -> list[str]:
        """Return the trials of a partition."""
        sort, numbers = self._trials(key)
        return [f"{sort} {number}" for number in numbers]

    def probe(self, key: Key, name: str) -> None:
        """Do one trial."""
        sort, _, number = name.partition(" ")
        self._judge(sort, {int(number): self._made(sort, int(number))}, {})

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        """Do the trials of a partition and write one row each; one that raises an error is failed, the others go on."""
        sort, numbers = self._trials(key)
        rows: list[dict[str, Any]] = []
        outcomes = dict(skip)
        ready: dict[int, _Ready] = {}
        for number in numbers:
            name = f"{sort} {number}"
            made = None if name in skip else _tried(outcomes, name, self._made, sort, number)
            if made is not None and not len(made.segments):
                outcomes[name] = InputOutcome(name, State.NOTHING, None, "no segment of good data as long as 2.8 d")
            elif made is not None:
                ready[number] = made
            if number == numbers[-1] or sum(len(one.segments) for one in ready.values()) >= _TOGETHER:
                rows += self._judge(sort, ready, outcomes)
                ready = {}
        written = Object(*write.write(self.workspace, recovery.trials_path(key), INJECTIONS.of(rows), INJECTIONS))
        final = [outcomes.get(name, InputOutcome(name, State.DONE)) for name in self.inputs(key)]
        return Product([written], len(rows), final, {"runtime": self.predictor.describe()})

    def _curves(self, sort: str, number: int) -> tuple[StarCurves, dict[str, Any]]:
        """Return the light curves of a trial, and its truth."""
        if sort == "labelled":
            assert self.labelled is not None
            real = self.labelled.star(self._stars[sort][number])
            return trials.from_label(real), {"kind": real.label}
        star = load(self.workspace, self._source(sort, number).sources)
        if sort == "inverted":
            return trials.invert(star), {"kind": "inverted"}
        draw = draw_injection if sort == "injected" else draw_variable
        light = draw(number, self.settings.seed)
        made, time = trials.inject(star, light), np.concatenate([good(one)[0] for one in star.observations])
        truth = {"kind": light.kind, "period": light.period}
        if not light.klass:
            seen = [light.flux(one.time, one.cadence_s / 86400) for one in star.observations]
            return made, truth | {"depth": float(np.ptp(np.concatenate(seen)))}
        count, signal = light.eclipses(time)
        truth |= {"klass": light.klass, "depth": light.depth, "n_eclipses": count}
        return made, truth | {"snr": signal / trials.relative_noise(star)}

    def _made(self, sort: str, number: int) -> _Ready:
        """Return the truth of a trial, and its segments."""
        star, truth = self._curves(sort, number)
        found = trials.segments(star, self.predictor.spec.recipe)
        sectors = sorted({one.sector for one in star.observations})
        tmag = self._tmag.get(star.tic_id, np.nan) if sort != "labelled" else np.nan
        facts = {"sort": sort, "number": number, "tic_id": star.tic_id, "tmag": tmag, "sectors": sectors}
        return _Ready(facts | truth, pd.DataFrame([place | {"tic_id": number, "piece": one} for place, one in found]))

    def _judge(self, sort: str, ready: dict[int, _Ready], outcomes: dict[str, InputOutcome]) -> list[dict[str, Any]]:
        """Score trials as the catalogue's stars are scored, and look for the ephemerides that are wanted."""
        if not ready:
            return []
        every = pd.concat([one.segments for one in ready.values()], ignore_index=True)
        names = self.predictor.spec.inputs
        inputs = (np.stack([getattr(piece, name) for piece in every["piece"]]) for name in names)
        scores = every.drop(columns="piece").assign(**self.predictor.columns(*inputs))
        # As of the catalogue's stars, segments without a number do not count.
        stars = evidence(scores[np.isfinite(scores["score"])], self.calibration)
        stars["klass_found"] = trials.class_found(stars)
        for number in ready.keys() - set(stars["tic_id"]):
            bug = InputOutcome(f"{sort} {number}", State.FAILED, "not_finite", "the network gave no number")
            outcomes |= {bug.input: bug}
        rows = []
        for star in stars.to_dict("records"):
            number = int(star["tic_id"])
            row = ready[number].facts | {name: star[name] for name in ("p_eb", "tier", "klass_found")}
            if star["tier"] != "none" and (sort != "injected" or self.settings.periods):
                found = _tried(outcomes, f"{sort} {number}", self._ephemeris, sort, number, star)
                if found is None:
                    continue
                row |= found
            rows.append(row)
        return rows

    def _ephemeris(self, sort: str, number: int, star: dict[str, Any]) -> dict[str, float]:
        share = round(star["p_ew"] / max(star["p_eb"], 1e-12), 2)
        found = find(self._curves(sort, number)[0], None if np.isnan(share) else share)
        return {"period_found": found[0].period, "depth_found": found[0].depth_1} if found else {}


def _tried(outcomes: dict[str, InputOutcome], name: str, work: Callable[..., _Result], *args: Any) -> _Result | None:
    """Return what some work gives, or None and an outcome: what one trial does must not spoil the others'."""
    try:
        return work(*args)
    except FATAL:
        raise
    except Exception as error:  # noqa: BLE001 — whatever it was, it was this trial's
        outcomes[name] = InputOutcome(name, State.FAILED, "exception", f"{type(error).__name__}: {error}")
        return None
