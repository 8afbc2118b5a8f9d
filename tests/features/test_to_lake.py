"""Foreign rows come to the lake's types alike, whoever brings them: a frame, a relation, an external table, a request for features."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import DataError
from fti_assets.features.external.rows import external_rows
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.to_lake import to_lake
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.stores.sources.source import source_connection
from fti_assets.testing import materialize, stores_in
from tests.features.oracles import connection

Brought = tuple[str, list[Any]]
Way = Callable[[str, ColumnType, Path], Brought]
NOON = datetime(2024, 5, 1, 12)
DECLARED: dict[ColumnType, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "timestamp": pd.Timestamp,
}


def rows_sql(values: str) -> str:
    return f"SELECT row_number() OVER () AS id, x FROM (SELECT unnest({values}) AS x)"


def staged(duck: duckdb.DuckDBPyConnection, result: Any, kind: ColumnType) -> Brought:
    times = ("x",) if kind == "timestamp" else ()
    layout = Layout("things_v1", (), (), None, types={"id": "integer", "x": kind}, times=times)
    return brought(duck.table(stage(duck, result, layout, [UNPARTITIONED]).table))


def brought(relation: duckdb.DuckDBPyRelation) -> Brought:
    values = [value for (value,) in relation.order("id").project("x").fetchall()]
    return str(relation.types[relation.columns.index("x")]), values


def by_frame(values: str, kind: ColumnType, _: Path) -> Brought:
    with connection() as duck:
        return staged(duck, duck.sql(rows_sql(values)).to_arrow_table(), kind)


def by_relation(values: str, kind: ColumnType, _: Path) -> Brought:
    with connection() as duck:
        return staged(duck, duck.sql(rows_sql(values)), kind)


def by_external_table(values: str, kind: ColumnType, root: Path) -> Brought:
    with duckdb.connect(str(root / "warehouse.duckdb")) as warehouse:
        warehouse.execute(f"SET TimeZone = 'UTC'; CREATE TABLE things AS {rows_sql(values)}")
    source = fti.DuckDBTable(file=root / "warehouse.duckdb", table="things")
    schema = pa.DataFrameSchema({"id": pa.Column(int), "x": pa.Column(DECLARED[kind], nullable=True)})
    with source_connection() as duck:
        return brought(
            external_rows(duck, fti.external_group(name="things", source=source, keys=["id"], schema=schema))
        )


def by_request(values: str, kind: ColumnType, root: Path) -> Brought:
    @fti.feature_group(name="things", keys=["id"])
    def things() -> Any:
        return duckdb.sql(f"SELECT 1 AS id, 1 AS y, {SIDES[kind].nothing}::{SIDES[kind].sql} AS x")

    stores = stores_in(root)
    materialize(things, stores=stores)
    view = fti.FeatureView(name="asking", spine=things, label=fti.Label(things["y"]), features=[things["x"]])
    with connection() as duck:
        rows = view.features_for(duck.sql(rows_sql(values)).to_arrow_table(), stores=stores, as_="relation")
    return brought(rows)


STAGED: list[Way] = [by_frame, by_relation]
EVERY: list[Way] = [*STAGED, by_external_table, by_request]
OF_TABLES: list[Way] = [by_relation, by_external_table]  # Arrow has no type of 128 bits


def cases(*rows: tuple[list[Way], ColumnType, str, Any]) -> list[Any]:
    return [
        pytest.param(way, kind, values, expected, id=f"{way.__name__}-{kind}-{values}")
        for ways, kind, values, expected in rows
        for way in ways
    ]


@pytest.mark.parametrize(
    ("way", "kind", "values", "expected"),
    cases(
        (EVERY, "text", "['a', '', NULL]", ["a", "", None]),
        (EVERY, "text", "['b', NULL, 'a']::ENUM('b', 'a')[]", ["b", None, "a"]),
        *((EVERY, "integer", f"[7, NULL, 0]::{sql_type}[]", [7, None, 0]) for sql_type in SIDES["integer"].same),
        (EVERY, "integer", "[9223372036854775807, NULL, -9223372036854775808]", [2**63 - 1, None, -(2**63)]),
        (EVERY, "integer", "[9223372036854775807, NULL]::UBIGINT[]", [2**63 - 1, None]),
        (OF_TABLES, "integer", "[9223372036854775807, NULL]::HUGEINT[]", [2**63 - 1, None]),
        (OF_TABLES, "integer", "[9223372036854775807, NULL]::UHUGEINT[]", [2**63 - 1, None]),
        (EVERY, "number", "['0.1', NULL, 'nan', '-inf']::DOUBLE[]", [0.1, None, None, float("-inf")]),
        (EVERY, "number", "['0.5', NULL, 'nan']::FLOAT[]", [0.5, None, None]),
        (EVERY, "number", "[7, NULL]::UTINYINT[]", [7.0, None]),
        (EVERY, "number", "[9007199254740992, -9223372036854775808, NULL]", [2.0**53, -(2.0**63), None]),
        (EVERY, "boolean", "[true, NULL, false]", [True, None, False]),
        (EVERY, "timestamp", "[TIMESTAMP '2024-05-01 12:00', NULL]", [NOON, None]),
        (EVERY, "timestamp", "[TIMESTAMPTZ '2024-05-01 14:00:00+02', NULL]", [NOON, None]),
        (EVERY, "timestamp", "[TIMESTAMP_NS '2024-05-01 12:00:00.000000999', NULL]", [NOON, None]),
        (EVERY, "timestamp", "[TIMESTAMP_MS '2024-05-01 12:00', NULL]", [NOON, None]),
        (EVERY, "timestamp", "[TIMESTAMP_S '2024-05-01 12:00', NULL]", [NOON, None]),
        (EVERY, "timestamp", "[DATE '2024-05-01', NULL]", [datetime(2024, 5, 1), None]),
        (EVERY, "timestamp", "['2024-05-01T14:00+02:00', NULL, '2024-05-01 12:00']", [NOON, None, NOON]),
    ),
)
def test_value_that_type_holds_is_same_by_every_way(
    way: Way, kind: ColumnType, values: str, expected: list[Any], tmp_path: Path
) -> None:
    sql_type, results = way(values, kind, tmp_path)
    assert (sql_type, results) == (SIDES[kind].sql, expected)
    assert [type(value) for value in results] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("way", "kind", "values", "expected"),
    cases(
        (EVERY, "integer", "[7, 9223372036854775808]::UBIGINT[]", "9223372036854775808"),
        (OF_TABLES, "integer", "[7, 18446744073709551616]::HUGEINT[]", "18446744073709551616"),
        (OF_TABLES, "integer", "[7, 18446744073709551616]::UHUGEINT[]", "18446744073709551616"),
        ([*STAGED, by_external_table], "number", "[7, 9007199254740993]", "9007199254740993"),
        (EVERY, "timestamp", "['2024-05-01', 'soon']", "'soon'"),
        (EVERY, "timestamp", "['01/02/2024']", "'01/02/2024'"),
        (OF_TABLES, "timestamp", "[DATE '2024-05-01', DATE '300000-01-01']", "300000-01-01"),
        (OF_TABLES, "timestamp", "[TIMESTAMP '2024-05-01', TIMESTAMP 'infinity']", "infinity"),
        (OF_TABLES, "timestamp", "[TIMESTAMP '-infinity', NULL]", "-infinity"),
        (OF_TABLES, "timestamp", "[TIMESTAMPTZ 'infinity', NULL]", "infinity"),
        (OF_TABLES, "timestamp", "[DATE '-infinity', NULL]", "-infinity"),
    ),
)
def test_value_that_type_does_not_hold_is_refused_by_name(
    way: Way, kind: ColumnType, values: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"x'? (is|with) {expected}"):
        way(values, kind, tmp_path)


@pytest.mark.parametrize("given", ["VARCHAR", "BIGINT", "DOUBLE"])
def test_column_that_has_type_is_taken_without_cast(given: str) -> None:
    with connection() as duck:
        column = to_lake(duck, "x", given, given)
    assert column.or_error("x is ", "") == column.sql
    assert "CAST" not in column.sql
