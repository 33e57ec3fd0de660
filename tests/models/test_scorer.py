"""Triplets in, probabilities out; what cannot be scored says so, what is strange too."""

import numpy as np
import pytest
import torch

from catalogs.folder import Folder
from models.planes import SIZE, levels, planes
from models.realbogus import augment
from models.registry import Registry
from models.scorer import Scorer
from models.standing import Standing, operating_point
from pipeline.errors import CorruptModel, ModelNotFound, UsageError
from pipeline.images.sampling import rescale
from tests.models import toy_realbogus


def test_scores_are_probabilities_and_empty_triplets_have_none(workspace: Folder) -> None:
    toy_realbogus.save(workspace)
    scorer = Scorer.load(workspace)
    pixels = toy_realbogus.triplets(8)
    pixels[3] = np.nan
    pixels[5, 1] = np.nan  # no reference at all
    found = scorer.score(pixels)
    good = np.array([0, 1, 2, 4, 6, 7])
    assert np.isnan(found.p_real[[3, 5]]).all() and np.isnan(found.novelty[[3, 5]]).all()
    assert ((found.p_real[good] > 0) & (found.p_real[good] < 1)).all()
    assert (found.p_prior[good] < found.p_real[good]).all()  # real ones are rarer than half
    types = found.p_transient + found.p_variable + found.p_mover
    assert types[good] == pytest.approx(1) and found.embedding.shape == (8, 32)
    alone = np.concatenate([scorer.score(one[None]).logit for one in pixels[good]])
    assert found.logit[good] == pytest.approx(alone, abs=1e-6)


def test_counts_do_not_matter_but_what_is_strange_does(workspace: Folder) -> None:
    toy_realbogus.save(workspace)
    scorer = Scorer.load(workspace)
    pixels = toy_realbogus.triplets(4)
    assert scorer.score(pixels * 1e4 + 1e5).logit == pytest.approx(scorer.score(pixels).logit, abs=2e-2)
    strange = pixels.copy()
    strange[:, :, ::2] += 1e4
    assert (scorer.score(strange).novelty > scorer.score(pixels).novelty).all() and scorer.score(strange).ood.all()


def test_other_models_and_shapes_are_refused(workspace: Folder) -> None:
    with pytest.raises(ModelNotFound, match="scores no triplets"):
        Scorer.load(workspace, "eb")
    toy_realbogus.save(workspace, "realbogus_baseline")
    scorer = Scorer.load(workspace, "realbogus_baseline")
    assert np.isnan(scorer.score(toy_realbogus.triplets(2)).p_mover).all()
    with pytest.raises(UsageError, match="shape"):
        scorer.score(np.zeros((2, 63, 63, 3)))
    registry = Registry(workspace)
    registry.annotate(registry.resolve("realbogus_baseline"), {"standing": {"scale": 1.0}})
    with pytest.raises(CorruptModel, match="standing"):
        Scorer.load(workspace, "realbogus_baseline")


def test_planes_are_over_their_own_noise() -> None:
    rng = np.random.default_rng(0)
    pixels = (rng.normal(size=(2, 3, SIZE, SIZE)) * [[[[5.0]], [[1.0]], [[50.0]]]] + 100).astype(np.float32)
    pixels[0, :, :20] = np.nan
    sky, noise = levels(pixels)
    assert noise == pytest.approx(np.tile([5, 1, 50], (2, 1)), rel=0.15) and sky[:, 1] == pytest.approx(100, abs=0.2)
    seen = planes(pixels)
    assert (seen[0, :, :20] == 0).all() and (seen[0, 3, 20:] == 1).all() and seen[1, 3].all()
    assert np.sinh(3 * seen[1, :3]).std((1, 2)) == pytest.approx(1, rel=0.15)
    assert np.isfinite(planes(np.zeros((1, 3, SIZE, SIZE)))).all()


def test_a_fading_source_looks_the_same_whether_its_difference_is_upside_down_or_not() -> None:
    pixels = toy_realbogus.triplets(2)
    fading = pixels.copy()
    fading[:, 2] *= -1
    assert planes(fading)[0] == pytest.approx(planes(pixels)[0], abs=0.15)
    assert planes(fading)[0, 2, 31, 31] > 1


def test_smaller_cutouts_are_put_in_the_middle() -> None:
    pixels = np.zeros((1, 3, 30, 31), np.float32)
    pixels[:, :, 15, 15] = 1
    seen = planes(pixels)
    assert seen[0, 3].sum() == 30 * 31 and np.unravel_index(seen[0, 0].argmax(), (SIZE, SIZE)) == (31, 31)
    assert planes(np.zeros((1, 3, 101, 90), np.float32)).shape == (1, 4, SIZE, SIZE)


def test_rescaling_keeps_flux_and_place() -> None:
    y, x = np.indices((41, 41)) - 20
    star = np.exp(-(x**2 + y**2) / (2 * 2.0**2)).astype(np.float32)
    pixels = np.broadcast_to(star, (1, 3, 41, 41))
    wide = rescale(pixels, 1.5)
    inside = np.nan_to_num(wide[0, 0])
    assert inside.sum() == pytest.approx(star.sum(), rel=0.01) and inside.argmax() == 31 * SIZE + 31
    xx = np.indices((SIZE, SIZE))[1] - 31
    assert np.sqrt((inside * xx**2).sum() / inside.sum()) == pytest.approx(3.0, rel=0.02)
    assert np.isnan(wide[0, 0, 0]).all() and np.isfinite(rescale(pixels, 2.0)).all()


def test_augmentation_turns_and_cuts_all_planes_alike() -> None:
    values = torch.from_numpy(planes(toy_realbogus.triplets(200)))
    (turned,) = augment([values], torch.Generator().manual_seed(1))
    assert turned.shape == values.shape
    cut = (turned[:, 3] == 0).flatten(1).any(1)
    assert 0.3 < cut.float().mean() < 0.6
    assert (turned[:, :3][(turned[:, 3:] == 0).expand(-1, 3, -1, -1)] == 0).all()
    gone = [bool((turned[cut, 3][:, *side] == 0).any()) for side in ((0,), (-1,), (slice(None), 0), (slice(None), -1))]
    assert all(gone)
    assert (turned[:, 0, 31, 31] > 1).sum() == (values[:, 0, 31, 31] > 1).sum()  # the candidate stays in the middle


def test_operating_point_misses_no_more_than_asked() -> None:
    p = np.linspace(0, 1, 1001)
    label = p > 0.3
    limit = operating_point(label, p, 0.01)
    assert (p[label] < limit).mean() <= 0.01 < (p[label] < limit + 0.01).mean()


def test_probabilities_at_another_share_of_real() -> None:
    standing = Standing(scale=1.0, offset=0.0, threshold=0.5, prior=1e-4)
    assert standing.p_real([0.0]) == pytest.approx([0.5])
    assert standing.p_prior([0.0]) == pytest.approx([1e-4]) and standing.p_prior([0.0], 0.5) == pytest.approx([0.5])
