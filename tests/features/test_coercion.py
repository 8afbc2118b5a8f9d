"""A schema that coerces: what it does not change is stored as it is without it, digit for digit."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.names import WHOLE
from fti_assets.core.times import Partition
from fti_assets.errors import DataError
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.features.validation.schema import column_types
from tests.support.examples import examples

ID = 2**53 + 1
DIGITS = "1234567890123456789"

STORED: dict[str, tuple[Any, list[str]]] = {
    "BIGINT": (int, [str(ID), str(-(2**63)), str(2**63 - 1), "0"]),
    "INTEGER": ("Int64", ["2147483647", "-2147483648"]),
    "DOUBLE": (float, ["0.1", "1e308", "'inf'", "'nan'", "5e-324", str(ID)]),
    "FLOAT": ("float32", ["0.1", "3.4e38", "'-inf'"]),
    "BOOLEAN": ("boolean", ["true", "false"]),
    "VARCHAR": (str, ["''", "'a'", "'nan'", "'None'", "'é'", f"'{ID}'"]),
    "TIMESTAMP": ("datetime64[us]", ["'9999-12-31 23:59:59.999999'", "'0001-01-01'", "'2020-02-29 12:00:00.000001'"]),
    "TIMESTAMP_NS": ("datetime64[ns]", ["'2020-01-01 00:00:00.123456789'", "'1700-01-01'"]),
    "DATE": (None, ["'9999-12-31'", "'0001-01-01'", "'2020-02-29'"]),
    "TIME": (None, ["'23:59:59.999999'", "'00:00:00'"]),
    "UUID": (None, ["'66d0ef3c-c1c1-48e1-91b1-a571d8d7ec0f'"]),
    "BLOB": (None, ["'\\x00\\xFF'", "''"]),
    "DECIMAL(18,3)": (float, ["0.001", "123456789012345.678"]),
    "DECIMAL(38,0)": (None, [DIGITS * 2, f"-{DIGITS}", str(ID)]),
    "DECIMAL(38,10)": (float, [f"{DIGITS}.1234567891", "0.0000000001"]),
    "HUGEINT": (int, [str(2**63 - 1), str(ID)]),
    "BIGINT[]": (None, [f"[{ID}, NULL]", "[]", "[NULL]"]),
    "BIGINT[][]": (None, [f"[[{ID}], NULL, []]", "[[]]"]),
    "DECIMAL(38,10)[]": (None, [f"[{DIGITS}.1234567891, NULL]"]),
    "DATE[]": (None, ["['2020-02-29', NULL]"]),
    "STRUCT(a BIGINT, b DATE)": (None, [f"{{'a': {ID}, 'b': NULL}}", "{'a': NULL, 'b': '2020-02-29'}"]),
    "STRUCT(a DECIMAL(38,10))": (None, [f"{{'a': {DIGITS}.1}}"]),
    "MAP(VARCHAR, BIGINT)": (None, [f"MAP {{'a': {ID}}}", "MAP {}"]),
}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connected() as connection:
        yield connection


def connected() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def staged(connection: duckdb.DuckDBPyConnection, rows: str, schema: pa.DataFrameSchema) -> StagedRows:
    layout = Layout("readings_v1", ("k",), ("k",), None, schema, types=column_types(schema))
    return stage(connection, connection.sql(rows), layout, [Partition(WHOLE)])


def column(connection: duckdb.DuckDBPyConnection, rows: str, schema: pa.DataFrameSchema) -> tuple[str, list[Any]]:
    """The stored type and values of a column ``x``, of rows that keep the schema."""
    made = staged(connection, rows, schema)
    assert [verdict.problem for verdict in made.verdicts if not verdict.passed] == []
    values = connection.table(made.table).order("k").project("x").fetchall()
    return str(connection.table(made.table).project("x").types[0]), [value for (value,) in values]


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, list[str]]:
    sql_type = draw(st.sampled_from(list(STORED)))
    return sql_type, draw(st.lists(st.sampled_from([*STORED[sql_type][1], "NULL"]), min_size=1, max_size=5))


@settings(max_examples=examples(80), deadline=None)
@given(columns(), st.booleans(), st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_schema_that_coerces_stores_rows_that_same_schema_stores_without(
    case: tuple[str, list[str]], beside: bool, whole: bool
) -> None:
    sql_type, values = case
    listed = ", ".join(f"({at}, CAST({value} AS {sql_type}), '1.5')" for at, value in enumerate(values))
    rows = f"SELECT * FROM (VALUES {listed}) AS given(k, x, y)"
    columns = {"k": pa.Column(int), "x": pa.Column(STORED[sql_type][0], nullable=True)}
    coerced = pa.Column(float, coerce=True) if beside else pa.Column(str)
    pattern = (
        {"z.*": pa.Column(float, regex=True, required=False)} if whole else {}
    )  # which is asked of pandas in one piece
    with connected() as connection:
        plain = column(connection, rows, pa.DataFrameSchema(columns | {"y": pa.Column(str)}))
        coercing = pa.DataFrameSchema(columns | {"y": coerced} | pattern, coerce=not whole)
        assert column(connection, rows, coercing) == plain


@pytest.mark.parametrize(
    ("declared", "kind", "kept"),
    [
        ("Int64", "BIGINT", [int(DIGITS), None]),
        (str, "VARCHAR", [DIGITS, None]),
        (pa.Decimal(38, 0), "DECIMAL(38,0)", [Decimal(DIGITS), None]),
    ],
    ids=["integer", "text", "decimal"],
)
@pytest.mark.parametrize("regex", [False, True], ids=["named", "pattern"])
def test_decimals_are_coerced_digit_for_digit(
    connection: duckdb.DuckDBPyConnection, declared: Any, kind: str, kept: list[Any], regex: bool
) -> None:
    x = pa.Column(declared, nullable=True, coerce=True, regex=regex)
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x$" if regex else "x": x})
    rows = f"SELECT * FROM (VALUES (1, {DIGITS}::DECIMAL(38,0)), (2, NULL)) AS given(k, x)"
    assert column(connection, rows, schema) == (kind, kept)


def test_decimal_beyond_whole_numbers_is_refused_with_its_value(connection: duckdb.DuckDBPyConnection) -> None:
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": pa.Column(int, coerce=True)})
    made = staged(connection, f"SELECT 1 AS k, {DIGITS}{DIGITS}::DECIMAL(38,0) AS x", schema)
    (problem,) = [verdict.problem for verdict in made.verdicts if not verdict.passed]
    assert f"column 'x' should be coerce_dtype('int64'), there was Decimal('{DIGITS}{DIGITS}')" in problem


@pytest.mark.parametrize("raise_warning", [False, True])
@pytest.mark.parametrize(
    ("dtype", "kind", "values", "wrong"),
    [
        ("uint64", "BIGINT", [-1, 5, None], "-1"),
        ("UInt64", "BIGINT", [-1, 5, None], "-1"),
        ("uint64", "DOUBLE", [-1.5, 5.0], "-1.5"),
        ("int64", "DOUBLE", [2.0**63, 1.0], "9.2233"),
        ("int64", "DOUBLE", [-(2.0**70), 1.0], "-1.18"),
        ("int64", "FLOAT", [2.0**63, 1.0], "9.2233"),
        ("Int64", "DOUBLE", [2.0**63, 1.0, None], "9.2233"),
        ("int32", "DOUBLE", [2.0**31, 1.0], "21474836"),
        ("uint8", "INTEGER", [256, 1], "256"),
    ],
)
def test_numbers_beyond_a_coerced_type_are_refused_not_wrapped(
    connection: duckdb.DuckDBPyConnection, dtype: str, kind: str, values: list[Any], wrong: str, raise_warning: bool
) -> None:
    listed = ", ".join(f"({k}, {'NULL' if x is None else repr(x)})" for k, x in enumerate(values))
    rows = f"SELECT k, CAST(x AS {kind}) AS x FROM (VALUES {listed}) AS given(k, x)"
    warns = pa.Check.le(-(2**40), raise_warning=True) if raise_warning else None
    declared = pa.Column(dtype, warns, nullable=None in values, coerce=True)
    made = staged(connection, rows, pa.DataFrameSchema({"k": pa.Column(int), "x": declared}))
    problems = [verdict.problem for verdict in made.verdicts if not verdict.passed and verdict.rule.blocking]
    assert any(wrong in problem for problem in problems), problems


@pytest.mark.parametrize("dtype", ["uint64", "UInt64"])
def test_a_number_below_zero_is_no_unsigned_one_without_coercion(
    connection: duckdb.DuckDBPyConnection, dtype: str
) -> None:
    declared = pa.Column(dtype, pa.Check(lambda values: True, name="own"))
    rows = "SELECT * FROM (VALUES (0, -1), (1, 5)) AS given(k, x)"
    made = staged(connection, rows, pa.DataFrameSchema({"k": pa.Column(int), "x": declared}))
    assert [verdict.problem for verdict in made.verdicts if not verdict.passed]


def test_the_rows_that_break_a_warning_are_coerced_too(connection: duckdb.DuckDBPyConnection) -> None:
    check = pa.Check.ge(0, raise_warning=True)
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": pa.Column(float, check, coerce=True)})
    made = staged(connection, "SELECT 1 AS k, '-1.5' AS x", schema)
    assert made.is_accepted
    assert connection.table(made.table).project("x").fetchall() == [(-1.5,)]


def test_rows_that_coercing_schema_drops_are_not_stored(connection: duckdb.DuckDBPyConnection) -> None:
    x = pa.Column(float, pa.Check.ge(0), coerce=True)
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": x}, drop_invalid_rows=True)
    rows = (
        f"SELECT * FROM (VALUES (1, '-1', {ID}::DECIMAL(38,0)), (2, '1', {ID + 1}), (3, '2', {ID})) AS given(k, x, y)"
    )
    made = staged(connection, rows, schema)
    kept = connection.table(made.table).order("k").project("k, x, y").fetchall()
    assert kept == [(2, 1.0, Decimal(ID + 1)), (3, 2.0, Decimal(ID))]


def test_a_parser_beside_decimals_that_pandas_rounds_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    x = pa.Column(float, parsers=pa.Parser(lambda values: values.str.strip()), coerce=True)
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": x})
    rows = f"SELECT 1 AS k, ' -1' AS x, {DIGITS}::DECIMAL(38,0) AS y"
    with pytest.raises(DataError, match=r"readings_v1: column 'y' is DECIMAL\(38,0\), which pandas holds in floats"):
        staged(connection, rows, schema)
    assert column(connection, "SELECT 1 AS k, ' 1' AS x, 0.5 AS y", schema) == ("DOUBLE", [1.0])


@pytest.mark.parametrize("coerce", [False, True])
def test_whole_number_that_its_declared_float_rounds_is_refused(
    connection: duckdb.DuckDBPyConnection, coerce: bool
) -> None:
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": pa.Column(float, nullable=True)}, coerce=coerce)
    with pytest.raises(DataError, match=f"readings_v1 .*x is {ID}, which a float64 rounds"):
        staged(connection, f"SELECT * FROM (VALUES (1, {ID}), (2, NULL)) AS given(k, x)", schema)
    largest = 2**63 - 1
    with pytest.raises(DataError, match=f"x is {largest}, which a float64 rounds"):
        staged(connection, f"SELECT 1 AS k, {largest} AS x", schema)
    exact = f"SELECT * FROM (VALUES (1, {2**60}), (2, {-(2**63)}), (3, NULL)) AS given(k, x)"
    assert column(connection, exact, schema) == ("DOUBLE", [2.0**60, -(2.0**63), None])


def test_lists_with_nulls_come_back_from_pandas(connection: duckdb.DuckDBPyConnection) -> None:
    rows = f"SELECT 1 AS k, [{ID}, NULL] AS x, [[{ID}], [NULL], NULL] AS y"
    layout = Layout("readings_v1", ("k",), ("k",), None)
    made = stage(connection, connection.sql(rows).df(), layout, [Partition(WHOLE)])
    assert connection.table(made.table).project("x, y").fetchall() == [([ID, None], [[ID], [None], None])]


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"k": [1], "x": [None]}), pd.DataFrame({"k": [1], "x": ["1.5"]})], ids=["null", "text"]
)
def test_columns_that_are_missing_or_null_coerce_like_others(
    connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame
) -> None:
    schema = pa.DataFrameSchema({"k": pa.Column(int), "x": pa.Column(float, nullable=True)}, coerce=True)
    layout = Layout("readings_v1", ("k",), ("k",), None, schema, types=column_types(schema))
    made = stage(connection, frame, layout, [Partition(WHOLE)])
    assert made.is_accepted
    assert str(connection.table(made.table).project("x").types[0]) == "DOUBLE"
