"""Which columns each column of a query was made from."""

import time
from datetime import datetime

import duckdb
import pytest

import fti_assets as fti
from fti_assets.features.sql_lineage import UntoldError, sql_lineage
from fti_assets.stores.duckdb.relations import name_relation, recording_relations, relation_name, sql_of

TABLES = {
    "lake.features.arrivals_v1": {"carrier": "VARCHAR", "tail": "VARCHAR", "seen": "TIMESTAMP", "delay": "DOUBLE"},
    "planes": {"tail": "VARCHAR", "built": "BIGINT", "seats": "BIGINT"},
}
RELATIONS = {
    "arrivals": "SELECT * FROM lake.features.arrivals_v1 AT (VERSION => 3)",
    "late": "FROM arrivals WHERE delay > 15",
}
ARRIVALS = "lake.features.arrivals_v1"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT carrier, delay AS late FROM arrivals", {"carrier": ["carrier"], "late": ["delay"]}),
        ("SELECT * EXCLUDE (seen) FROM arrivals", {"carrier": ["carrier"], "tail": ["tail"], "delay": ["delay"]}),
        ("SELECT * REPLACE (delay + 1 AS delay) FROM late", {c: [c] for c in ("carrier", "tail", "seen", "delay")}),
        ("SELECT carrier, avg(delay) AS d, count(*) AS n FROM arrivals WHERE seen > '2013-01-01' GROUP BY ALL",
         {"carrier": ["carrier"], "d": ["delay"]}),
        ("WITH a AS (SELECT carrier AS c, delay AS d FROM arrivals), b AS (SELECT c, d * 2 AS e FROM a) SELECT c, e - 1 AS f FROM b",
         {"c": ["carrier"], "f": ["delay"]}),
        ("SELECT a.carrier, p.built, a.delay / p.seats AS x FROM arrivals a JOIN planes p USING (tail)",
         {"carrier": ["carrier"], "built": ["planes.built"], "x": ["delay", "planes.seats"]}),
        ("SELECT carrier AS x FROM arrivals UNION ALL SELECT tail FROM planes", {"x": ["carrier", "planes.tail"]}),
        ("SELECT carrier, sum(delay) OVER (PARTITION BY tail ORDER BY seen) AS s FROM arrivals",
         {"carrier": ["carrier"], "s": ["seen", "delay", "tail"]}),
        ("SELECT CASE WHEN delay > 15 THEN carrier ELSE 'none' END AS x FROM arrivals", {"x": ["carrier", "delay"]}),
        ("SELECT (SELECT max(built) FROM planes) AS newest, tail FROM arrivals", {"newest": ["planes.built"], "tail": ["tail"]}),
        ("FROM arrivals SELECT carrier", {"carrier": ["carrier"]}),
        ("SELECT DISTINCT ON (carrier) carrier, delay FROM arrivals ORDER BY seen", {"carrier": ["carrier"], "delay": ["delay"]}),
        ("SELECT a.delay, p.seats FROM arrivals a ASOF JOIN planes p ON a.tail = p.tail AND a.seen >= p.built",
         {"delay": ["delay"], "seats": ["planes.seats"]}),
        ("SELECT carrier, delay FROM arrivals QUALIFY row_number() OVER (PARTITION BY tail ORDER BY seen) = 1",
         {"carrier": ["carrier"], "delay": ["delay"]}),
        ("WITH arrivals AS (SELECT carrier, delay AS seen FROM arrivals) SELECT seen FROM arrivals", {"seen": ["delay"]}),
        ("SELECT 1 AS one, carrier FROM arrivals", {"carrier": ["carrier"]}),
        ("SELECT tail FROM arrivals UNION BY NAME SELECT seats, tail FROM planes",
         {"tail": ["tail", "planes.tail"], "seats": ["planes.seats"]}),
        ("WITH RECURSIVE r(n, m, o) AS (SELECT seats, tail, 'x' FROM planes UNION ALL SELECT n, m, m FROM r) FROM r SELECT n, o",
         {"n": ["planes.seats"], "o": ["planes.tail"]}),
        ("SELECT sum(delay) OVER w AS s FROM arrivals WINDOW w AS (PARTITION BY tail ORDER BY seen)",
         {"s": ["seen", "delay", "tail"]}),
        ("SELECT A.DELAY AS late FROM Arrivals AS a", {"late": ["delay"]}),
        ("SELECT tail, max(seats) AS most FROM (FROM arrivals JOIN planes USING (tail)) GROUP BY tail",
         {"tail": ["tail", "planes.tail"], "most": ["planes.seats"]}),
        ("SELECT * FROM planes NATURAL JOIN (SELECT tail, delay FROM arrivals)",
         {"tail": ["tail", "planes.tail"], "built": ["planes.built"], "seats": ["planes.seats"], "delay": ["delay"]}),
        ("SELECT delay AS x, x + 1 AS y FROM arrivals", {"x": ["delay"], "y": ["delay"]}),
        ("SELECT list_transform([seats], delay -> delay + 1) AS x FROM planes", {"x": ["planes.seats"]}),
        ("SELECT tail -> '$.a' AS x FROM planes", {"x": ["planes.tail"]}),
        ("SELECT v.x FROM arrivals a, LATERAL (SELECT a.delay + 1 AS x) v", {"x": ["delay"]}),
        ("SELECT n.x, tail FROM planes, unnest([seats]) n(x)", {"x": ["planes.seats"], "tail": ["planes.tail"]}),
        ("SELECT x, tail FROM planes, (VALUES (1, 2)) v(x, y)", {"tail": ["planes.tail"]}),
        ("SELECT s.whole.tail AS x FROM (SELECT {'tail': tail, 'n': seats} AS whole FROM planes) s",
         {"x": ["planes.seats", "planes.tail"]}),
        ("SELECT * RENAME (tail AS plane) FROM planes ANTI JOIN arrivals USING (tail)",
         {"plane": ["planes.tail"], "built": ["planes.built"], "seats": ["planes.seats"]}),
        ("SELECT tail, COLUMNS('s.*') FROM planes UNION ALL SELECT tail, seats FROM planes", {}),
    ],
)  # fmt: skip
def test_each_column_leads_back_to_columns_that_it_is_made_of(sql: str, expected: dict[str, list[str]]) -> None:
    wanted = {
        column: {(name.rpartition(".")[0] or ARRIVALS, name.rpartition(".")[2]) for name in names}
        for column, names in expected.items()
    }
    results = sql_lineage(sql, tables=TABLES, relations=RELATIONS)
    assert {column: set(sources) for column, sources in results.items()} == wanted
    with duckdb.connect() as connection:  # it is what DuckDB takes it for
        connection.execute("CREATE TABLE arrivals_ (carrier VARCHAR, tail VARCHAR, seen TIMESTAMP, delay DOUBLE)")
        connection.execute("CREATE VIEW arrivals AS FROM arrivals_; CREATE VIEW late AS FROM arrivals")
        connection.execute("CREATE TABLE planes (tail VARCHAR, built TIMESTAMP, seats BIGINT)")
        assert set(results) <= set(connection.sql(sql).columns)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT x FROM elsewhere",
        "this is no SQL",
    ],
)
def test_what_cannot_be_told_is_error_and_no_guess(sql: str) -> None:
    with pytest.raises(UntoldError):
        sql_lineage(sql, tables=TABLES, relations=RELATIONS)


@pytest.mark.parametrize(
    "sql", ["SELECT nothing FROM arrivals", "SELECT x FROM read_csv('x')", "SELECT i FROM range(3) r(i)"]
)
def test_a_column_of_unknown_sources_is_left_out(sql: str) -> None:
    assert sql_lineage(sql, tables=TABLES, relations=RELATIONS) == {}
    both = sql.replace("FROM", ", p.seats FROM planes p,", 1)
    assert sql_lineage(both, tables=TABLES, relations=RELATIONS) == {"seats": (("planes", "seats"),)}


def test_relations_in_a_circle_end() -> None:
    with pytest.raises(UntoldError, match="in a circle"):
        sql_lineage("FROM a", tables={}, relations={"a": "FROM b", "b": "FROM a"})


# The SQL of relations


def test_relations_are_recorded_in_a_block_only() -> None:
    with duckdb.connect() as connection:
        relation = connection.sql("SELECT 1 AS x")
        relation_name(relation)
        with recording_relations() as relations:
            name_relation(relation.filter("x > 0"), "some")
        relation_name(relation)
        assert list(relations) == ["some"]
        assert "WHERE (x > 0)" in relations["some"]


def test_rows_that_were_fetched_have_no_sql() -> None:
    with duckdb.connect() as connection:
        fetched = connection.sql("SELECT i FROM range(3) r(i) WHERE i > ?", params=[0])
        assert sql_of(fetched) is None
        assert sql_of(fetched.filter("i > 1")) is None
        assert sql_of(connection.sql("SELECT 1 AS x").filter("x > 0")) is not None


def test_windows_are_told_from_their_sql_and_quickly() -> None:
    windows = ["3h", "24h", "7d", "30d"]
    aggregates = {"rate": fti.Mean("is_late"), "delay": fti.Sum("delay"), "n": fti.Count()}
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (carrier VARCHAR, seen TIMESTAMP, is_late BOOLEAN, delay DOUBLE)")
        connection.execute("INSERT INTO t VALUES ('UA', '2013-01-01', true, 3.5)")
        grid = fti.Grid("hour", datetime(2013, 1, 1), datetime(2013, 1, 2))
        table = fti.Table(
            connection.sql("FROM t"), connection, "arrivals_v1", ("carrier",), event_time="seen", grid=grid
        )
        with recording_relations() as relations:
            made = fti.window_aggregate(table, keys=["carrier"], every="1h", windows=windows, aggregates=aggregates)
        tables = {"t": {"carrier": "VARCHAR", "seen": "TIMESTAMP", "is_late": "BOOLEAN", "delay": "DOUBLE"}}
        text = sql_of(made.relation)
        assert text is not None
        results = sql_lineage(text, tables=tables, relations=relations)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            sql_lineage(text, tables=tables, relations=relations)
            seconds.append(time.process_time() - start)
    print(f"lineage of {len(results)} columns: {1000 * min(seconds):.0f} ms")
    assert results["carrier"] == (("t", "carrier"),)
    assert {results[f"rate_{window}"] for window in windows} == {(("t", "is_late"),)}
    assert {results[f"delay_{window}"] for window in windows} == {(("t", "delay"),)}
    assert not {f"n_{window}" for window in windows} & set(results)
