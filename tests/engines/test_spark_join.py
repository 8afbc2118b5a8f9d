"""The point-in-time join on Spark: what brute force finds, and what DuckDB gives, value for value and type for type."""

import random
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.sql import quote
from fti_assets.engines.running import RunningEngine
from fti_assets.errors import DataError, EngineError
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.point_in_time.on_spark import SparkJoins
from tests.features import oracles
from tests.features.oracles import MINUTE, START, Row
from tests.support.examples import examples

KINDS = {"w": "BIGINT", "k": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP", "tie": "BIGINT", "v": "BIGINT"}
SPINE = {"w": "BIGINT", "k": "VARCHAR", "j": "VARCHAR", "t": "TIMESTAMP"}
US = 60_000_000
WORLDS = 60
"""How many small systems share one plan: each has a key of its own, so that none sees another's rows."""


def declared(name: str, **changes: Any) -> JoinedGroup:
    own: dict[str, Any] = {
        "keys": (JoinedKey("w", "w", "integer"), JoinedKey("k", "k", "text")),
        "columns": (JoinedColumn(f"{name}_v", "v", "integer"), JoinedColumn(f"{name}_e", "e", "timestamp")),
        "event_time": "e",
    }
    return JoinedGroup(name, 1, **{**own, **changes})


GROUPS = [
    declared("plain"),
    declared("delayed", serving_delay_us=2 * US, ttl_us=3 * US),
    declared("late", available_at="a"),
    declared("late_and_outlived", available_at="a", ttl_us=US, keys=(JoinedKey("w", "w", "integer"), JoinedKey("j", "k", "text"))),
    declared("outlived_at_once", available_at="a", ttl_us=0),
    declared("tied", tie_break="tie"),
    declared("late_and_tied", available_at="a", tie_break="tie", ttl_us=3 * US),
    declared("lookup", event_time=None),
]  # fmt: skip


def joins_on(engine: RunningEngine, connection: duckdb.DuckDBPyConnection) -> SparkJoins:
    return SparkJoins(engine, connection, lambda group, bounds: None)


def world(chance: random.Random, number: int, group: JoinedGroup) -> list[Row]:
    """Rows that the group allows: few keys and instants, so that they meet at equal times and at both ends of a ttl."""
    identity = [key.group for key in group.keys] + list(group.times.columns)
    rows: dict[tuple[Any, ...], Row] = {}
    for value in range(chance.choice([0, 3, 9, 14])):
        instants = [START + chance.randrange(9) * MINUTE for _ in range(2)]
        row = {
            "w": number,
            "k": chance.choice(["x"] * 6 + ["y", "", None]),
            "e": chance.choice([instants[0]] * 8 + [None]),
            "a": chance.choice([instants[1]] * 8 + [None]),
            "tie": chance.choice([0, 0, 1, 2, None]),
            "v": chance.choice([value, None]),
        }
        rows[tuple(row[name] for name in identity)] = row
    return list(rows.values())


@settings(max_examples=examples(20) // 10 or 1)
@given(seed=st.integers(0, 2**32))
def test_join_on_spark_is_what_brute_force_finds(
    seed: int, spark: RunningEngine, connection: duckdb.DuckDBPyConnection
) -> None:
    chance = random.Random(seed)
    spine = [
        {
            "w": number,
            "k": chance.choice(["x"] * 6 + ["y", "", None]),
            "j": chance.choice(["x", "x", "y", "z"]),
            "t": chance.choice([START + chance.randrange(9) * MINUTE] * 9 + [None]),
        }
        for number in range(WORLDS)
        for _ in range(chance.randrange(7))
    ]
    chance.shuffle(spine)
    tables = {
        group.table_name: [row for number in range(WORLDS) for row in world(chance, number, group)] for group in GROUPS
    }
    relations = {name: oracles.relation(connection, KINDS, rows) for name, rows in tables.items()}
    results = point_in_time(
        connection,
        oracles.relation(connection, SPINE, spine),
        GROUPS,
        lambda group: relations[group.table_name],
        prediction_time="t",
        by=joins_on(spark, connection),
    ).fetchall()
    assert [list(row[:4]) for row in results] == [list(row.values()) for row in spine]
    expected = [[value for group in GROUPS for value in values(group, tables[group.table_name], row)] for row in spine]
    assert [list(row[4:]) for row in results] == expected


def values(group: JoinedGroup, rows: list[Row], row: Row) -> list[Any]:
    [result] = oracles.point_in_time(
        [row], [group], {group.table_name: [one for one in rows if one["w"] == row["w"]]}, "t"
    )
    return result


VALUES = {
    "text": ("VARCHAR", ["'a'", "''", "'ü€😀'", "'a' || chr(0) || 'b'", "' a '", "NULL"]),
    "tiny": ("UTINYINT", ["255", "0", "NULL"]),
    "small": ("USMALLINT", ["65535", "NULL"]),
    "unsigned": ("UINTEGER", ["4294967295", "2147483648", "NULL"]),
    "signed": ("TINYINT", ["-128", "127"]),
    "whole": ("BIGINT", ["9223372036854775807", "-9223372036854775808", "9007199254740993", "NULL"]),
    "number": ("DOUBLE", ["'nan'", "'-inf'", "'-0.0'", "0.0", "5e-324", "1.7976931348623157e308", "NULL"]),
    "single": ("FLOAT", ["'nan'", "0.1", "'-0.0'", "3.4028235e38", "NULL"]),
    "decimal": ("DECIMAL(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001", "NULL"]),
    "price": ("DECIMAL(9,2)", ["1234567.89", "-0.01", "NULL"]),
    "yes": ("BOOLEAN", ["true", "false", "NULL"]),
    "at": ("TIMESTAMP", ["'0001-01-01'", "'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59.999999'", "NULL"]),
    "day": ("DATE", ["'0001-01-01'", "'1582-10-10'", "'2024-02-29'", "NULL"]),
    "image": ("FLOAT[]", ["[1.5::FLOAT, 'nan'::FLOAT, NULL, '-0.0'::FLOAT]", "[]", "[NULL]", "NULL"]),
    "wide": ("DOUBLE[]", ["[0.1, 1e300]", "NULL"]),
    "bytes": ("BLOB", ["'\\x00\\xFF'", "''", "NULL"]),
}


def test_every_value_comes_back_as_it_went(spark: RunningEngine, connection: duckdb.DuckDBPyConnection) -> None:
    """Each type, as a feature of a join and of a lookup, with the values that other systems change."""
    longest = max(len(texts) for _, texts in VALUES.values())
    items = ", ".join(
        f"unnest([{cast((texts * longest)[:longest], kind)}]) AS {quote(name)}"
        for name, (kind, texts) in VALUES.items()
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE every AS SELECT unnest(range({longest})) AS id, {items}")
    connection.execute("CREATE OR REPLACE TEMP TABLE rows AS SELECT *, TIMESTAMP '2013-01-01' AS e FROM every")
    spine = connection.sql(
        f"SELECT (i % {longest + 1})::INTEGER AS id, TIMESTAMP '2013-01-02' AS t FROM range(20) r(i)"
    )
    joins = [
        JoinedGroup(
            name,
            1,
            (JoinedKey("id", "id", "integer"),),
            tuple(JoinedColumn(f"{name}_{column}", column, "number") for column in VALUES),
            event_time=event_time,
        )
        for name, event_time in (("timed", "e"), ("lookup", None))
    ]
    by_duckdb, by_spark = (
        point_in_time(connection, spine, joins, lambda _: connection.table("rows"), prediction_time="t", by=by)
        for by in (None, joins_on(spark, connection))
    )
    assert by_spark.columns == by_duckdb.columns
    assert by_spark.types == by_duckdb.types
    differences = [
        pair for rows in zip(bits(by_spark), bits(by_duckdb), strict=True) for pair in zip(*rows, strict=True)
    ]
    assert [pair for pair in differences if pair[0] != pair[1]] == []


def cast(texts: list[str], kind: str) -> str:
    return ", ".join(f"({text})::{kind}" for text in texts)


def bits(relation: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
    """All values as text; zeros of either sign are one, as in a content hash, since DuckDB's own join keeps no sign in a list."""
    text = "regexp_replace(COLUMNS(*)::VARCHAR, '(^|[^0-9.e])-0\\.0\\b', '\\10.0', 'g')"
    rows: list[tuple[Any, ...]] = relation.project(text).fetchall()
    return rows


KEYS = {
    "DOUBLE": ["'nan'", "'-0.0'", "0.0", "1.5", "'inf'", "NULL"],
    "FLOAT": ["'nan'", "'-0.0'", "0.0", "0.1", "NULL"],
    "VARCHAR": ["'a'", "'A'", "'a '", "''", "'ß'", "'ss'", "'a' || chr(0)", "NULL"],
    "BOOLEAN": ["true", "false", "NULL"],
    "TIMESTAMP": ["'2013-01-01'", "'2013-01-01 00:00:00.000001'", "NULL"],
    "DATE": ["'2013-01-01'", "'1582-10-10'", "NULL"],
    "DECIMAL(9,2)": ["1.10", "1.11", "NULL"],
    "UINTEGER": ["4294967295", "0", "NULL"],
}


@pytest.mark.soak
def test_keys_are_equal_where_duckdb_takes_them_for_equal(
    spark: RunningEngine, connection: duckdb.DuckDBPyConnection
) -> None:
    names = [f"k{number}" for number in range(len(KEYS))]
    longest = max(map(len, KEYS.values()))

    def table(name: str, step: int) -> None:
        items = ", ".join(
            f"unnest([{cast((texts[step:] + texts * longest)[:longest], kind)}]) AS {key}"
            for key, (kind, texts) in zip(names, KEYS.items(), strict=True)
        )
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {items}")

    table("own", 0)
    table("others", 1)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE dated AS SELECT *, TIMESTAMP '2013-01-01' AS e, random() AS v FROM others"
    )
    spine = connection.sql("SELECT *, TIMESTAMP '2013-01-02' AS t FROM own")
    # Rows of one key and time tie, so the greatest value wins, as of a table that nobody has validated.
    joins = [
        JoinedGroup(
            f"of_{key}",
            1,
            (JoinedKey(key, key, "text"),),
            (JoinedColumn(f"{key}_v", "v", "number"),),
            event_time="e",
            external="x",
        )
        for key in names
    ]
    by_duckdb, by_spark = (
        point_in_time(connection, spine, joins, lambda _: connection.table("dated"), prediction_time="t", by=by)
        for by in (None, joins_on(spark, connection))
    )
    assert bits(by_spark) == bits(by_duckdb)
    assert all(number for (number,) in [by_duckdb.aggregate(f"count({key}_v)").fetchall()[0] for key in names])


@pytest.mark.parametrize(
    ("own", "theirs"), [("INTEGER", "BIGINT"), ("BIGINT", "SMALLINT"), ("DATE", "TIMESTAMP"), ("DOUBLE", "FLOAT")]
)
def test_keys_of_two_types_are_joined_as_duckdb_joins_them(
    own: str, theirs: str, spark: RunningEngine, connection: duckdb.DuckDBPyConnection
) -> None:
    values = (
        ["DATE '2013-01-01'", "DATE '2013-02-01'"]
        if "DATE" in own
        else ["1", "2", *(["40000"] if own == "BIGINT" else ["0.1"] if own == "DOUBLE" else [])]
    )
    spine = connection.sql(f"SELECT unnest([{', '.join(values)}]::{own}[]) AS k, TIMESTAMP '2013-01-02' AS t")
    rows = connection.sql(
        f"SELECT unnest([{', '.join(values[:2])}]::{theirs}[]) AS k, TIMESTAMP '2013-01-01' AS e, 7 AS v"
    )
    join = JoinedGroup("g", 1, (JoinedKey("k", "k", "integer"),), (JoinedColumn("v", "v", "integer"),), event_time="e")
    by_duckdb, by_spark = (
        point_in_time(connection, spine, [join], lambda _: rows, prediction_time="t", by=by).fetchall()
        for by in (None, joins_on(spark, connection))
    )
    assert by_spark == by_duckdb
    assert [row[-1] for row in by_spark[:2]] == [7, 7]


def test_a_type_that_spark_would_change_is_named(spark: RunningEngine, connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.sql("SELECT 'x' AS k, TIMESTAMP '2013-01-01' AS e, uuid() AS v, MAP {'a': 1} AS m")
    spine = connection.sql("SELECT 'x' AS k, TIMESTAMP '2013-01-02' AS t")
    join = JoinedGroup(
        "g",
        1,
        (JoinedKey("k", "k", "text"),),
        (JoinedColumn("v", "v", "text"), JoinedColumn("m", "m", "text")),
        event_time="e",
    )
    with pytest.raises(
        EngineError, match=r"g_v1 has columns of types .* v \(UUID\), m \(MAP\(VARCHAR, INTEGER\)\).*engine='duckdb'"
    ):
        point_in_time(connection, spine, [join], lambda _: rows, prediction_time="t", by=joins_on(spark, connection))


def test_a_lookup_with_two_rows_of_a_key_is_refused(
    spark: RunningEngine, connection: duckdb.DuckDBPyConnection
) -> None:
    spine, rows = connection.sql("SELECT 'x' AS k"), connection.sql("SELECT 'x' AS k, unnest([1, 2]) AS v")
    join = JoinedGroup("g", 1, (JoinedKey("k", "k", "text"),), (JoinedColumn("v", "v", "integer"),))
    with pytest.raises(DataError, match="2 rows of the key k='x'"):
        point_in_time(connection, spine, [join], lambda _: rows, prediction_time=None, by=joins_on(spark, connection))
