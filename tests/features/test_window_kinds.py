"""The first and last values, percentiles and sessions of a window, windows that end before their instant, and lifetimes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.features.rows.table import Grid
from fti_assets.features.windows import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Mean,
    Percentile,
    Sessions,
    Window,
    window_aggregate,
)
from fti_assets.features.windows.axis import RowsBy
from fti_assets.features.windows.ordering import rows as ordering_rows
from tests.features import oracles, window_oracles
from tests.features.oracles import START, Row
from tests.features.test_windows import BY, LENGTHS, QUARTER, ROWS, row, same_cells, table
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
        given = table(connection, rows, grid=grid, keys=tuple(own_keys), available_at=available_at, serving_delay=delay)
        aggregates = {name: KINDS[name] for name in chosen}
        found = window_aggregate(given, keys=keys, windows=windows, aggregates=aggregates, **options)
        fetched = found.relation.fetchall()
        place = len(found.keys) + 1
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
    found = computed(
        rows, first, first + quarters * QUARTER, windows, chosen, keys, every=step, rows_by=rows_by, **times
    )
    same_cells(found, flat(expected, chosen, len(minutes)))


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
    found = computed(
        rows, first, first + quarters * QUARTER, windows, chosen, keys, own_keys=own_keys, rows_by=rows_by, **times
    )
    same_cells(found, flat(expected, chosen, len(minutes)))


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
