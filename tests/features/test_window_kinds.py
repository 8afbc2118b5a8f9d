"""The first and last values, percentiles and sessions of a window, windows that end before their instant, and lifetimes."""

import math
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
from fti_assets.features.rows.table import Grid
from fti_assets.features.windows import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Mean,
    Percentile,
    Rate,
    Sessions,
    Window,
    window_aggregate,
)
from fti_assets.features.windows.axis import RowsBy
from fti_assets.features.windows.ordering import rows as ordering_rows
from tests.features import oracles, window_oracles
from tests.features.oracles import START, Row
from tests.features.test_windows import BY, COLUMNS, LENGTHS, QUARTER, ROWS, at, hourly, row, same_cells, table
from tests.support.examples import examples

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
KINDS: Mapping[str, Aggregate] = {
    "rows": Count(), "mean": Mean("n"), "differ": DistinctCount("t"), "first_x": First("x"), "first_t": First("t"),
    "firsts": First("t", n=2), "lasts": Last("n", n=3), "lasts_x": Last("x", n=2), "last_values": Last("t", n=2, distinct=True),
    "first_values": First("x", n=2, distinct=True), "last_known": Last("n", distinct=True), "median": Percentile("x", 0.5),
    "high": Percentile("n", 0.9), "most": Percentile("x", 1), "least": Percentile("n", 0),
    "sessions": Sessions(gap="30min"), "session_rows": Sessions(gap="20min", of="rows"),
    "session": Sessions(gap="1h", of="seconds"),
}  # fmt: skip
DELAYS = st.lists(st.sampled_from([0, 0, 15, 60, 200]), min_size=3, max_size=3)
SHARED = oracles.connection()


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


def declared(minutes: Sequence[int | None], delays: Sequence[int]) -> list[Window]:
    """Windows of lengths in minutes, of which None is a lifetime, that end some minutes before their instants."""
    return [
        Window("lifetime" if length is None else f"{length}min", delay=f"{delay}min")
        for length, delay in zip(minutes, delays, strict=False)
    ]


def lengths_of(minutes: Sequence[int | None]) -> list[timedelta]:
    return [timedelta(days=100_000) if length is None else length * MINUTE for length in minutes]


def computed(
    rows: Sequence[Row], start: datetime, end: datetime, windows: Sequence[Window], chosen: Sequence[str],
    keys: Sequence[str] = ("k",), *, threads: int = 2, own_keys: Sequence[str] = ("n",), available_at: str | None = "a",
    delay: timedelta = timedelta(0), **options: Any,
) -> dict[Any, list[Any]]:  # fmt: skip
    with SHARED.cursor() as connection:
        connection.execute(f"SET threads={threads}")
        grid = Grid("hour", start, end)
        inputs = table(
            connection, rows, grid=grid, keys=tuple(own_keys), available_at=available_at, serving_delay=delay
        )
        aggregates = {name: KINDS[name] for name in chosen}
        results = window_aggregate(inputs, keys=keys, windows=windows, aggregates=aggregates, **options)
        fetched = results.relation.fetchall()
        place = len(results.keys) + 1
        return {row[:place]: list(row[place:]) for row in fetched}


def flat(cells: dict[Any, list[Any]], chosen: Sequence[str], windows: int) -> dict[Any, list[Any]]:
    """The oracle's lists of values as columns: of each place over all windows."""
    result: dict[Any, list[Any]] = {}
    for cell, values in cells.items():
        result[cell] = []
        for number in range(len(chosen)):
            of_windows = values[number * windows : (number + 1) * windows]
            columns = zip(*(one if isinstance(one, list) else [one] for one in of_windows), strict=True)
            result[cell] += [value for column in columns for value in column]
    return result


CHOSEN = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True)
WINDOWS = LENGTHS | st.lists(st.sampled_from([45, 60, None]), min_size=1, max_size=2, unique=True)
TIMES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"available_at": None, "delay": timedelta(minutes=20)}]
)


@settings(max_examples=examples(60))
@given(
    rows=ROWS, minutes=WINDOWS, delays=DELAYS, chosen=CHOSEN, every=st.sampled_from([15, 60, 120]), start=st.integers(-8, 8),
    quarters=st.integers(0, 30), rows_by=BY, keys=st.sampled_from([("k",), ("j", "k")]), times=TIMES,
)  # fmt: skip
@example([row(0), row(0, 2)], [60], [0], ["high", "sessions"], 60, 0, 12, "visible_at", ("k",), {})
def test_kinds_are_what_brute_force_finds(
    rows: list[Row], minutes: list[int | None], delays: list[int], chosen: list[str], every: int, start: int, quarters: int,
    rows_by: RowsBy, keys: tuple[str, ...], times: dict[str, Any],
) -> None:  # fmt: skip
    first, step = START + start * QUARTER, every * MINUTE
    windows = declared(minutes, delays)
    expected = window_oracles.grid_windows(
        rows, keys=keys, start=first, end=first + quarters * QUARTER, every=step, lengths=lengths_of(minutes), rows_by=rows_by,
        delays=[delay * MINUTE for delay in delays[: len(minutes)]], aggregates=[KINDS[name] for name in chosen], **times,
    )  # fmt: skip
    result = computed(
        rows, first, first + quarters * QUARTER, windows, chosen, keys, every=step, rows_by=rows_by, **times
    )
    same_cells(result, flat(expected, chosen, len(minutes)))


@settings(max_examples=examples(60))
@given(
    rows=ROWS, minutes=WINDOWS, delays=DELAYS, chosen=CHOSEN, start=st.integers(-8, 8), quarters=st.integers(0, 30), rows_by=BY,
    keys=st.sampled_from([("k",), ("j", "k")]), own_keys=st.sampled_from([("n",), ("k",), ("t", "j")]), times=TIMES,
)  # fmt: skip
def test_kinds_at_each_row_are_what_brute_force_finds(
    rows: list[Row], minutes: list[int | None], delays: list[int], chosen: list[str], start: int, quarters: int,
    rows_by: RowsBy, keys: tuple[str, ...], own_keys: tuple[str, ...], times: dict[str, Any],
) -> None:  # fmt: skip
    first = START + start * QUARTER
    windows = declared(minutes, delays)
    expected = window_oracles.row_windows(
        rows, own_keys=own_keys, keys=keys, start=first, end=first + quarters * QUARTER, lengths=lengths_of(minutes),
        delays=[delay * MINUTE for delay in delays[: len(minutes)]], aggregates=[KINDS[name] for name in chosen],
        rows_by=rows_by, **times,
    )  # fmt: skip
    result = computed(
        rows, first, first + quarters * QUARTER, windows, chosen, keys, own_keys=own_keys, rows_by=rows_by, **times
    )
    same_cells(result, flat(expected, chosen, len(minutes)))


@settings(max_examples=examples(20))
@given(
    rows=ROWS, minutes=WINDOWS, delays=DELAYS, chosen=CHOSEN, rows_by=BY, every=st.sampled_from([30 * MINUTE, None]),
    most=st.sampled_from([1, 5, 1 << 17]),
)  # fmt: skip
def test_range_gives_what_its_parts_give_bit_for_bit(
    rows: list[Row], minutes: list[int | None], delays: list[int], chosen: list[str], rows_by: RowsBy, every: timedelta | None,
    most: int,
) -> None:  # fmt: skip
    windows = declared(minutes, delays)
    parts: dict[Any, Any] = {}
    for part in range(4):
        start = START + part * 2 * HOUR
        parts |= computed(rows, start, start + 2 * HOUR, windows, chosen, every=every, rows_by=rows_by, threads=1)
    with pytest.MonkeyPatch.context() as patch:  # keys divided otherwise
        patch.setattr(ordering_rows, "_MOST_ROWS", most)
        whole = computed(rows[::-1], START, START + 8 * HOUR, windows, chosen, every=every, rows_by=rows_by)
    assert repr(sorted(whole.items(), key=repr)) == repr(sorted(parts.items(), key=repr))


def test_last_values_have_numbered_columns_of_their_type(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=3, x=-0.0), row(1.5, n=2**62 + 1, x=2.0), row(1.75, n=None, x=None)])
    other = rows.with_relation(
        rows.relation.project(
            "*, 't' || n AS s, n > 3 AS b, n::DECIMAL(38, 2) AS d, n::UHUGEINT AS u, e::DATE AS y, e::TIME AS z"
        )
    )
    kinds = {"n": "BIGINT", "x": "DOUBLE", "e": "TIMESTAMP", "s": "VARCHAR", "b": "BOOLEAN", "d": "DECIMAL(38,2)", "u": "UHUGEINT",
             "y": "DATE", "z": "TIME"}  # fmt: skip
    aggregates = {column: Last(column, n=3) for column in kinds}
    results = window_aggregate(other, keys=["k"], every="1h", windows=["2h", "9h"], aggregates=aggregates).relation
    names = [f"{column}_{place}_{window}" for column in kinds for place in (1, 2, 3) for window in ("2h", "9h")]
    assert results.columns[2:] == names
    assert [str(kind) for kind in results.types[2:]] == [kind for kind in kinds.values() for _ in range(6)]
    values = dict(zip(results.columns, results.filter(f"hour = TIMESTAMP '{at(2)}'").fetchall()[0], strict=True))
    assert [values[f"n_{place}_2h"] for place in (1, 2, 3)] == [None, 2**62 + 1, 3]
    assert [values[f"d_{place}_2h"] for place in (1, 2, 3)] == [None, Decimal(2**62 + 1), Decimal(3)]
    assert [values[f"u_{place}_9h"] for place in (1, 2, 3)] == [None, 2**62 + 1, 3]
    assert [values[f"s_{place}_9h"] for place in (1, 2, 3)] == [None, f"t{2**62 + 1}", "t3"]
    assert [values[f"z_{place}_2h"] for place in (1, 2, 3)] == [at(hour).time() for hour in (1.75, 1.5, 1)]


def test_last_of_equal_times_goes_by_available_at_then_value(connection: duckdb.DuckDBPyConnection) -> None:
    same = [row(2, 3, n=1), row(2, 2.5, n=9), row(2, 3, n=None), row(2, 3, n=4), row(1, 3, n=7)]
    aggregates = {"last": Last("n", n=5), "first": First("n", n=5), "first_one": First("n")}
    result = hourly(table(connection, same), "4h", aggregates=aggregates)[3]
    assert result == (4, 1, None, 9, 7, 7, 9, None, 1, 4, 7)


def test_distinct_values_stand_where_they_came_last_and_skip_nulls(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, n=7), row(1.2, n=8), row(1.4, n=7), row(1.6, n=None), row(1.8, n=9)]
    aggregates = {"last": Last("n", n=4, distinct=True), "first": First("n", n=2, distinct=True)}
    results = hourly(table(connection, rows), "1h", "90min", aggregates={**aggregates, "rows": Count()})
    assert results[2] == (9, 9, 7, 7, 8, 8, None, None, 8, 7, 7, 8, 4, 5)


def test_percentile_lies_between_two_values(connection: duckdb.DuckDBPyConnection) -> None:
    values = [1.0, 2.0, 4.0, math.inf]
    rows = table(connection, [row(1, x=value) for value in values])
    shares = {"low": 0, "quarter": 0.25, "median": 0.5, "most": 1}
    result = hourly(rows, "1h", aggregates={name: Percentile("x", share) for name, share in shares.items()})
    assert result == {1: (1.0, 1.75, 3.0, math.inf)}
    with_nan = rows.with_relation(rows.relation.project("k, e, a, CASE WHEN x = 4 THEN 'nan'::DOUBLE ELSE x END AS x"))
    median, most = hourly(with_nan, "1h", aggregates={"median": Percentile("x", 0.5), "most": Percentile("x", 1)})[1]
    assert median == math.inf
    assert math.isnan(most)


def test_percentile_is_of_numbers_of_every_type(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, n=1), row(1, n=4), row(1, n=None)])
    for kind in ("TINYINT", "UINTEGER", "BIGINT", "UBIGINT", "HUGEINT", "DECIMAL(9, 1)", "FLOAT"):
        cast = rows.with_relation(rows.relation.project(f"k, e, a, n::{kind} AS n"))
        assert hourly(cast, "1h", aggregates={"median": Percentile("n", 0.5)}) == {1: 2.5}, kind
    late = rows.with_relation(rows.relation.project("k, e, a, n > 1 AS n"))
    assert hourly(late, "1h", aggregates={"median": Percentile("n", 0.5)}) == {1: 0.5}
    with pytest.raises(DeclarationError, match="'k' as VARCHAR: only booleans and numbers have percentiles"):
        hourly(rows, "1h", aggregates={"median": Percentile("k", 0.5)})


def test_sessions_are_apart_by_more_than_the_gap(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(0.5), row(1), row(1.75), row(2), row(2)])
    of: dict[str, Aggregate] = {
        "number": Sessions(gap="30min"), "rows": Sessions(gap="30min", of="rows"), "seconds": Sessions(gap="30min", of="seconds")
    }  # fmt: skip
    assert hourly(rows, "2h", aggregates=of) == {1: (1, 2, 1800.0), 2: (2, 3, 900.0), 3: (1, 3, 900.0)}


def test_a_session_goes_on_when_its_first_row_has_left(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1.4), row(1.75), row(1.9)])
    of: dict[str, Aggregate] = {"number": Sessions(gap="30min"), "rows": Sessions(gap="30min", of="rows")}
    assert hourly(rows, "30min", "1h", aggregates=of) == {2: (1, 1, 2, 3)}


def test_a_late_row_joins_two_sessions(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1), row(1.9, 3), row(2)], available_at="a")
    results = hourly(rows, "9h", aggregates={"sessions": Sessions(gap="55min")}, rows_by="event_time")
    assert (results[2], results[3]) == (2, 1)


def test_delayed_window_is_that_of_the_instant_before(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1), row(2, 4)], end=8)
    windows = ["2h", Window("2h", delay="1h"), Window(timedelta(hours=2), delay=timedelta(hours=3))]
    results = window_aggregate(
        rows, keys=["k"], every="1h", windows=windows, aggregates={"n": Count(), "mean": Mean("n")}
    )
    assert results.relation.columns[2:5] == ["n_2h", "n_2h_delay_1h", "n_2h_delay_3h"]
    by_hour = {(hour - START) / HOUR: rest for _, hour, *rest in results.relation.fetchall()}
    assert {hour: rest[:3] for hour, rest in by_hour.items()} == {
        1: [1, 0, 0], 2: [1, 1, 0], 3: [0, 1, 0], 4: [1, 0, 1], 5: [1, 1, 1], 6: [0, 1, 0], 7: [0, 0, 1],
    }  # fmt: skip
    assert by_hour[3][3:] == [None, 1.0, None]


def test_delayed_window_of_a_row_holds_what_became_visible_as_it_ended(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1), row(2), row(3)])
    aggregates = {"n": Count(), "sessions": Sessions(gap="1h")}
    windows = ["2h", Window("2h", delay="1h")]
    result = window_aggregate(rows, keys=["k"], windows=windows, aggregates=aggregates).relation.order("hour")
    assert result.project("hour, n_2h, n_2h_delay_1h, sessions_2h_delay_1h").fetchall() == [
        (at(1), 0, 0, 0), (at(2), 1, 1, 1), (at(3), 1, 2, 1),
    ]  # fmt: skip


def test_delayed_window_by_event_time_holds_what_is_known_by_now(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1, 3)], end=8)
    assert hourly(rows, Window("1h", delay="1h"), rows_by="event_time") == {}
    assert hourly(rows, Window("1h", delay="2h"), rows_by="event_time") == {3: 1}
    assert hourly(rows, Window("1h", delay="2h")) == {5: 1}


def test_lifetime_holds_all_that_was_ever_visible(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(-90_000), row(1), row(2, 4)])
    aggregates = {"rows": Count(), "lasts": Last("n", n=2), "median": Percentile("x", 0.5)}
    results = hourly(rows, "lifetime", Window("lifetime", delay="1h"), aggregates=aggregates)
    assert {hour: rest[:2] for hour, rest in results.items()} == {
        0: (1, 1),
        1: (2, 1),
        2: (2, 2),
        3: (2, 2),
        4: (3, 2),
        5: (3, 3),
    }


def test_impossible_kinds_say_what_to_write(connection: duckdb.DuckDBPyConnection) -> None:
    rows = table(connection, [row(1)])
    with pytest.raises(DeclarationError, match="share 95 of a percentile is not between 0 and 1: write 0.95"):
        Percentile("x", 95)
    with pytest.raises(DeclarationError, match=r"more than 9 digits after the point: write 0\.333333333"):
        Percentile("x", 1 / 3)
    with pytest.raises(DeclarationError, match=r"n 0 of Last\('x'\) is not from 1 to 1,000"):
        Last("x", n=0)
    with pytest.raises(DeclarationError, match="gap '0s' is no time"):
        Sessions(gap="0s")
    with pytest.raises(DeclarationError, match="write 'number', 'rows' or 'seconds'"):
        Sessions(gap="1h", of="length")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="delay 'later' is not a duration"):
        Window("1h", delay="later")
    with pytest.raises(DeclarationError, match="a lifetime has no length to divide by"):
        hourly(rows, "lifetime", aggregates={"rate": Rate(per="1h")})
    with pytest.raises(DeclarationError, match="declare the group with lookback='lifetime'"):
        hourly(replace(rows, beyond=rows.relation.filter("false")), "lifetime")
    with pytest.raises(DeclarationError, match="two columns 'n_1_1h'"):
        hourly(rows, "1h", aggregates={"n": Last("n", n=2), "n_1": Count()})


def test_row_that_a_delayed_window_needs_from_before_the_lookback_is_an_error(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    beyond = oracles.relation(connection, COLUMNS, [row(-3)])
    rows = table(connection, [row(1)], beyond=beyond)
    assert hourly(rows, "3h") == {1: 1, 2: 1, 3: 1}
    with pytest.raises(LookbackError, match="'3h_delay_2h' at 2013-01-01T00:00:00 has one"):
        hourly(rows, Window("3h", delay="2h"))
