import math
from itertools import pairwise

import pyarrow as pa
import pytest
from astropy.io.votable.ucd import parse_ucd
from astropy.units import Unit
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.schema import (
    COMPLETENESS,
    INJECTIONS,
    OUTCOMES,
    PLAN,
    RELIABILITY,
    SCORES,
    SEGMENTS,
    STARS,
    SYSTEMS,
    TRANSIENT_CANDIDATES,
    VISUAL_BINARIES,
    VISUAL_BINARY_FILTERS,
    Column,
    SchemaError,
    Table,
)
from catalogs.visual_binaries import VISUAL_SCORES

ALL = (SEGMENTS, SCORES, STARS, SYSTEMS, OUTCOMES, PLAN, INJECTIONS, COMPLETENESS, RELIABILITY, TRANSIENT_CANDIDATES,
       VISUAL_BINARIES, VISUAL_BINARY_FILTERS, VISUAL_SCORES)  # fmt: skip


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_every_column_has_a_unit_ucd_and_meaning_that_others_understand(table):
    for column in table.columns:
        assert column.meaning and parse_ucd(column.ucd, check_controlled_vocabulary=True), column.name
        Unit(column.unit)
        assert column.field.metadata[b"ucd"] == column.ucd.encode()
        assert f"| `{column.name}` |" in table.markdown()
    table.check(table.empty())
    assert {"tic_id", "sector"} <= {c.name for c in SCORES.columns}


def broken(stars, name, row, value):
    rows = stars.to_pylist()
    rows[row][name] = value
    nullable = pa.schema([field.with_nullable(True) for field in stars.schema])
    return pa.Table.from_pylist(rows, schema=nullable)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("p_eb", 1.5, "value = 1.5 is above 1"),
        ("p_eb", math.nan, "value = nan is not finite; drop the row"),
        ("ra", math.nan, "value = nan is not finite; store null"),
        ("dec", -90.1, "below -90"),
        ("tic_id", None, "is missing"),
        ("sectors", [1, 0], "value = 0 is below 1"),
        ("sectors", [1, None], "missing element"),
        ("gls_period", math.inf, "not finite"),
        ("model_sha256", "0123\n", "does not read as [0-9a-f]{64}"),
    ],
)
def test_check_names_table_column_row_value_and_cure(stars, name, value, says):
    with pytest.raises(SchemaError) as error:
        STARS.check(broken(stars, name, 7, value))
    assert str(error.value).startswith(f"eclipsing_binaries.{name}: row 7: value ")
    assert says in str(error.value)


def test_check_finds_repeats_disorder_strangers_and_wrong_types(stars):
    STARS.check(stars)
    with pytest.raises(
        SchemaError, match=r"row 4: \{'tic_id': 10, 'eb_id': 1\} is there twice; keep one row a tic_id, eb_id"
    ):
        STARS.check(broken(stars, "tic_id", 4, 10))
    with pytest.raises(SchemaError, match="row 1: out of order; sort by tic_id"):
        STARS.check(stars.take([1, 0]))
    with pytest.raises(SchemaError, match=r"missing: \['p_eb'\], unknown: \[\], repeated: \[\]"):
        STARS.check(stars.drop_columns("p_eb"))
    with pytest.raises(SchemaError, match=r"repeated: \['ra'\]"):
        STARS.check(stars.append_column("ra", stars.column("ra")))
    with pytest.raises(SchemaError, match=r"eclipsing_binaries\.tic_id: is double, must be int64"):
        STARS.conform(stars.set_column(0, "tic_id", stars.column("tic_id").cast(pa.float64())))
    with pytest.raises(SchemaError, match="n_segments: does not fit int32"):
        STARS.conform(stars.drop_columns("n_segments").append_column("n_segments", pa.array([2**40] * len(stars))))
    with pytest.raises(ValueError, match="must not be nullable"):
        Table("t", "", (Column("a", pa.int64(), nullable=True),), key=("a",))


TOY = Table(
    "toy",
    "A row.",
    (
        Column("a", pa.int32(), bounds=(0, 9)),
        Column("b", pa.string(), pattern="x|yy"),
        Column("c", pa.float64(), bounds=(0, None), nullable=True),
        Column("d", pa.list_(pa.int32()), bounds=(None, 5)),
    ),
    key=("a", "b"),
    sort=("b", "a"),
)
CELLS = {
    "a": st.integers(-1, 10),
    "b": st.sampled_from(["x", "yy", "xyy", ""]),
    "c": st.none() | st.floats(-1, 2) | st.just(math.nan),
    "d": st.lists(st.integers(4, 6), max_size=2),
}
GOOD = {
    "a": st.integers(0, 9),
    "b": st.sampled_from(["x", "yy"]),
    "c": st.none() | st.floats(0, 2),
    "d": st.lists(st.integers(4, 5), max_size=2),
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries(GOOD), max_size=5), st.fixed_dictionaries(CELLS))
def test_check_agrees_with_the_promise_read_row_by_row(rows, last):
    rows = [*rows, last]
    keys = [(row["b"], row["a"]) for row in rows]
    kept = (
        all(0 <= r["a"] <= 9 and r["b"] in ("x", "yy") and all(i <= 5 for i in r["d"]) for r in rows)
        and all(r["c"] is None or r["c"] >= 0 for r in rows)
        and all(before < after for before, after in pairwise(keys))
    )
    table = pa.Table.from_pylist(rows, schema=TOY.arrow_schema())
    if kept:
        TOY.check(table)
    else:
        with pytest.raises(SchemaError):
            TOY.check(table)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.fixed_dictionaries(GOOD), unique_by=lambda r: (r["a"], r["b"]), max_size=8), st.randoms())
def test_conform_depends_on_rows_alone(rows, random):
    once = TOY.conform(pa.Table.from_pylist(rows, schema=TOY.arrow_schema()))
    random.shuffle(rows)
    other = pa.Table.from_pandas(pa.Table.from_pylist(rows, schema=TOY.arrow_schema()).to_pandas())
    half = len(rows) // 2
    again = TOY.conform(pa.concat_tables([other.slice(half), other.slice(0, half)]).select(list("dcba")))
    assert once.equals(again) and once.schema.equals(again.schema, check_metadata=True)
    TOY.check(once)
