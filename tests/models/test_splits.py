"""Nothing that judges was learnt from, however rows hang together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data import FOLDS
from models.splits import SPLITS, prove, split, units
from pipeline.errors import Leak, UsageError
from pipeline.settings import TrainSettings


def index(count: int = 400, fields: int = 60, seed: int = 0, **columns: object) -> pd.DataFrame:
    """Return rows of fields far apart on the real sky, half of them real."""
    rng = np.random.default_rng(seed)
    field = rng.integers(fields, size=count)
    kinds = np.array(["cosmic_ray", "dipole", "hot", "transient", "mover"])
    kind = kinds[rng.integers(5, size=count)]
    table = pd.DataFrame({
        "row": np.arange(count), "field": [f"f{one:03d}" for one in field],
        "object_id": [f"o{one}" for one in range(count)], "survey": np.where(field % 2, "ztf", "lsst"),
        "ccd": (field % 7).astype(str), "filter": np.array(["g", "r", "i"])[field % 3], "mjd_mid": 59000.0 + field,
        "ra": field * 4.0 + rng.uniform(0, 1, count), "dec": rng.uniform(-1, 1, count), "pixscale": 1.0,
        "label": np.isin(kind, ["transient", "mover"]).astype(int), "kind": kind, "weight": 1.0,
    })  # fmt: skip
    return table.assign(**columns)


def leaks(table: pd.DataFrame, reach: float) -> list[str]:
    """Say what two folds share, found the slow way."""
    found = []
    for column in ("field", "object_id"):
        named = table[table[column] != ""]
        found += [f"{column} {name}" for name, rows in named.groupby(column) if rows["fold"].nunique() > 1]
    real = table[~table["survey"].str.startswith("simulated") & table["ra"].notna()]
    ra, dec = np.radians(real["ra"].to_numpy()), np.radians(real["dec"].to_numpy())
    dra, ddec = ra[:, None] - ra, dec[:, None] - dec
    half = np.sin(ddec / 2) ** 2 + np.cos(dec)[:, None] * np.cos(dec) * np.sin(dra / 2) ** 2
    apart = np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600
    fold = real["fold"].to_numpy()
    return found + ["sky"] * int(((apart < reach) & (fold[:, None] != fold)).sum())


@given(seed=st.integers(0, 10_000), by=st.sampled_from(SPLITS), crowded=st.booleans(), spread=st.sampled_from([1, 4]))
@settings(max_examples=30, deadline=None)
def test_nothing_is_ever_in_two_folds(seed: int, by: str, crowded: bool, spread: int) -> None:
    rng = np.random.default_rng(seed)
    table = index(seed=seed)
    again = rng.integers(len(table), size=40)  # objects seen again, in another field, filter, night
    table.loc[rng.integers(len(table), size=40), "object_id"] = table.loc[again, "object_id"].to_numpy()
    table.loc[rng.integers(len(table), size=30), "field"] = ""
    if crowded:  # the edge of a field lies on another's
        some = rng.integers(len(table), size=10)
        places = table.loc[rng.integers(len(table), size=10), ["ra", "dec"]].to_numpy()
        table.loc[some, ["ra", "dec"]] = places + rng.uniform(-1, 1, (10, 2)) * 0.01
    if spread == 1:  # the survey sees its fields over and over: each has both sides
        table["mjd_mid"] = rng.uniform(59000, 59100, len(table))
        table["filter"] = rng.choice(["g", "r", "i"], len(table))
    table.loc[rng.integers(len(table), size=20), "survey"] = "simulated-A"
    try:
        done = split(table, TrainSettings(split_by=by, seed=seed, test=0.3, validation=0.2))
    except Leak:
        raise
    except UsageError:  # a fold lacks real or bogus ones
        return
    assert not leaks(done, 5.0)
    assert set(done["fold"]) == set(FOLDS)
    assert done["row"].is_unique and set(done["row"]) <= set(table["row"])


def test_what_shares_an_object_a_field_or_pixels_is_one_unit() -> None:
    table = index(6, object_id=list("abcade"), field=["A", "B", "C", "D", "", "F"], ra=[0, 9, 20, 30, 9.01, 40.0],
                  dec=0.0)  # fmt: skip
    assert list(units(table)) == ["A", "B", "C", "A", "B", "F"]
    assert list(units(table.assign(pixscale=0.2))) == ["A", "B", "C", "A", "d", "F"]
    assert list(units(table.assign(survey="simulated-B"))) == ["A", "B", "C", "A", "d", "F"]
    with pytest.raises(UsageError, match="1 triplets have neither field nor object_id"):
        units(table.assign(object_id=[*list("abca"), "", "e"]))


def test_a_unit_keeps_its_fold_when_others_come() -> None:
    table, chosen = index(), TrainSettings(split_by="field")
    more = pd.concat([table, index(300, seed=5, field="new", ra=300.0, object_id="new")], ignore_index=True)
    before, after = (split(one, chosen).groupby("field")["fold"].first() for one in (table, more))
    assert (after[before.index] == before).all()


def test_folds_together_test_every_row_once() -> None:
    parts = [split(index(), TrainSettings(split_by="field", folds=4, fold=fold)) for fold in range(4)]
    tested = pd.concat([part[part["fold"] == "test"] for part in parts])
    assert sorted(tested["row"]) == list(range(400))


def test_time_filter_survey_and_ccd_stand_apart() -> None:
    late = split(index(), TrainSettings(split_by="temporal"))
    test = late["fold"] == "test"
    assert late.loc[test, "mjd_mid"].min() > late.loc[~test, "mjd_mid"].max()
    assert test.mean() == pytest.approx(0.15, abs=0.05)
    for by in ("filter", "survey", "ccd"):
        done = split(index(), TrainSettings(split_by=by))
        sides = [set(done.loc[rows, "survey"] + done.loc[rows, by] if by == "ccd" else done.loc[rows, by])
                 for rows in (done["fold"] == "test", done["fold"] != "test")]  # fmt: skip
        assert sides[0] and not sides[0] & sides[1]
        assert len(done) == 400
    named = split(index(), TrainSettings(split_by="survey:ztf"))
    assert set(named.loc[named["fold"] == "test", "survey"]) == {"ztf"}
    assert set(named.loc[named["fold"] != "test", "survey"]) == {"lsst"}
    with pytest.raises(UsageError, match="survey:decam: no triplet has it; there are lsst, ztf"):
        split(index(), TrainSettings(split_by="survey:decam"))


def test_a_field_seen_in_two_filters_loses_one_side() -> None:
    table = index(filter=["g", "r"] * 200)
    done = split(table, TrainSettings(split_by="filter:g"))
    test = done["fold"] == "test"
    assert set(done.loc[test, "filter"]) == {"g"} and set(done.loc[~test, "filter"]) == {"r"}
    assert 120 < len(done) < 280


@pytest.mark.parametrize("kind", ["dipole", "mover"])
def test_a_kind_left_out_is_in_the_test_alone(kind: str) -> None:
    done = split(index(), TrainSettings(split_by=f"kind:{kind}", test=0.3))
    assert set(done.loc[done["kind"] == kind, "fold"]) == {"test"}
    assert {0, 1} == set(done.loc[done["fold"] == "test", "label"])
    drawn = split(index(), TrainSettings(split_by="kind"))
    gone = set(drawn.loc[drawn["fold"] == "test", "kind"]) - set(drawn.loc[drawn["fold"] == "train", "kind"])
    assert len(gone) == 1 and gone < {"cosmic_ray", "dipole", "hot"}


def test_leaks_are_named() -> None:
    table = index(4, fields=4, object_id=list("abcd"), field=list("ABCD"), ra=[0.0, 5, 10, 15], dec=0.0)
    fine = table.assign(fold=["train", "train", "validation", "test"])
    prove(fine)
    with pytest.raises(Leak, match="object b"):
        prove(fine.assign(object_id=list("abbd")))
    with pytest.raises(Leak, match="field C"):
        prove(fine.assign(field=list("ABCC")))
    near = fine.assign(ra=[0.0, 5, 10, 5.001])
    with pytest.raises(Leak, match=r"same sky in two folds: (d and b|b and d)"):
        prove(near)
    with pytest.raises(Leak, match="same sky"):
        prove(near.drop(columns="pixscale"))
    prove(near.assign(survey="simulated-A"))
    prove(near.assign(ra=[0.0, 5, 10, 5.01], pixscale=0.1))
    prove(fine.assign(ra=np.nan, dec=np.nan))
    with pytest.raises(Leak, match="same sky"):  # the meridian is no border
        prove(fine.assign(ra=[359.9999, 5, 10, 0.0001]))


def test_what_cannot_be_split_so_is_refused() -> None:
    for by, said in (
        ("star", "triplets are split by field"),
        ("temporal", "have no mjd_mid"),
        ("ccd", "and 1 of none"),
    ):
        table = index(mjd_mid=np.nan, ccd=[""] + ["1"] * 399)
        with pytest.raises(UsageError, match=said):
            split(table, TrainSettings(split_by=by))
    with pytest.raises(UsageError, match=r"no real triplet in the (train|validation) fold"):
        split(index(label=[1] + [0] * 399), TrainSettings(split_by="field"))
    with pytest.raises(UsageError, match="nothing is left"):
        split(index(), TrainSettings(split_by="field", test=0.6, validation=0.5))
    with pytest.raises(UsageError, match="no folds"):
        split(index(), TrainSettings(split_by="survey", folds=3))


def test_rows_of_no_weight_are_judged_and_not_learnt() -> None:
    done = split(index(weight=[0.0, 1.0] * 200), TrainSettings(split_by="field"))
    assert (done.loc[done["fold"] == "train", "weight"] > 0).all()
    assert (done.loc[done["fold"] == "test", "weight"] == 0).any()
