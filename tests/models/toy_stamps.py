"""Simulated stacks with truth in seconds: Moffat stars and pairs of them, no more; nothing that is meant to teach."""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from catalogs import write
from catalogs.stamps import LESSONS
from pipeline import stores
from pipeline.manifest import Object
from pipeline.partition import Key
from pipeline.stage import InputOutcome, Product, Stage, State
from pipeline.stamps.training import index_path, store_path
from pipeline.stores import Array, Template

__all__ = ["SURVEYS", "ToySet", "drawn"]

#: Survey → cells on a side, arcsec a cell, FWHM in arcsec.
SURVEYS = {"Pan-STARRS": (64, 0.25, 1.1), "SDSS": (64, 0.396, 1.3), "HST": (128, 0.05, 0.12)}


def drawn(survey: str, count: int, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Return stacks (count, side, side) and their index with truth; every second is a pair."""
    rng = np.random.default_rng([seed, sorted(SURVEYS).index(survey)])
    side, pixscale, usual = SURVEYS[survey]
    label = np.arange(count) % 2
    fwhm, snr = usual * np.exp(rng.normal(0, 0.15, count)), np.exp(rng.uniform(np.log(20), np.log(500), count))
    sep, pa = np.exp(rng.uniform(np.log(0.2), np.log(2.5), count)), rng.uniform(0, 2 * np.pi, count)
    mag = rng.uniform(0, 4, count)
    place = (side - 1) / 2 + rng.uniform(-0.5, 0.5, (2, count))
    ellipticity, angle = rng.uniform(0, 0.12, count), rng.uniform(0, np.pi, count)
    beta, axis = rng.uniform(2.5, 4.5, count), np.arange(side)

    def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        dx, dy = axis[None, None, :] - x[:, None, None], axis[None, :, None] - y[:, None, None]
        turned = (np.cos(angle), np.sin(angle))
        along, across = (a[:, None, None] * dx + b[:, None, None] * dy
                         for a, b in (turned, (-turned[1], turned[0])))  # fmt: skip
        wide = fwhm / pixscale / 2 / np.sqrt(2 ** (1 / beta) - 1)
        radius = along**2 + (across / (1 - ellipticity[:, None, None])) ** 2
        return (1 + radius / wide[:, None, None] ** 2) ** -beta[:, None, None]

    first = star(*place)
    second = star(place[0] - sep * np.sin(pa) / pixscale, place[1] + sep * np.cos(pa) / pixscale)
    image = first + (label * 10 ** (-0.4 * mag))[:, None, None] * second
    noise = np.sqrt((first**2).sum((1, 2))) / snr
    stack = (image + noise[:, None, None] * rng.normal(size=image.shape)).astype(np.float32)
    index = pd.DataFrame({
        "source_id": [f"toy-{seed}-{survey}-{number}" for number in range(count)], "survey": survey, "filters": "r",
        "n_filters": 1, "method": "single", "x0": place[0], "y0": place[1], "pixscale": pixscale, "wavelength_um": 0.6,
        "noise": noise, "snr": snr, "fwhm_arcsec": usual, "ellipticity": 0.05, "centroid_shift": 0.0, "flags": 0,
        "label": label, "kind": np.where(label, "pair", "single"), "sep_arcsec": np.where(label, sep, np.nan),
        "pa_deg": np.where(label, np.degrees(pa), np.nan), "delta_mag": np.where(label, mag, np.nan), "snr_1": snr,
        "psf_fwhm_arcsec": fwhm, "weight": 1.0,
    })  # fmt: skip
    return stack, index


class ToySet(Stage):
    """As many partitions as asked of each survey, of 64 stacks each."""

    name = "toy_stamp_set"
    version = 1
    partition = 64
    seed, description = 1, "toy"

    @cached_property
    def each(self) -> int:
        """Partitions of a survey."""
        return -(-(self.settings.stacks or 64) // self.partition)

    @property
    def identity(self) -> dict[str, str]:
        return {"toy": "1"}

    def describe(self) -> dict[str, Any]:
        told = {"store": f"training/toy-{self.seed}-*.zarr", "description": self.description, "seed": self.seed}
        return told | {"stacks": dict.fromkeys(SURVEYS, self.each * self.partition)}

    def keys(self) -> list[Key]:
        return [Key("training", f"toy-{name.lower()}", part) for name in SURVEYS for part in range(self.each)]

    def upstream(self, key: Key) -> dict[str, str]:
        return {"toy": "1"}

    def inputs(self, key: Key) -> list[str]:
        return [str(key)]

    def prepare(self) -> None:
        for name, (side, *_) in SURVEYS.items():
            array = Array("stack", "float32", ("stack", "y", "x"), np.nan)
            template = Template((array,), {"y": side, "x": side}, self.partition, 1, {}, {"title": "toy"})
            stores.create(self.workspace, store_path(f"toy-{name.lower()}"), template, self.each)

    def run(self, key: Key, skip: dict[str, InputOutcome]) -> Product:
        survey = next(name for name in SURVEYS if key.where == f"toy-{name.lower()}")
        stack, index = drawn(survey, self.partition, key.part)
        index["row"] = key.part * self.partition + np.arange(len(index))
        table = pa.Table.from_pandas(index[LESSONS.names], LESSONS.arrow_schema(), preserve_index=False)
        written = [Object(*write.write(self.workspace, index_path(key), table, LESSONS))]
        written += stores.write(self.workspace, store_path(key.where), key.part, {"stack": stack})
        return Product(written, len(index), [InputOutcome(str(key), State.DONE)])
