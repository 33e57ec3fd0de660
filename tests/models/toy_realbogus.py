"""A real/bogus model that has learnt nothing but stands in a registry as one that has."""

import numpy as np
import pandas as pd
import torch

from catalogs.folder import Folder
from models.planes import SIZE
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
    columns = Predictor(spec, weights, runtime="torch").columns(triplets(64))
    label = (np.arange(64) % 2 == 0).astype(int)
    standing = learn(pd.DataFrame(columns).assign(label=label, weight=1.0), prior=0.1, missed=0.01)
    registry = Registry(workspace)
    made = registry.save(name, weights, {"standing": standing.model_dump()}, {})
    if alias:
        registry.set_alias(name, alias, made)
    return made
