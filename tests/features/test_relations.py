"""Relations of DuckDB that a group's function gives: of the default connection or any other, with frames by their name."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError
from fti_assets.features.rows.frames.relations import relation_of

FRAME = pd.DataFrame({"k": [1, 2, 3], "x": [1.5, None, 2.5]})
KNOWN = "SELECT k, x, TIMESTAMP '2013-01-01' + to_hours(k) AS t, '2013-01-01 02:00:00+02'::TIMESTAMPTZ AS since"


def of_duckdb_sql() -> Any:
    return duckdb.sql(f"{KNOWN} FROM FRAME")


def of_a_local_frame() -> Any:
    rows = FRAME.assign(k=[1, 2, 3])  # noqa: F841 DuckDB finds it by its name
    return duckdb.sql(f"{KNOWN} FROM rows WHERE k < 9")


def of_a_relation_by_its_name() -> Any:
    rows = duckdb.sql("FROM FRAME")  # noqa: F841 DuckDB finds it by its name
    return duckdb.sql(f"{KNOWN} FROM rows").filter("k < 9")


def of_another_connection() -> Any:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    connection.execute("CREATE TABLE places AS FROM FRAME")
    return connection.sql(f"{KNOWN} FROM places")


def of_a_cursor() -> Any:
    return duckdb.connect().cursor().from_df(FRAME).project(KNOWN.removeprefix("SELECT "))


def of_fetched_rows() -> Any:
    relation = duckdb.sql(f"{KNOWN} FROM FRAME")
    assert len(relation.fetchall()) == 3
    return relation


def of_an_order() -> Any:
    return duckdb.sql(f"{KNOWN} FROM FRAME ORDER BY k DESC").limit(3)


@fti.feature_group(keys=["id"])
def landed() -> pd.DataFrame:
    return pd.DataFrame({"id": [1]})


FUNCTIONS: list[Callable[[], Any]] = [
    of_duckdb_sql, of_a_local_frame, of_a_relation_by_its_name, of_another_connection, of_a_cursor, of_fetched_rows, of_an_order,
]  # fmt: skip


def group_of(function: Callable[[], Any]) -> fti.FeatureGroup:
    @fti.feature_group(
        keys=["k"], event_time="t", serving_delay="1h", online=True, ins={"given": landed}
    )  # lineage is asked where inputs are
    def places(given: fti.Table) -> Any:
        return function()

    return places


def test_function_may_give_relation_of_any_duckdb_connection(tmp_path: Path) -> None:
    stores, start = testing.stores_in(tmp_path), datetime(2013, 1, 1)
    testing.materialize(landed, stores=stores)
    for function in [*FUNCTIONS, FUNCTIONS[0]]:
        places = group_of(function)
        assert testing.materialize(places, stores=stores, now="2013-01-10").success
        rows = fti.read(places, stores=stores, as_="dicts")
        assert sorted((row["k"], row["x"], row["t"], row["since"]) for row in rows) == [
            (k, x, start + timedelta(hours=k), start) for k, x in ((1, 1.5), (2, None), (3, 2.5))
        ], function


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS k, cast('ten' AS int) AS x FROM range(1)",
        "SELECT range AS k, cast(if(range = 500000, 'ten', '1') AS int) AS x FROM range(600000)",
    ],
    ids=["at once", "late"],
)
def test_a_relation_that_fails_is_said_so(tmp_path: Path, query: str) -> None:
    @fti.feature_group(keys=["k"])
    def places() -> Any:
        return duckdb.sql(query)

    with pytest.raises(DataError) as raised:
        testing.materialize(places, stores=testing.stores_in(tmp_path))
    assert str(raised.value).startswith(
        "the relation that places_v1 returned fails when its rows are read: Conversion Error: Could not convert string 'ten' to INT32. "
    )


@pytest.mark.parametrize(
    ("value", "cast"), [("'0101'::BIT", '"x"::VARCHAR'), ("[{'a': '0101'::BIT}]", '"x"::STRUCT(a VARCHAR)[]')]
)
def test_bits_of_another_connection_are_refused_by_name(tmp_path: Path, value: str, cast: str) -> None:
    def places() -> Any:
        return duckdb.sql(f"SELECT 1 AS k, {value} AS x")

    group = fti.feature_group(keys=["k"])(places)
    with pytest.raises(DataError, match="places_v1 .*column 'x' is .*BIT.*Cast it to text before") as raised:
        testing.materialize(group, stores=testing.stores_in(tmp_path))
    assert cast in str(raised.value)


def places_of(select: str, *, own: bool) -> fti.FeatureGroup:
    """A group of a query, on the lake's own connection or on a foreign one."""
    if own:
        return fti.sql_feature_group(name="places", keys=["k"], sql=f"{select} FROM landed")
    return fti.feature_group(keys=["k"], name="places")(lambda: duckdb.sql(select))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("'12:00:00+02'::TIMETZ", "x is 12:00:00.02, a time of day with an offset, .*: give text, or the time in UTC"),
        ("['12:00:00+00'::TIMETZ]", r"column 'x' is TIME WITH TIME ZONE\[\]. Cast it to text before"),
        ("{'t': '12:00:00+02'::TIMETZ}", "column 'x' is STRUCT.*Cast it to text before"),
    ],
)
def test_a_time_of_day_does_not_lose_its_offset(tmp_path: Path, own: bool, value: str, said: str) -> None:
    select = f"SELECT 1 AS k, {value} AS x"
    group = places_of(select, own=own)
    stores = testing.stores_in(tmp_path)
    testing.materialize(landed, stores=stores)
    with pytest.raises(DataError, match=said):
        testing.materialize(group, stores=stores)


@pytest.mark.parametrize("own", [True, False])
def test_a_time_of_day_in_utc_is_stored(tmp_path: Path, own: bool) -> None:
    select = "SELECT unnest([1, 2]) AS k, unnest(['12:00:00.5+00'::TIMETZ, NULL]) AS x"
    group = places_of(select, own=own)
    stores = testing.stores_in(tmp_path)
    testing.materialize(landed, stores=stores)
    testing.materialize(group, stores=stores)
    kept = fti.read(group, stores=stores, as_="arrow").sort_by("k")["x"]
    assert kept.to_pylist() == [time(12, 0, 0, 500_000), None]


LARGEST = {"hugeint": 2**127 - 1, "uhugeint": 2**128 - 1, "decimal": 10**38 - 1}


@pytest.mark.parametrize(
    "value",
    [
        f"{LARGEST['hugeint']}::HUGEINT",
        f"{10**38}::HUGEINT",
        f"{-(10**38)}::HUGEINT",
        f"{LARGEST['uhugeint']}::UHUGEINT",
        f"[1, {LARGEST['hugeint']}::HUGEINT]",
        f"{{'n': {LARGEST['uhugeint']}::UHUGEINT, 'at': now()}}",
        f"MAP {{'a': {LARGEST['uhugeint']}::UHUGEINT}}",
        f"[{LARGEST['hugeint']}::HUGEINT]::HUGEINT[1]",
        f"{2**64 - 1}::UBIGINT",
    ],
)
def test_a_number_of_another_connection_that_nothing_stores_is_refused_by_its_column(
    tmp_path: Path, value: str
) -> None:
    group = fti.feature_group(keys=["k"], name="places")(lambda: duckdb.sql(f"SELECT 1 AS k, {value} AS n"))
    stores = testing.stores_in(tmp_path)
    with pytest.raises(DataError, match="places_v1 .*: n is .*, which .*: give text, or null"):
        testing.materialize(group, stores=stores)


@pytest.mark.soak
@pytest.mark.parametrize("number", [0, -5, 2**63 - 1, LARGEST["decimal"], -LARGEST["decimal"], None])
@pytest.mark.parametrize("kind", ["HUGEINT", "UHUGEINT", "HUGEINT[]"])
def test_a_number_of_128_bits_that_has_38_digits_is_stored(number: int | None, kind: str) -> None:
    unsigned = None if number is None else abs(number)
    text = "NULL" if number is None else f"{unsigned if kind == 'UHUGEINT' else number}::{kind.removesuffix('[]')}"
    other = duckdb.sql(f"SELECT {f'[{text}]' if kind.endswith('[]') else text}::{kind} AS n")
    rows = relation_of(duckdb.connect(), other, what="places")
    assert rows.project("n::VARCHAR").fetchall() == other.project("n::VARCHAR").fetchall()


@pytest.mark.parametrize(
    "give",
    [
        lambda: duckdb.sql("SELECT 1 AS k, 2 AS v, 3 AS v"),
        lambda: pa.table([[1], [2], [3]], names=["k", "v", "v"]),
        lambda: pa.RecordBatchReader.from_batches(pa.schema([("k", "int64"), ("v", "int64"), ("v", "int64")]), []),
        lambda: pd.DataFrame([[1, 2, 3]], columns=["k", "v", "v"]),
    ],
)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, give: Callable[[], Any]) -> None:
    group = fti.feature_group(keys=["k"], name="places")(give)
    with pytest.raises(DataError, match="^places_v1 gave two columns 'v': keep one of them"):
        testing.materialize(group, stores=testing.stores_in(tmp_path))


def test_relation_of_closed_connection_is_refused_with_what_to_do(tmp_path: Path) -> None:
    @fti.feature_group(keys=["k"])
    def places() -> Any:
        with duckdb.connect() as connection:
            return connection.sql("SELECT 1 AS k, 2.5 AS x")

    with pytest.raises(DataError, match="places_v1 .*Return one whose connection is open"):
        testing.materialize(places, stores=testing.stores_in(tmp_path))


@pytest.mark.parametrize(
    "form", [lambda table: table, lambda table: table.to_batches()[0], lambda table: table.to_reader()]
)
def test_floats_of_16_bits_are_those_of_32_in_tables_batches_and_streams(form):
    half = np.float16(1.5)
    columns = {"x": pa.array([half]), "many": pa.array([[half]], pa.list_(pa.float16()))}
    columns |= {"two": pa.array([[half] * 2], pa.list_(pa.float16(), 2)), "in": pa.array([{"u": half}])}
    rows = relation_of(duckdb.connect(), form(pa.table(columns)), what="halves")
    assert list(map(str, rows.types)) == ["FLOAT", "FLOAT[]", "FLOAT[2]", "STRUCT(u FLOAT)"]
    assert rows.fetchall() == [(1.5, [1.5], (1.5, 1.5), {"u": 1.5})]
