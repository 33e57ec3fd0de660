"""What a model was given when it was trained, as its card tells: histograms by survey and filter, by truth."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from scipy.stats import rankdata

from catalogs.monitor import BINS, INPUTS, OUTPUTS, Statistic
from pipeline.errors import CorruptModel

__all__ = ["COMPARED", "Reference", "Stratum", "alike", "bare", "learn"]

Floats = NDArray[np.float64]

#: What is compared; p_real says no more than the logit does.
COMPARED: tuple[Statistic, ...] = (*INPUTS, *OUTPUTS)

_ENOUGH = 20  # images that a survey's, or a filter's, own histograms need
_BARE = 1e-4  # share of a histogram that is spread evenly: nothing is impossible
_ROUNDS = 50  # of estimating the share of real ones


def bare(expected: Floats) -> Floats:
    """Return the share of each bin of a histogram, none of them 0."""
    return np.asarray(expected / max(expected.sum(), 1e-300) + _BARE / len(expected))


def _unpack(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    first, _, rest = value.partition(":")
    counts = [0] * int(first) + [int(count) for count in rest.split()]
    return counts + [0] * (BINS - len(counts))


def _pack(counts: list[int]) -> str:
    filled = np.flatnonzero(counts)
    first, last = (filled[0], filled[-1] + 1) if len(filled) else (0, 0)
    return f"{first}:" + " ".join(str(count) for count in counts[first:last])


#: A histogram; in JSON the number of its first filled bin, then the counts up to its last.
Counts = Annotated[list[int], BeforeValidator(_unpack), PlainSerializer(_pack), Field(min_length=BINS, max_length=BINS)]


class Stratum(BaseModel):
    """Histograms of a survey, or of one of its filters, of real and of bogus ones; and how alike an image's are."""

    model_config = ConfigDict(extra="forbid")

    clump: float = Field(ge=0, description="triplets of the same image as a triplet, itself too, on average")
    n_real: int = Field(ge=0)
    n_bogus: int = Field(ge=0)
    real: dict[str, Counts]
    bogus: dict[str, Counts]
    alike: dict[str, float]

    def expected(self, name: str, share: float) -> Floats:
        """Return the histogram (`BINS`,) of a statistic, a triplet, where a share of them is real."""
        if not self.n_real or not self.n_bogus:
            share = float(self.n_real > 0)
        real, bogus = np.array(self.real[name], float), np.array(self.bogus[name], float)
        return np.asarray(share * real / max(self.n_real, 1) + (1 - share) * bogus / max(self.n_bogus, 1))

    def independent(self, name: str, n: float, clump: float) -> float:
        """Return how many independent triplets tell as much as `n` in clumps."""
        return n / (1 + max(clump - 1, 0) * self.alike[name])

    def share(self, logits: Floats) -> float:
        """Return the share of real ones by a histogram of logits (Saerens et al. 2002, Neural Comp. 14, 21)."""
        before = self.n_real / max(self.n_real + self.n_bogus, 1)
        if not logits.sum() or not 0 < before < 1:
            return before
        real, bogus = (bare(self.expected("logit", share)) for share in (1.0, 0.0))
        found = 0.5
        for _ in range(_ROUNDS):
            found = float((logits * found * real / (found * real + (1 - found) * bogus)).sum() / logits.sum())
        return found


class Reference(BaseModel):
    """What a model was given when it was trained: strata by ``survey/filter``, ``survey/`` and, of all, ``/``."""

    model_config = ConfigDict(extra="forbid")

    strata: dict[str, Stratum]

    @staticmethod
    def of(card: Mapping[str, Any], where: str) -> "Reference":
        """Return what a card says.

        Raises
        ------
        CorruptModel
            If it does not say it.
        """
        try:
            return Reference.model_validate(card["drift"])
        except (KeyError, ValidationError) as error:
            raise CorruptModel(f"{where}: drift: {error}; train the model again, or choose one that has it") from error

    def stratum(self, survey: str, filter: str) -> tuple[str, Stratum]:
        """Return the name and the histograms that triplets of a survey and filter are compared with."""
        name = next(name for name in (f"{survey}/{filter}", f"{survey}/", "/") if name in self.strata)
        return name, self.strata[name]


def alike(values: Floats, images: NDArray[Any]) -> float:
    """Return how alike values of the same image are: the intraclass correlation of their ranks, 0 to 1.

    References
    ----------
    Donner 1986, Int. Stat. Rev. 54, 67, equation 2.1 (analysis of variance).
    """
    known = np.isfinite(values)
    _, image, counts = np.unique(images[known], return_inverse=True, return_counts=True)
    n, k = len(image), len(counts)
    if k < 2 or n <= k:
        return float(k < 2)
    place = rankdata(values[known]) / n
    means = np.bincount(image, place) / counts
    between = (counts * (means - place.mean()) ** 2).sum() / (k - 1)
    within = ((place - means[image]) ** 2).sum() / (n - k)
    size = (n - (counts**2).sum() / n) / (k - 1)
    spread = between + (size - 1) * within
    return float(np.clip((between - within) / spread, 0, 1)) if spread > 1e-12 else 0.0


def learn(held_out: pd.DataFrame) -> Reference:
    """Return what a model was given when it was trained.

    Parameters
    ----------
    held_out : pandas.DataFrame
        Triplets that the training held out: survey, filter, image (or field), label, and the columns of `COMPARED`.
    """
    strata = {"/": _stratum(held_out)}
    for survey, rows in held_out.groupby("survey"):
        parts = {f"{survey}/": rows} | {f"{survey}/{band}": part for band, part in rows.groupby("filter") if band}
        enough = {name: part for name, part in parts.items() if survey and part["image"].nunique() >= _ENOUGH}
        strata |= {name: _stratum(part) for name, part in enough.items()}
    return Reference(strata=strata)


def _stratum(rows: pd.DataFrame) -> Stratum:
    is_real = rows["label"].to_numpy() > 0
    values = {one.name: rows[one.name].to_numpy(float) for one in COMPARED}
    images = rows["image"].to_numpy(str)
    counts = np.unique(images, return_counts=True)[1]
    return Stratum(
        clump=float((counts**2).sum() / max(len(rows), 1)), n_real=int(is_real.sum()), n_bogus=int((~is_real).sum()),
        real={one.name: one.counts(values[one.name][is_real]).tolist() for one in COMPARED},
        bogus={one.name: one.counts(values[one.name][~is_real]).tolist() for one in COMPARED},
        alike={name: round(alike(column, images), 4) for name, column in values.items()},
    )  # fmt: skip
