"""EBNet: what its outputs mean, what its loss asks, and what augmentation must not change."""

import numpy as np
import pytest
import torch

from models.eb import CLASSES, EBNet, augment, loss, read
from models.runtime import Predictor
from models.spec import get_spec
from pipeline.lightcurves.training import ECLIPSING, KLASSES


def inputs(rows: int, seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    shapes = get_spec("eb").inputs
    made = [torch.rand(rows, *shape) for shape in shapes.values()]
    made[1] = (made[1] > 0.1).float()
    made[4] = made[4] - 2.5
    return made


def test_classes_are_those_of_the_training_sets():
    assert [KLASSES[name] for name in CLASSES] == list(range(len(CLASSES))) and len(CLASSES) == ECLIPSING


def test_the_score_is_the_sum_of_what_eclipses():
    outputs = np.random.default_rng(1).normal(size=(50, len(CLASSES) + 2)).astype(np.float32) * 5
    columns = read(outputs)
    total = columns["p_ea"] + columns["p_beta"] + columns["p_ew"]
    np.testing.assert_allclose(columns["score"], total, atol=1e-12)
    assert ((columns["score"] + columns["p_ell"]) <= 1 + 1e-12).all()
    assert (columns["morph"] >= 0).all() and (columns["morph"] <= 1).all() and (columns["morph_err"] > 0).all()
    assert np.isnan(read(np.full((1, 7), np.nan, np.float32))["score"]).all()


def test_the_loss_is_what_it_says():
    outputs = torch.randn(4, 7)
    klass = torch.tensor([0, 2, ECLIPSING, 4])
    morph = torch.tensor([np.nan, 0.3, np.nan, np.nan])
    found = loss(outputs, {"klass_code": klass, "morph": morph})
    shares = outputs[:, :5].softmax(1)
    assert found[0].item() == pytest.approx(-shares[0, 0].log().item(), rel=1e-5)
    assert found[2].item() == pytest.approx(-shares[2, 2:].sum().log().item(), rel=1e-5)
    spread = outputs[1, 6].clamp(-4.6, 0)
    gauss = 0.5 * ((outputs[1, 5] - 0.3) / spread.exp()) ** 2 + spread
    assert found[1].item() == pytest.approx((-shares[1, 2].log() + 0.3 * gauss).item(), rel=1e-4)


def test_a_curve_run_backwards_keeps_its_dip_in_place():
    batch = inputs(64)
    batch[3][:] = 1.0
    batch[3][:, :, 30:35] = 0.0  # about phase 1/4
    mirrored = augment(batch, torch.Generator().manual_seed(0))
    assert all(a.shape == b.shape for a, b in zip(batch, mirrored, strict=True))
    dips = (mirrored[3][:, 0] == 0).float()
    middle = (dips * torch.arange(128)).sum(1) / dips.sum(1)
    assert (dips.sum(1) == 5).all() and ((middle - 32).abs() <= 7).all()
    backwards = (mirrored[0] == batch[0].flip(2)).all(2).all(1)
    forwards = (mirrored[0] == batch[0]).all(2).all(1)
    assert (backwards | forwards).all() and 10 < int(backwards.sum()) < 54


def test_it_is_small_and_openvino_gives_what_torch_gives():
    spec = get_spec("eb")
    network = EBNet().eval()
    assert sum(p.numel() for p in network.parameters()) < 1_000_000
    batch = inputs(20)
    with torch.inference_mode():
        eager = spec.read(network(*batch).numpy())
    found = Predictor(spec, network.state_dict(), "openvino", batch_size=8, device="cpu").columns(
        *(values.numpy() for values in batch)
    )
    for name, values in eager.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)
