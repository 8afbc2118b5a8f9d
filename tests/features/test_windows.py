"""Rolling windows, sentence by sentence, and against brute force."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.errors import DeclarationError, LookbackError
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.windows import (
    Aggregate,
    Count,
    DistinctCount,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Std,
    Sum,
    window_aggregate,
)
from fti_assets.features.windows.axis import RowsBy
from fti_assets.stores.duckdb.relations import relation_name
from tests.features import oracles, window_oracles
from tests.features.oracles import START, Row
from tests.support.examples import examples

COLUMNS = {
    "k": "VARCHAR", "j": "INTEGER", "e": "TIMESTAMP", "a": "TIMESTAMP", "n": "BIGINT", "x": "DOUBLE", "t": "VARCHAR",
}  # fmt: skip
HOUR = timedelta(hours=1)
COUNT: Mapping[str, Aggregate] = {"rows": Count()}
EVERY: Mapping[str, Aggregate] = {
    "rows": Count(), "rate": Rate(per="1h"), "rate_n": Rate("n", per="90min"), "mean": Mean("n"), "std_n": Std("n"),
    "sum_x": Sum("x"), "std_x": Std("x"), "low_x": Min("x"), "high_n": Max("n"), "high_t": Max("t"), "low_a": Min("a"),
    "last_t": Last("t"), "last_x": Last("x"), "differ": DistinctCount("t"), "differ_x": DistinctCount("x"),
}  # fmt: skip


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def row(
    event: float, available: float | None = None, *, key: str | None = "x", n: int | None = 1, x: float | None = 1.0
) -> Row:
    return {
        "k": key,
        "e": at(event),
        "a": at(event if available is None else available),
        "n": n,
        "x": x,
        "t": "t",
        "j": 1,
    }


def table(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], *, end: float = 6, start: float = 0, **changes: Any
) -> Table:
    declared = Table(
        oracles.relation(connection, COLUMNS, rows),
        connection,
        "arrivals_v1",
        ("k", "n"),
        event_time="e",
        available_at="a",
        grid=Grid("hour", at(start), at(end)),
    )
    return replace(declared, **changes)


def hourly(
    rows: Table, *windows: str | timedelta, aggregates: Mapping[str, Aggregate] = COUNT, **changes: Any
) -> dict[float, Any]:
    """The aggregates of key x by hour."""
    result = window_aggregate(rows, keys=["k"], every="1h", windows=windows, aggregates=aggregates, **changes)
    values = result.relation.filter("k = 'x'").order("hour").fetchall()
    return {(hour - START) / HOUR: rest[0] if len(rest) == 1 else tuple(rest) for _, hour, *rest in values}


def test_window_is_open_at_its_start_and_closed_at_its_end(connection: duckdb.DuckDBPyConnection) -> None:
    assert hourly(table(connection, [row(2)]), "2h") == {2: 1, 3: 1}
    assert hourly(table(connection, [row(2.001)]), "2h") == {3: 1, 4: 1}


def test_each_key_and_hour_comes_once(connection: duckdb.DuckDBPyConnection) -> None:
    """Also where the last rows of the totals stand for thousands of hours, which DuckDB's streamed lead gave without end."""
    keys = 200
    rows = [row(day * 24, key=f"k{key}") for key in range(keys) for day in (0, 10, 20)]
    result = window_aggregate(
        table(connection, rows, end=40 * 24), keys=["k"], every="1h", windows=["15d"], aggregates=COUNT
    ).relation
    hours = {hour: sum(day * 24 <= hour < (day + 15) * 24 for day in (0, 10, 20)) for hour in range(35 * 24)}
    counts = result.limit(keys * len(hours) + 1).aggregate("hour, rows_15d, count(*) AS n, count(DISTINCT k) AS k")
    assert sorted(counts.fetchall()) == [(at(hour), number, keys, keys) for hour, number in hours.items()]


def test_rows_count_from_when_they_became_visible(connection: duckdb.DuckDBPyConnection) -> None:
    assert hourly(table(connection, [row(1, 3)]), "2h") == {3: 1, 4: 1}
    assert hourly(table(connection, [row(3, 1)]), "2h") == {3: 1, 4: 1}
    delayed = table(connection, [row(1)], available_at=None, serving_delay=2 * HOUR)
    assert hourly(delayed, "2h") == {3: 1, 4: 1}


def test_rows_by_event_time_also_wait_until_they_are_visible(connection: duckdb.DuckDBPyConnection) -> None:
    assert hourly(table(connection, [row(1, 2)]), "3h", rows_by="event_time") == {2: 1, 3: 1}
    assert hourly(table(connection, [row(1, 4)]), "3h", rows_by="event_time") == {}
    assert hourly(table(connection, [row(1, 4)]), "1h", "5h", rows_by="event_time") == {4: (0, 1), 5: (0, 1)}


def test_columns_are_keys_instant_and_aggregate_by_window_as_written(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    windows = ["90min", "24h", timedelta(hours=3), timedelta(minutes=45), timedelta(days=7), timedelta(seconds=61)]
    results = window_aggregate(
        table(connection, [row(1)]),
        keys=["n", "k"],
        every="1h",
        windows=windows,
        aggregates={"late": Mean("n"), "rows": Count()},
    )
    written = ["90min", "24h", "3h", "45min", "7d", "61s"]
    assert results.relation.columns == [
        "n",
        "k",
        "hour",
        *(f"{name}_{window}" for name in ("late", "rows") for window in written),
    ]
    assert str(results.relation.types[2]) == "TIMESTAMP"
    assert {str(kind) for kind in results.relation.types[3:9]} == {"DOUBLE"}
    assert {str(kind) for kind in results.relation.types[9:]} == {"BIGINT"}
    assert (results.keys, results.event_time, results.available_at, results.serving_delay, results.beyond) == (
        ("n", "k"), "hour", None, timedelta(0), None,
    )  # fmt: skip


def test_instants_are_multiples_of_every_within_the_grid(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(0)], start=0.5, end=9)
    results = window_aggregate(rows, keys=["k"], every="4h", windows=["24h"], aggregates=COUNT)
    assert [hour for _, hour, _ in results.relation.order("hour").fetchall()] == [at(4), at(8)]
    rows = table(connection, [row(0)], start=4, end=8)
    results = window_aggregate(rows, keys=["k"], every="4h", windows=["24h"], aggregates=COUNT)
    assert [hour for _, hour, _ in results.relation.fetchall()] == [at(4)]
    rows = table(connection, [row(0)], start=1, end=2)
    assert window_aggregate(rows, keys=["k"], every="4h", windows=["24h"], aggregates=COUNT).relation.fetchall() == []


def test_instants_before_1970_are_aligned_too(connection: duckdb.DuckDBPyConnection) -> None:
    old = {**row(0), "e": datetime(1969, 12, 31, 20, 30), "a": datetime(1969, 12, 31, 20, 30)}
    grid = Grid("hour", datetime(1969, 12, 31, 19, 30), datetime(1970, 1, 1, 3))
    results = window_aggregate(
        table(connection, [old], grid=grid), keys=["k"], every="1h", windows=["2h"], aggregates=COUNT
    )
    assert sorted(results.relation.fetchall()) == [
        ("x", datetime(1969, 12, 31, 21), 1),
        ("x", datetime(1969, 12, 31, 22), 1),
    ]


def test_key_has_row_as_long_as_its_longest_window_has_one(connection: duckdb.DuckDBPyConnection) -> None:
    result = hourly(table(connection, [row(1)]), "1h", "3h", aggregates={"rows": Count(), "mean": Mean("n")})
    assert result == {1: (1, 1, 1.0, 1.0), 2: (0, 1, None, 1.0), 3: (0, 1, None, 1.0)}


def test_mean_and_sum_skip_nulls_and_are_null_over_none(connection: duckdb.DuckDBPyConnection) -> None:
    aggregates = {"rows": Count(), "mean": Mean("n"), "sum": Sum("n"), "mean_x": Mean("x"), "sum_x": Sum("x")}
    rows = [row(1, n=2, x=0.5), row(1, n=None, x=None), row(1, n=4, x=1.0)]
    assert hourly(table(connection, rows), "1h", aggregates=aggregates) == {1: (3, 3.0, 6, 0.75, 1.5)}
    assert hourly(table(connection, rows[1:2]), "1h", aggregates=aggregates) == {1: (1, None, None, None, None)}


def test_mean_of_booleans_is_the_exact_share(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=number) for number in (0, 1, 1)])
    late = rows.with_relation(
        rows.relation.project("k, e, a, n = 1 AS late, n::DECIMAL(9, 1) / 2 AS half, n::FLOAT AS f")
    )
    assert hourly(late, "1h", aggregates={"rate": Mean("late"), "late": Sum("late")}) == {1: (2 / 3, 2)}
    assert hourly(late, "1h", aggregates={"half": Mean("half"), "f": Sum("f")}) == {1: (1 / 3, 2.0)}


def test_null_keys_and_times_count_nowhere(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, key=None), {**row(1), "a": None}, {**row(1), "e": None}]
    for by in ("visible_at", "event_time"):
        result = window_aggregate(
            table(connection, rows), keys=["k"], every="1h", windows=["1h"], aggregates=COUNT, rows_by=by
        )
        assert result.relation.fetchall() == []


def test_windows_may_be_filtered_and_joined_like_any_relation(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1), row(1, key="y")])
    first = window_aggregate(rows, keys=["k"], every="1h", windows=["1h"], aggregates=COUNT)
    second = window_aggregate(rows, keys=["n"], every="1h", windows=["1h"], aggregates=COUNT)
    assert (len(first.relation.fetchall()), second.relation.fetchall()) == (2, [(1, at(1), 2)])


def test_float_sums_do_not_depend_on_order_threads_or_range(connection: duckdb.DuckDBPyConnection) -> None:
    generator = random.Random(7)
    rows = [
        row(
            generator.uniform(0, 40),
            n=generator.randrange(9),
            x=generator.uniform(-1, 1) * 10 ** generator.randrange(-9, 18),
        )
        for _ in range(3000)
    ]
    answers = set()
    for threads, start in [(1, 0), (4, 0), (4, 20), (2, 30)]:
        connection.execute(f"SET threads={threads}")
        generator.shuffle(rows)
        results = hourly(
            table(connection, rows, start=start, end=48), "2h", "9h", aggregates={"mean": Mean("x"), "sum": Sum("x")}
        )
        answers.add(tuple((hour, values) for hour, values in results.items() if hour >= 30))
    assert len(answers) == 1


def first_hour(
    connection: duckdb.DuckDBPyConnection, column: str, cases: Sequence[Sequence[Any]], aggregate: Aggregate
) -> list[Any]:
    """The aggregate of each case's values, which are a key's rows of the first hour."""
    rows = [row(1, key=f"{place:03}", **{column: value}) for place, case in enumerate(cases) for value in case]
    results = window_aggregate(
        table(connection, rows), keys=["k"], every="1h", windows=["1h"], aggregates={"of": aggregate}
    )
    answers = dict(results.relation.filter(f"hour = TIMESTAMP '{at(1)}'").project("k, of_1h").fetchall())
    return [answers[f"{place:03}"] for place in range(len(cases))]


@pytest.mark.soak
def test_float_sums_survive_cancellation_extremes_and_infinities(connection: duckdb.DuckDBPyConnection) -> None:
    inf = float("inf")
    cases = [(1e300, 1.0, -1e300), (0.1, 0.2, 0.3), (1e-310, 1.5e308), (0.0, -0.0), (inf, 1.0), (-inf, 1e9)]
    assert first_hour(connection, "x", cases, Sum("x")) == [1.0, 0.6, 1.5e308, 0.0, inf, -inf]
    assert str(first_hour(connection, "x", [(inf, -inf, 2.0)], Sum("x"))) == "[nan]"

    rows = table(connection, [row(1, x=2.0), row(1, x=None)])
    rows = rows.with_relation(rows.relation.project("k, e, a, coalesce(x, 'nan'::DOUBLE) AS x"))
    assert str(hourly(rows, "1h", aggregates={"sum": Sum("x")})[1]) == "nan"


def test_infinity_leaves_the_window_with_its_row(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, x=float("inf")), row(2, x=2.0)])
    assert hourly(rows, "2h", aggregates={"sum": Sum("x")}) == {1: float("inf"), 2: float("inf"), 3: 2.0}


def test_large_integers_add_up_exactly(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=2**62), row(1, n=2**62 - 1), row(1, n=-3)])
    assert hourly(rows, "1h", aggregates={"sum": Sum("n")}) == {1: 2**63 - 4}


@pytest.mark.soak
@pytest.mark.parametrize("keep_order", [True, False])
def test_running_totals_are_streamed_over_sorted_changes(
    connection: duckdb.DuckDBPyConnection, keep_order: bool
) -> None:
    connection.execute(f"SET threads=4; SET preserve_insertion_order={keep_order}")
    connection.execute("""
        CREATE TABLE many AS SELECT 'k' || hash(i) % 100 AS k, (hash(i, 2) % 100)::BIGINT AS n,
            TIMESTAMP '2013-01-01' + to_minutes((hash(i, 1) % 20000)::BIGINT) AS e
        FROM range(40000) r(i)""")
    rows = Table(connection.table("many"), connection, "many_v1", ("k",), "e", grid=Grid("hour", at(0), at(400)))
    result = window_aggregate(rows, keys=["k"], every="1h", windows=["3h", "24h"], aggregates={"sum": Sum("n")})
    name = relation_name(result.relation)
    plan = connection.sql(f"EXPLAIN FROM {name}").fetchall()[0][1]
    assert plan.index("STREAMING_WINDOW") < plan.index("ORDER_BY")
    by_hand = """
        SELECT k, hour, sum(n) FILTER (e > hour - INTERVAL 3 HOUR)::BIGINT, sum(n)::BIGINT
        FROM many, (SELECT TIMESTAMP '2013-01-01' + to_hours(h) AS hour FROM range(100, 130) r(h))
        WHERE e <= hour AND e > hour - INTERVAL 24 HOUR GROUP BY k, hour"""
    ours = f"SELECT * FROM {name} WHERE hour >= TIMESTAMP '{at(100)}' AND hour < TIMESTAMP '{at(130)}'"
    assert connection.sql(f"({ours}) EXCEPT ALL ({by_hand})").fetchall() == []
    assert connection.sql(f"({by_hand}) EXCEPT ALL ({ours})").fetchall() == []


def test_row_needed_from_before_the_lookback_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    beyond = oracles.relation(connection, COLUMNS, [row(-30, -2), row(-40, -3.5), row(-90, -80)])
    rows = table(connection, [row(1)], beyond=beyond)
    with pytest.raises(LookbackError) as caught:
        hourly(rows, "1h", "4h")
    message = str(caught.value)
    assert "2 rows of arrivals_v1" in message
    assert "'4h'" in message
    assert "at 2013-01-01T00:00:00 has one" in message
    assert "for these rows lookback='2d'" in message
    assert hourly(rows, "2h") == {1: 1, 2: 1}


def test_lookback_by_event_time_minds_event_times(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1)], beyond=oracles.relation(connection, COLUMNS, [row(-30, -2)]))
    assert hourly(rows, "4h", rows_by="event_time") == {1: 1, 2: 1, 3: 1, 4: 1}
    with pytest.raises(LookbackError, match="1 rows of arrivals_v1"):
        hourly(rows, "31h", rows_by="event_time")


def test_one_window_twice_is_refused_by_name(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DeclarationError, match="over arrivals_v1 has the window '2h' more than once"):
        window_aggregate(
            table(connection, [row(1)]),
            keys=["k"],
            every="1h",
            windows=["2h", timedelta(hours=2)],
            aggregates={"n": Count()},
        )


def test_row_beyond_seen_only_after_grid_is_no_error(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(
        connection, [row(1)], beyond=oracles.relation(connection, COLUMNS, [row(-30, 7), {**row(-3), "a": None}])
    )
    assert hourly(rows, "2h") == {1: 1, 2: 1}


def test_impossible_windows_say_what_there_is(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1)])
    with pytest.raises(DeclarationError, match=r"dataclasses.replace\(table, grid=Grid\("):
        hourly(replace(rows, grid=None), "1h")
    with pytest.raises(DeclarationError, match="arrivals_v1 has no column 'carrier': it has 'k', 'j', 'e', 'a'"):
        window_aggregate(rows, keys=["carrier"], every="1h", windows=["1h"], aggregates=COUNT)
    with pytest.raises(DeclarationError, match="no column 'late'"):
        hourly(rows, "1h", aggregates={"rate": Mean("late")})
    with pytest.raises(DeclarationError, match="'k' as VARCHAR"):
        hourly(rows, "1h", aggregates={"rate": Mean("k")})
    with pytest.raises(DeclarationError, match="a lookup has no windows"):
        hourly(replace(rows, event_time=None), "1h")
    with pytest.raises(DeclarationError, match="window 'day' is not a duration"):
        hourly(rows, "day")
    with pytest.raises(DeclarationError, match="no length"):
        hourly(rows, "0h")
    with pytest.raises(DeclarationError, match="at least one key, one window and one aggregate"):
        hourly(rows)
    with pytest.raises(DeclarationError, match="whole number of seconds"):
        hourly(rows, timedelta(milliseconds=1))
    with pytest.raises(DeclarationError, match="two columns 'k'"):
        window_aggregate(rows, keys=["k", "k"], every="1h", windows=["1h"], aggregates=COUNT)
    with pytest.raises(DeclarationError, match="every '0s'"):
        window_aggregate(rows, keys=["k"], every="0s", windows=["1h"], aggregates=COUNT)
    with pytest.raises(DeclarationError, match="rows_by 'known'"):
        hourly(rows, "1h", rows_by="known")


def by_row(
    rows: Table,
    *windows: str,
    aggregates: Mapping[str, Aggregate] = COUNT,
    keys: Sequence[str] = ("k",),
    **changes: Any,
) -> dict[tuple[Any, ...], Any]:
    """The aggregates of each row, by what stands before its event time, and its event time in hours."""
    results = window_aggregate(rows, keys=keys, windows=windows, aggregates=aggregates, **changes)
    place = len(results.keys)
    return {
        (*row[:place], (row[place] - START) / HOUR): row[place + 1] if len(row) == place + 2 else row[place + 1 :]
        for row in results.relation.fetchall()
    }


def test_rows_own_window_leaves_out_its_key_and_instant(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=1), row(2, n=2), row(2, n=3), row(2.5, n=4, key="y"), row(3, n=5)])
    assert by_row(rows, "2h") == {
        (1, "x", 1): 0,
        (2, "x", 2): 1,
        (3, "x", 2): 1,
        (4, "y", 2.5): 0,
        (5, "x", 3): 2,
    }


def test_rows_own_window_holds_what_was_visible_at_its_event_time(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, 2, n=1), row(1, 2.001, n=2), row(2, 3, n=3)])
    assert by_row(rows, "1h")[3, "x", 2] == 1
    assert by_row(rows, "1h", rows_by="event_time")[3, "x", 2] == 0
    assert by_row(rows, "61min", rows_by="event_time")[3, "x", 2] == 1


def test_row_without_others_has_count_of_zero_and_else_nulls(connection: duckdb.DuckDBPyConnection) -> None:
    aggregates = {**EVERY, "rows": Count()}
    result = by_row(table(connection, [row(1)]), "1h", aggregates=aggregates)[1, "x", 1]
    zeros = {"rows", "rate", "differ", "differ_x"}
    assert dict(zip(aggregates, result, strict=True)) == {name: 0 if name in zeros else None for name in aggregates}


def test_own_windows_are_of_the_rows_within_the_run(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1), row(2, n=2), row(3, n=3)], start=2, end=3)
    results = window_aggregate(rows, keys=["k"], windows=["3h"], aggregates=COUNT)
    assert results.relation.columns == ["n", "k", "hour", "rows_3h"]
    assert results.keys == ("n", "k")
    assert results.relation.fetchall() == [(2, "x", at(2), 1)]


def test_own_windows_may_hold_states_alone(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, x=7.0), row(2, x=3.0)], available_at=None)
    assert by_row(rows, "2h", aggregates={"low": Min("x")}) == {(1, "x", 1): None, (1, "x", 2): 7.0}
    assert by_row(rows, "1h", aggregates={"low": Min("x")}) == {(1, "x", 1): None, (1, "x", 2): None}


def test_rates_are_per_unit_of_time(connection: duckdb.DuckDBPyConnection) -> None:
    aggregates = {"rows": Rate(per="1d"), "n": Rate("n", per=timedelta(minutes=30)), "x": Rate("x", per="1h")}
    rows = table(connection, [row(1, n=3), row(1, n=4, x=None), row(1, n=None, x=0.25), row(3, n=None, x=None)])
    assert hourly(rows, "2h", "3h", aggregates=aggregates)[2] == (36.0, 24.0, 1.75, 7 / 6, 0.625, 1.25 / 3)
    assert hourly(rows, "1h", "3h", aggregates=aggregates)[3] == (24.0, 32.0, None, 7 / 6, None, 1.25 / 3)


def test_last_goes_by_event_time_then_available_at_then_greatest_value(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    last = {"n": Last("n")}

    def found(*rows: Row) -> Any:
        return hourly(table(connection, rows), "4h", aggregates=last)[3]

    assert found(row(2, 2.5, n=9), row(2.1, 2.2, n=1)) == 1
    assert found(row(2, 2.5, n=1), row(2, 2.2, n=9)) == 1
    assert found(row(2, 1, n=1), row(2, 1.5, n=0)) == 0
    assert found(row(2, n=1), row(2, n=3), row(2, n=None)) == 3
    assert found(row(1, n=1), row(2, n=None)) is None


def test_extremes_and_distinct_counts_are_of_numbers_times_and_text(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=3, x=-0.0), row(1.5, n=10, x=0.0), row(1.75, n=None, x=None)])
    other = rows.with_relation(rows.relation.project("*, 't' || n AS s, n > 3 AS b, n::DECIMAL(9, 2) AS d"))
    columns = ("n", "x", "e", "s", "b", "d")
    for of, expected in (
        (Min, (3, 0.0, at(1), "t10", False, Decimal(3))),
        (Max, (10, 0.0, at(1.75), "t3", True, Decimal(10))),
        (Last, (None, None, at(1.75), None, None, None)),
        (DistinctCount, (2, 1, 3, 2, 2, 2)),
    ):
        assert hourly(other, "2h", aggregates={c: of(c) for c in columns})[2] == expected, of
    assert str(hourly(other, "2h", aggregates={"x": Min("x")})[2]) == "0.0"


@pytest.mark.soak
def test_std_is_exact_where_sums_of_squares_cancel(connection: duckdb.DuckDBPyConnection) -> None:
    floats: list[tuple[tuple[float | None, ...], float | None]] = [
        ((1.0, None), None),
        ((0.1, 0.1, 0.1), 0.0),
        ((1e9, 1e9 + 1e-6, 1e9), math.sqrt(1 / 3) * ((1e9 + 1e-6) - 1e9)),
        ((1e130, -1e130, 1.0), 1e130),
        ((1e-130, 0.0), 1e-130 / math.sqrt(2)),
        ((1e-150, 0.0), 0.0),
        ((1e140, 1.0), math.nan),
        ((float("inf"), 1.0), math.nan),
    ]
    result = first_hour(connection, "x", [values for values, _ in floats], Std("x"))
    for deviation, (values, expected) in zip(result, floats, strict=True):
        assert deviation == (expected if not expected else pytest.approx(expected, rel=1e-15, nan_ok=True)), values
    whole = [(2**63 - 1, 2**63 - 3), (-(2**63), 2**63 - 1)]
    least, most = first_hour(connection, "n", whole, Std("n"))
    assert (least, most) == (math.sqrt(2), pytest.approx(2**64 / math.sqrt(2), rel=1e-15))


def test_std_is_of_whole_numbers_of_every_size(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=-4), row(1, n=5), row(1, n=None)])
    for kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL(9, 1)", "FLOAT"):
        cast = rows.with_relation(rows.relation.project(f"k, e, a, n::{kind} AS n"))
        assert hourly(cast, "1h", aggregates={"std": Std("n")}) == {1: math.sqrt(40.5)}
    late = rows.with_relation(rows.relation.project("k, e, a, n > 0 AS n"))
    assert hourly(late, "1h", aggregates={"std": Std("n")}) == {1: math.sqrt(0.5)}


def test_a_row_leaves_every_aggregate_with_its_window(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(0.5, n=9, x=9.0), row(1.5, n=1, x=1.0), row(2.5, n=9, x=9.0)])
    aggregates: dict[str, Aggregate] = {
        "low": Min("n"),
        "high": Max("x"),
        "last": Last("n"),
        "differ": DistinctCount("n"),
    }
    assert hourly(rows, "2h", aggregates=aggregates) == {
        1: (9, 9.0, 9, 1),
        2: (1, 9.0, 1, 2),
        3: (1, 9.0, 9, 2),
        4: (9, 9.0, 9, 1),
    }


def test_rate_needs_time_and_column_its_type(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DeclarationError, match="per '0s' is no time"):
        Rate(per="0s")
    with pytest.raises(DeclarationError, match="per 'hour' is not a duration"):
        Rate(per="hour")
    rows = table(connection, [row(1)])
    rows = rows.with_relation(rows.relation.project("*, [n] AS list"))
    for aggregate in (Sum("k"), Mean("e"), Std("k"), Rate("k", per="1h")):
        with pytest.raises(DeclarationError, match="only booleans and numbers can be summed"):
            hourly(rows, "1h", aggregates={"a": aggregate})
    for aggregate in (Min("list"), Max("list"), Last("list"), DistinctCount("list")):
        with pytest.raises(
            DeclarationError, match="'list' as LIST: only numbers, times, text and booleans can be compared"
        ):
            hourly(rows, "1h", aggregates={"a": aggregate})
    with pytest.raises(DeclarationError, match="arrivals_v1 has no column 'id'"):
        window_aggregate(replace(rows, keys=("id",)), keys=["k"], windows=["1h"], aggregates=COUNT)


def test_row_that_arrives_in_later_partition_waits_for_it(connection: duckdb.DuckDBPyConnection) -> None:
    arrived = [{**row(1), "a": at(1), "n": 1}, {**row(1), "a": at(7), "n": 2}]
    rows = table(connection, arrived, available_at=None, arrives="a", end=12)
    together = replace(rows, grid=Grid("hour", at(0), at(12), starts=(at(6),)))
    assert hourly(together, "8h") == {hour: 1 if hour < 6 else 2 for hour in range(1, 9)}
    first = rows.with_relation(rows.relation.filter("n = 1"))
    assert hourly(replace(first, grid=Grid("hour", at(0), at(6))), "8h") == dict.fromkeys(range(1, 6), 1)
    assert hourly(replace(rows, grid=Grid("hour", at(6), at(12))), "8h") == {6: 2, 7: 2, 8: 2}


QUARTER = timedelta(minutes=15)
# Seldom no time, and most rows visible at an instant of a run or a window's length before one.
TIMES = st.sampled_from([*(START + quarter * QUARTER for quarter in range(-12, 20)), None])
LATENESS = st.sampled_from([0, 0, 0, 1, 2, 6, 20, -3, None])
NUMBERS = st.integers(-(10**6), 10**6).map(lambda number: number / 1024)
ODD = st.sampled_from([math.inf, -math.inf, 0.0, -0.0])
ROW = st.fixed_dictionaries(
    {
        "k": st.sampled_from(["x", "x", "x", "y", None]),
        "j": st.sampled_from([1, 1, 1, 2, None]),
        "e": TIMES,
        "a": LATENESS,
        "n": st.none() | st.integers(-5, 5) | st.integers(-(2**62), 2**62),
        "x": st.none() | NUMBERS | st.floats(-1e9, 1e9).filter(lambda x: not 0 < abs(x) < 1e-9) | ODD,
        "t": st.none() | st.sampled_from(["", "a", "ab", "b", "é"]),
    }
).map(lambda row: {**row, "a": None if row["a"] is None else (row["e"] or START) + row["a"] * QUARTER})
ROWS = st.lists(ROW, max_size=3) | st.lists(ROW, min_size=8, max_size=20)
LENGTHS = st.lists(st.sampled_from([15, 45, 60, 90, 180, 300, 1440]), min_size=1, max_size=3, unique=True)
CHOSEN = st.lists(st.sampled_from(sorted(EVERY)), min_size=1, max_size=4, unique=True)
BY = st.sampled_from(["visible_at", "event_time"])
SHARED = oracles.connection()


def same_cells(found: Mapping[Any, Sequence[Any]], expected: Mapping[Any, Sequence[Any]]) -> None:
    assert found.keys() == expected.keys()
    for cell, values in expected.items():
        for place, (value, answer) in enumerate(zip(values, found[cell], strict=True)):
            assert window_oracles.same(answer, value), (cell, place, value, answer)


def computed(
    rows: Sequence[Row], start: datetime, end: datetime, minutes: Sequence[int], chosen: Sequence[str],
    keys: Sequence[str] = ("k",), *, threads: int = 2, own_keys: Sequence[str] = ("n",), available_at: str | None = "a",
    delay: timedelta = timedelta(0), **options: Any,
) -> dict[Any, list[Any]]:  # fmt: skip
    with SHARED.cursor() as connection:
        connection.execute(f"SET threads={threads}")
        inputs = table(
            connection,
            rows,
            grid=Grid("hour", start, end),
            keys=tuple(own_keys),
            available_at=available_at,
            serving_delay=delay,
        )
        windows = [f"{length}min" for length in minutes]
        aggregates = {name: EVERY[name] for name in chosen}
        results = window_aggregate(inputs, keys=keys, windows=windows, aggregates=aggregates, **options)
        fetched = results.relation.fetchall()
    place = len(results.keys) + 1
    cells = {row[:place]: list(row[place:]) for row in fetched}
    assert len(cells) == len(fetched)
    return cells


@settings(max_examples=examples(60))
@given(
    rows=ROWS,
    minutes=LENGTHS,
    chosen=CHOSEN,
    every=st.sampled_from([15, 60, 120]),
    start=st.integers(-8, 8),
    quarters=st.integers(0, 30),
    rows_by=BY,
    keys=st.sampled_from([("k",), ("j", "k")]),
    times=st.sampled_from([{}, {}, {"available_at": None, "delay": timedelta(minutes=20)}]),
)
@example([row(0), row(0, 2)], [60], ["rows"], 60, 0, 12, "visible_at", ("k",), {})
def test_windows_are_what_brute_force_finds(
    rows: list[Row],
    minutes: list[int],
    chosen: list[str],
    every: int,
    start: int,
    quarters: int,
    rows_by: RowsBy,
    keys: tuple[str, ...],
    times: dict[str, Any],
) -> None:
    first, step = START + timedelta(minutes=15 * start), timedelta(minutes=every)
    last = first + timedelta(minutes=15 * quarters)
    lengths = [timedelta(minutes=length) for length in minutes]
    expected = window_oracles.grid_windows(
        rows, keys=keys, start=first, end=last, every=step, lengths=lengths, aggregates=[EVERY[name] for name in chosen],
        rows_by=rows_by, **times,
    )  # fmt: skip
    same_cells(computed(rows, first, last, minutes, chosen, keys, every=step, rows_by=rows_by, **times), expected)


@settings(max_examples=examples(60))
@given(
    rows=ROWS,
    minutes=LENGTHS,
    chosen=CHOSEN,
    start=st.integers(-8, 8),
    quarters=st.integers(0, 30),
    rows_by=BY,
    keys=st.sampled_from([("k",), ("j", "k")]),
    own_keys=st.sampled_from([("n",), ("k",), ("t", "j")]),
    times=st.sampled_from([{}, {}, {"available_at": None, "delay": timedelta(minutes=15)}]),
)
@example([row(0, n=0), row(1, n=1)], [60], ["rows"], 0, 8, "visible_at", ("k",), ("n",), {})
def test_own_windows_are_what_brute_force_finds(
    rows: list[Row],
    minutes: list[int],
    chosen: list[str],
    start: int,
    quarters: int,
    rows_by: RowsBy,
    keys: tuple[str, ...],
    own_keys: tuple[str, ...],
    times: dict[str, Any],
) -> None:
    first = START + timedelta(minutes=15 * start)
    last = first + timedelta(minutes=15 * quarters)
    lengths = [timedelta(minutes=length) for length in minutes]
    expected = window_oracles.row_windows(
        rows, own_keys=own_keys, keys=keys, start=first, end=last, lengths=lengths, aggregates=[EVERY[name] for name in chosen],
        rows_by=rows_by, **times,
    )  # fmt: skip
    same_cells(
        computed(rows, first, last, minutes, chosen, keys, own_keys=own_keys, rows_by=rows_by, **times), expected
    )


@settings(max_examples=examples(20))
@given(rows=ROWS, minutes=LENGTHS, chosen=CHOSEN, rows_by=BY, every=st.sampled_from([timedelta(minutes=30), None]))
def test_range_gives_what_its_parts_give_bit_for_bit(
    rows: list[Row], minutes: list[int], chosen: list[str], rows_by: RowsBy, every: timedelta | None
) -> None:
    parts: dict[Any, Any] = {}
    for part in range(4):
        start = START + part * 2 * HOUR
        parts |= computed(rows, start, start + 2 * HOUR, minutes, chosen, every=every, rows_by=rows_by, threads=1)
    whole = computed(rows[::-1], START, START + 8 * HOUR, minutes, chosen, every=every, rows_by=rows_by)
    assert repr(sorted(whole.items(), key=repr)) == repr(sorted(parts.items(), key=repr))
