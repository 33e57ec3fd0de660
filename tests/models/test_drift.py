"""No alarm on batches like those of the training, one on each shift; figures that mean what they say."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catalogs.monitor import BINS, MONITOR
from models import monitor
from models.drift import Shift, compare, ranks
from models.reference import COMPARED, Reference, alike, learn
from pipeline.errors import CorruptModel
from tests.models.toy_nights import SURVEYS, Survey, candidates, shifted

MODEL = "realbogus-00000000"
IMAGES, EACH = 24, 20


@cache
def reference() -> Reference:
    return learn(candidates(SURVEYS, 120, seed=1, each=EACH))


@cache
def held_out() -> pd.DataFrame:
    """Return twenty batches of 480 candidates of images that the reference has none of."""
    return candidates(SURVEYS, 20 * IMAGES, seed=2, each=EACH)


def verdict(rows: pd.DataFrame, by: tuple[str, ...] = ("batch",)) -> pd.DataFrame:
    return compare(reference(), monitor.summary(MODEL, "b", rows).to_pandas(), by)


def drifted(table: pd.DataFrame) -> set[str]:
    return set(table.loc[table["is_alarm"], "statistic"])


def test_twenty_batches_like_training_raise_no_alarm() -> None:
    size = IMAGES * EACH
    whole = [held_out()[first : first + size] for first in range(0, len(held_out()), size)]
    mixed = [held_out().sample(size, random_state=seed) for seed in range(20)]
    assert len(whole) == 20
    assert not any(drifted(verdict(batch)) for batch in whole + mixed)


@pytest.mark.parametrize("seed", [11, 12])
def test_shifts_raise_an_alarm_and_say_of_what(seed: int) -> None:
    def seen(*surveys: Survey) -> pd.DataFrame:
        return verdict(candidates(surveys, IMAGES, seed, EACH))

    seeing = seen(*(shifted(one, seeing=1.5) for one in SURVEYS))
    assert "fwhm_science" in drifted(seeing) and "fwhm_reference" not in drifted(seeing)
    row = seeing.set_index("statistic").loc["fwhm_science"]
    assert row["now"] > 1.2 * row["before"]
    background = seen(*(shifted(one, background=4) for one in SURVEYS))
    assert "noise_ratio" in drifted(background) and "fwhm_science" not in drifted(background)
    other = seen(Survey("wide", (1.1, 1.5), (1.0, 1.4), (5.0, 40.0)))
    assert {"fwhm_science", "fwhm_reference"} <= drifted(other)


def test_another_share_of_real_ones_is_no_drift() -> None:
    few = verdict(candidates([replace(one, real=0.05) for one in SURVEYS], IMAGES, 5, EACH))
    assert not drifted(few) and few["share"].iloc[0] == pytest.approx(0.05, abs=0.04)


def test_other_scores_are_an_alarm_of_scores_alone() -> None:
    batch = held_out()[: IMAGES * EACH]
    table = verdict(batch.assign(logit=batch["logit"] + 5, novelty=0.99))
    assert set(table.loc[table["is_alarm"], "kind"]) == {"scores"} and drifted(table) == {"logit", "novelty"}


def test_a_few_candidates_or_a_single_image_cannot_cry() -> None:
    strange = candidates([shifted(one, seeing=1.5) for one in SURVEYS], 2, 7, EACH)
    assert not drifted(verdict(strange)) and not drifted(verdict(strange[:3]))


def test_surveys_and_filters_are_compared_with_their_own() -> None:
    assert {"/", "fine/", "coarse/", "fine/g", "coarse/r"} <= set(reference().strata)
    assert reference().stratum("fine", "z")[0] == "fine/" and reference().stratum("new", "g")[0] == "/"
    one = held_out()[held_out()["survey"] == "fine"][:480]
    assert not drifted(verdict(one)) and drifted(verdict(one.assign(survey="coarse")))
    by = verdict(held_out(), ("survey", "filter"))
    assert len(by) == 4 * len(COMPARED) and not by["is_alarm"].any()


def test_a_reference_survives_its_card() -> None:
    text = reference().model_dump_json()
    again = Reference.of({"drift": reference().model_dump(mode="json")}, "card.json")
    assert again == reference() and len(text) < 50_000
    with pytest.raises(CorruptModel, match=r"card\.json: drift"):
        Reference.of({}, "card.json")
    with pytest.raises(CorruptModel, match="drift"):
        Reference.of({"drift": {"strata": {"/": {"real": {"peak": "3:1 x"}}}}}, "card.json")


def test_values_of_an_image_are_as_alike_as_they_were_made() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(400), 10)
    shared = rng.normal(size=400)[images]
    own = rng.normal(size=4000)
    assert alike(own, images) < 0.03 and alike(shared, images) > 0.99
    assert alike(shared + own, images) == pytest.approx(0.5, abs=0.06)
    assert alike(np.ones(4000), images) == 0 and alike(own, np.zeros(4000)) == 1


def test_p_is_as_rare_as_it_says() -> None:
    """Of independent values, and of values in clumps."""
    rng = np.random.default_rng(1)
    for clump in (1, 10):
        low = []
        for _ in range(400):
            values = np.repeat(rng.random(300 // clump), clump)
            places = np.histogram(values, 50, (0, 1))[0].astype(float)
            low.append(Shift.of(places, 300 / clump, 1e9).p)
        assert 0.0 < np.mean(np.array(low) < 0.05) < 0.08


counts = arrays(float, BINS, elements=st.integers(0, 500).map(float))


@given(counts, counts)
def test_psi_and_ks_are_no_less_than_zero_and_zero_for_the_same(found: np.ndarray, expected: np.ndarray) -> None:
    shift = Shift.of(ranks(found, expected), max(found.sum(), 1), max(expected.sum(), 1))
    assert shift.psi >= 0 and 0 <= shift.ks <= 1 and 0 <= shift.p <= 1
    assert ranks(found, expected).sum() == pytest.approx(found.sum())
    if found.sum() > 0:
        same = Shift.of(ranks(found, found), found.sum(), found.sum())
        assert same.psi == pytest.approx(0, abs=1e-3) and same.ks < 1e-3 and same.p == pytest.approx(1, abs=0.01)


@given(counts, st.integers(2, 5))
def test_the_same_twice_is_no_more_shift(found: np.ndarray, times: int) -> None:
    found[0] += 1
    expected = np.ones(BINS)
    once, often = ranks(found, expected), ranks(times * found, expected)
    assert often == pytest.approx(times * once)
    assert Shift.of(often, 100, 1e3) == pytest.approx(Shift.of(once, 100, 1e3))


def test_an_empty_log_has_an_empty_verdict() -> None:
    table = compare(reference(), MONITOR.empty().to_pandas())
    assert table.empty and not table["is_alarm"].any() and "survey" in table
