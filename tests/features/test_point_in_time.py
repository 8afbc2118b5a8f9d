"""The point-in-time join, sentence by sentence, and against brute force."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import Times
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.point_in_time import asof
from fti_assets.features.point_in_time.frontier import frontier
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.stores.duckdb.extensions import load_extension
from tests.features import oracles
from tests.features.oracles import MINUTE, START, Row
from tests.support.examples import examples

HOUR_US = 3_600_000_000
SPINE = {"id": "BIGINT", "k": "VARCHAR", "t": "TIMESTAMP"}
ROWS = {"k": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP", "tie": "BIGINT", "v": "BIGINT"}


@pytest.fixture(params=["in_memory", "by_duckdb"])
def connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    if request.param == "by_duckdb":
        monkeypatch.setattr(asof, "_IN_MEMORY_BYTES", -1)
    with oracles.connection() as connection:
        yield connection


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def row(
    event: float | None, value: int | None = 1, key: str | None = "x", available: float | None = None, tie: int = 0
) -> Row:
    event_time = None if event is None else at(event)
    return {"k": key, "e": event_time, "a": event_time if available is None else at(available), "tie": tie, "v": value}


def group(**changes: Any) -> JoinedGroup:
    declared: dict[str, Any] = {
        "group": "g",
        "version": 1,
        "keys": (JoinedKey("k", "k", "text"),),
        "columns": (JoinedColumn("value", "v", "integer"),),
        "event_time": "e",
    }
    return JoinedGroup(**{**declared, **changes})


def values(
    connection: duckdb.DuckDBPyConnection,
    rows: Sequence[Row],
    hours: Sequence[float | None],
    key: str | None = "x",
    **changes: Any,
) -> list[Any]:
    """What spine rows of one key at these hours get."""
    spine = [{"id": number, "k": key, "t": None if hour is None else at(hour)} for number, hour in enumerate(hours)]
    table = oracles.relation(connection, ROWS, rows)
    joined = point_in_time(
        connection, oracles.relation(connection, SPINE, spine), [group(**changes)], lambda _: table, prediction_time="t"
    )
    assert joined.columns == ["id", "k", "t", "value"]
    fetched = joined.fetchall()
    assert [results[0] for results in fetched] == list(range(len(hours)))
    return [results[3] for results in fetched]


def test_row_is_visible_from_its_available_at_on(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, available=3)]
    assert values(connection, rows, [2.999, 3, 4], available_at="a") == [None, 1, 1]


def test_row_available_before_its_event_time_waits_for_it(connection: duckdb.DuckDBPyConnection) -> None:
    assert values(connection, [row(3, available=1)], [2.999, 3], available_at="a") == [None, 1]


def test_serving_delay_stands_in_for_a_missing_available_at(connection: duckdb.DuckDBPyConnection) -> None:
    assert values(connection, [row(1)], [1, 1.999, 2], serving_delay_us=HOUR_US) == [None, None, 1]


def test_latest_event_time_wins_over_a_later_arrival(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 10, available=5), row(2, 20, available=3)]
    assert values(connection, rows, [4, 6], available_at="a") == [20, 20]


def test_late_row_is_used_once_it_is_there(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 10), row(2, 20, available=5)]
    assert values(connection, rows, [3, 5], available_at="a") == [10, 20]


def test_tie_by_event_time_goes_to_latest_available_at(connection: duckdb.DuckDBPyConnection) -> None:
    correction = [row(1, 10, available=2), row(1, 11, available=4), row(1, 9, available=0.5)]
    assert values(connection, correction, [1, 3, 4], available_at="a") == [9, 10, 11]


def test_tie_break_column_decides_between_equal_times(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 10, tie=2), row(1, 11, tie=7), row(1, 12, tie=3)]
    assert values(connection, rows, [1], tie_break="tie") == [11]
    assert values(connection, rows, [1], tie_break="tie", available_at="a") == [11]


def test_rows_of_another_system_that_are_there_twice_have_one_answer(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, value, key=f"k{number}") for number in range(50) for value in (number % 7, number % 5)]
    results = []
    for turned in (rows, rows[::-1]):
        table = oracles.relation(connection, ROWS, turned)
        spine = oracles.relation(connection, SPINE, [{"id": n, "k": f"k{n}", "t": at(2)} for n in range(50)])
        joined = point_in_time(connection, spine, [group(external="a table")], lambda _: table, prediction_time="t")  # noqa: B023
        results.append([values[-1] for values in joined.fetchall()])
    assert results[0] == results[1] == [max(number % 7, number % 5) for number in range(50)]


def test_null_tie_break_loses(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 10, tie=2), {**row(1, 11), "tie": None}]
    assert values(connection, rows, [1], tie_break="tie") == [10]


def test_tie_break_that_ties_still_gives_one_answer(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, value, tie=1) for value in range(50)]
    assert {values(connection, rows[shift:] + rows[:shift], [1], tie_break="tie")[0] for shift in range(0, 50, 7)} == {
        49
    }


def test_ttl_is_inclusive_and_visibility_too(connection: duckdb.DuckDBPyConnection) -> None:
    microsecond = 1 / HOUR_US
    hours = [1 - microsecond, 1, 3, 3 + microsecond]
    assert values(connection, [row(1)], hours, ttl_us=2 * HOUR_US) == [None, 1, 1, None]


def test_expired_winner_leaves_no_value_and_no_older_row(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 10), row(2, 20)]
    assert values(connection, rows, [2, 3.5], ttl_us=HOUR_US) == [20, None]


def test_null_in_the_winning_row_stays_null(connection: duckdb.DuckDBPyConnection) -> None:
    assert values(connection, [row(1, 10), row(2, None)], [1.5, 3]) == [10, None]
    assert values(connection, [row(1, 10), row(2, None)], [3], available_at="a") == [None]


def test_null_keys_match_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, key=None), row(1)]
    assert values(connection, rows, [2], key=None) == [None]
    assert values(connection, rows, [2], key=None, available_at="a") == [None]


def test_null_prediction_time_has_no_value(connection: duckdb.DuckDBPyConnection) -> None:
    for loop_below in (0, 64):
        connection.execute(f"SET asof_loop_join_threshold={loop_below}")
        assert values(connection, [row(1)], [None, 2]) == [None, 1]
        assert values(connection, [row(1)], [None, 2], ttl_us=HOUR_US) == [None, 1]


def test_row_without_a_time_is_never_visible(connection: duckdb.DuckDBPyConnection) -> None:
    assert values(connection, [row(None, 5), row(1, 1)], [2]) == [1]
    assert values(
        connection, [row(None, 5, available=1), {**row(1.5, 6), "a": None}, row(1, 1)], [2], available_at="a"
    ) == [1]


def test_spine_keeps_its_order_and_its_duplicates(connection: duckdb.DuckDBPyConnection) -> None:
    hours = [5, 1, 5, None, 3, 1] * 700
    expected = [None if hour is None or hour < 2 else 1 for hour in hours]
    assert values(connection, [row(2)], hours) == expected


@pytest.mark.soak
def test_spine_over_many_row_groups_keeps_its_order(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "SET threads=4; CREATE TABLE s AS "
        "SELECT hash(i) % 1000003 AS id, 'x' AS k, TIMESTAMP '2013-01-02' AS t FROM range(400000) r(i)"
    )
    spine, rows = connection.table("s"), oracles.relation(connection, ROWS, [row(2)])
    joins = [group(), group(group="h", columns=(JoinedColumn("other", "v", "integer"),))]
    joined = point_in_time(connection, spine, joins, lambda _: rows, prediction_time="t")
    assert [results[0] for results in joined.fetchall()] == [results[0] for results in spine.fetchall()]


def test_key_of_spine_may_stand_for_two_of_group(connection: duckdb.DuckDBPyConnection) -> None:
    spine = connection.sql(f"SELECT x, TIMESTAMP '{at(3)}' AS t FROM (VALUES ('x'), ('y')) s(x)")
    rows = connection.sql(
        f"SELECT *, TIMESTAMP '{at(1)}' AS e, 1 AS v FROM (VALUES ('x', 'x'), ('y', 'x'), ('x', 'y')) r(k, j)"
    )
    join = group(keys=(JoinedKey("x", "k", "text"), JoinedKey("x", "j", "text")))
    joined = point_in_time(connection, spine, [join], lambda _: rows, prediction_time="t")
    assert [results[-1] for results in joined.fetchall()] == [1, None]


def test_lookup_is_always_visible(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(100, 7), row(None, 8, key="y"), row(1, 9, key=None)]
    assert values(connection, rows, [1, None], event_time=None) == [7, 7]
    assert values(connection, rows, [1], key="y", event_time=None, ttl_us=1) == [8]
    assert values(connection, rows, [1], key=None, event_time=None) == [None]
    assert values(connection, rows, [1], key="z", event_time=None) == [None]


def test_lookup_with_two_rows_of_a_key_names_it(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DataError, match=r"g_v1 has 2 rows of the key k='y'"):
        values(connection, [row(1), row(1, key="y"), row(2, key="y")], [1], event_time=None)


def test_lookup_alone_needs_no_prediction_time(connection: duckdb.DuckDBPyConnection) -> None:
    spine = connection.sql("SELECT 'x' AS k")
    rows = oracles.relation(connection, ROWS, [row(1, 7)])
    joined = point_in_time(connection, spine, [group(event_time=None)], lambda _: rows, prediction_time=None)
    assert joined.fetchall() == [("x", 7)]
    with pytest.raises(DeclarationError, match="'g_v1' has an event time, so the spine needs a prediction_time"):
        point_in_time(connection, spine, [group()], lambda _: rows, prediction_time=None)


def test_same_group_joins_twice_under_other_keys(connection: duckdb.DuckDBPyConnection) -> None:
    spine = connection.sql(f"SELECT 'x' AS origin, 'y' AS dest, TIMESTAMP '{at(3)}' AS t")
    rows = oracles.relation(connection, ROWS, [row(1, 10), row(2, 20, key="y")])
    joins = [
        group(keys=(JoinedKey(name, "k", "text"),), columns=(JoinedColumn(f"{name}_v", "v", "integer"),))
        for name in ("origin", "dest")
    ]
    joined = point_in_time(connection, spine, joins, lambda _: rows, prediction_time="t")
    assert joined.project("origin_v, dest_v").fetchall() == [(10, 20)]


def test_names_that_need_quotes_and_clash_with_plan_are_safe(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        'CREATE TABLE "s" AS '
        'SELECT 1 AS "select", 2 AS "f", 3 AS "s""; DROP TABLE s", TIMESTAMP \'2013-01-01\' AS "at time"'
    )
    connection.execute('CREATE TABLE "f" AS SELECT 1 AS "group", 5 AS "or der", TIMESTAMP \'2013-01-01\' AS "e\'v"')
    joins = [
        group(
            keys=(JoinedKey("select", "group", "integer"),),
            columns=(JoinedColumn('n"ew', "or der", "integer"),),
            event_time="e'v",
        )
    ]
    joined = point_in_time(
        connection, connection.table("s"), joins, lambda _: connection.table("f"), prediction_time="at time"
    )
    assert joined.columns == ["select", "f", 's"; DROP TABLE s', "at time", 'n"ew']
    assert joined.fetchall()[0][-1] == 5


def test_missing_and_repeated_columns_are_named(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DeclarationError, match=r"g_v1 has no column 'w': it has 'k', 'e', 'a', 'tie' or 'v'"):
        values(connection, [], [1], columns=(JoinedColumn("value", "w", "integer"),))
    with pytest.raises(DeclarationError, match=r"the spine has no column 'j': it has 'id', 'k' or 't'"):
        values(connection, [], [1], keys=(JoinedKey("j", "k", "text"),))
    with pytest.raises(DeclarationError, match="two columns 'T'"):
        values(connection, [], [1], columns=(JoinedColumn("T", "v", "integer"),))
    with pytest.raises(DeclarationError, match="starts with '__fti_'"):
        values(connection, [], [1], columns=(JoinedColumn("__fti_row", "v", "integer"),))
    with pytest.raises(DeclarationError, match="no frontier"):
        frontier(connection, oracles.relation(connection, ROWS, []), ["k"], [], Times(), of="g_v1")


def test_joins_write_only_to_temp(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute("ATTACH ':memory:' AS other; USE other")
    spine = oracles.relation(connection, SPINE, [{"id": 0, "k": "x", "t": at(3)}])
    rows = oracles.relation(connection, ROWS, [row(1)])
    joins = [group(columns=(JoinedColumn(f"v{number}", "v", "integer"),)) for number in range(5)]
    assert point_in_time(connection, spine, joins, lambda _: rows, prediction_time="t").fetchall()[0][3:] == (1,) * 5
    tables = connection.sql("SELECT DISTINCT database_name, count(*) FROM duckdb_tables() GROUP BY ALL").fetchall()
    assert tables == [("temp", 7)]
    assert connection.sql("SELECT DISTINCT database_name FROM duckdb_views() WHERE NOT internal").fetchall() == [
        ("temp",)
    ]


def test_spine_and_rows_may_be_frames_that_nobody_holds_any_more(connection: duckdb.DuckDBPyConnection) -> None:
    pandas = pytest.importorskip("pandas")
    spine = connection.from_df(pandas.DataFrame({"k": ["x"], "t": [at(3)]}))
    joined = point_in_time(
        connection,
        spine,
        [group(), group(columns=(JoinedColumn("again", "v", "integer"),))],
        lambda _: connection.from_df(pandas.DataFrame({"k": ["x"], "e": [at(1)], "v": [4]})),
        prediction_time="t",
    )
    del spine
    assert joined.fetchall() == [("x", at(3), 4, 4)]


def test_rows_may_be_a_lake_table_at_a_snapshot(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    load_extension(connection, "ducklake")
    connection.execute(f"ATTACH 'ducklake:{tmp_path}/catalog.db' AS lake (DATA_PATH '{tmp_path}/data'); USE lake")
    connection.execute(f"CREATE TABLE lake.g AS SELECT 'x' AS k, TIMESTAMP '{at(1)}' AS e, 10 AS v")
    version = connection.sql("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')").fetchall()[0][0]
    connection.execute(f"INSERT INTO lake.g VALUES ('x', TIMESTAMP '{at(2)}', 20)")
    spine = connection.sql(f"SELECT 'x' AS k, TIMESTAMP '{at(3)}' AS t")

    def joined(rows: str) -> Any:
        joins = [group(), group(columns=(JoinedColumn("again", "v", "integer"),))]
        return point_in_time(connection, spine, joins, lambda _: connection.sql(rows), prediction_time="t").fetchall()

    assert joined(f"FROM lake.g AT (VERSION => {version})") == [("x", at(3), 10, 10)]
    assert joined("FROM lake.g") == [("x", at(3), 20, 20)]


@pytest.mark.soak
@pytest.mark.parametrize("event_time", ["e", None])
def test_keys_with_nul_are_joined_to_a_lake_table(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, event_time: str | None
) -> None:
    """DuckLake writes what it compares a column with into SQL of its own, which a NUL ends."""
    load_extension(connection, "ducklake")
    connection.execute(f"ATTACH 'ducklake:{tmp_path}/catalog.db' AS lake (DATA_PATH '{tmp_path}/data'); USE lake")
    connection.execute(
        f"CREATE TABLE lake.g AS SELECT k, TIMESTAMP '{at(1)}' AS e, v FROM (VALUES ('x', 1), (NULL, 2), ('', 3)) t(k, v)"
    )
    connection.execute(
        f"INSERT INTO lake.g VALUES ('x' || chr(0) || 'y', TIMESTAMP '{at(1)}', 4), (chr(0), TIMESTAMP '{at(1)}', 5)"
    )
    for keys in (["x\0y"], ["\0", "x", None, "", "x\0", "x\0y"]):
        spine = oracles.relation(connection, SPINE, [{"id": n, "k": key, "t": at(2)} for n, key in enumerate(keys)])
        rows = connection.sql("FROM lake.g WHERE k IS NOT NULL")
        joined = point_in_time(
            connection, spine, [group(event_time=event_time)], lambda _, rows=rows: rows, prediction_time="t"
        )
        expected = {"x": 1, "": 3, "x\0y": 4, "\0": 5}
        assert [results[3] for results in joined.fetchall()] == [expected.get(key) for key in keys]


def test_frontier_rises_in_event_time_with_visibility(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        row(1, 1),
        row(2, 2, available=9),
        row(3, 3),
        row(3, 4, available=5),
        row(0, 5, available=5),
        row(7, 6, key=None),
    ]
    results = frontier(connection, oracles.relation(connection, ROWS, rows), ["k"], ["v"], Times("e", "a"), of="g_v1")
    assert results.columns == ["k", "v", "__fti_event", "__fti_visible"]
    assert results.order("__fti_visible").fetchall() == [
        ("x", 1, at(1), at(1)),
        ("x", 3, at(3), at(3)),
        ("x", 4, at(3), at(5)),
    ]


SHARED = oracles.connection()
# Few keys and few instants, and seldom none: so rows of one key meet, at equal times, at both ends of a ttl.
INSTANTS = st.sampled_from([*(START + minutes * MINUTE for minutes in range(9)), None])
TEXT_KEYS = st.sampled_from([*["x"] * 6, "y", None])
NUMBER_KEYS = st.sampled_from([*[1] * 6, 2, None])
SPINES = st.sampled_from([0, 9, 9, 9]).flatmap(
    lambda least: st.lists(
        st.fixed_dictionaries({"k": TEXT_KEYS, "m": NUMBER_KEYS, "j": TEXT_KEYS, "t": INSTANTS}),
        min_size=least,
        max_size=12,
    )
)
FEATURES = st.fixed_dictionaries(
    {
        "k": TEXT_KEYS,
        "m": NUMBER_KEYS,
        "e": INSTANTS,
        "a": INSTANTS,
        "tie": st.sampled_from([0, 0, 1, 2, None]),
        "v": st.sampled_from([*range(100), None]),
    }
)


@st.composite
def groups(draw: st.DrawFn, name: str) -> tuple[JoinedGroup, list[Row]]:
    """A declaration and rows that it allows."""
    keys = draw(st.sampled_from([(("k", "k"),), (("j", "k"),), (("k", "k"), ("m", "m"))]))
    late, tied, lookup = draw(st.sampled_from([False, True, True])), draw(st.booleans()), draw(st.integers(0, 6)) == 6
    identity = [key for _, key in keys]
    if not lookup:
        identity += ["e", *(["a"] if late else []), *(["tie"] if tied else [])]
    least = 0 if lookup else draw(st.sampled_from([0, 9, 9, 9]))
    unique_by = lambda row: tuple(row[column] for column in identity)  # noqa: E731
    rows = draw(st.lists(FEATURES, min_size=least, max_size=14, unique_by=unique_by))
    declared = group(
        group=name,
        keys=tuple(JoinedKey(spine, key, "text") for spine, key in keys),
        columns=(JoinedColumn(f"{name}_v", "v", "integer"), JoinedColumn(f"{name}_e", "e", "timestamp")),
        event_time=None if lookup else "e",
        available_at="a" if late else None,
        serving_delay_us=draw(st.sampled_from([0, 2])) * 60_000_000,
        ttl_us=draw(st.sampled_from([None, None, 0, 60_000_000, 180_000_000])),
        tie_break="tie" if tied else None,
    )
    return declared, rows


def of_example(name: str, *times: tuple[int, int], **changes: Any) -> tuple[JoinedGroup, list[Row]]:
    """A group whose rows of one key have these minutes as event time and available-at, and rising values."""
    rows = [
        {"k": "x", "m": 1, "e": START + event * MINUTE, "a": START + available * MINUTE, "tie": 0, "v": value}
        for value, (event, available) in enumerate(times)
    ]
    columns = (JoinedColumn(f"{name}_v", "v", "integer"),)
    return group(group=name, columns=columns, available_at="a", **changes), rows


@pytest.mark.soak
@pytest.mark.parametrize("loop_below", [None, 0, 64], ids=["in_memory", "sorted_asof", "loop_asof"])
@settings(max_examples=examples(60))
@given(spine=SPINES, first=groups("first"), second=groups("second"))
@example(
    spine=[{"k": "x", "m": 1, "j": "x", "t": START + minute * MINUTE} for minute in (2, 3, 4)],
    first=of_example("first", (1, 1), (0, 2)),
    second=of_example("second", (0, 2), (1, 4), ttl_us=180_000_000),
)
def test_join_is_what_brute_force_finds(
    loop_below: int | None,
    spine: list[Row],
    first: tuple[JoinedGroup, list[Row]],
    second: tuple[JoinedGroup, list[Row]],
) -> None:
    kinds = {"k": "VARCHAR", "m": "BIGINT", "e": "TIMESTAMP", "a": "TIMESTAMP", "tie": "BIGINT", "v": "BIGINT"}
    with SHARED.cursor() as connection, pytest.MonkeyPatch.context() as patch:
        if loop_below is not None:
            patch.setattr(asof, "_IN_MEMORY_BYTES", -1)
            connection.execute(f"SET asof_loop_join_threshold={loop_below}")
        tables = {declared.table_name: rows for declared, rows in (first, second)}
        # The first group comes again under another key.
        again = group(
            **{**vars(first[0]), "keys": (JoinedKey("j", first[0].keys[0].group, "text"), *first[0].keys[1:])}
            | {"columns": (JoinedColumn("again", "v", "integer"),)}
        )
        joins = [first[0], second[0], again]
        relations = {name: oracles.relation(connection, kinds, rows) for name, rows in tables.items()}
        results = point_in_time(
            connection,
            oracles.relation(connection, {"k": "VARCHAR", "m": "BIGINT", "j": "VARCHAR", "t": "TIMESTAMP"}, spine),
            joins,
            lambda declared: relations[declared.table_name],
            prediction_time="t",
        ).fetchall()
    assert [list(values[:4]) for values in results] == [[row[name] for name in ("k", "m", "j", "t")] for row in spine]
    assert [list(values[4:]) for values in results] == oracles.point_in_time(spine, joins, tables, "t")


TIMES = st.integers(0, 6) | st.sampled_from([-(2**63) + 1, -(2**62), 2**62, 2**63 - 1])
SMALL_KEYS = st.integers(1, 3) | st.sampled_from([2**32 - 1])
PAIRS = st.lists(st.tuples(SMALL_KEYS, TIMES), max_size=12)


@settings(max_examples=examples(300))
@given(asked=PAIRS, rows=st.lists(st.tuples(SMALL_KEYS, TIMES), max_size=12, unique=True))
def test_newest_before_is_what_brute_force_finds(asked: list[tuple[int, int]], rows: list[tuple[int, int]]) -> None:
    def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([key for key, _ in pairs], np.uint32), np.array([time for _, time in pairs], np.int64)

    result = asof.newest_before(*columns(asked), *columns(rows))
    assert result.dtype == np.int64
    for (key, at_time), place in zip(asked, result.tolist(), strict=True):
        before = [time for other, time in rows if other == key and time <= at_time]
        assert place == (rows.index((key, max(before))) if before else -1)


def test_newest_before_uses_ranks_for_large_keys_and_times() -> None:
    keys, far = np.array([5, 2**32 - 1], np.uint32), 2**62
    rows = (np.array([2**32 - 1, 5, 5], np.uint32), np.array([far, -far, far - 1], np.int64))
    assert asof.newest_before(keys, np.array([far, far], np.int64), *rows).tolist() == [2, 0]
    assert asof.newest_before(keys, np.array([-far, -far], np.int64), *rows).tolist() == [1, -1]


def test_large_or_unusual_joins_are_left_to_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    with oracles.connection() as connection:
        spine = connection.sql(f"SELECT i, 'x' AS k, TIMESTAMP '{at(3)}' AS t FROM range(100) r(i)")

        def left_to_duckdb(value: str, spine: duckdb.DuckDBPyRelation = spine, rows: int = 1) -> bool:
            requests: list[str] = []
            monkeypatch.setattr(
                "fti_assets.features.point_in_time.join.by_duckdb",
                lambda *given: (requests.append("asked"), asof.by_duckdb(*given))[1],
            )
            stored = connection.sql(
                f"SELECT 'x' AS k, TIMESTAMP '{at(1)}' - INTERVAL (i) SECOND AS e, {value} AS v FROM range({rows}) r(i)"
            )
            joined = point_in_time(connection, spine, [group()], lambda _: stored, prediction_time="t")
            wanted = connection.sql(f"SELECT {value} FROM range(1) r(i)").fetchall()[0]
            assert [results[-1:] for results in joined.fetchall()] == [wanted] * 100
            assert joined.types[-1] == connection.sql(f"SELECT {value} FROM range(1) r(i)").types[0]
            return bool(requests)

        plain = [
            "7",
            "1.5::DOUBLE",
            "1.25::DECIMAL(9,2)",
            "true",
            "DATE '2024-01-01'",
            "'text'",
            "NULL::BIGINT",
            "7::UTINYINT",
        ]
        assert [left_to_duckdb(value) for value in plain] == [False] * len(plain)
        uuid = "'c0ffee00-0000-4000-8000-000000000000'::UUID"
        others = ["[1.5::FLOAT]", "7::HUGEINT", "TIME '10:00'", "{'a': 1}", uuid, "'b'::BLOB"]
        assert [left_to_duckdb(value) for value in others] == [True] * len(others)
        assert left_to_duckdb("7", spine.project("i, k, t::TIMESTAMP_NS AS t"))
        monkeypatch.setattr(asof, "_IN_MEMORY_BYTES", 10_000)
        assert not left_to_duckdb("'short'")
        assert left_to_duckdb("repeat('x', 200)")
        assert left_to_duckdb("7", rows=1_000)
        monkeypatch.setattr(asof, "_IN_MEMORY_BYTES", 2_000)
        assert left_to_duckdb("7")
