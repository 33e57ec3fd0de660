"""Scores do not depend on runtime, batch or companions; the fast runtimes stay within 1e-3 of plain torch."""

import importlib.util

import numpy as np
import pytest
import torch

from models.calnet import CALNet
from models.runtime import Predictor
from models.spec import get_spec
from pipeline.errors import CorruptModel, UsageError

ROWS, BATCH = 11, 8
PRECISIONS = ["fp32", "bf16"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Return random weights of strong gains; rounding shifts their scores more than a trained network's."""
    generator = torch.Generator().manual_seed(3)
    network = CALNet()
    for name, value in network.named_parameters():
        gain = 3.0 if "branch" in name and "weight" in name else 1.4
        value.data = torch.randn(value.shape, generator=generator) * gain / max(value[0].numel(), 1) ** 0.5
    return network.state_dict()


@pytest.fixture(scope="module")
def segments() -> tuple[np.ndarray, np.ndarray]:
    """Return eclipses of many depths and periods with noise, and their power."""
    rng = np.random.default_rng(0)
    phase = np.linspace(0, 12, 4000) / rng.uniform(0.3, 5, (ROWS, 1)) % 1
    flux = -rng.uniform(0, 1, (ROWS, 1)) * np.exp(-(((phase - 0.5) / 0.05) ** 4))
    flux += rng.uniform(0.005, 0.3, (ROWS, 1)) * rng.standard_normal(flux.shape)
    power = np.abs(np.fft.rfft(flux))[:, 1:1001]
    scaled = [(a - a.min(axis=1, keepdims=True)) / np.ptp(a, axis=1, keepdims=True) for a in (flux, power)]
    return scaled[0].astype(np.float32), scaled[1].astype(np.float32)


@pytest.fixture(scope="module")
def eager(weights: dict, segments: tuple) -> np.ndarray:
    network = CALNet().eval()
    network.load_state_dict(weights)
    with torch.inference_mode():
        logits = network(*(torch.from_numpy(array).unsqueeze(1) for array in segments))
    return logits.softmax(dim=1)[:, 1].numpy()


@pytest.fixture(scope="module", params=PRECISIONS)
def predictor(request: pytest.FixtureRequest, weights: dict) -> Predictor:
    pytest.importorskip("openvino")
    return Predictor(get_spec("calnet"), weights, "openvino", request.param, BATCH, "cpu")


def test_openvino_agrees_with_torch(predictor: Predictor, segments: tuple, eager: np.ndarray) -> None:
    scores = predictor.predict(*segments)
    assert scores.dtype == np.float64 and scores.shape == (ROWS,)
    assert np.ptp(eager) > 3e-3
    np.testing.assert_allclose(scores, eager, atol=1e-3 if predictor.precision == "bf16" else 1e-5)


def test_a_score_does_not_depend_on_its_companions(predictor: Predictor, segments: tuple) -> None:
    scores = predictor.predict(*segments)
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(predictor.predict(*(array[order] for array in segments)), scores[order])
    for row in (0, 7, 10):
        alone = predictor.predict(*(array[row : row + 1] for array in segments))
        np.testing.assert_array_equal(alone, scores[row : row + 1])


def test_what_is_not_a_number_stays_in_its_row(predictor: Predictor, segments: tuple) -> None:
    scores = predictor.predict(*segments)
    curve = segments[0].copy()
    curve[4, 100] = np.nan
    spoilt = predictor.predict(curve, segments[1])
    np.testing.assert_array_equal(np.delete(spoilt, 4), np.delete(scores, 4))


def test_torch_is_the_fallback(
    weights: dict, segments: tuple, eager: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    predictor = Predictor(get_spec("calnet"), weights, batch_size=BATCH, device="cpu")
    facts = predictor.describe()
    assert (facts["runtime"], facts["precision"], facts["batch_size"]) == ("torch", "fp32", BATCH)
    assert "openvino" not in facts["versions"]
    np.testing.assert_allclose(predictor.predict(*segments), eager, atol=1e-5)
    assert predictor.predict(*(array[:0] for array in segments)).shape == (0,)
    with pytest.raises(UsageError, match="not installed"):
        Predictor(get_spec("calnet"), weights, runtime="openvino")


def test_what_does_not_fit_is_refused(weights: dict, segments: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = get_spec("calnet")
    with pytest.raises(UsageError, match="bf16"):
        Predictor(spec, weights, runtime="torch", precision="bf16")
    with pytest.raises(UsageError, match="no GPU"):
        Predictor(spec, weights, device="cuda")
    with pytest.raises(CorruptModel, match="calnet"):
        Predictor(spec, {name: weights[name] for name in list(weights)[1:]}, runtime="torch")
    predictor = Predictor(spec, weights, runtime="torch", batch_size=BATCH, device="cpu")
    with pytest.raises(ValueError, match="periodogram: shape"):
        predictor.predict(segments[0], segments[1][:, :-1])
