import contextlib
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.folder import Folder
from catalogs.query import QueryError, _frame, _where, query, separation
from catalogs.releases import releases
from catalogs.schema import STARS
from catalogs.write import write

MODEL = "calnet-0123abcd"  # that of the fixture `workspace`


def test_whole_catalogue_keeps_types_units_and_lists(workspace, stars):
    frame = query(workspace)
    assert len(frame) == 200 and frame.columns.tolist() == stars.column_names
    assert frame["tic_id"].dtype == np.int64 and frame["n_segments"].dtype == np.int32
    assert list(frame["sectors"][3]) == [1, 4]
    assert frame.attrs["units"]["gls_period"] == "d"
    assert frame.attrs["source"] == [workspace.url("catalogs/eclipsing_binaries.parquet")]


def test_ids_unknown_ones_are_a_note_not_an_error(workspace):
    frame = query(workspace, ids=[13, "TIC 16", "tic-11"])
    assert frame["tic_id"].tolist() == [13, 16]
    assert frame.attrs["notes"] == ["not in eclipsing_binaries: TIC 11"]
    assert query(workspace, ids=11).empty
    assert query(workspace, ids=[]).empty
    assert not query(workspace, ids=13, min_score=0.9).attrs["notes"]  # it is there, only not that good
    with pytest.raises(QueryError, match="'Vega' is not a TIC identifier"):
        query(workspace, ids=["Vega"])


def test_score_where_columns_limit(workspace, stars):
    assert len(query(workspace, min_score=0.5)) == 100
    frame = query(workspace, where="TMAG < 12 AND list_contains(sectors, 7)", columns=["tmag", "tic_id"], limit=3)
    assert frame.columns.tolist() == ["tmag", "tic_id"] and 0 < len(frame) <= 3 and (frame["tmag"] < 12).all()
    assert query(workspace, where="ra IS NULL")["tic_id"].tolist() == stars.column("tic_id").to_pylist()[-1:]
    assert query(workspace, where="p_eb > 2").empty
    with pytest.raises(QueryError, match=r"no column tmagg; did you mean tmag\?"):
        query(workspace, columns=["tmagg"])
    with pytest.raises(QueryError, match="limit: -1"):
        query(workspace, limit=-1)


CLEAN_FLAGS = {None: 0, 0: 1, 32: 1, 16 | 32: 1, 1 | 128 | 512: 1, 16: 0, 8 | 32: 0, 64: 0, 256: 0, 1024: 0, 2: 0, 4: 0}


def test_clean_rows_are_vetted_likely_and_nothing_speaks_against_them(tmp_path, stars):
    rows = stars.slice(100, 2 * len(CLEAN_FLAGS)).to_pylist()
    for place, row in enumerate(rows):
        row["flags"] = list(CLEAN_FLAGS)[place // 2]
        row["tier"] = ("high", "low")[place % 2]
    folder = Folder(tmp_path)
    write(folder, "catalogs/eclipsing_binaries.parquet", STARS.conform(pa.Table.from_pylist(rows, stars.schema)), STARS)
    expected = [row["tic_id"] for row, ok in zip(rows[::2], CLEAN_FLAGS.values(), strict=True) if ok]
    assert query(folder, clean=True)["tic_id"].tolist() == expected
    assert query(folder, clean=True, limit=1)["flags"].tolist() == [0]
    assert "tier high, none of 2, 4, 8, 64, 256, 1024, and 16 only with 32" in STARS["flags"].meaning
    assert len(query(folder, where="(flags & 1358) = 0 AND (flags & 48) <> 16 AND tier = 'high'")) == len(expected)


def test_scores_of_segments_are_not_called_clean(workspace):
    with pytest.raises(QueryError, match="--clean is for eclipsing_binaries"):
        query(workspace, "eclipsing_binary_scores", clean=True)


@pytest.mark.parametrize(
    "condition",
    [
        "1=1; DROP TABLE catalog",
        "1=1) UNION SELECT * FROM catalog --",
        "true) --",
        "EXISTS (SELECT * FROM read_text('/etc/passwd'))",
        "EXISTS (SELECT * FROM read_csv('https://example.org/x.csv'))",
        "EXISTS (SELECT * FROM '/etc/passwd')",
        "EXISTS (SELECT * FROM glob('/*'))",
        "EXISTS (SELECT * FROM stars)",  # a variable of this process
        "getenv('HOME') = '/root'",
        "COPY catalog TO '/tmp/x'",
        "SET enable_external_access = true",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "LOAD 'x'",
        "PRAGMA version",
        "tic_id > 1, tic_id < 5",
        "tic_id > 1 LIMIT 1",
        "count(*) > 1",
        "nope = 1",
        "tic_id > $1",
        "",
        ";",
        "\0",
        "error('boom')",
        "(" * 300,
    ],
)
def test_hostile_sql_is_refused_with_its_text(workspace, stars, condition):
    with pytest.raises(QueryError, match="where: "):
        query(workspace, where=condition)
    assert len(query(workspace)) == len(stars)


def test_a_column_that_is_not_there_is_told_with_those_like_it(workspace):
    with pytest.raises(QueryError) as error:
        query(workspace, where="tmagg < 12")
    assert '"tmagg" not found' in str(error.value) and '"tmag"' in str(error.value)
    assert "single quotes: 'tmagg'" in str(error.value)
    assert "Binder" not in str(error.value) and "\n" not in str(error.value)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_query_error(stars, text):
    with contextlib.suppress(QueryError):
        assert len(_where(stars, text)) <= len(stars)


angle = st.floats(0, 360) | st.sampled_from([0.0, 360.0, 359.9999999, 1e-9])
latitude = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 89.9999999])


@settings(max_examples=200, deadline=None)
@given(angle, latitude, angle, latitude)
def test_separation_agrees_with_astropy_over_the_wrap_and_at_the_poles(ra, dec, ra0, dec0):
    expected = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(ra0, dec0, unit="deg")).deg
    assert separation(ra, dec, ra0, dec0) == pytest.approx(expected, abs=2e-6 if expected > 179.9 else 1e-9)


@pytest.mark.parametrize("cone", [(359.9, 10, 25), (0.05, -89.9, 30), (120, 90, 20), (-60, 0, 40), (10, 5, 180)])
def test_cone_finds_what_astropy_finds_nearest_first(workspace, stars, cone):
    frame = query(workspace, cone=cone)
    placed = stars.slice(0, 199)
    sky = SkyCoord(placed["ra"].to_numpy(), placed["dec"].to_numpy(), unit="deg")
    distance = sky.separation(SkyCoord(cone[0], cone[1], unit="deg"))
    inside = set(placed["tic_id"].to_numpy()[distance < cone[2] * u.deg])
    assert set(frame["tic_id"]) == inside and inside
    assert frame["separation"].is_monotonic_increasing and frame["separation"].max() <= cone[2]


@pytest.mark.parametrize("cone", [(0, 91, 1), (0, 0, 0), (float("nan"), 0, 1), (0, 0, 181)])
def test_cones_off_the_sphere_are_refused(workspace, cone):
    with pytest.raises(QueryError, match="need dec -90 … 90"):
        query(workspace, cone=cone)


@pytest.mark.parametrize(
    ("as_of", "rows"),
    [
        (1, 150),
        ("2", 200),
        ("snapshot-000001", 150),
        ("1" * 16, 150),
        ("2026-05-01", 150),
        ("2026-05-01T12:00:00Z", 150),
        ("2026-05-31", 150),
        ("2026-06-01", 200),
        ("2026-06-01T01:00+02:00", 150),
        (datetime(2026, 6, 2, tzinfo=UTC), 200),
    ],
)
def test_as_of_reads_the_catalogue_of_then(workspace, as_of, rows):
    assert len(query(workspace, as_of=as_of)) == rows


@pytest.mark.parametrize("as_of", [3, "2026-05-01T11:59", "rX", "2025-01-01"])
def test_as_of_before_there_was_any_says_what_there_is(workspace, as_of):
    with pytest.raises(QueryError, match=r"as_of: there is no state .*(2026-05-01|1 \(1111)"):
        query(workspace, as_of=as_of)


def test_a_snapshot_without_a_manifest_does_not_exist(workspace):
    folder = f"catalogs/eclipsing_binaries/model={MODEL}"
    workspace.write(f"{folder}/snapshot-000003.parquet", workspace.read(f"{folder}/snapshot-000001.parquet"))
    assert [release.number for release in releases(workspace, "eclipsing_binaries", MODEL)] == [1, 2]
    assert len(query(workspace, model=MODEL)) == 200


def test_scores_come_from_committed_partitions_of_the_published_model(workspace, commit_scores):
    commit_scores(workspace, MODEL, 5, committed=False)
    commit_scores(workspace, "other-00000000", 0)
    frame = query(workspace, "eclipsing_binary_scores", min_score=0.5)
    assert frame["tic_id"].tolist() == [10, 11]
    assert len(query(workspace, "eclipsing_binary_scores", model="other-00000000")) == 2
    with pytest.raises(QueryError, match="no older states"):
        query(workspace, "eclipsing_binary_scores", as_of=1)
    with pytest.raises(QueryError, match="no column ra"):
        query(workspace, "eclipsing_binary_scores", cone=(1, 1, 1))
    workspace.remove("catalogs/eclipsing_binaries.parquet")
    with pytest.raises(QueryError, match="2 models, name one: calnet-0123abcd, other-00000000"):
        query(workspace, "eclipsing_binary_scores")


def test_what_is_not_there_names_the_command_that_makes_it(tmp_path, workspace):
    empty = Folder(tmp_path / "empty")
    for catalog in ("eclipsing_binaries", "eclipsing_binary_scores"):
        with pytest.raises(FileNotFoundError, match=r"no .* yet; `python -m jobs.score_sectors --workspace .*empty`"):
            query(empty, catalog)
    with pytest.raises(FileNotFoundError, match="of model absent-00000000 yet"):
        query(workspace, model="absent-00000000")
    with pytest.raises(QueryError, match=r"there is no catalogue 'stars'; there are .*eclipsing_binaries"):
        query(workspace, "stars")


def test_integers_with_holes_stay_integers(stars):
    place = stars.schema.get_field_index("n_segments")
    frame = _frame(stars.set_column(place, "n_segments", [[None] + [2] * 199]), None, None)
    assert frame["n_segments"].dtype == pd.Int64Dtype() and frame["n_segments"][1] == 2
