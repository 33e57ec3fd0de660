"""A real/bogus model that has learnt nothing but stands in a registry as one that has."""

import numpy as np
import pandas as pd
import torch

from catalogs.folder import Folder
from models import reference
from models.inputs import statistics
from models.planes import SIZE
from models.realbogus import embedding
from models.registry import Registry
from models.runtime import Predictor
from models.spec import get_spec
from models.standing import learn

__all__ = ["save", "triplets"]


def triplets(count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 3, 63, 63) noise, every second one with a star in science and difference."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    star = 50 * np.exp(-(x**2 + y**2) / 5.0)
    pixels = rng.normal(size=(count, 3, SIZE, SIZE))
    pixels[::2, 0] += star
    pixels[::2, 2] += star
    return pixels.astype(np.float32)


def save(workspace: Folder, name: str = "realbogus", seed: int = 0, alias: str | None = "production") -> str:
    """Register a network with fresh weights; return its id."""
    torch.manual_seed(seed)
    spec = get_spec(name)
    weights = spec.network().state_dict()
    pixels = triplets(64)
    columns = pd.DataFrame(Predictor(spec, weights, runtime="torch").columns(pixels))
    columns["label"] = (np.arange(64) % 2 == 0).astype(int)
    standing = learn(columns.assign(weight=1.0), prior=0.1, missed=0.01)
    known = {"survey": "", "filter": "", "image": np.arange(64) // 2, "novelty": standing.novelty(embedding(columns))}
    usual = reference.learn(pd.concat([columns[["logit", "label"]].assign(**known), statistics(pixels)], axis=1))
    facts = {"standing": standing.model_dump(), "drift": usual.model_dump(mode="json")}
    registry = Registry(workspace)
    made = registry.save(name, weights, facts, {})
    if alias:
        registry.set_alias(name, alias, made)
    return made
