"""CALNet against the names of the published weights and their logits; its rearranged form against itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.calnet import CALNet
from models.calnet_lean import lean_calnet


def formula_weights() -> dict[str, torch.Tensor]:
    """Return the weights that ../shared/data/README.md prescribes for the conformance values."""
    weights = {}
    for index, (name, value) in enumerate(sorted(CALNet().state_dict().items())):
        gain = 3.0 if "branch" in name and "weight" in name else 1.4
        scale = gain / np.sqrt(max(value.numel() // value.shape[0], 1))
        numbers = np.random.RandomState(index).standard_normal(value.numel()) * scale
        weights[name] = torch.from_numpy(numbers.astype(np.float32).reshape(value.shape))
    return weights


def formula_inputs(rows: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the curves and periodograms of the conformance values."""
    x, p, j = np.linspace(0, 1, 4000), np.linspace(0, 1, 1000), np.arange(rows)[:, None]
    curve = 0.5 + 0.4 * np.sin(2 * np.pi * (3 + j + shift) * x) * np.exp(-j * x)
    periodogram = np.exp(-(((p - 0.2 - 0.2 * j - 0.05 * shift) / 0.03) ** 2))
    return curve.astype(np.float32), periodogram.astype(np.float32)


@pytest.fixture(scope="module")
def network() -> CALNet:
    network = CALNet().eval()
    network.load_state_dict(formula_weights(), strict=True)
    return network


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    curve, periodogram = formula_inputs(3)
    return torch.from_numpy(curve).unsqueeze(1), torch.from_numpy(periodogram).unsqueeze(1)


def test_published_names_and_logits(network: CALNet, batch: tuple, shared_conformance: Path) -> None:
    published = json.loads((shared_conformance / "calnet_conformance.json").read_text())
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert shapes == published["keys"]
    assert sum(p.numel() for p in network.parameters()) == published["n_parameters"] == 8_834_554
    with torch.inference_mode():
        logits = network(*batch)
    np.testing.assert_allclose(logits, published["logits"], atol=1e-4)


def test_dropout_acts_in_training_only(network: CALNet, batch: tuple) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        assert torch.equal(network(*batch), network(*batch))
        network.train()
        different = not torch.equal(network(*batch), network(*batch))
    network.eval()
    assert different


def test_lean_form_is_the_same_function(network: CALNet, batch: tuple) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        expected = network(*batch)
        for bf16, tolerance in ((False, 1e-5), (True, 2e-2)):
            features, head = lean_calnet(network, bf16)
            assert torch.allclose(head(*features(*batch)), expected, atol=tolerance)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
