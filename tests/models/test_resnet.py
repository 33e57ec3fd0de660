"""ResNet34 against the published architecture, computed here by NumPy alone from weights by torchvision's names."""

import numpy as np
import pytest
import torch

from models.resnet import Poster, ResNet34

#: Table 1 of He et al. (2016): blocks and channels (over the first layer's) of the four stages.
STAGES = ((3, 1), (4, 2), (6, 4), (3, 8))

#: First outputs for `weights(3, 64, 1000)` and `images(2, 3)`, and the length of both vectors, as NumPy gave them.
RECORDED = ([6.08855, 0.51262, 4.25179, 5.83381, 7.67649, -3.80015, -1.96138, -5.93846], 345.8177)


def shapes(in_channels: int = 3, width: int = 64, outputs: int = 1000) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of torchvision's `resnet34().state_dict()`, in its order."""

    def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
        parts = {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
        return parts | {f"{name}.num_batches_tracked": ()}

    found = {"conv1.weight": (width, in_channels, 7, 7)} | norm("bn1", width)
    before = width
    for stage, (blocks, factor) in enumerate(STAGES, 1):
        after = width * factor
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            found |= {f"{name}.conv1.weight": (after, before, 3, 3)} | norm(f"{name}.bn1", after)
            found |= {f"{name}.conv2.weight": (after, after, 3, 3)} | norm(f"{name}.bn2", after)
            if stage > 1 and block == 0:
                found |= {f"{name}.downsample.0.weight": (after, before, 1, 1)} | norm(f"{name}.downsample.1", after)
            before = after
    return found | {"fc.weight": (outputs, before), "fc.bias": (outputs,)}


def weights(in_channels: int, width: int, outputs: int) -> dict[str, np.ndarray]:
    """Return weights that follow from their shapes alone, with which no layer dies out or grows over all bounds."""
    random = np.random.RandomState(34)  # its numbers are the same in every version of NumPy
    made = {}
    for name, shape in shapes(in_channels, width, outputs).items():
        if name.endswith("num_batches_tracked"):
            made[name] = np.array(1)
        elif len(shape) > 1:
            made[name] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            made[name] = random.uniform(0.5, 1.5, shape) if name.endswith(("bn1.weight", "var", "1.weight")) else (
                random.uniform(-0.2, 0.2, shape) + (0.3 if name.endswith("bn2.weight") else 0)
            )  # fmt: skip
    return {name: values.astype(np.float32) for name, values in made.items()}


def images(count: int, channels: int, size: int = 64) -> np.ndarray:
    return np.random.RandomState(35).normal(size=(count, channels, size, size)).astype(np.float32)


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    edge, size = kernel.shape[-1] // 2, kernel.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, kernel, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def normed(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    parts = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var"))
    weight, bias, mean, variance = parts
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def expected(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return what torchvision's ResNet34 gives, by its published architecture, in double precision."""
    state, x = {name: values.astype(np.float64) for name, values in state.items()}, x.astype(np.float64)
    x = np.maximum(normed(convolved(x, state["conv1.weight"], 2), state, "bn1"), 0)
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2].max((4, 5))
    for stage, (blocks, _) in enumerate(STAGES, 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = np.maximum(normed(convolved(x, state[f"{name}.conv1.weight"], stride), state, f"{name}.bn1"), 0)
            y = normed(convolved(y, state[f"{name}.conv2.weight"], 1), state, f"{name}.bn2")
            if stride == 2:
                x = normed(convolved(x, state[f"{name}.downsample.0.weight"], 2), state, f"{name}.downsample.1")
            x = np.maximum(x + y, 0)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_names_and_shapes_are_torchvisions_and_complete() -> None:
    state = ResNet34().state_dict()
    assert {name: tuple(values.shape) for name, values in state.items()} == shapes()
    assert list(state) == list(shapes()) and len(state) == 218
    # As torchvision's documentation of ResNet34_Weights says.
    assert sum(values.numel() for values in ResNet34().parameters()) == 21_797_672


@pytest.mark.parametrize(("channels", "width", "outputs"), [(3, 64, 1000), (1, 64, 2), (3, 32, 9), (1, 16, 1000)])
def test_outputs_are_those_of_the_published_architecture(channels: int, width: int, outputs: int) -> None:
    made, pixels = weights(channels, width, outputs), images(2, channels)
    network = ResNet34(channels, width, outputs).eval()
    network.load_state_dict({name: torch.from_numpy(values) for name, values in made.items()}, strict=True)
    with torch.inference_mode():
        found = network(torch.from_numpy(pixels)).numpy()
    wanted = expected(made, pixels)
    scale = wanted.std()
    assert scale > 0.01 and np.abs(wanted[0] - wanted[1]).max() > 0.01 * scale
    np.testing.assert_allclose(found, wanted, atol=2e-4 * scale, rtol=0)
    if (channels, width, outputs) == (3, 64, 1000):
        np.testing.assert_allclose(found[0, :8], RECORDED[0], atol=5e-4 * scale, rtol=0)
        np.testing.assert_allclose(np.sqrt((found.astype(float) ** 2).sum()), RECORDED[1], rtol=1e-4)


def test_any_size_of_image_will_do() -> None:
    network = ResNet34(1, 16, 2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 63, 100)).shape == (1, 2)


def test_the_posters_network_is_one_behind_layers_of_its_own() -> None:
    state = Poster().state_dict()
    own = {name.removeprefix("network."): tuple(values.shape) for name, values in state.items() if "network." in name}
    assert own == shapes(3, 64, 2) and any(name.startswith("extra.") for name in state)
