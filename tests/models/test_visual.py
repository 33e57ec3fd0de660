"""What networks of stamps see and say: views, turning, evidence of several surveys, calibration, verdicts."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.runtime import Predictor
from models.spec import get_spec
from models.stamp_planes import COLUMNS, FACTS, poster_planes, prepare
from models.visual import BINS, SEPARATIONS, augment, bin_code, loss, read, read_poster
from models.visual_judgement import classification, judge, report
from models.visual_rates import OTHERS, at_false, grid, typical, typically
from models.visual_standing import VisualStanding, learn
from models.visual_views import views
from pipeline.errors import CorruptModel, UsageError
from pipeline.fusion import Calibration
from pipeline.fusion import precise as expected_precision
from tests.models.toy_stamps import drawn


def seen(survey: str = "Pan-STARRS", count: int = 8) -> tuple[list[torch.Tensor], pd.DataFrame]:
    stack, index = drawn(survey, count)
    return [torch.from_numpy(one) for one in prepare(stack, index[list(COLUMNS)].to_numpy(float))], index


# what is seen


@pytest.mark.parametrize("survey", ["Pan-STARRS", "SDSS", "HST"])
def test_every_survey_has_the_same_views_over_its_noise(survey: str) -> None:
    (middle, around, facts), index = seen(survey)
    assert middle.shape == (8, 1, 32, 32) and around.shape == (8, 1, 128, 128) and facts.shape == (8, len(FACTS))
    edge = np.concatenate([around[:, 0, :4].numpy().ravel(), around[:, 0, -4:].numpy().ravel()])
    assert 0.7 < np.diff(np.quantile(edge, (0.1587, 0.8413)))[0] / 2 < 1.8
    peak = middle[:, 0, 12:20, 12:20].amax((1, 2)).numpy()
    assert (peak > middle[:, 0, :4].amax((1, 2)).numpy()).all()
    cells = np.exp(facts[:, 1].numpy()) * 0.25
    np.testing.assert_allclose(cells, index["pixscale"] * (2 if survey == "HST" else 1), rtol=1e-5)


def test_units_do_not_count() -> None:
    stack, index = drawn("SDSS", 4)
    known = index[list(COLUMNS)]
    once = prepare(stack, known.to_numpy(float))
    again = prepare(stack * 1e-6, known.assign(noise=known["noise"] * 1e-6).to_numpy(float))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-2, rtol=1e-4)


def test_what_is_missing_is_nothing_or_what_lies_opposite() -> None:
    stack, index = drawn("SDSS", 4)
    stack[0] = np.nan
    stack[1, :, :20], stack[2, 40:, 30] = np.nan, np.inf
    known = index[list(COLUMNS)].assign(noise=np.nan, fwhm_arcsec=np.nan, x0=np.nan, wavelength_um=-1.0)
    views_, around, facts = prepare(stack, known.to_numpy(float))
    assert all(np.isfinite(one).all() for one in (views_, around, facts))
    assert not around[0].any()
    np.testing.assert_array_equal(around[1, 0, :, :40], around[1, 0, ::-1, ::-1][:, :40])


@pytest.mark.parametrize("side", [20, 40, 63, 100, 300])
def test_stacks_of_any_size_are_seen(side: int) -> None:
    stack = np.random.default_rng(0).normal(size=(3, side, side))
    known = np.tile([0.1, 1.0, 0.3, 0.6, 1, 0, 0, 0, np.nan, np.nan], (3, 1))
    shapes = [one.shape[1:] for one in prepare(stack, known)]
    assert shapes == [(1, 32, 32), (1, 128, 128), (len(FACTS),)]
    assert poster_planes(stack, known).shape == (3, 1, 64, 64)


def test_a_star_is_what_it_is_when_turned_about_its_centre_and_a_pair_is_not() -> None:
    y, x = np.indices((64, 64))

    def star(sep: float, ratio: float, narrower: float = 1.0) -> list[torch.Tensor]:
        image = sum(
            light * np.exp(-((x - 31.7 - at) ** 2 + ((y - 31.2) / narrower) ** 2) / 2 / 1.8**2)
            for light, at in ((1000.0, 0.0), (1000.0 * ratio, sep))
        )
        known = np.array([[0.25, 1.0, 1.05, 0.6, 1, 0, 0, 0, 31.7, 31.2]])
        return [torch.from_numpy(one) for one in prepare(image[None], known)]

    def found(*inputs: torch.Tensor) -> tuple[float, float]:
        near, _, _, _ = views(*inputs)
        inner = near[0, 3:5, 10:22, 10:22].abs()
        return float(inner[0].max()), float(inner[1].max())

    odd, long = found(*star(2.0, 0.0))
    assert odd < 0.5 and long < 0.5  # of 1000 sigma at the peak, less than a sigma or two
    odd, long = found(*star(2.0, 0.0, 1.1))
    assert odd < 0.5 and long > 1.5
    odd, long = found(*star(3.0, 0.3))
    assert odd > 1.0 and long > 1.5


def test_turned_stacks_are_the_same_to_what_is_measured() -> None:
    (middle, around, facts), _ = seen("SDSS")
    near, wide, measured, _ = views(middle, around, facts)
    turned = views(torch.rot90(middle, 1, (2, 3)).flip(3), torch.rot90(around, 1, (2, 3)).flip(3), facts)
    # Near the edges what turns about a centre off the middle comes from outside.
    inside = (slice(None), slice(None), slice(6, 26), slice(6, 26))
    torch.testing.assert_close(turned[0][inside].abs(), torch.rot90(near, 1, (2, 3)).flip(3)[inside].abs(),
                               atol=0.05, rtol=0.02)  # fmt: skip
    around_turned = torch.rot90(wide, 1, (2, 3)).flip(3)
    torch.testing.assert_close(turned[1][:, [2, 4]], around_turned[:, [2, 4]])
    torch.testing.assert_close(turned[1][:, [0, 1, 3]], around_turned[:, [0, 1, 3]], atol=1e-3, rtol=1e-3)  # resampled
    torch.testing.assert_close(turned[1][:, 5:].sum(1), around_turned[:, 5:].sum(1))  # the four cells change places
    torch.testing.assert_close(turned[2], measured, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("scale", "fwhm", "side", "view", "faint"),
    [
        (0.25, 1.2, 64, 0, 20),
        (0.396, 1.3, 64, 0, 20),
        (0.25, 1.2, 64, 1, 20),
        (0.05, 0.1, 128, 1, 40),
        (0.05, 0.15, 128, 1, 20),
    ],
)
def test_a_companion_is_told_from_a_neighbour_by_less_than_a_cell(
    scale: float, fwhm: float, side: int, view: int, faint: int
) -> None:
    rng = np.random.default_rng(5)
    y, x = np.indices((side, side))

    def star(x0: float, y0: float, light: float) -> np.ndarray:
        return light * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / (fwhm / scale / 2.3548) ** 2)

    for sep, light in dict.fromkeys(((2.4, 40), (2.6, 40), (2.4, faint), (2.6, faint))):
        off, sigmas = [], []
        for angle in rng.uniform(0, 2 * np.pi, 12):
            x0, y0 = (side - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
            x1, y1 = x0 + sep / scale * np.cos(angle), y0 + sep / scale * np.sin(angle)
            image = star(x0, y0, 300) + star(x1, y1, light) + rng.normal(size=(side, side))
            known = np.array([[scale, 1, fwhm, 0.6, 1, 0, 0, 0, x0, y0]])
            middle, around, facts = (torch.from_numpy(one) for one in prepare(image[None], known))
            near, wide, _, away = views(middle, around, facts)
            # The brightest cell that is not of the source.
            planes = (near[0, 0], near[0, 2]) if view == 0 else (wide[0, 0, ::2, ::2], wide[0, 2, ::2, ::2])
            brightest = torch.where(planes[0] > 0.7, planes[1], -9.0).argmax()
            distance, error = (float(one.flatten()[brightest]) for one in away[view])
            off.append(distance - sep)
            sigmas.append(off[-1] / error)
        assert 0.1 < np.sqrt(np.mean(np.square(sigmas))) < 1.5
        assert light < 40 or (np.abs(off).max() < 0.06 and np.std(off) < 0.03)


# what is learnt


def test_bins_of_separation() -> None:
    assert len(SEPARATIONS) == BINS == 9
    sep = np.array([np.nan, 0.05, 0.1, 0.25, 0.44, 0.45, 2.0, 2.5, 1.0])
    assert bin_code(np.array([0, 1, 1, 1, 1, 1, 1, 1, 0]), sep).tolist() == [0, 1, 1, 2, 3, 4, 8, 8, 0]


def test_a_companion_counts_where_it_is_and_one_too_far_away_does_not() -> None:
    torch.manual_seed(0)
    network = get_spec("visualbinary").network()
    distance = torch.hypot(*torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))[None] * 0.2
    for away, code in ((0.8, 5), (1.6, 7), (2.2, 8), (3.0, None), (3.6, None)):
        spots = torch.full((1, 32, 32), -9.0)
        spots[0, round(away / 0.2), 0] = 9.0
        bins = network.fine._bins(spots, distance, torch.full_like(distance, 0.085))[0]
        assert (bins.argmax() + 1 == code and bins.max() > 7) if code else bins.max() < 0


def test_coarse_and_fine_stacks_are_seen_by_a_network_each() -> None:
    torch.manual_seed(0)
    network = get_spec("visualbinary").network().eval()
    (coarse, _), (fine, _) = seen("SDSS", 3), seen("HST", 2)
    both = [torch.cat([one, other]) for one, other in zip(coarse, fine, strict=True)]
    with torch.inference_mode():
        found = network(*both)
        torch.testing.assert_close(found[:3], network.coarse(*coarse), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found[3:], network.fine(*fine), atol=1e-4, rtol=1e-4)
    network.train()
    network(*coarse).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert not any(weight.grad.any() for weight in network.fine.parameters())


def test_loss_and_reading_agree_on_what_is_double() -> None:
    outputs = np.zeros((2, BINS), np.float32)
    outputs[0, 0], outputs[1, 4] = 8, 8
    told = read(outputs)
    assert told["score"][0] < 0.01 < 0.99 < told["score"][1]
    np.testing.assert_allclose(sum(np.exp(told[f"l{k}"]) for k in range(BINS)), 1)
    right = {"label": torch.tensor([0, 1]), "bin_code": torch.tensor([0, 4])}
    wrong = {"label": torch.tensor([1, 0]), "bin_code": torch.tensor([4, 0])}
    assert (loss(torch.from_numpy(outputs), right) < 0.05).all() and (loss(torch.from_numpy(outputs), wrong) > 5).all()
    assert read_poster(np.array([[0.0, 2.0]]))["logit"].tolist() == [2.0]


@pytest.mark.parametrize(("survey", "steps"), [("Pan-STARRS", 2), ("HST", 1)])
def test_augmented_stacks_are_turned_alike_and_follow_from_the_seed(survey: str, steps: int) -> None:
    inputs, _ = seen(survey, 64)
    once, again = (augment(inputs, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    assert torch.equal(once[2], inputs[2])
    # Both views show the same cells in the middle, however they were turned and whatever noise was added.
    first = 64 - 16 * steps
    middle = slice(first, 128 - first, steps)
    torch.testing.assert_close(once[1][:, :, middle, middle], once[0])
    if steps == 2:  # of a coarse stack four are one
        torch.testing.assert_close(once[1][:, :, ::2, ::2], once[1][:, :, 1::2, 1::2])
    quiet = (once[0].amax((1, 2, 3)) - inputs[0].amax((1, 2, 3))).abs() < 1e-3
    assert 0.5 < quiet.float().mean() < 0.95


@pytest.mark.parametrize("name", ["visualbinary", "poster"])
def test_a_predictor_gives_what_the_network_does(name: str) -> None:
    spec = get_spec(name)
    torch.manual_seed(0)
    network = spec.network().eval()
    stack, index = drawn("HST", 5)
    known = index[list(spec.columns)].to_numpy(float)
    with torch.inference_mode():
        wanted = network(*map(torch.from_numpy, spec.look(stack, known))).numpy()
    for runtime in ("torch", "openvino"):
        found = Predictor(spec, network.state_dict(), runtime=runtime, precision="fp32", batch_size=4).outputs(
            stack, known
        )
        np.testing.assert_allclose(found, wanted, atol=2e-3)


# what it means


def scored(count: int = 4000, surveys: tuple[str, ...] = ("SDSS", "HST"), seed: int = 0) -> pd.DataFrame:
    """Return stacks scored by a network that is right about its odds but for a factor and an offset."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    odds = rng.normal(np.where(label, 2.0, -2.0), 2.0)  # of two Gaussians: the logarithmic odds themselves
    sep = np.where(label, rng.uniform(0.1, 2.5, count), np.nan)
    code = bin_code(label, sep)
    outputs = rng.normal(0, 0.1, (count, BINS))
    outputs[np.arange(count), code] += np.where(label, 1.0, 0.0)
    outputs[:, 0] = np.logaddexp.reduce(outputs[:, 1:], axis=1) - (0.5 * odds + 1)
    return pd.DataFrame({
        "source_id": [f"s{k}" for k in range(count)], "survey": rng.choice(surveys, count), "label": label,
        "kind": np.where(label, "pair", rng.choice(["single", "galaxy"], count)), "weight": 1.0, "bin_code": code,
        "sep_arcsec": sep, "delta_mag": np.where(label, rng.uniform(0, 4, count), np.nan),
        "snr_1": rng.uniform(20, 400, count), "psf_fwhm_arcsec": 0.8,
    } | read(outputs))  # fmt: skip


def test_calibration_undoes_what_the_network_misjudges() -> None:
    standing = learn(scored())
    for one in (standing.every, *standing.surveys.values()):
        assert one.scale == pytest.approx(2.0, rel=0.12) and one.offset == pytest.approx(-2.0, abs=0.3)
    test = scored(seed=1)
    told = judge(test, standing)
    assert told["calibration"]["brier_skill"] > 0.5 and told["calibration"]["ece_middle"] < 0.05
    assert set(told["surveys"]) == {"SDSS", "HST"} and "accuracy" in report(told)
    expected = told["expected"]["0.09"]
    assert expected["precision"] == pytest.approx(0.9, abs=0.05)
    assert told["expected"]["0.01"]["precision"] < expected["precision"] < told["expected"]["0.5"]["precision"]


def test_probabilities_are_told_for_even_separations_and_hard_others() -> None:
    rows = scored(20_000).assign(kind=lambda rows: np.where(rows["label"], "pair", np.random.default_rng(1).choice(
        list(OTHERS), len(rows), p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])))  # fmt: skip
    double = rows["label"] > 0
    # Half of the pairs are close, as training has them.
    rows.loc[double, "sep_arcsec"] = np.random.default_rng(2).permutation(
        np.append(np.geomspace(0.1, 2.5, double.sum() // 2), np.linspace(0.1, 2.5, double.sum() - double.sum() // 2))
    )
    count = typically(rows)
    assert not count[double & (rows["sep_arcsec"] < 0.2)].any() and count[~double].all()
    for some in (rows.assign(count=count), typical(rows).assign(count=1.0)):
        pairs, others = (some[some["label"] == label] for label in (1, 0))
        found = np.histogram(pairs["sep_arcsec"], [0.2, 0.7, 1.4, 2.0, 2.5], weights=pairs["count"])[0]
        np.testing.assert_allclose(found / pairs["count"].sum(), np.array([0.5, 0.7, 0.6, 0.5]) / 2.3, atol=0.02)
        found = others.groupby("kind")["count"].sum() / others["count"].sum()
        np.testing.assert_allclose(found[list(OTHERS)], list(OTHERS.values()), atol=0.02)
    # What is told of them, not of what there happens to be more of: here close pairs, which nobody can tell.
    unlike(rows, double & (rows["sep_arcsec"] < 0.7))
    fewer = (rows["sep_arcsec"] < 0.7) & (np.random.default_rng(3).random(len(rows)) < 0.8)
    few, many = learn(rows[~fewer]), learn(rows)
    np.testing.assert_allclose(few.shares, many.shares, atol=0.01)
    assert few.threshold == pytest.approx(many.threshold, abs=0.02)
    told, same = (one.p_prior(one.odds(one.evidence(rows)), 0.5) for one in (few, many))
    np.testing.assert_allclose(told, same, atol=0.05)


def unlike(rows: pd.DataFrame, some: pd.Series) -> None:
    """Make a network say of some rows, in place, what it says of single stars."""
    columns = ["score", "logit", *(f"l{k}" for k in range(BINS))]
    singles = rows.loc[rows["label"] == 0, columns].to_numpy()
    rows.loc[some, columns] = singles[np.arange(some.sum()) % len(singles)]


def test_a_survey_with_few_pairs_is_calibrated_as_the_others_are() -> None:
    rows = scored(9000, ("SDSS", "HST", "ZTF"))
    rows = rows[(rows["survey"] != "ZTF") | (rows.index % 15 == 0)].reset_index(drop=True)
    unseen = (rows["label"] > 0) & (rows["sep_arcsec"] < 0.45)
    unlike(rows, unseen)
    standing = learn(rows.assign(weight=np.where(unseen, 0.0, 1.0)))
    assert 50 <= ((rows["survey"] == "ZTF") & (rows["label"] > 0) & ~unseen).sum() < 150
    for one in (standing.every, *standing.surveys.values()):  # as the visible ones were made
        assert one.scale == pytest.approx(2.0, rel=0.12) and one.offset == pytest.approx(-2.0, abs=0.3)
        assert one.taught is not None and one.taught[1] < 0.01 and one.seen is not None and one.seen[1] == 0
    assert standing.surveys["ZTF"].scale == standing.every.scale


def test_calibration_is_judged_where_half_of_all_are_double() -> None:
    standing, rows = learn(scored()), scored(12_000, seed=2)
    fewer = rows[(rows["label"] == 0) | (np.arange(len(rows)) % 4 == 0)].reset_index(drop=True)
    for some in (rows, fewer):
        assert judge(some, standing)["calibration"]["ece_middle"] < 0.045


def test_a_card_that_says_nothing_is_refused() -> None:
    standing = learn(scored())
    assert VisualStanding.of({"standing": standing.model_dump()}, "here") == standing
    with pytest.raises(CorruptModel, match="here"):
        VisualStanding.of({}, "here")
    with pytest.raises(UsageError, match="calibrated"):
        learn(scored().assign(label=1))


def standing_of(shares: list[float] | None = None) -> VisualStanding:
    return VisualStanding(every=Calibration(scale=1, offset=0), surveys={}, shares=shares or [0.125] * 8,
                          threshold=0.5, prior=0.09)  # fmt: skip


def test_one_survey_alone_says_what_its_logit_says() -> None:
    rows = scored(200)
    standing = standing_of([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    np.testing.assert_allclose(standing.odds(standing.evidence(rows)), rows["logit"], atol=1e-9)
    np.testing.assert_allclose(standing.p_prior(0.0), 0.09)


def test_surveys_that_agree_on_a_separation_say_more_than_those_that_do_not() -> None:
    standing = standing_of()
    wide, close = np.full((2, BINS), -4.0)
    wide[8], close[1], wide[0], close[0] = 3.0, 3.0, 0.0, 0.0

    def fused(*outputs: np.ndarray) -> float:
        columns = {"survey": ["any"] * len(outputs), **read(np.stack(outputs))}
        return float(standing.odds(standing.evidence(columns), np.zeros(len(outputs)))[0])

    assert fused(wide, wide) > fused(wide) > fused(wide, close)
    # What a survey cannot see it does not deny: one that sees nothing wide leaves a close pair as it was.
    denies_wide = np.array([2.0, 1.9, -3, -3, -3, -3, -3, -3, -3])
    assert fused(close, denies_wide) > fused(wide, denies_wide) + 2


def test_surveys_that_cannot_tell_do_not_count() -> None:
    standing = standing_of()
    rows = scored(4)
    evidence = standing.evidence(rows)
    evidence[3] = np.nan
    odds = standing.odds(evidence, [0, 0, 1, 2], [True, False, False, True])
    assert odds[0] == pytest.approx(rows["logit"][0]) and np.isnan(odds[1:]).all()


def test_expected_precision_by_hand() -> None:
    assert expected_precision(0.8, 0.01, 0.09) == pytest.approx(0.072 / (0.072 + 0.0091))


# verdicts


def test_completeness_at_a_share_of_false_ones_by_hand() -> None:
    rows = scored(3000).assign(delta_mag=1.0)
    score = rows["logit"].to_numpy()
    told = at_false(rows, score, 0.01)
    inside = (rows["sep_arcsec"] >= 0.2) & (rows["label"] == 1)
    others = np.sort(score[rows["label"] == 0])
    cut = others[len(others) - 1 - int(0.01 * len(others))]
    assert told["cut"] == cut and (score[rows["label"] == 0] > cut).mean() <= 0.01
    assert told["completeness"] == pytest.approx((score[inside] > cut).mean()) and told["doubles"] == inside.sum()
    assert told["interval"][0] < told["completeness"] < told["interval"][1]
    cells = grid(rows, score, cut)
    assert cells["n"].sum() == (rows["label"] == 1).sum() and cells["completeness"].between(0, 1).all()
    assert (cells["low"] <= cells["completeness"]).all() and (cells["completeness"] <= cells["high"]).all()
    unscored = at_false(rows, np.where(inside, np.nan, score), 0.01)
    assert unscored["completeness"] == 0
    assert at_false(rows[rows["label"] == 1], score[rows["label"] == 1], 0.01)["completeness"] is None


def test_classification_is_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    rng = np.random.default_rng(0)
    double = rng.random(500) < 0.3
    taken = np.where(rng.random(500) < 0.8, double, ~double)
    told = classification(double, taken)
    for group, average in (("macro", "macro"), ("weighted", "weighted")):
        values = precision_recall_fscore_support(double, taken, average=average)[:3]
        np.testing.assert_allclose([told[group][name] for name in ("precision", "recall", "f1")], values)
    for number, name in enumerate(("single", "double")):
        values = [part[number] for part in precision_recall_fscore_support(double, taken)]
        np.testing.assert_allclose([told[name][f] for f in ("precision", "recall", "f1", "support")], values)
        assert told[name]["f1_interval"][0] < told[name]["f1"] < told[name]["f1_interval"][1]
    assert told["accuracy"] == pytest.approx(accuracy_score(double, taken))
