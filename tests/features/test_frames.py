"""Frames of any library: what is stored of each, what is said of a cast, and the same values back from a real lake."""

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fti_assets.core.names import WHOLE, TableName
from fti_assets.core.times import Partition
from fti_assets.errors import DataError
from fti_assets.features.rows.frames.relations import naive_times
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

READINGS = TableName("features", "readings_v1")
LAYOUT = Layout("readings_v1", ("k",), ("k",), None)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with OfflineStore(Path(tmp_path_factory.mktemp("lake"))).connect() as lake:
        yield lake


def staged(lake: Lake, result: Any, layout: Layout = LAYOUT) -> StagedRows:
    return stage(lake.connection, result, layout, [Partition(WHOLE)])


def stored(lake: Lake, result: Any, table: TableName = READINGS) -> tuple[str, list[Any]]:
    """The type and values of a column ``x`` after a round trip through the lake."""
    lake.connection.execute(f"DROP TABLE IF EXISTS {table.sql}")
    lake.connection.execute(f"DROP TABLE IF EXISTS {table.ledger_sql}")
    lake.replace(table, staged(lake, result).table, [WHOLE], asset="readings_v1")
    return lake.types(table)["x"], [value for (value,) in lake.rows(table).order("k").project("x").fetchall()]


POLARS = pl.DataFrame({"k": [1, 2], "x": ["a", None]})
ARROW = POLARS.to_arrow()
PANDAS = pd.DataFrame({"k": [1, 2], "x": ["a", None]}, index=[7, 7])


class Stream:
    """An object of an unknown library that gives an Arrow stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return ARROW.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "given",
    [
        lambda _: PANDAS,
        lambda _: PANDAS.astype({"x": object}),
        lambda _: PANDAS.astype({"x": "category"}),
        lambda _: PANDAS.astype({"x": pd.ArrowDtype(pa.string())}),
        lambda _: POLARS,
        lambda _: POLARS.lazy(),
        lambda _: POLARS.cast({"x": pl.Categorical}),
        lambda _: ARROW,
        lambda _: ARROW.to_batches()[0],
        lambda _: ARROW.to_reader(),
        lambda _: ARROW.set_column(1, "x", ARROW["x"].combine_chunks().cast(pa.string()).dictionary_encode()),
        lambda _: nw.from_native(PANDAS),
        lambda _: nw.from_native(POLARS),
        lambda _: nw.from_native(POLARS.lazy()),
        lambda _: nw.from_native(ARROW),
        lambda lake: nw.from_native(lake.connection.from_arrow(ARROW)),
        lambda _: Stream(),
    ],
)
def test_frames_of_any_library_are_stored_alike(lake: Lake, given: Callable[[Lake], Any]) -> None:
    assert stored(lake, given(lake)) == ("VARCHAR", ["a", None])


def one(values: Any, kind: Any = None) -> pa.Table:
    return pa.table({"k": [1], "x": values if kind is None else pa.array(values, kind)})


VECTOR = np.array([0.5, 1.5], dtype="float32")
POLARS_DECIMAL = pl.DataFrame({"k": [1], "x": [Decimal("12.30")]}, schema_overrides={"x": pl.Decimal(20, 2)})
FIXED = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    ("given", "kind", "kept", "word"),
    [
        (pd.DataFrame({"k": [1], "x": [VECTOR]}), "FLOAT[]", [0.5, 1.5], None),
        (pd.DataFrame({"k": [1], "x": [[0.5, None]]}), "DOUBLE[]", [0.5, None], None),
        (one([[0.5, 1.5]], pa.list_(pa.float32())), "FLOAT[]", [0.5, 1.5], None),
        (one([[0.5, 1.5]], FIXED), "FLOAT[]", [0.5, 1.5], "FLOAT[2]"),
        (pl.DataFrame({"k": [1], "x": pl.Series([[0.5, 1.5]], dtype=pl.Array(pl.Float32, 2))}), "FLOAT[]", [0.5, 1.5], "FLOAT[2]"),
        (pd.DataFrame({"k": [1], "x": pd.Series([[0.5, 1.5]], dtype=pd.ArrowDtype(FIXED))}), "FLOAT[]", [0.5, 1.5], "FLOAT[2]"),
        (one([[[0.5, 1.5]]], pa.list_(FIXED)), "FLOAT[][]", [[0.5, 1.5]], "FLOAT[2][]"),
        (one([Decimal("12.30")], pa.decimal128(10, 2)), "DECIMAL(10,2)", Decimal("12.30"), None),
        (POLARS_DECIMAL, "DECIMAL(20,2)", Decimal("12.30"), None),
        (one([Decimal("1e30")], pa.decimal128(38, 4)), "DECIMAL(38,4)", Decimal("1e30"), None),
        (pd.DataFrame({"k": [1], "x": [Decimal("1.50")]}), "DECIMAL(18,2)", Decimal("1.50"), None),
        (one([dt.date(1969, 7, 20)]), "DATE", dt.date(1969, 7, 20), None),
        (one([dt.time(1, 2, 3, 4)]), "TIME", dt.time(1, 2, 3, 4), None),
        (one([3_000_000_001], pa.time64("ns")), "TIME", dt.time(0, 0, 3), "whole microseconds"),
        (one([dt.timedelta(microseconds=-1_000_001)]), "BIGINT", -1_000_001, "microseconds"),
        (pd.DataFrame({"k": [1], "x": pd.to_timedelta([1.5], unit="s")}), "BIGINT", 1_500_000, "microseconds"),
        (one([1_001], pa.timestamp("ns")), "TIMESTAMP", dt.datetime(1970, 1, 1, 0, 0, 0, 1), "whole microseconds"),
        (one([0], pa.timestamp("us", "Europe/Berlin")), "TIMESTAMP", dt.datetime(1970, 1, 1), None),
        (one([[0]], pa.list_(pa.timestamp("us", "UTC"))), "TIMESTAMP[]", [dt.datetime(1970, 1, 1)], None),
        (one([b"\0\xff"]), "BLOB", b"\0\xff", None),
        (one([{"a": 1, "b": [0.5]}]), "STRUCT(a BIGINT, b DOUBLE[])", {"a": 1, "b": [0.5]}, None),
        (one([{"a": [0.5, 1.5]}], pa.struct({"a": FIXED})), "STRUCT(a FLOAT[])", {"a": [0.5, 1.5]}, "FLOAT[2]"),
        (one([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "MAP(VARCHAR, BIGINT)", {"a": 1}, None),
        (one(np.array([1.5], dtype="float16")), "FLOAT", 1.5, None),
        (one([7], pa.uint64()), "BIGINT", 7, "UBIGINT"),
    ],
)  # fmt: skip
def test_values_come_back_from_lake_and_cast_is_said(
    lake: Lake, given: Any, kind: str, kept: Any, word: str | None
) -> None:
    assert stored(lake, given) == (kind, [kept])
    casts = staged(lake, given).casts
    assert (
        (len(casts) == 1 and f"stored as {kind.partition('(')[0]}" in casts[0] and word in casts[0])
        if word
        else not casts
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    ("sql", "kind", "kept"),
    [
        ("'101'::BIT", "VARCHAR", "101"),
        ("123456789012345678::BIGNUM", "BIGINT", 123_456_789_012_345_678),
        ("[5::BIGNUM]", "BIGINT[]", [5]),
        ("'10:00:00.5'::TIME_NS", "TIME", dt.time(10, 0, 0, 500_000)),
        ("MAP {'a': 'b'::ENUM('b')}", "MAP(VARCHAR, VARCHAR)", {"a": "b"}),
        ("sum(7)", "BIGINT", 7),
    ],
)
def test_types_that_lake_has_not_are_cast_and_said(lake: Lake, sql: str, kind: str, kept: Any) -> None:
    relation = lake.connection.sql(f"SELECT 1 AS k, {sql} AS x")
    assert stored(lake, relation) == (kind, [kept])
    assert f"is stored as {kind}" in staged(lake, relation).casts[0]


TAGS = pa.array([0], pa.int8())
SPARSE = pa.UnionArray.from_sparse(TAGS, [pa.array([2]), pa.array(["a"])], ["n", "t"])
DENSE = pa.UnionArray.from_dense(TAGS, pa.array([0], pa.int32()), [pa.array([2]), pa.array(["a"])], ["n", "t"])


@pytest.mark.parametrize(
    "given",
    [
        lambda _: one(SPARSE),
        lambda _: one(DENSE),
        lambda _: one(DENSE).to_batches()[0],
        lambda _: one(SPARSE).to_reader(),
        lambda _: one(pa.StructArray.from_arrays([DENSE], ["inner"])),
        lambda _: one(pa.ListArray.from_arrays([0, 1], SPARSE)),
        lambda lake: lake.connection.sql("SELECT 1 AS k, union_value(n := 2) AS x"),
        lambda lake: lake.connection.sql("SELECT 1 AS k, {'a': [union_value(n := 2)]} AS x"),
        lambda lake: lake.connection.sql("SELECT 1 AS k, MAP {1: union_value(n := 2)} AS x"),
    ],
)
def test_a_union_is_refused_by_name_with_what_to_do(lake: Lake, given: Callable[[Lake], Any]) -> None:
    with pytest.raises(
        DataError, match="readings_v1 has a union in column 'x', whose values .*union_extract\\(x, .*pa.float64"
    ):
        staged(lake, given(lake))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            one([1], pa.decimal256(50, 2)),
            r"'x' is decimal256\(50, 2\). Cast the column before, as in table\['x'\].cast\(",
        ),
        (one([1], pa.decimal256(50, 2)).to_reader(), r"'x' is decimal256\(50, 2\)"),
        (
            pd.DataFrame({"k": [1], "x": pd.period_range("2020", periods=1, freq="D")}),
            r"'x' is period\[D\].*to_timestamp\(\)",
        ),
        (
            pd.DataFrame({"k": ["a"], "x": pd.period_range("2020", periods=1, freq="D")}),
            r"'x' is period\[D\].*to_timestamp\(\)",
        ),
        (
            pd.DataFrame({"k": [1], "x": pd.interval_range(0, 1)}),
            r"'x' is interval\[int64, right\].*array.left and .right",
        ),
        (
            pd.DataFrame({"k": [1], "x": pd.arrays.SparseArray([1])}),
            r"'x' is Sparse\[int64, 0\].*\['x'\].sparse.to_dense\(\)",
        ),
        (
            pl.DataFrame({"k": [1], "x": pl.Series([1], dtype=pl.Int128)}),
            r"'x' is Int128.*pl.col\('x'\).cast\(pl.Int64\)",
        ),
        (pd.DataFrame({"k": [1], "x": [1j]}), "cannot be stored: .*'x' is complex128.*real and .imag"),
        (pd.DataFrame({"k": [1], "x": np.array([1], "g")}), r"'x' is float128.*astype\('float64'\)"),
        (pl.Series("k", [1]), "readings_v1 gave a Series: return a pandas, polars or narwhals frame"),
        (pd.DataFrame, "readings_v1 gave the class DataFrame itself: return one of its objects"),
        (pa.Table, "readings_v1 gave the class Table itself: return one of its objects"),
        ([pd.DataFrame({"k": [1]})], "readings_v1 gave a list: make one frame of it, as pd.concat"),
        ((one for one in "ab"), "readings_v1 gave a generator: make one frame of it"),
        (np.zeros(1, dtype=[("k", "i8")]), "readings_v1 gave a ndarray: make a frame of it"),
        (None, "readings_v1 gave None: end its function with return"),
        ("rows.csv", "readings_v1 gave a str, 'rows.csv': return a pandas"),
        (pd.Series([1]), "readings_v1 gave a Series: return"),
    ],
)
def test_what_cannot_be_stored_is_refused(lake: Lake, given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        staged(lake, given)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("170141183460469231731687303715884105727::HUGEINT", "out of range"),
        ("1234567890123456789012::BIGNUM", "x is 1234567890123456789012, which is out of range for BIGINT: give text"),
        ("TIMESTAMP '-infinity'", "x is -infinity, which is no instant: give null where there is none"),
        ("DATE 'infinity'", "x is infinity, which is no instant: give null where there is none"),
        ("INTERVAL 1 MONTH", "x has a duration of months, which are of no one length"),
        ("{'a': [INTERVAL 1 MONTH]}", "x has a duration of months, which are of no one length"),
    ],
)
def test_a_cast_that_would_lose_a_value_is_refused(lake: Lake, sql: str, message: str) -> None:
    with pytest.raises(DataError, match=f"readings_v1 has a value that its column's type cannot hold: .*{message}"):
        staged(lake, lake.connection.sql(f"SELECT 1 AS k, {sql} AS x"))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INTERVAL 2 SECOND", 2_000_000),
        ("[INTERVAL 2 SECOND, NULL]", [2_000_000, None]),
        ("[[INTERVAL 2 SECOND], NULL, []]", [[2_000_000], None, []]),
        ("{'a b': INTERVAL 2 SECOND, 'n': 1.5::DOUBLE}", {"a b": 2_000_000, "n": 1.5}),
        ("[{'a': [INTERVAL 2 SECOND]}, NULL]", [{"a": [2_000_000]}, None]),
        ("MAP {'a': INTERVAL 2 SECOND}", {"a": 2_000_000}),
        ("array_value(INTERVAL 2 SECOND, INTERVAL 3 SECOND)", [2_000_000, 3_000_000]),
    ],
)
def test_durations_are_microseconds_wherever_they_stand(lake: Lake, sql: str, expected: Any) -> None:
    rows = lake.connection.sql(f"SELECT 1 AS k, {sql} AS x UNION ALL SELECT 2, NULL")
    table = staged(lake, rows).table
    assert lake.connection.sql(f"SELECT x FROM {table} ORDER BY k").fetchall() == [(expected,), (None,)]


def test_decimals_go_into_the_stored_ones_that_hold_them(lake: Lake) -> None:
    kept = Layout("readings_v1", ("k",), ("k",), None, stored_types={"k": "BIGINT", "x": "DECIMAL(10,3)"})

    def kind(given: str, value: str = "1.5") -> str:
        relation = lake.connection.sql(f"SELECT 1::BIGINT AS k, {value}::{given} AS x")
        return str(lake.connection.table(staged(lake, relation, kept).table).types[1])

    assert kind("DECIMAL(3,2)") == "DECIMAL(10,3)"
    assert kind("DECIMAL(9,4)") == "DECIMAL(10,3)"
    assert kind("DECIMAL(12,1)") == "DECIMAL(10,3)"
    assert kind("DECIMAL(9,4)", "1.2345") == "DECIMAL(9,4)"
    assert kind("DECIMAL(12,1)", "12345678901.5") == "DECIMAL(12,1)"


def test_a_stream_of_batches_is_read_once(lake: Lake) -> None:
    reads: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            reads.append(number)
            yield pa.record_batch({"k": [number], "x": [None]})

    schema = pa.schema({"k": pa.int64(), "x": pa.null()})
    assert staged(lake, pa.RecordBatchReader.from_batches(schema, batches())).rows == 3
    assert reads == [0, 1, 2]


def test_polars_is_not_imported_for_others() -> None:
    import subprocess
    import sys

    code = "import sys, fti_assets.features.rows.frames.relations; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_relation_of_duckdb_is_not_copied_before_it_is_staged(lake: Lake) -> None:
    relation = lake.connection.sql("SELECT 1 AS k, 2.5 AS x")
    from fti_assets.features.rows.frames.relations import relation_of

    assert relation_of(lake.connection, relation, what="readings_v1") is relation
    assert isinstance(relation, duckdb.DuckDBPyRelation)


NAIVE, AWARE = dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
TIMED = pl.DataFrame({"k": [1], "naive": [NAIVE], "aware": [AWARE]})


@pytest.mark.parametrize(
    "given",
    [
        TIMED,
        TIMED.lazy(),
        TIMED.to_arrow(),
        TIMED.to_arrow().to_batches()[0],
        TIMED.to_arrow().to_reader(),
        TIMED.to_pandas(),
        TIMED.to_pandas(use_pyarrow_extension_array=True),
        nw.from_native(TIMED),
    ],
    ids=["polars", "lazy", "arrow", "batch", "reader", "pandas", "arrow_pandas", "narwhals"],
)
def test_times_without_a_zone_are_told_of_every_frame(given: Any) -> None:
    assert naive_times(given) == ["naive"]


def test_relations_are_in_utc_as_the_lake_is(lake: Lake) -> None:
    relation = lake.connection.sql("SELECT TIMESTAMP '2024-01-01' AS naive")
    assert naive_times(relation) == naive_times(nw.from_native(relation)) == naive_times(Stream()) == []
