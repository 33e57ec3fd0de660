"""Where a real/bogus model stands, as its card tells: probabilities, operating point, and what is strange to it.

All of it is learnt from triplets that the training held out to choose the best epoch; the test triplets only judge.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import expit, logit

from models.realbogus import embedding
from pipeline.errors import CorruptModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Standing", "learn", "operating_point", "platt", "principal"]

Floats = NDArray[np.float64]

_COMPONENTS = 16
_FLAT = 1e-12  # of the largest variance
_SHARES = np.append(np.linspace(0, 0.99, 100), [0.995, 0.998, 0.999, 1.0])
_BEYOND = 1e-4  # of the scale of novelty, for what is farther out than all held-out rows
_STRANGE = 0.999  # rows farther out than this share of those held out are strange


class Embedding(BaseModel):
    """The cloud of a model's embeddings: its middle, axes and widths, and how far out rows are, by share."""

    model_config = ConfigDict(extra="forbid")

    mean: list[float]
    components: list[list[float]]
    scale: list[float]
    distances: list[float] = Field(min_length=len(_SHARES), max_length=len(_SHARES))


class Standing(BaseModel):
    """What turns a model's logits and embeddings into what a catalogue says.

    p = expit(scale · logit + offset) holds where half of all candidates are real; at other shares odds change by as
    much as the shares' do.
    """

    model_config = ConfigDict(extra="ignore")

    scale: float = Field(gt=0)
    offset: float
    threshold: float = Field(ge=0, le=1, description="p_real from which a candidate counts as real")
    prior: float = Field(gt=0, lt=1, description="share of real among a survey's candidates that p_prior is for")
    embedding: Embedding | None = None

    @staticmethod
    def of(card: Mapping[str, Any], where: str) -> "Standing":
        """Return what a card says.

        Raises
        ------
        CorruptModel
            If it does not say it.
        """
        try:
            return Standing.model_validate(card["standing"])
        except (KeyError, ValidationError) as error:
            raise CorruptModel(f"{where}: standing: {error}; train the model again, or copy its card anew") from error

    def p_real(self, logits: ArrayLike) -> Floats:
        """Return the probability of real where half of all candidates are."""
        return np.asarray(expit(self.scale * np.asarray(logits, float) + self.offset))

    def p_prior(self, logits: ArrayLike, prior: float | None = None) -> Floats:
        """Return the probability of real where a share `prior` of all candidates is; default the card's."""
        odds = logit(self.prior if prior is None else prior)
        return np.asarray(expit(self.scale * np.asarray(logits, float) + self.offset + odds))

    def novelty(self, embeddings: Floats) -> Floats:
        """Return the share of held-out rows that lie nearer the middle of the cloud than each row (n,).

        Of what is farther out than all of them, the farther still has the higher one.
        """
        if self.embedding is None:
            return np.full(len(embeddings), np.nan)
        found, farthest = self._distance(embeddings), self.embedding.distances[-1]
        share = np.interp(found, self.embedding.distances, _SHARES * (1 - _BEYOND))
        return np.where(found > farthest, 1 - _BEYOND * farthest / np.maximum(found, 1e-300), share)

    def is_strange(self, embeddings: Floats) -> NDArray[np.bool_]:
        """Return which rows lie farther out than nearly all held-out rows."""
        if self.embedding is None:
            return np.zeros(len(embeddings), bool)
        limit = self.embedding.distances[int(np.flatnonzero(_SHARES == _STRANGE)[0])]
        return self._distance(embeddings) > limit

    def _distance(self, embeddings: Floats) -> Floats:
        assert self.embedding is not None
        return _distance(embeddings, self.embedding.mean, self.embedding.components, self.embedding.scale)


def _distance(rows: ArrayLike, mean: ArrayLike, components: ArrayLike, scale: ArrayLike) -> Floats:
    axes = (np.asarray(rows, float) - np.asarray(mean)) @ np.asarray(components).T / np.asarray(scale)
    return np.asarray(np.sqrt((axes**2).sum(1)))


def learn(held_out: "pd.DataFrame", prior: float = 0.01, missed: float = 0.01) -> Standing:
    """Return where a model stands.

    Parameters
    ----------
    held_out : pandas.DataFrame
        Columns label, weight, logit and, if the network has an embedding, e0, e1, …
    prior : float
        Share of real among a survey's candidates.
    missed : float
        Share of real ones that the operating point may miss.
    """
    label, logits, weight = (held_out[name].to_numpy(float) for name in ("label", "logit", "weight"))
    counted = weight > 0
    scale, offset = platt(label[counted] > 0, lambda scale, offset: scale * logits[counted] + offset)
    p = expit(scale * logits + offset)
    threshold = operating_point(label[counted] > 0, p[counted], missed)
    rows = embedding(held_out)
    cloud = _cloud(rows) if rows.shape[1] else None
    return Standing(scale=scale, offset=offset, threshold=threshold, prior=prior, embedding=cloud)


def operating_point(label: NDArray[np.bool_], p: Floats, missed: float) -> float:
    """Return the highest threshold at which no more than a share `missed` of the real ones falls below it."""
    real = np.sort(p[label])
    return float(real[int(np.floor(missed * len(real)))]) if len(real) else 0.5


def platt(
    label: NDArray[np.bool_], odds: Callable[[float, float], Floats], count: Floats | None = None
) -> tuple[float, float]:
    """Return scale and offset of Platt (1999), both labels weighing the same.

    Parameters
    ----------
    label : (n,) array of bool
        Which rows are positive.
    odds : callable
        Returns the natural logarithm of the odds of each row (n,), given scale and offset.
    count : (n,) array, optional
        How much each row counts among those of its label; default all alike.
    """
    from scipy.optimize import minimize  # a second that those who only score need not wait

    many = np.ones(len(label)) if count is None else count
    weight = 0.5 * many / np.maximum(np.where(label, many[label].sum(), many[~label].sum()), 1e-300)
    sign = np.where(label, 1.0, -1.0)

    def cost(values: Floats) -> float:  # numpydoc ignore=GL08
        return float((weight * np.logaddexp(0, -sign * odds(float(np.exp(values[0])), float(values[1])))).sum())

    found = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-5, 5), (-20, 20)]).x
    return float(np.exp(found[0])), float(found[1])


def _cloud(rows: Floats) -> Embedding:
    mean, axes, scale = principal(rows, _COMPONENTS)
    distances = np.quantile(_distance(rows, mean, axes, scale), _SHARES)
    return Embedding(mean=mean.tolist(), components=axes.tolist(), scale=scale.tolist(),
                     distances=distances.tolist())  # fmt: skip


def principal(rows: Floats, most: int) -> tuple[Floats, Floats, Floats]:
    """Return middle (k,), main axes (m, k) and the spread along each (m,) of rows (n, k); m is `most` at most.

    Axes along which rows do not differ are left out.
    """
    mean = rows.mean(0)
    centred = rows - mean
    variance, directions = np.linalg.eigh(centred.T @ centred / max(len(rows) - 1, 1))
    kept = np.argsort(-variance, kind="stable")[:most]
    kept = kept[variance[kept] > _FLAT * max(float(variance.max(initial=0)), 1e-300)]
    return mean, np.ascontiguousarray(directions[:, kept].T), np.sqrt(variance[kept])
