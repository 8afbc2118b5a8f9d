"""The SQL of a group: what it may be, what it reads, and where its parameters are."""

import duckdb
import pytest

from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.groups.sql_body import fill, sql_body
from fti_assets.features.rows.table import Table


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1 AS x", {}),
        ("FROM arrivals", {"arrivals": 1}),
        ("SELECT a\nFROM Arrivals\nJOIN \"planes\" USING (a)", {"arrivals": 2, "planes": 3}),
        ("WITH a AS (FROM arrivals), b AS (FROM a) SELECT * FROM b JOIN a USING (x)", {"arrivals": 1}),
        ("WITH arrivals AS (FROM arrivals) FROM arrivals", {"arrivals": 1}),
        ("WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) FROM n, t", {"t": 1}),
        ("SELECT (SELECT max(x) FROM b) FROM a WHERE y IN (SELECT y FROM c) AND EXISTS (WITH d AS (FROM e) FROM d)",
         {"a": 1, "b": 1, "c": 1, "e": 1}),
        ("SELECT * FROM (WITH inner_one AS (FROM a) FROM inner_one), inner_one", {"a": 1, "inner_one": 1}),
        ("SELECT x FROM a UNION ALL SELECT y FROM b EXCEPT SELECT z FROM c", {"a": 1, "b": 1, "c": 1}),
        ("SELECT * FROM a ASOF JOIN b ON a.k = b.k AND a.t >= b.t", {"a": 1, "b": 1}),
        ("SELECT * FROM a PIVOT (sum(x) FOR y IN (1, 2))", {"a": 1}),
        ("SELECT * FROM a, range(3) r(i), unnest(a.xs), (VALUES (1)) v(x)", {"a": 1}),
        ("SELECT 'FROM b' -- FROM c\n/* FROM d */ FROM a;", {"a": 2}),
        ("-- é\nSELECT 'é'\nFROM a", {"a": 3}),
    ],
)  # fmt: skip
def test_the_tables_that_it_reads_and_does_not_define(sql: str, tables: dict[str, int]) -> None:
    assert sql_body(sql, place="it").tables == tables


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELEC 1", 'late.sql, line 1: Parser Error: syntax error at or near "SELEC"'),
        ("SELECT a,\n  b FROM\n  WHERE x", 'late.sql, line 3: Parser Error: syntax error at or near "WHERE"'),
        ("", "late.sql: a group in SQL is one SELECT statement, there is none"),
        ("SELECT 1; DROP TABLE a", "one SELECT statement, there is SELECT and DROP"),
        ("SELECT 1; SELECT 2", "one SELECT statement, there is SELECT and SELECT"),
        ("CREATE TABLE b AS FROM a", "there is CREATE"),
        ("COPY a TO 'b.csv'", "there is COPY"),
        ("ATTACH 'x.db'", "there is ATTACH"),
        ("INSTALL httpfs", "there is LOAD"),
        ("SET threads = 1", "there is SET"),
        ("DESCRIBE a", "not SHOW, DESCRIBE or SUMMARIZE"),
        ("SHOW TABLES", "not SHOW, DESCRIBE or SUMMARIZE"),
        ("SELECT *\nFROM read_csv('/etc/passwd')", r"late.sql, line 2 reads read_csv\(\).*external group"),
        ("SELECT (SELECT max(x) FROM read_parquet('s3://b/*'))", r"reads read_parquet\(\)"),
        ("FROM glob('/*')", r"reads glob\(\)"),
        ("FROM query('SELECT 1')", r"reads query\(\)"),
        ("FROM duckdb_secrets()", r"reads duckdb_secrets\(\)"),
        ("FROM postgres_query('pg', 'DROP TABLE x')", r"reads postgres_query\(\)"),
        ("WITH a AS (FROM read_blob('x')) FROM a", r"reads read_blob\(\)"),
        ("SELECT getenv('HOME')", r"calls getenv\(\), which reads what is outside"),
        ("SELECT 1 WHERE current_setting('s3_secret_access_key') = ''", r"calls current_setting\(\)"),
        ("SELECT 1\nFROM lake.features.arrivals_v1", "line 2 reads 'lake.features.arrivals_v1': name a feature group"),
        ("FROM information_schema.tables", "reads 'information_schema.tables'"),
        (
            "FROM arrivals AT (VERSION => 3)",
            "reads 'arrivals': name a feature group, which a run gives as of its own time",
        ),
        ("FROM a WHERE t > $begin", r"takes the parameter 'begin': there is '\$start'"),
        ("FROM a WHERE t > ?", "takes the parameter '1'"),
    ],
)
def test_what_is_no_select_over_groups_is_refused_with_its_place(sql: str, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        sql_body(sql, place="late.sql")


FUNCTIONS = ["now", "today", "current_date", "get_current_timestamp", "transaction_timestamp", "current_localtimestamp", "random",
             "uuid", "gen_random_uuid", "uuidv7", "NOW", "main.now"]  # fmt: skip
WORDS = ["current_date", "CURRENT_TIMESTAMP", "current_time", "localtime", "localtimestamp"]


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        *((f"{name}()", rf"calls {name.lower().removeprefix('main.')}\(\)") for name in FUNCTIONS),
        *((word, f"reads {word.lower()}, .*the_table.{word.lower()}") for word in WORDS),
        ("age(seen_at)", r"calls age\(\) with one time"),
        ("ago(INTERVAL 7 DAY)", r"calls ago\(\)"),
        ("setseed(0.5)", r"calls setseed\(\)"),
    ],
)
def test_what_differs_from_run_to_run_is_refused(expression: str, named: str) -> None:
    for sql in (
        f"SELECT x,\n{expression} AS y FROM a",
        f"FROM a\nWHERE seen_at > {expression}",
        f"SELECT 1 FROM\n(SELECT x FROM a ORDER BY {expression} LIMIT 3)",
    ):
        with pytest.raises(DeclarationError, match=rf"late.sql, line 2 {named}"):
            sql_body(sql, place="late.sql")


@pytest.mark.parametrize(
    "sql",
    [
        "FROM a TABLESAMPLE 10%",
        "FROM a USING SAMPLE 5 ROWS",
        "FROM a TABLESAMPLE reservoir(5 ROWS) REPEATABLE (7)",
        "SELECT x FROM (FROM a) TABLESAMPLE 1%",
        "WITH few AS (FROM a TABLESAMPLE 10%) FROM few",
    ],
)
def test_a_sample_is_refused_with_what_to_do_instead(sql: str) -> None:
    with pytest.raises(DeclarationError, match=r"late.sql, line 1 takes a sample, .* hash\(key\) % 10 = 0; a seed"):
        sql_body(sql, place="late.sql")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.current_date FROM a",
        "SELECT x AS current_date, 'now()' AS y FROM a -- now()",
        "SELECT age(seen_at, made_at), hash(x), error('no') FROM a",
        "SELECT now, random FROM a",
    ],
)
def test_what_only_looks_like_clock_or_chance_is_taken(sql: str) -> None:
    assert sql_body(sql, place="it").tables == {"a": 1}


def test_no_function_gives_time_from_nothing_not_refused() -> None:
    with duckdb.connect() as connection:
        names = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE len(parameters) = 0 "
            "AND function_type IN ('scalar', 'macro')"
        ).fetchall()
        for (name,) in names:
            try:
                kind = str(connection.sql(f'SELECT "{name}"() AS x').types[0])
            except duckdb.Error:
                continue
            if kind.startswith(("DATE", "TIME")):
                with pytest.raises(DeclarationError, match="differs from run to run"):
                    sql_body(f'SELECT "{name}"()', place="it")


def test_file_is_table_of_that_name_and_so_no_group() -> None:
    assert sql_body("FROM '/etc/passwd.csv'", place="it").tables == {"/etc/passwd.csv": 1}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WHERE t >= $start AND t<$end", "WHERE t >= S AND t<E"),
        ("WHERE t >= $START", "WHERE t >= S"),
        (
            "SELECT '$start', \"$end\", $$ $start $$ -- $end\n/* $end */, $end",
            "SELECT '$start', \"$end\", $$ $start $$ -- $end\n/* $end */, E",
        ),
        ("SELECT 'é', $start, 'ü' || $end", "SELECT 'é', S, 'ü' || E"),
        ("SELECT E'it\\'s $start', $start", "SELECT E'it\\'s $start', S"),
    ],
)
def test_literals_stand_where_parameters_were_and_nowhere_else(sql: str, expected: str) -> None:
    assert fill(sql, {"start": "S", "end": "E"}) == expected


def test_parameters_are_told() -> None:
    assert sql_body("SELECT $end, $start, $start", place="it").parameters == ("end", "start")


def test_a_comment_at_the_head_says_what_it_is() -> None:
    assert sql_body("-- How late.\n--   By carrier.\n\nSELECT 1 -- no", place="it").comment == "How late.\nBy carrier."
    assert sql_body("SELECT 1 -- no", place="it").comment is None


def test_rows_are_lazy_and_missing_column_names_file() -> None:
    with duckdb.connect() as connection:
        table = Table(connection.sql("SELECT 1 AS x"), connection, "a_v1", ("x",))
        body = sql_body("SELECT x + 1 AS y\nFROM a\nWHERE x < $end", place="late.sql")
        assert body.relation(connection, {"a": table}, {"end": "2"}).fetchall() == [(2,)]
        with pytest.raises(DataError, match='late.sql: Binder Error: Referenced column "z" not found.*"x"'):
            sql_body("SELECT z FROM a", place="late.sql").relation(connection, {"a": table}, {})
