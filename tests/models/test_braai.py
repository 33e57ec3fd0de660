"""The published network gives the published numbers, whatever file it is given."""

import base64
import gzip
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from astropy.io import fits

from models.braai import Braai, RealBogus, ThreeBlocks, load_published, published_input
from pipeline.errors import CorruptModel, UsageError

BRAAI = Path(__file__).parents[3] / "shared" / "data" / "braai"
WEIGHTS = BRAAI / "d6_m7.weights.h5"

published = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"{WEIGHTS}: not here")


def cutouts(name: str) -> np.ndarray:
    packet = json.loads((BRAAI / f"{name}.json").read_text())
    stamps = []
    for channel in ("Science", "Template", "Difference"):
        data = packet[f"cutout{channel}"]["stampData"]
        data = data.get("$binary", data) if isinstance(data, dict) else data
        data = data["base64"] if isinstance(data, dict) else data
        with fits.open(io.BytesIO(gzip.decompress(base64.b64decode(data)))) as file:
            stamps.append(np.asarray(file[0].data, np.float32))
    return np.stack(stamps, -1)


@published
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_published_weights_give_the_logits_of_their_authors() -> None:
    score = load_published(WEIGHTS)
    found = score(np.stack([cutouts("714287740515015072"), cutouts("893215910715010007")]))
    assert found == pytest.approx([9.74719, -22.46463], abs=1e-3)
    assert torch.sigmoid(torch.from_numpy(found[:1])).item() == pytest.approx(0.9999415, abs=1e-6)


@published
def test_more_than_a_batch_is_scored_row_by_row() -> None:
    score = load_published(str(WEIGHTS), norm="frobenius")
    pixels = np.random.default_rng(1).normal(size=(130, 63, 63, 3))
    assert score(pixels) == pytest.approx(np.concatenate([score(one[None]) for one in pixels]), abs=1e-4)
    assert score(pixels[:0]).shape == (0,)


def test_rows_or_whole_cutouts_are_brought_to_norm_one_and_padded() -> None:
    pixels = np.random.default_rng(2).normal(size=(2, 60, 63, 3)).astype(np.float32)
    pixels[0, 3, 4, 1] = np.nan
    pixels[1, 7, :, 2] = 0
    rows = published_input(pixels)
    norms = np.linalg.norm(rows[:, :, :60], axis=3)
    assert norms[1, 2, 7] == 0 and norms[0] == pytest.approx(np.ones((3, 60)), abs=1e-5)
    assert (rows[:, :, 60:] == np.float32(1e-9)).all() and rows[0, 1, 3, 4] == 0
    whole = published_input(pixels, "frobenius")[:, :, :60]
    assert np.linalg.norm(whole, axis=(2, 3)) == pytest.approx(np.ones((2, 3)), abs=1e-5)


def test_what_is_no_file_of_these_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_published(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(CorruptModel, match="Keras"):
        load_published(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"kernel", b"bias"]
        group["kernel"], group["bias"] = np.zeros((3, 1)), np.zeros(1)
    with pytest.raises(CorruptModel, match="another network"):
        load_published(tmp_path / "other.h5")
    with pytest.raises(UsageError, match="norm"):
        load_published(WEIGHTS, norm="columns")
    with pytest.raises(UsageError, match="shape"):
        published_input(np.zeros((1, 3, 63, 63)))


def test_sizes_of_the_networks() -> None:
    sizes = [sum(p.numel() for p in network().parameters()) for network in (Braai, ThreeBlocks, RealBogus)]
    assert sizes[0] == 312_081
    assert 4 * sizes[2] <= 5e6  # bytes of what ships
    for network, planes, outputs in ((Braai, 3, 1), (ThreeBlocks, 4, 1), (RealBogus, 4, 36)):
        assert network().eval()(torch.zeros(2, planes, 63, 63)).shape == (2, outputs)
