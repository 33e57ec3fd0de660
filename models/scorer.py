"""A real/bogus model, ready to score triplets: weights, calibration and what is strange to it, in one hand."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.planes import CHANNELS
from models.realbogus import TYPES, embedding
from models.registry import Entry, Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.standing import Standing
from pipeline.errors import ModelNotFound, UsageError
from pipeline.images.sampling import usable
from pipeline.settings import ScoreSettings

__all__ = ["Scorer", "Scores"]

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """What a model says of triplets, an entry each; NaN of a triplet without a pixel in common.

    Parameters
    ----------
    logit : (n,) float64
        As the network gives it.
    p_real : (n,) float64
        Probability of real, where half of all candidates are.
    p_prior : (n,) float64
        The same at the share of real of the model's card, or of the `Scorer`.
    p_transient, p_variable, p_mover : (n,) float64
        Given that it is real; their sum is 1. NaN of a model without types.
    novelty : (n,) float64
        Share of known triplets that are less strange.
    ood : (n,) bool
        Stranger than nearly all known triplets: the probabilities may mean nothing.
    embedding : (n, k) float64
        Numbers that describe each triplet; k is 0 for a model without.
    """

    logit: Floats
    p_real: Floats
    p_prior: Floats
    p_transient: Floats
    p_variable: Floats
    p_mover: Floats
    novelty: Floats
    ood: NDArray[np.bool_]
    embedding: Floats


class Scorer:
    """One version of a model of triplets.

    Parameters
    ----------
    entry : Entry
        From `Registry.resolve`.
    predictor : Predictor
        Its network.
    prior : float, optional
        Share of real that p_prior is for; default the card's.
    """

    def __init__(self, entry: Entry, predictor: Predictor, prior: float | None = None) -> None:
        self.entry = entry
        self.predictor = predictor
        self.standing = Standing.of(entry.card, entry.folder.url("card.json"))
        self.prior = self.standing.prior if prior is None else prior

    @classmethod
    def load(
        cls,
        workspace: Folder,
        model: str = "realbogus",
        settings: ScoreSettings | None = None,
        device: str = "cpu",
        prior: float | None = None,
    ) -> "Scorer":
        """Return a model, from a workspace or of those that ship.

        Parameters
        ----------
        workspace : Folder
            Its registry is looked through first.
        model : str
            ``realbogus``, ``realbogus@candidate``, ``realbogus@<id>``.
        settings : ScoreSettings, optional
            Runtime, precision, batch.
        device : str
            ``cpu``, ``cuda`` or ``auto``.
        prior : float, optional
            Share of real that p_prior is for; default the card's.

        Raises
        ------
        ModelNotFound
            If there is none such, or it is no model of triplets.
        CorruptModel
            If weights or card are not what they should be.
        """
        settings = settings or ScoreSettings.load(None, "score")
        registry = Registry(workspace)
        entry = registry.resolve(model)
        spec = get_spec(entry.name)
        if "triplet" not in spec.inputs:
            raise ModelNotFound(f"{entry.id} scores no triplets but {', '.join(spec.inputs)}; say --model realbogus")
        weights = registry.load_weights(entry)
        where = (settings.runtime, settings.precision, settings.batch_size, device)
        return cls(entry, Predictor(spec, weights, *where), prior)

    @property
    def threshold(self) -> float:
        """p_real from which a candidate counts as real."""
        return self.standing.threshold

    def score(self, triplets: NDArray[np.floating]) -> Scores:
        """Score triplets.

        Parameters
        ----------
        triplets : (n, 3, s, s) array
            Science, reference, difference in counts; NaN where there are no pixels; the candidate in the middle pixel.

        Raises
        ------
        UsageError
            If they have another shape.
        """
        pixels = np.asarray(triplets, np.float32)
        if pixels.ndim != 4 or pixels.shape[1] != CHANNELS or min(pixels.shape[2:]) < 1:
            raise UsageError(f"triplets of shape {pixels.shape}: give (n, 3, 63, 63): science, reference, difference")
        known = self.predictor.columns(pixels)
        empty = ~np.isfinite(usable(pixels)).all(1).any(-1).any(-1)
        logit = np.where(empty, np.nan, known["logit"])
        seen = embedding(known)
        transient, variable, mover = (np.where(empty, np.nan, known.get(f"p_{name}", np.nan)) for name in TYPES)
        novelty = np.where(empty, np.nan, self.standing.novelty(seen))
        return Scores(
            logit, self.standing.p_real(logit), self.standing.p_prior(logit, self.prior),
            transient, variable, mover, novelty,
            self.standing.is_strange(seen) & ~empty, seen,
        )  # fmt: skip
