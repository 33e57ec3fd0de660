"""Rare things found by asking: a forest that learns from the answers beside one that does not.

19,950 simulated triplets of eight ordinary kinds, and 50 of a kind that the network has never seen: all of them as
embeddings of the network that ships, or else of one that has learnt real from bogus on the ordinary kinds for a minute.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from catalogs.folder import Folder
from models.planes import SIZE
from models.queue import axes, features, isolation, strangeness
from models.realbogus import augment
from models.registry import SHIPPED, Registry
from models.runtime import Predictor
from models.spec import get_spec
from pipeline.errors import ModelNotFound
from tests.benchmarks.figures import figure, heading

ORDINARY, RARE, QUESTIONS = 19_950, 50, 50
CHUNK = 950
STEPS, BATCH = 60, 48

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats]]

Y, X = np.indices((SIZE, SIZE)) - SIZE // 2


def main() -> None:
    """Ask 50 questions for each of three rare kinds; a minute or two of one core each."""
    heading(f"active search, {RARE} rare among {ORDINARY + RARE} triplets, {QUESTIONS} questions")
    columns, what = network()
    ordinary = embed(columns, ORDINARY_KINDS, ORDINARY, 1)
    print(f"embeddings: {what}")
    for number, (name, draw) in enumerate(RARE_KINDS.items()):
        rows = np.concatenate([ordinary, embed(columns, {name: (draw, 1.0, 1)}, RARE, 100 + number)])
        is_rare = np.arange(len(rows)) >= ORDINARY
        found = search(rows, is_rare)
        figure(f"{name}: found, AADForest", found, "≥ 45", found >= 45)
        figure(f"{name}: found, static forest", static(rows, is_rare), "–", None)


def search(embeddings: Floats, is_rare: NDArray[np.bool_], questions: int = QUESTIONS) -> int:
    """Return how many rare ones are found in so many questions, each about the strangest row not yet asked for."""
    rows, said = features(embeddings), np.zeros(len(embeddings), np.int8)
    for _ in range(questions):
        best = int(np.argmax(np.where(said == 0, strangeness(rows, said), -np.inf)))
        said[best] = 1 if is_rare[best] else -1
    return int((said == 1).sum())


def static(embeddings: Floats, is_rare: NDArray[np.bool_], questions: int = QUESTIONS) -> int:
    """Return how many are among as many rows that a forest without answers calls the strangest."""
    return int(is_rare[np.argsort(-isolation(axes(embeddings)), kind="stable")[:questions]].sum())


def network() -> tuple[Callable[[NDArray[np.float32]], dict[str, Floats]], str]:
    """Return what embeds triplets, and what it is."""
    spec = get_spec("realbogus")
    try:
        registry = Registry(Folder(SHIPPED.parent / "none"))
        entry = registry.resolve("realbogus")
        return Predictor(spec, registry.load_weights(entry), device="cpu").columns, entry.id
    except ModelNotFound:
        return Predictor(spec, taught(spec), device="cpu").columns, "of a network taught for a minute; none ships"


def taught(spec: Any) -> dict[str, torch.Tensor]:
    """Return weights that tell real from bogus of the ordinary kinds."""
    torch.manual_seed(0)
    model, chance = spec.network().train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(STEPS):
        pixels, label = batch(ORDINARY_KINDS, BATCH, 10_000 + step)
        (planes,) = augment([torch.from_numpy(spec.prepare(pixels))], chance)
        outputs = model(planes)
        targets = {"label": torch.from_numpy(label), "type_code": torch.full((BATCH,), -1)}
        loss = spec.loss(outputs, targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.detach() for name, value in model.state_dict().items()}


def embed(columns: Any, kinds: dict[str, tuple[Draw, float, int]], count: int, seed: int) -> Floats:
    """Return embeddings (count, 32) of simulated triplets."""
    parts = []
    for first in range(0, count, CHUNK):
        found = columns(batch(kinds, min(CHUNK, count - first), seed * 1000 + first)[0])
        parts.append(np.stack([found[f"e{number}"] for number in range(32)], 1))
    return np.concatenate(parts)


def batch(
    kinds: dict[str, tuple[Draw, float, int]], count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return triplets (count, 3, 63, 63) of kinds in their shares, and whether each is real."""
    rng = np.random.default_rng(seed)
    share = np.array([weight for _, weight, _ in kinds.values()])
    which = rng.choice(len(kinds), count, p=share / share.sum())
    light = np.zeros((count, 3, SIZE, SIZE), np.float32)
    for number, (draw, _, _) in enumerate(kinds.values()):
        rows = which == number
        if rows.any():
            before, change = draw(rng, int(rows.sum()))
            light[rows, 0], light[rows, 1], light[rows, 2] = before + change, before, change
    noise = np.array([1.0, 0.6, 1.15], np.float32)[:, None, None]
    pixels = light + noise * rng.standard_normal(light.shape, np.float32)
    level = np.exp(rng.normal(2, 1, (count, 1, 1, 1)))
    sky = np.stack([rng.uniform(50, 500, count), rng.uniform(50, 500, count), np.zeros(count)], 1)[..., None, None]
    label = np.array([real for _, _, real in kinds.values()])
    return (pixels * level + sky).astype(np.float32), label[which]


def spot(rng: np.random.Generator, n: int, flux: Any, fwhm: Any, x: Any = 0.0, y: Any = 0.0) -> Floats:
    """Return (n, 63, 63) stars of a flux in peak noise, at places about the middle."""
    column = [np.broadcast_to(np.asarray(v, float), n)[:, None, None] for v in (flux, fwhm, x, y)]
    flux, fwhm, x, y = column
    return np.asarray(flux * np.exp(-4 * np.log(2) * ((X - x) ** 2 + (Y - y) ** 2) / fwhm**2))


def bright(rng: np.random.Generator, n: int, low: float = 6, high: float = 80) -> Floats:
    """Return n peaks over the noise, as many faint as bright ones in the logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def jitter(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Return offsets from the middle pixel."""
    return rng.uniform(-0.5, 0.5, n), rng.uniform(-0.5, 0.5, n)


def width(rng: np.random.Generator, n: int) -> Floats:
    """Return widths of stars, pixels."""
    return rng.uniform(2.0, 3.5, n)


def none(n: int) -> Floats:
    """Return an empty sky."""
    return np.zeros((n, SIZE, SIZE))


def star(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    return none(n), spot(rng, n, bright(rng, n), width(rng, n), *jitter(rng, n))


def variable(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    peak, wide, place = bright(rng, n), width(rng, n), jitter(rng, n)
    sign = rng.choice([-0.6, 1.0], n)
    return spot(rng, n, peak, wide, *place), spot(rng, n, peak * sign, wide, *place)


def hosted(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    x, y = rng.normal(0, 3, n), rng.normal(0, 3, n)
    return spot(rng, n, bright(rng, n), rng.uniform(6, 14, n), x, y), star(rng, n)[1]


def dipole(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    peak, wide, angle = bright(rng, n, 30, 300), width(rng, n), rng.uniform(0, 2 * np.pi, n)
    far = rng.uniform(0.2, 0.6, n)
    x, y = far * np.cos(angle), far * np.sin(angle)
    before = spot(rng, n, peak, wide, -x, -y)
    return before, spot(rng, n, peak, wide, x, y) - before


def ray(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    angle, length = rng.uniform(0, np.pi, n)[:, None, None], rng.uniform(1, 7, n)[:, None, None]
    along, across = X * np.cos(angle) + Y * np.sin(angle), -X * np.sin(angle) + Y * np.cos(angle)
    return none(n), bright(rng, n)[:, None, None] * ((np.abs(along) <= length / 2) & (np.abs(across) < 0.6))


def hot(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    return none(n), bright(rng, n)[:, None, None] * ((X == 0) & (Y == 0)) * rng.choice([-1, 1], n)[:, None, None]


def peak(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    return none(n), spot(rng, n, rng.uniform(1.5, 3, n), rng.uniform(1.2, 2.2, n), *jitter(rng, n))


def trail(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    angle, wide = rng.uniform(0, np.pi, n)[:, None, None], width(rng, n)[:, None, None]
    across = -X * np.sin(angle) + Y * np.cos(angle)
    return none(n), bright(rng, n, 4, 40)[:, None, None] * np.exp(-4 * np.log(2) * across**2 / wide**2)


def ring(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """An echo of light: a ring of 5 to 8 pixels."""
    radius, wide = rng.uniform(5, 8, n)[:, None, None], width(rng, n)[:, None, None]
    return none(n), bright(rng, n, 8, 30)[:, None, None] * np.exp(
        -4 * np.log(2) * (np.hypot(X, Y) - radius) ** 2 / wide**2
    )


def multiple(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Four images of one source, as behind a lens."""
    turn, far, wide, height = rng.uniform(0, np.pi, n), rng.uniform(4, 6, n), width(rng, n), bright(rng, n, 10, 40)
    images = [
        spot(rng, n, height * rng.uniform(0.5, 1, n), wide, far * np.cos(turn + k), far * np.sin(turn + k))
        for k in np.arange(4) * np.pi / 2
    ]
    return none(n), sum(images, none(n))


def comet(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """A head with a tail that fades over 6 to 12 pixels."""
    angle, length = rng.uniform(0, 2 * np.pi, n)[:, None, None], rng.uniform(6, 12, n)[:, None, None]
    along, across = X * np.cos(angle) + Y * np.sin(angle), -X * np.sin(angle) + Y * np.cos(angle)
    tail = np.exp(-np.maximum(along, 0) / length - across**2 / (3 + 0.3 * np.maximum(along, 0))) * (along > -2)
    return none(n), bright(rng, n, 8, 30)[:, None, None] * tail


#: Kind → how it is drawn, its share, whether it is real.
ORDINARY_KINDS: dict[str, tuple[Draw, float, int]] = {
    "star": (star, 0.25, 1),
    "variable": (variable, 0.15, 1),
    "hosted": (hosted, 0.15, 1),
    "dipole": (dipole, 0.13, 0),
    "ray": (ray, 0.12, 0),
    "hot": (hot, 0.07, 0),
    "peak": (peak, 0.08, 0),
    "trail": (trail, 0.05, 0),
}

RARE_KINDS: dict[str, Draw] = {"ring": ring, "multiple": multiple, "comet": comet}
