"""From trials to completeness and reliability: the arithmetic of the tables, and what rows look up in them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from catalogs import write
from catalogs.recovery import COMPLETENESS, RELIABILITY
from pipeline.lightcurves import completeness, recovery, reliability, sensitivity
from pipeline.lightcurves.trials import class_found
from pipeline.metrics import wilson

BLANK = {"klass_found": "EA", "period_found": np.nan, "depth_found": np.nan}


def injected(n, tiers, tmag=9.0, period=1.0, depth=0.05):
    """Return n injections at a place, tiers in turn."""
    own = {"sort": "injected", "kind": "EA", "tmag": tmag, "period": period, "depth": depth}
    return [own | BLANK | {"tier": tiers[k % len(tiers)]} for k in range(n)]


def null(sort, n, alarms, klass="EA", period=1.0, depth=0.05, kind="inverted"):
    """Return n stars that are no eclipsing binaries, of which some are found all the same."""
    own = {"sort": sort, "kind": kind, "tmag": 9.0, "period": np.nan, "depth": np.nan}
    false = {"tier": "high", "klass_found": klass, "period_found": period, "depth_found": depth}
    return [own | BLANK | {"tier": "none"} | (false if k < alarms else {}) for k in range(n)]


def row_at(table, tmag=9.0, period=1.0, depth=0.05):
    inside = [(table[f"{name}_low"] <= x) & (x < table[f"{name}_high"])
              for name, x in (("tmag", tmag), ("period", period), ("depth", depth))]  # fmt: skip
    (found,) = table[inside[0] & inside[1] & inside[2]].to_dict("records")
    return found


def conforms(table, schema, folder):
    write.write(folder, "table.parquet", pa.Table.from_pandas(table, preserve_index=False), schema)


def test_the_share_found_is_k_of_n_with_wilsons_interval(workspace):
    table = completeness.tabulate(pd.DataFrame(injected(40, ["high", "high", "low", "none"])))
    own = row_at(table)
    assert (own["own"], own["injected"], own["found"], own["found_low"], own["borrowed"]) == (40, 40, 20, 30, 0)
    assert own["completeness"] == 0.5 and (own["lower"], own["upper"]) == wilson(20, 40)
    conforms(table, COMPLETENESS, workspace)


def test_a_bin_with_few_injections_borrows_in_period_first_and_says_so():
    edge = completeness.PERIOD_EDGES
    beside = float(edge[np.searchsorted(edge, 1.0)] * 1.1)
    table = completeness.tabulate(pd.DataFrame(injected(10, ["high"]) + injected(10, ["none"], period=beside)))
    own = row_at(table)
    assert (own["own"], own["injected"], own["found"], own["borrowed"]) == (10, 20, 10, 1)
    fainter = row_at(table, tmag=10.5)
    assert (fainter["own"], fainter["injected"], fainter["borrowed"]) == (0, 20, 2)
    far = row_at(table, tmag=15.0, depth=0.5)
    assert np.isnan(far["completeness"]) and far["injected"] == 0 and far["borrowed"] == 4


def test_rows_look_up_their_own_bin_and_nothing_outside_the_grid():
    found = injected(40, ["high"]) + injected(40, ["high", "none"], tmag=14.5, depth=0.002, period=60.0)
    table = completeness.tabulate(pd.DataFrame(found)).sample(frac=1, random_state=1)
    places = {"tmag": [9, 14.5, 9, 9, 9, np.nan, 3.9], "period": [1, 59, 0.19, 60.1, np.nan, 1, 1]}
    values = completeness.at(table, **places, depth=[0.05, 0.002, 0.05, 0.05, 0.05, 0.05, 0.05])
    np.testing.assert_array_equal(values, [1.0, 0.5, *[np.nan] * 5])


def test_a_lower_limit_has_no_completeness():
    trials = pd.DataFrame(injected(40, ["high", "none"]) + null("inverted", 500, 5))
    made = recovery.Recovery(
        {}, completeness.tabulate(trials), reliability.tabulate(trials, pd.DataFrame(systems(50)), stars())
    )
    own = {"tmag": 9.0, "period": 1.0, "depth_1": 0.05, "tier": "high", "p_ea": 0.9, "p_beta": 0.0, "p_ew": 0.0}
    found = made.joined(pd.DataFrame([own | {"period_flag": flag} for flag in ("exact", "lower_limit", None)]))
    np.testing.assert_array_equal(found["completeness"], [0.5, np.nan, 0.5])
    assert found["period"].tolist() == [1, 1, 1] and found["reliability"].notna().all()


def stars(n=1000, p_eb=0.1, varying=0.3):
    return pd.DataFrame({"p_eb": np.full(n, p_eb), "varies": np.arange(n) < varying * n})


def systems(n, klass="EA", tier="high", period=1.0, depth_1=0.05):
    return [{"tier": tier, "klass": klass, "period": period, "depth_1": depth_1}] * n


def test_reliability_is_one_less_expected_over_found(workspace):
    trials = pd.DataFrame(
        null("inverted", 500, 5)
        + null("simulated", 200, 10, "EW", 0.4, 0.1, "RRL")
        + null("labelled", 100, 5, "EW", 0.4, 0.1, "GDOR")
        + null("simulated", 50, 50, "EA", 1.0, 0.05, "ROT")  # no null for dips: there are real ones upside down
    )
    rows = systems(50) + systems(30, "EW", period=0.4, depth_1=0.1) + systems(20, tier="low")
    table = reliability.tabulate(trials, pd.DataFrame(rows), stars())
    conforms(table, RELIABILITY, workspace)
    high = table[table["tier"] == "high"].set_index(["klass", "place"])
    ea, ew = (high.loc[(k, int(reliability.places([p], [d])[0]))] for k, p, d in (("EA", 1.0, 0.05), ("EW", 0.4, 0.1)))
    # 900 of the stars are no eclipsing binaries; 270 of these vary
    assert ea["expected"] == pytest.approx(900 * 5 / 500) and ea["reliability"] == pytest.approx(1 - 9 / 50)
    assert ew["expected"] == pytest.approx(270 * 15 / 350) and ew["reliability"] == pytest.approx(
        1 - 270 * 15 / 350 / 30
    )
    low, up = wilson(5, 500)
    assert (ea["lower"], ea["upper"]) == pytest.approx((1 - 900 * up / 50, 1 - 900 * low / 50))
    both = table[table["tier"] == "low"].set_index(["klass", "place"]).loc[("EA", ea.name[1])]
    assert both["rows"] == 20 and both["dips_alarms"] == 0 and np.isnan(both["reliability"])  # 500 trials of 900 stars


def test_no_alarm_among_few_trials_says_nothing():
    rows = pd.DataFrame(systems(50))
    few, enough = (reliability.tabulate(pd.DataFrame(null("inverted", n, 0)), rows, stars()) for n in (32, 400))
    assert np.isnan(reliability.at(few, rows)).all() and few[["lower", "upper"]].isna().all(axis=None)
    assert (reliability.at(enough, rows) == 1).all() and enough["lower"].max() > 0.8


def test_reliability_is_looked_up_by_tier_class_and_place():
    trials = pd.DataFrame(null("inverted", 500, 5) + null("inverted", 500, 40, period=np.nan))
    rows = pd.DataFrame(systems(50) + systems(80, period=np.nan, depth_1=np.nan))
    table = reliability.tabulate(trials, rows, stars())
    asked = pd.DataFrame(
        systems(1) + systems(1, period=np.nan) + systems(1, "EW") + systems(1, tier="none") + systems(1, period=5000.0)
    )
    found = reliability.at(table, asked)
    assert found[0] == pytest.approx(1 - 900 * 5 / 1000 / 50) and found[1] == pytest.approx(1 - 900 * 40 / 1000 / 80)
    assert np.isnan(found[2:]).all()


def test_nothing_is_known_without_trials_and_never_below_nothing():
    rows = pd.DataFrame(systems(12))
    empty = reliability.tabulate(pd.DataFrame(null("simulated", 5, 0)), rows, stars())
    assert np.isnan(reliability.at(empty, rows)).all()
    flood = reliability.tabulate(pd.DataFrame(null("inverted", 2000, 1960)), rows, stars())
    assert (reliability.at(flood, rows) == 0).all()


def test_without_classes_both_nulls_count():
    trials = pd.DataFrame(null("inverted", 1000, 10, "E") + null("simulated", 1000, 20, "E", kind="ROT"))
    rows = pd.DataFrame(systems(60, "E"))
    found = reliability.at(reliability.tabulate(trials, rows, stars()), rows)
    assert found[0] == pytest.approx(1 - (900 * 0.01 + 270 * 0.02) / 60)
    unknown = pd.DataFrame({"p_ea": [np.nan, 0.2], "p_beta": [np.nan, 0.3], "p_ew": [np.nan, 0.1]})
    assert class_found(unknown) == ["E", "EB"] and class_found(pd.DataFrame({"p_eb": [0.5]})) == ["E"]


def test_pictures_show_what_the_tables_say():
    trials = pd.DataFrame(
        injected(40, ["high", "none"]) + null("inverted", 100, 3) + null("simulated", 50, 1, kind="ROT")
    )
    counted = sensitivity.rates(trials).set_index(["sort", "kind"])
    assert counted.loc[("inverted", "inverted"), ["trials", "high"]].tolist() == [100, 3]
    picture = sensitivity.alarms(counted.reset_index(), "caption")
    assert "upside down  (3 of 100)" in picture.alt and "simulated ROT  (1 of 50)" in picture.alt
    drawn = sensitivity.completeness_map(completeness.tabulate(trials), "caption")
    assert "Tmag 8 to 10" in drawn.alt and drawn.size[0] > 400
    assert sensitivity.completeness_map(completeness.tabulate(trials[:0]), "caption").size[0] > 400
