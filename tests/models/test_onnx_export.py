"""A network as an ONNX file: the same function, told about in the file, and what int8 changes."""

import hashlib
import json

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from scipy.special import expit

from catalogs.folder import Folder
from jobs.export_model import main
from models import onnx_samples
from models.onnx_export import PLANES_ARE, export, session, summary
from models.planes import SIZE, planes
from models.registry import Registry
from models.scorer import Scorer
from models.spec import get_spec
from models.standing import Standing
from pipeline.alerts.batches import Batch
from pipeline.errors import Missing, ModelNotFound, UsageError
from pipeline.settings import ScoreSettings
from tests.models import toy_realbogus


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a workspace with a model, its id, and what is told of it as float32 and as int8."""
    folder = tmp_path_factory.mktemp("export")
    workspace = Folder(folder / "workspace")
    made = toy_realbogus.save(workspace)
    held_out, calibration = toy_realbogus.triplets(40, 1), toy_realbogus.triplets(64, 2)
    held_out[0, 2] = np.nan  # has no pixel in all three
    told = [
        export(workspace, "realbogus", folder / "float.onnx", held_out),
        export(workspace, "realbogus", folder / "int8.onnx", held_out, calibration),
    ]
    return workspace, made, folder, told


def network(workspace, name="realbogus"):
    registry = Registry(workspace)
    found = get_spec(name).network()
    found.load_state_dict(registry.load_weights(registry.resolve(name)))
    return found.eval()


@pytest.mark.parametrize("name", ["realbogus", "realbogus_baseline"])
def test_the_file_gives_what_torch_gives_for_any_number_of_rows(exported, tmp_path, name):
    workspace, _, folder, _ = exported
    path = folder / "float.onnx"
    if name != "realbogus":
        toy_realbogus.save(workspace, name)
        path = tmp_path / "other.onnx"
        assert "novelty" not in export(workspace, name, path, toy_realbogus.triplets(4))["change"]
    run, original = session(path.read_bytes()), network(workspace, name)
    for rows in (1, 2, 7, 33):
        seen = planes(toy_realbogus.triplets(rows, seed=rows))
        with torch.inference_mode():
            expected = original(torch.from_numpy(seen)).numpy()
        assert run(seen).shape == (rows, get_spec(name).outputs)
        np.testing.assert_allclose(run(seen), expected, atol=1e-5)


def test_what_changes_is_told_and_small(exported):
    _, made, folder, (single, int8) = exported
    for told, name in ((single, "float"), (int8, "int8")):
        data = (folder / f"{name}.onnx").read_bytes()
        assert told["sha256"] == hashlib.sha256(data).hexdigest() and told["bytes"] == len(data)
        assert json.loads((folder / f"{name}.json").read_bytes()) == told
        assert told["model"] == made and told["triplets"] == 39 and told["speedup"] > 0
        for spread in (told["change"][key] for key in ("logit", "p_real", "novelty")):
            assert 0 <= spread["median"] <= spread["p99"] <= spread["max"]
    assert single["change"]["logit"]["max"] < 1e-5 and single["change"]["tier"] == {}
    assert 1e-5 < int8["change"]["logit"]["max"] < 0.1
    assert int8["bytes"] < 0.4 * single["bytes"]
    said = summary(int8)
    assert made in said and "int8" in said and f"{int8['change']['p_real']['max']:.2g}" in said


def test_int8_computes_in_int8_but_for_the_logits(exported):
    model = onnx.load(exported[2] / "int8.onnx")
    arrays = {array.name: array for array in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    kernels = [made_by[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    assert len(kernels) > 10 and all(node.op_type == "DequantizeLinear" for node in kernels)
    weights, scales = arrays[kernels[0].input[0]], arrays[kernels[0].input[1]]
    assert weights.data_type == onnx.TensorProto.INT8 and scales.dims == weights.dims[:1]  # a scale a channel
    assert np.abs(onnx.numpy_helper.to_array(weights).astype(int)).max() <= 64
    dense = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert [node.input[1] in arrays for node in dense] == [False, True, True]


def test_the_file_tells_all_that_a_score_needs(exported):
    workspace, made, folder, _ = exported
    for name, precision in (("float", "float32"), ("int8", "int8")):
        model = onnx.load(folder / f"{name}.onnx")
        facts = {one.key: one.value for one in model.metadata_props}
        assert (facts["model_id"], facts["precision"]) == (made, precision)
        assert facts["weights_sha256"][:8] == made[-8:] and facts["planes"] == " ".join(PLANES_ARE.split())
        assert json.loads(facts["outputs"])[:5] == ["logit", "transient", "variable", "mover", "e0"]
        assert len(json.loads(facts["outputs"])) == 36 and json.loads(facts["channels"])[3] == "coverage"
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
        shape = model.graph.input[0].type.tensor_type.shape.dim
        assert [one.dim_param or one.dim_value for one in shape] == ["n", 4, SIZE, SIZE]
    card = Registry(workspace).resolve("realbogus").card
    assert float(facts["threshold"]) == Standing.of(card, "").threshold and float(facts["prior"]) == 0.1


def test_the_score_follows_from_the_file_alone(exported):
    workspace, _, folder, _ = exported
    data = (folder / "float.onnx").read_bytes()
    facts = {one.key: one.value for one in onnx.load_model_from_string(data).metadata_props}
    triplets = toy_realbogus.triplets(6, 3)
    triplets[1:3, :, :, 50:] = np.nan
    triplets[2, 2] *= -1
    triplets[3, 0, 5, 5], triplets[4, 1] = -3e38, 7.0
    seen = np.stack([as_told(one) for one in triplets])
    np.testing.assert_allclose(seen, planes(triplets), atol=1e-5)
    p = expit(float(facts["scale"]) * session(data)(seen)[:, 0] + float(facts["offset"]))
    scorer = Scorer.load(workspace, settings=ScoreSettings.load(None, "score", runtime="torch"))
    np.testing.assert_allclose(p, scorer.score(triplets).p_real, atol=1e-5)


def as_told(triplet):
    """Return planes of one triplet, by the words in the file."""
    out, there = np.zeros((4, 63, 63), np.float32), np.isfinite(triplet) & (np.abs(triplet) < 1e30)
    for number, (channel, known) in enumerate(zip(triplet, there)):
        values = np.sort(channel[::2, ::2][known[::2, ::2]])
        low, sky, high = (values[int(np.floor(p * (len(values) - 1)))] for p in (0.1587, 0.5, 0.8413))
        noise = next((size for size in (sky - low, high - sky) if size > 0), 1)
        out[number][known] = np.arcsinh((channel[known] - sky) / noise) / 3
    out[3] = there.all(0)
    middle = out[2, 29:34, 29:34]
    if -middle.min() > middle.max():
        out[2] *= -1
    return out


def test_what_makes_no_sense_is_refused(exported, tmp_path):
    workspace, few = exported[0], toy_realbogus.triplets(4)
    cases = [
        (UsageError, "end in .onnx", ("realbogus", tmp_path / "a.json", few)),
        (ModelNotFound, "--model realbogus", ("eb", tmp_path / "a.onnx", few)),
        (ModelNotFound, "there are", ("nothing", tmp_path / "a.onnx", few)),
        (UsageError, "no triplet with pixels", ("realbogus", tmp_path / "a.onnx", few * np.nan)),
        (UsageError, "(4, 63, 63)", ("realbogus", tmp_path / "a.onnx", few[:, 0])),
        (UsageError, "4 triplets to calibrate", ("realbogus", tmp_path / "a.onnx", few, few)),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error) as caught:
            export(workspace, *arguments)
        assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_job_writes_both_files_and_says_what_changes(exported, tmp_path):
    workspace, made, _, _ = exported
    pixels = toy_realbogus.triplets(80)
    names = np.array([f"f{number % 10}" for number in range(80)])
    np.savez(tmp_path / "set.npz", triplet=pixels, label=np.arange(80) % 2, field=names)
    options = ["--workspace", workspace.root, "--set", tmp_path / "set.npz", "--int8", "--out", tmp_path / "a.onnx"]
    result = CliRunner().invoke(main, [str(option) for option in options])
    assert result.exit_code == 0, result.output
    assert f"{made} as int8" in result.output and "40 triplets" in result.output and "times as fast" in result.output
    assert (tmp_path / "a.onnx").exists() and json.loads((tmp_path / "a.json").read_bytes())["precision"] == "int8"


def test_samples_are_parted_by_field_and_object(exported, tmp_path):
    workspace = exported[0]
    pixels = toy_realbogus.triplets(12)
    pixels[:, 0, 0, 0] = np.arange(12)
    path = tmp_path / "set.npz"
    np.savez(path, triplet=pixels, label=np.arange(12) % 2, field=np.array(list("abcabcabcabc")))
    calibration, held_out = onnx_samples.samples(workspace, "realbogus", str(path))
    assert calibration[:, 0, 0, 0].tolist() == [0, 2, 3, 5, 6, 8, 9, 11]
    assert held_out[:, 0, 0, 0].tolist() == [1, 4, 7, 10]
    with pytest.raises(UsageError, match="give one of them"):
        onnx_samples.samples(workspace, "realbogus", str(path), [path])
    with pytest.raises(Missing, match="there are: none"):
        onnx_samples.samples(workspace, "realbogus", "nowhere")


def test_alerts_are_parted_by_object(exported, tmp_path, monkeypatch):
    pixels = toy_realbogus.triplets(6)
    rows = [{"object_id": name} for name in "abcabc"]
    made = [Batch(pixels[:4], rows[:4], []), Batch(pixels[4:], rows[4:], []), Batch(pixels[:0], [], [])]
    monkeypatch.setattr(onnx_samples, "batches", lambda paths, size, centred: iter(made if paths[0].exists() else []))
    calibration, held_out = onnx_samples.samples(exported[0], "realbogus", None, [tmp_path])
    assert np.array_equal(calibration, pixels[[0, 2, 3, 5]]) and np.array_equal(held_out, pixels[[1, 4]])
    with pytest.raises(UsageError, match="no alert with three cutouts"):
        onnx_samples.samples(exported[0], "realbogus", None, [tmp_path / "none"])
