"""What models find among real stars, and how two compare."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.verdict import compare, judge, markdown, mistakes, threshold
from models.verdict_page import page
from pipeline.errors import UsageError
from pipeline.lightcurves.labelled import Labelled


def stars(missed: int = 4, seed: int = 0) -> pd.DataFrame:
    """Return 40 binaries of known class, of which so many score low, 20 of unknown class, 500 others, 5 in doubt."""
    rng = np.random.default_rng(seed)
    n = {"EB:EA": 40, "EB:KEBC": 20, "NONVAR": 500, "NONVAR?": 5}
    kind = np.repeat(list(n), list(n.values()))
    table = pd.DataFrame(
        {"tic_id": np.arange(len(kind)), "kind": kind, "sector": np.where(np.arange(len(kind)) % 4, 14, 15)}
    )
    table["klass"] = table["kind"].map({"EB:EA": "EA", "EB:KEBC": "E"}).fillna("other")
    table["label"] = (table["klass"] != "other").astype(int)
    table["weight"] = table["kind"].map({"EB:EA": 3.0, "NONVAR": 1.0}).fillna(0.0)
    table["score"] = np.where(table["label"] == 1, 0.9, 0.1) + rng.uniform(-0.05, 0.05, len(table))
    table.loc[: missed - 1, "score"] = 0.01
    said = np.where(table["tic_id"] < 10, "p_beta", "p_ea")
    table = table.assign(**{name: np.where(said == name, 0.9, 0.0) for name in ("p_ea", "p_beta", "p_ew", "p_ell")})
    table = table.assign(morph=0.01 * (table["tic_id"] % 40), vsx=np.where(table["tic_id"] < 20, "EB/RS", None))
    table["prsa_morph"] = np.where(table["tic_id"] < 40, table["morph"] + 0.1, np.nan)
    table["dip_snr"] = np.where(table["klass"] == "E", np.arange(len(kind)) - 30.0, np.nan)
    return table  # fmt: skip


def test_one_in_a_hundred_of_the_others_passes() -> None:
    table = stars()
    table.loc[table["kind"] == "NONVAR?", "score"] = 1.0  # in doubt: they do not count
    others = table[table["kind"] == "NONVAR"]
    assert (others["score"] >= threshold(table)).sum() == 5


def test_without_a_star_that_counts_there_is_no_threshold() -> None:
    with pytest.raises(UsageError, match="does not eclipse"):
        threshold(stars().assign(weight=0.0))


def test_each_group_of_stars_is_judged_apart() -> None:
    verdict = judge(stars())
    assert verdict["kinds"]["EB:EA"] | {"interval": None} == {
        "eclipsing": True, "counted": True, "stars": 40, "found": 36, "share": 0.9, "interval": None,
    }  # fmt: skip
    low, high = verdict["kinds"]["EB:EA"]["interval"]
    assert (low, high) == pytest.approx((0.7695, 0.9604), abs=1e-3)  # Wilson, 36 of 40
    assert verdict["kinds"]["EB:KEBC, in doubt"]["found"] == 20
    assert sum(part["stars"] for part in verdict["dips"].values()) == 20
    assert verdict["sectors"]["eclipsing, sector 14"]["stars"] == 30
    assert verdict["sectors"]["eclipsing, others"] | {"interval": 0} == {
        "stars": 10, "found": 9, "share": 0.9, "interval": 0,
    }  # fmt: skip
    table = markdown({"eb": verdict, "calnet": verdict})
    assert "| EB:EA | 36/40 = 0.900 (0.769–0.960) | 36/40" in table and "unknown class, dip S/N 10 to 15" in table


def test_kinds_of_binaries_are_compared_with_what_others_say() -> None:
    verdict = judge(stars())
    assert verdict["classes"]["matrix"][0] == [30, 6, 0, 0]  # of the 36 EA found
    assert verdict["classes"]["balanced_accuracy"] == pytest.approx(30 / 36)
    assert verdict["vsx"]["matrix"][1] == [10, 6, 0, 0]  # "EB/RS" is an EB
    assert verdict["morph"] == {"stars": 36, "mae": pytest.approx(0.1), "spearman": pytest.approx(1.0)}
    assert "classes" not in judge(stars().assign(p_ea=np.nan))
    for none_found in (stars(), stars(40).assign(label=0)):  # in a file without what others say
        judged = judge(none_found.assign(vsx=np.nan, prsa_morph=np.nan))
        assert np.sum(judged["vsx"]["matrix"]) == 0


def test_half_the_misses_are_half_the_misses() -> None:
    compared = compare(stars(4), stars(8))
    assert (compared["missed"], compared["missed_theirs"], compared["missed_by_one_only"]) == (4, 8, [0, 4])
    assert compared["ratio"] == 0.5 and compared["p_value"] == pytest.approx(0.125)
    low, high = compared["ratio_interval"]
    assert low < 0.5 < high <= 1


def test_every_mistake_is_shown(tmp_path: Path) -> None:
    table = stars()
    time = np.arange(0, 26, 1 / 48)
    flux = np.where((time % 3.1) < 0.15, 0.9, 1.0) + np.random.default_rng(0).normal(0, 1e-3, len(time))
    numbers, length = range(len(table)), len(time)
    columns = {"tic_id": list(numbers), "label": table["kind"].tolist()}
    columns |= {
        "time": [time] * len(table),
        "flux": [1e4 * flux] * len(table),
        "quality": [np.zeros(length, int)] * len(table),
    }
    pq.write_table(pa.table(columns), tmp_path / "stars.parquet")
    doubted = int(table.loc[table["kind"] == "NONVAR", "tic_id"].iloc[0])
    labelled = Labelled(tmp_path / "stars.parquet", [doubted])
    table.loc[table["tic_id"] == doubted, "weight"] = 0.0
    chosen = mistakes(table, labelled.doubted_here)
    assert {name: len(rows) for name, rows in chosen.items()} == {"doubted": 1, "missed": 4, "false": 4}
    html = page(labelled, {"eb": table, "calnet": stars(8)}).render()
    for row in pd.concat(chosen.values()).itertuples():
        assert f"TIC {row.tic_id}, sector {row.sector}" in html
    assert "0.125" in html  # McNemar's p
