"""A workspace with curves of made-up stars, committed as the real stages commit them."""

from collections.abc import Callable

import numpy as np
import pytest

from catalogs.folder import Folder
from pipeline import manifest
from pipeline.lightcurves.clean import Segment
from pipeline.lightcurves.preprocess import Preprocess
from pipeline.manifest import Record
from pipeline.partition import Key
from pipeline.settings import PreprocessSettings
from pipeline.stage import InputOutcome, Product, State

Curves = Callable[..., Folder]


class MadeUp(Preprocess):
    """`Preprocess` whose segments are made up: dips for every star of even number, noise for the others."""

    stars: list[int] = []

    def inputs(self, key: Key) -> list[str]:
        return [f"TIC {star}" for star in self.stars]

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        from pipeline.lightcurves import preprocess

        rows, segments = [], []
        for star in self.stars:
            for order in range(2):
                segment = made_up(star, order)
                row = key.part * preprocess.capacity(key.where) + len(rows)
                facts = {"ra": 10.0, "dec": -60.0, "tmag": 9.0}
                rows.append(preprocess._row(key, row, star, order, segment) | facts)
                segments.append(segment)
        objects = self._write(key, rows, segments)
        return Product(objects, len(rows), [InputOutcome(name, State.DONE) for name in self.inputs(key)])


def made_up(star: int, order: int) -> Segment:
    rng = np.random.default_rng([star, order])
    time = np.linspace(0, 12, 4000)
    curve = 0.8 + 0.02 * rng.standard_normal(4000)
    if star % 2 == 0:
        curve -= 0.7 * ((time / rng.uniform(1, 3) + rng.random()) % 1 < 0.08)
    curve = np.float32((curve - curve.min()) / np.ptp(curve))
    periodogram = rng.random(1000, dtype=np.float32)
    start = 1325.0 + 13 * order
    return Segment(curve, periodogram, start, start + 12, 8000, 1.5, 0.4, 1000.0, 700.0, 1010.0, 0)


@pytest.fixture
def curves(workspace: Folder) -> Curves:
    """Return a function that commits curves of stars: one partition a list of stars."""

    def make(parts: list[list[int]], where: str = "s0001", recipe: str = "calnet") -> Folder:
        keys = [Key("lightcurves", where, part) for part in range(len(parts))]
        for key, stars in zip(keys, parts):
            counts = {str(state): len(stars) if state is State.DONE else 0 for state in State}
            record = Record("ingest", 1, str(key), {}, "", {"plan": str(stars)}, [], len(stars), counts)
            manifest.commit(workspace, record)
        stage = MadeUp(workspace, where, PreprocessSettings(recipe=recipe))
        stage.prepare()
        for key, stars in zip(stage.keys(), parts):
            stage.stars = stars
            stage.execute(key)
        return workspace

    return make
