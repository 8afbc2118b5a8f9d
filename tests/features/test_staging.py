"""Staging: what a function gave becomes rows of the types that are stored, in their partitions, or a clear complaint."""

import datetime as dt
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest

from fti_assets.core.names import WHOLE
from fti_assets.core.rules import Verdict
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.features.rows.table import Table

DAY_1 = Partition("2013-01-01", datetime(2013, 1, 1), datetime(2013, 1, 2))
DAY_2 = Partition("2013-01-02", datetime(2013, 1, 2), datetime(2013, 1, 3))
LOOKUP = Layout("planes_v1", ("k",), ("k",), None)
TIMED = Layout("weather_v1", ("k", "t"), ("k", "t"), "t", times=("t",))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        yield connection


def column(connection: duckdb.DuckDBPyConnection, values: Any, layout: Layout = LOOKUP) -> tuple[str, list[Any]]:
    """The stored type and values of one column ``x`` beside a key."""
    frame = (
        values if isinstance(values, pd.DataFrame | pa.Table) else pd.DataFrame({"k": range(len(values)), "x": values})
    )
    staged = stage(connection, frame, layout, [Partition(WHOLE)])
    rows = connection.table(staged.table)
    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    return kinds["x"], [value for (value,) in rows.order("k").project("x").fetchall()]


def verdicts(staged: StagedRows) -> dict[str, Verdict]:
    return {verdict.rule.name: verdict for verdict in staged.verdicts}


def timed(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Any, Any]], *windows: Partition) -> StagedRows:
    frame = pd.DataFrame(rows, columns=["k", "t"]).astype({"t": "datetime64[us]"})
    return stage(connection, frame, TIMED, windows or [DAY_1, DAY_2])


AWARE = pd.to_datetime(["2013-01-01 05:00", None]).tz_localize("America/New_York")


@pytest.mark.parametrize(
    ("given", "kind", "kept"),
    [
        (pd.Series([1, 2], dtype="int64"), "BIGINT", [1, 2]),
        (pd.Series([1, None], dtype="Int64"), "BIGINT", [1, None]),
        (pd.Series([1.5, np.nan]), "DOUBLE", [1.5, None]),
        (pd.Series([1.5, np.nan], dtype="float32"), "FLOAT", [1.5, None]),
        (pd.Series([np.inf, -np.inf]), "DOUBLE", [np.inf, -np.inf]),
        (pd.Series(["a", None]), "VARCHAR", ["a", None]),
        (pd.Series(["a", None], dtype="string"), "VARCHAR", ["a", None]),
        (pd.Series(["a", np.nan], dtype=object), "VARCHAR", ["a", None]),
        (pd.Categorical(["b", None], categories=["a", "b"]), "VARCHAR", ["b", None]),
        (pd.Series([True, None], dtype="boolean"), "BOOLEAN", [True, None]),
        (pd.to_datetime(["2013-01-01 05:00", None]), "TIMESTAMP", [datetime(2013, 1, 1, 5), None]),
        (
            pd.to_datetime(["2013-01-01 05:00:00.123456"]).as_unit("ns"),
            "TIMESTAMP",
            [datetime(2013, 1, 1, 5, 0, 0, 123456)],
        ),
        (pd.to_datetime(["2013-01-01"]).as_unit("s"), "TIMESTAMP", [datetime(2013, 1, 1)]),
        (AWARE, "TIMESTAMP", [datetime(2013, 1, 1, 10), None]),
    ],
)
def test_pandas_columns_get_the_types_that_are_stored(
    connection: duckdb.DuckDBPyConnection, given: Any, kind: str, kept: list[Any]
) -> None:
    assert column(connection, given) == (kind, kept)


@pytest.mark.parametrize(
    ("sql", "kind", "kept"),
    [
        ("'b'::ENUM('a', 'b')", "VARCHAR", "b"),
        ("7::HUGEINT", "BIGINT", 7),
        ("7::UHUGEINT", "BIGINT", 7),
        ("TIMESTAMPTZ '2013-01-01 05:00:00-05'", "TIMESTAMP", datetime(2013, 1, 1, 10)),
        ("TIMESTAMP_NS '2013-01-01 05:00:00.000001'", "TIMESTAMP", datetime(2013, 1, 1, 5, 0, 0, 1)),
        ("TIMESTAMP_S '2013-01-01 05:00:00'", "TIMESTAMP", datetime(2013, 1, 1, 5)),
        ("[1.5, 2.5]::FLOAT[2]", "FLOAT[]", [1.5, 2.5]),
        ("'nan'::FLOAT", "FLOAT", None),
        ("1.5::DECIMAL(4, 1)", "DECIMAL(4,1)", Decimal("1.5")),
        ("DATE '2013-01-01'", "DATE", dt.date(2013, 1, 1)),
    ],
)
def test_duckdb_columns_get_the_types_that_are_stored(
    connection: duckdb.DuckDBPyConnection, sql: str, kind: str, kept: Any
) -> None:
    relation = connection.sql(f"SELECT 1 AS k, {sql} AS x")
    for inputs in (relation, Table(relation, connection, "other_v1", ("k",))):
        staged = stage(connection, inputs, LOOKUP, [Partition(WHOLE)])
        rows = connection.table(staged.table)
        assert (str(rows.types[1]), rows.fetchall()) == (kind, [(1, kept, WHOLE)])


@pytest.mark.parametrize(
    ("declared", "given", "kind"),
    [
        ("number", pd.Series([1, 2]), "DOUBLE"),
        ("number", pd.Series([1.5], dtype="float32"), "DOUBLE"),
        ("integer", pd.Series([1, 2], dtype="int8"), "BIGINT"),
        ("text", pd.Series([None, None], dtype=object), "VARCHAR"),
        ("boolean", pd.Series([None], dtype=object), "BOOLEAN"),
        ("timestamp", pd.Series([None], dtype=object), "TIMESTAMP"),
        ("integer", pd.Series([None], dtype=object), "BIGINT"),
        ("number", pd.Series([], dtype=object), "DOUBLE"),
        ("integer", pd.Series([1.5]), "DOUBLE"),
        ("text", pd.Series([1, 2]), "BIGINT"),
    ],
)
def test_column_takes_its_declared_type_where_that_loses_nothing(
    connection: duckdb.DuckDBPyConnection, declared: Any, given: pd.Series, kind: str
) -> None:
    assert column(connection, given, Layout("planes_v1", ("k",), ("k",), None, types={"x": declared}))[0] == kind


@pytest.mark.parametrize("given", [pa.array([None, None]), pa.array([], pa.null())])
def test_an_arrow_column_without_values_takes_the_declared_type(
    connection: duckdb.DuckDBPyConnection, given: Any
) -> None:
    table = pa.table({"k": range(len(given)), "x": given})
    layout = Layout("planes_v1", ("k",), ("k",), None, types={"x": "number"})
    assert column(connection, table, layout)[0] == "DOUBLE"
    assert column(connection, table)[0] in ("VARCHAR", "INTEGER")


def test_undeclared_column_without_values_takes_type_stored(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    stored = Layout("planes_v1", ("k",), ("k",), None, stored_types={"k": "BIGINT", "x": "FLOAT[]"})
    assert column(connection, pd.Series([None, None], dtype=object), stored) == ("FLOAT[]", [None, None])
    assert column(connection, pd.Series(["a"]), stored) == ("VARCHAR", ["a"])


def test_rows_go_to_the_window_that_holds_their_time(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "2013-01-01 00:00"), ("a", "2013-01-01 23:59:59.999999"), ("a", "2013-01-02 00:00")]
    staged = timed(connection, rows)
    assert staged.is_accepted
    assert staged.rows == 3
    result = connection.table(staged.table).order("t").project("_partition").fetchall()
    assert result == [("2013-01-01",), ("2013-01-01",), ("2013-01-02",)]


@pytest.mark.parametrize("outside", ["2012-12-31 23:59:59.999999", "2013-01-03 00:00"])
def test_row_outside_partitions_of_run_is_failure(connection: duckdb.DuckDBPyConnection, outside: str) -> None:
    staged = timed(connection, [("a", "2013-01-01"), ("a", outside)])
    verdict = verdicts(staged)["rows_in_partition"]
    assert not staged.is_accepted
    assert (verdict.failures, verdict.problem) == (1, "1 row of weather_v1 with t outside the partitions of this run")
    assert verdict.sample == ({"k": "a", "t": pd.Timestamp(outside)},)


def test_a_row_between_two_windows_is_in_neither(connection: duckdb.DuckDBPyConnection) -> None:
    day_3 = Partition("2013-01-03", datetime(2013, 1, 3), datetime(2013, 1, 4))
    staged = timed(connection, [("a", "2013-01-01"), ("a", "2013-01-02"), ("a", "2013-01-03")], DAY_1, day_3)
    assert verdicts(staged)["rows_in_partition"].failures == 1


def test_rows_of_the_same_keys_and_times_are_failures(connection: duckdb.DuckDBPyConnection) -> None:
    staged = timed(connection, [("a", "2013-01-01"), ("a", "2013-01-01"), ("a", "2013-01-02"), ("b", "2013-01-01")])
    assert not staged.is_accepted
    verdict = verdicts(staged)["rows_unique"]
    assert (verdict.failures, verdict.problem) == (2, "2 rows of weather_v1 with the same k, t as another")


@pytest.mark.parametrize("row", [(None, "2013-01-01"), ("a", None)])
def test_nulls_in_keys_and_times_are_failures(connection: duckdb.DuckDBPyConnection, row: tuple[Any, Any]) -> None:
    staged = timed(connection, [row, ("b", "2013-01-01")])
    verdict = verdicts(staged)["keys_and_times_not_null"]
    assert not staged.is_accepted
    assert (verdict.failures, verdict.problem) == (1, "1 row of weather_v1 with a null in 'k' or 't'")


def test_no_rows_are_accepted_whatever_pandas_makes_of_their_types(connection: duckdb.DuckDBPyConnection) -> None:
    staged = stage(connection, pd.DataFrame(columns=["k", "t"]), TIMED, [DAY_1])
    assert (staged.is_accepted, staged.rows) == (True, 0)
    assert str(connection.table(staged.table).types[1]) == "TIMESTAMP"


def test_the_index_of_a_frame_is_not_stored(connection: duckdb.DuckDBPyConnection) -> None:
    staged = stage(connection, pd.DataFrame({"k": [1, 2]}, index=["x", "x"]), LOOKUP, [Partition(WHOLE)])
    assert connection.table(staged.table).columns == ["k", "_partition"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"t": []}), "weather_v1 has no column 'k', a key or time; its result has 't'"),
        (pd.DataFrame({"k": [1]}), "has no column 't'"),
        (pd.DataFrame({"x": [1]}), "has no column 'k' or 't', a key or time; its result has 'x'"),
        (pd.DataFrame({"k": [1], "t": ["tomorrow"]}), r"t is 'tomorrow', which is no ISO time.*parse_dates=\['t'\]"),
        (pd.DataFrame({"k": [1], "t": [1_357_000_000]}), "gave 't' as BIGINT, but it says when .*: give timestamps"),
        (
            pd.DataFrame({"k": [1], "t": [datetime(2013, 1, 1)], "_partition": ["x"]}),
            "'_partition', a name that the store",
        ),
        (
            pd.DataFrame({"k": [1], "t": [datetime(2013, 1, 1)], "__fti_row": ["x"]}),
            "'__fti_row', a name that the store",
        ),
        *(
            (pd.DataFrame({"k": [1], "t": [datetime(2013, 1, 1)], name: [1.0]}), f"'{name}', a name that the store")
            for name in ("_fti_label", "_fti_split", "_fti_late")
        ),
        ([1, 2], "weather_v1 gave a list: make one frame of it, .* or return a pandas, polars or narwhals frame"),
        (None, "weather_v1 gave None: end its function with return, and a pandas"),
        ({"k": [1]}, "weather_v1 gave a dict: make a frame of it, "),
    ],
)
def test_a_result_that_cannot_be_stored_is_refused(
    connection: duckdb.DuckDBPyConnection, frame: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        stage(connection, frame, TIMED, [DAY_1])


ISO = {
    "2013-01-01": datetime(2013, 1, 1),
    "2013-01-01 10:30": datetime(2013, 1, 1, 10, 30),
    "2013-01-01T10:30:00": datetime(2013, 1, 1, 10, 30),
    "2013-01-01T10:30:00Z": datetime(2013, 1, 1, 10, 30),
    "2013-01-01T10:30Z": datetime(2013, 1, 1, 10, 30),
    "2013-01-01T10:30:00.123456789": datetime(2013, 1, 1, 10, 30, 0, 123456),
    "2013-01-01T10:30:00+02:00": datetime(2013, 1, 1, 8, 30),
    "2013-01-01T10:30+02:00": datetime(2013, 1, 1, 8, 30),
    "2013-01-01T10:30:00-0400": datetime(2013, 1, 1, 14, 30),
    "2013-01-01 10:30:00-04": datetime(2013, 1, 1, 14, 30),
}


def test_times_as_iso_text_are_stored_in_utc(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pd.DataFrame({"k": range(len(ISO)), "t": list(ISO)})
    staged = stage(connection, frame, TIMED, [DAY_1])
    assert staged.is_accepted
    assert dict(connection.table(staged.table).project("k, t").fetchall()) == dict(enumerate(ISO.values()))
    assert "t came as text and is stored as TIMESTAMP" in staged.casts[0]


@pytest.mark.parametrize(
    "text",
    ["", "01/02/2013", "2013-1-2", "2013-02-30", "2013-01-01T25:00", "infinity", "epoch", "2013-01-01 (BC)", "it's"],
)
def test_text_that_is_no_iso_time_is_refused(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    with pytest.raises(DataError, match="weather_v1 has a value that its column's type cannot hold"):
        stage(connection, pd.DataFrame({"k": [1, 2], "t": ["2013-01-01", text]}), TIMED, [DAY_1])


def test_a_missing_time_among_text_breaks_its_rule(connection: duckdb.DuckDBPyConnection) -> None:
    staged = stage(connection, pd.DataFrame({"k": [1, 2], "t": ["2013-01-01", None]}), TIMED, [DAY_1])
    assert "keys_and_times_not_null" in [verdict.rule.name for verdict in staged.verdicts if not verdict.passed]


def test_a_result_with_a_hostile_column_name_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    arrow = pa.table({"k": [1], 'x"; DROP TABLE rows': [1]})
    for inputs in (arrow, arrow.to_pandas(), connection.from_arrow(arrow)):
        with pytest.raises(DeclarationError, match="column of planes_v1 .* is not a name"):
            stage(connection, inputs, LOOKUP, [Partition(WHOLE)])


def test_two_columns_of_one_name_are_refused(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["k", "x", "x"])
    with pytest.raises(DataError, match="gave two columns 'x'"):
        stage(connection, frame, LOOKUP, [Partition(WHOLE)])


def test_partitions_that_are_no_windows_are_run_singly(connection: duckdb.DuckDBPyConnection) -> None:
    frame = pd.DataFrame({"k": [1]})
    staged = stage(connection, frame, LOOKUP, [Partition("us")])
    assert connection.table(staged.table).fetchall() == [(1, "us")]
    with pytest.raises(DeclarationError, match="asked for 2 partitions that are not spans of time in one run"):
        stage(connection, frame, LOOKUP, [Partition("us"), Partition("eu")])


def test_the_rows_that_break_the_schema_are_kept_aside(connection: duckdb.DuckDBPyConnection) -> None:
    schema = pandera.DataFrameSchema({"k": pandera.Column(int), "x": pandera.Column(float, pandera.Check.ge(0))})
    layout = Layout("planes_v1", ("k",), ("k",), None, schema, types={"k": "integer", "x": "number"})
    staged = stage(connection, pd.DataFrame({"k": [1, 2], "x": [1.0, -1.0]}), layout, [Partition(WHOLE)])
    assert not staged.is_accepted
    assert staged.failing is not None
    assert staged.failing.to_dict("records") == [{"k": 2, "x": -1.0}]
    assert [name for name, verdict in verdicts(staged).items() if not verdict.passed] == ["x_greater_than_or_equal_to"]


def test_a_coercing_schema_stores_what_it_coerced(connection: duckdb.DuckDBPyConnection) -> None:
    schema = pandera.DataFrameSchema({"k": pandera.Column(int), "x": pandera.Column(float, nullable=True)}, coerce=True)
    layout = Layout("planes_v1", ("k",), ("k",), None, schema, types={"k": "integer", "x": "number"})
    assert column(connection, pd.DataFrame({"k": ["1", "2"], "x": ["1.5", None]}), layout) == ("DOUBLE", [1.5, None])


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("int32", np.array([1, 2], dtype="int32")),
        ("float32", np.array([0.1, 0.2], dtype="float32")),
        ("category", pd.Categorical(["a", "b"])),
        ("Int64", pd.array([1, 2], dtype="Int64")),
        ("Int64", pd.array([1, None], dtype="Int64")),
        ("boolean", pd.array([True, None], dtype="boolean")),
        (str, pd.Series([None, None], dtype="str")),
        ("datetime64[ns]", pd.to_datetime(["2013-01-01", None]).as_unit("ns")),
        (pd.DatetimeTZDtype("us", "UTC"), pd.to_datetime(["2013-01-01", None]).as_unit("us").tz_localize("UTC")),
    ],
)
def test_rows_that_keep_their_schema_before_staging_keep_it_after(
    connection: duckdb.DuckDBPyConnection, declared: Any, given: Any
) -> None:
    from fti_assets.features.validation.schema import column_types

    schema = pandera.DataFrameSchema({"k": pandera.Column(int), "x": pandera.Column(declared, nullable=True)})
    frame = pd.DataFrame({"k": [1, 2], "x": given})
    schema.validate(frame)
    layout = Layout("planes_v1", ("k",), ("k",), None, schema, types=column_types(schema))
    staged = stage(connection, frame, layout, [Partition(WHOLE)])
    assert {name: verdict.problem for name, verdict in verdicts(staged).items() if not verdict.passed} == {}


@pytest.mark.parametrize("kind", ["int8", "int64", "uint32", "Int64"])
def test_whole_numbers_go_into_column_stored_as_double(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    layout = Layout("planes_v1", ("k",), ("k",), None, stored_types={"k": "BIGINT", "x": "DOUBLE"})
    assert column(connection, pd.Series([1, 2], dtype=kind), layout) == ("DOUBLE", [1.0, 2.0])


def test_numbers_stay_what_they_are_where_whole_ones_are_stored(connection: duckdb.DuckDBPyConnection) -> None:
    layout = Layout("planes_v1", ("k",), ("k",), None, stored_types={"k": "BIGINT", "x": "BIGINT"})
    assert column(connection, pd.Series([1.5]), layout) == ("DOUBLE", [1.5])


def test_whole_numbers_that_double_cannot_hold_are_not_rounded_into_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    layout = Layout("planes_v1", ("k",), ("k",), None, stored_types={"k": "BIGINT", "x": "DOUBLE"})
    staged = stage(connection, pd.DataFrame({"k": [1], "x": [2**53 + 1]}), layout, [Partition("all")])
    assert connection.table(f'"{staged.table}"').select("x").fetchall() == [(2**53 + 1,)]


def test_unsigned_numbers_become_bigint_unless_too_large(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    largest = 2**63 - 1
    assert column(connection, pd.Series([1, largest], dtype="uint64")) == ("BIGINT", [1, largest])
    with pytest.raises(DataError, match="planes_v1 has a value that its column's type cannot hold"):
        column(connection, pd.Series([1, largest + 1], dtype="uint64"))
