"""Windows at the time of a request in plain Python, and random rows and requests to try them with."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey, RequestWindows, WindowLength
from fti_assets.core.times import EPOCH, duration, microseconds
from fti_assets.features.windows import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Max,
    Mean,
    Min,
    Percentile,
    Rate,
    Sessions,
    Std,
    Sum,
)
from fti_assets.features.windows.aggregates import names_of
from fti_assets.features.windows.records import record_of
from tests.features import oracles, window_oracles
from tests.features.oracles import START, Row

COLUMNS = {
    "k": "VARCHAR", "j": "INTEGER", "e": "TIMESTAMP", "a": "TIMESTAMP", "n": "BIGINT", "x": "DOUBLE", "t": "VARCHAR",
    "b": "BOOLEAN", "s": "TIMESTAMP",
}  # fmt: skip
AGGREGATES: Mapping[str, Aggregate] = {
    "rows": Count(), "rate": Rate(per="1h"), "rate_n": Rate("n", per="90min"), "rate_x": Rate("x", per="1d"),
    "sum_n": Sum("n"), "sum_x": Sum("x"), "sum_b": Sum("b"), "mean_n": Mean("n"), "mean_x": Mean("x"), "mean_b": Mean("b"),
    "std_n": Std("n"), "std_x": Std("x"), "std_b": Std("b"), "low_x": Min("x"), "high_x": Max("x"), "low_n": Min("n"),
    "high_t": Max("t"), "low_t": Min("t"), "low_s": Min("s"), "high_b": Max("b"), "last_t": Last("t"), "last_x": Last("x"),
    "last_s": Last("s"), "first_t": First("t"), "first_x": First("x"),
    "differ_t": DistinctCount("t"), "differ_x": DistinctCount("x"), "differ_s": DistinctCount("s"),
    "median_x": Percentile("x", 0.5), "most_x": Percentile("x", 0.9), "median_n": Percentile("n", 0.25), "median_b": Percentile("b", 0.37),
    "lasts_x": Last("x", n=3), "lasts_t": Last("t", n=2), "firsts_s": First("s", n=2), "firsts_n": First("n", n=4),
    "kinds_t": Last("t", n=3, distinct=True), "kind_x": Last("x", distinct=True), "kinds_b": First("b", n=2, distinct=True),
    "kinds_x": First("x", n=2, distinct=True), "kinds_2_t": Last("t", n=2, distinct=True),
    "sessions": Sessions(gap="20min"), "rows_of_last": Sessions(gap="20min", of="rows"), "seconds": Sessions(gap="20min", of="seconds"),
    "rests": Sessions(gap=timedelta(microseconds=1)), "seconds_of_rests": Sessions(gap="50min", of="seconds"),
}  # fmt: skip
TYPES = {"n": "integer", "x": "number", "t": "text", "b": "boolean", "s": "timestamp"}


def relation(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> duckdb.DuckDBPyRelation:
    """Rows as a relation of the types of ``COLUMNS``; of a parameter DuckDB would take NaN for null."""
    kinds = {
        "VARCHAR": pa.string(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
    }
    columns = {
        name: pa.array([row[name] for row in rows], type=kinds.get(kind, pa.timestamp("us")))
        for name, kind in COLUMNS.items()
    }
    return connection.from_arrow(pa.table(columns))


def type_of(aggregate: Aggregate) -> Any:
    match aggregate:
        case Count() | DistinctCount():
            return "integer"
        case Sessions(of=of):
            return "number" if of == "seconds" else "integer"
        case Mean() | Rate() | Std() | Percentile():
            return "number"
        case Sum(column):
            return "number" if TYPES[column] == "number" else "integer"
        case Min(column) | Max(column) | First(column) | Last(column):
            return TYPES[column]


def declared(
    every: str, windows: Sequence[str], aggregates: Mapping[str, Aggregate], *, keys: Sequence[str] = ("k",), **times: Any
) -> JoinedGroup:  # fmt: skip
    """A join of windows by columns of ``COLUMNS``, whose rows have event time ``e`` and by default available-at ``a``."""
    records = RequestWindows(
        "payments",
        1,
        microseconds(duration(every)),
        tuple(WindowLength(text, microseconds(duration(text))) for text in windows),
        tuple(record_of(name, aggregate) for name, aggregate in aggregates.items()),
    )
    columns = [
        JoinedColumn(f"f_{one}_{text}", f"{one}_{text}", type_of(aggregate))
        for name, aggregate in aggregates.items()
        for one in names_of(name, aggregate)
        for text in windows
    ]
    return JoinedGroup(
        "card_windows", 1, tuple(JoinedKey(f"s_{key}", key, "text" if key == "k" else "integer") for key in keys),
        tuple(columns), **{"event_time": "e", "available_at": "a", **times}, windows=records,
    )  # fmt: skip


def brute_force(
    group: JoinedGroup, aggregates: Mapping[str, Aggregate], rows: Sequence[Row], keys: Sequence[Any], at: datetime | None
) -> list[Any]:  # fmt: skip
    """What a spine row gets, row by row: each aggregate over each window, all None where the longest one is empty."""
    windows = group.windows
    assert windows is not None
    nothing = [None] * len(group.columns)
    if at is None or None in keys:
        return nothing
    mine = []
    for row in rows:
        delay = timedelta(microseconds=group.serving_delay_us)
        observed = oracles.visible(row, "e", group.available_at, delay)
        same = all(row[key.group] == value for key, value in zip(group.keys, keys, strict=True))
        if observed is not None and same and observed <= at:
            mine.append((observed, row))
    held = {}
    every = timedelta(microseconds=windows.every_us)
    for length in windows.lengths:
        begins = at - timedelta(microseconds=length.us)
        if timedelta(microseconds=length.us) > every:
            begins = EPOCH + (begins - EPOCH) // every * every
        held[length.text] = [row for observed, row in mine if observed > begins]
    if not held[windows.longest.text]:
        return nothing
    results = []
    for aggregate in aggregates.values():
        of_lengths = [
            value_of(aggregate, held[length.text], timedelta(microseconds=length.us), group.available_at)
            for length in windows.lengths
        ]
        if getattr(aggregate, "n", 1) > 1:
            results += [values[place] for place in range(aggregate.n) for values in of_lengths]
        else:
            results += of_lengths
    return results


def value_of(aggregate: Aggregate, rows: Sequence[Row], length: timedelta, available_at: str | None) -> Any:
    """An aggregate over rows, of which NaN is the greatest number and equal to itself."""
    column = getattr(aggregate, "column", None)
    values = [row[column] for row in rows if row[column] is not None] if column else []
    has_nan = any(isinstance(value, float) and math.isnan(value) for value in values)
    if isinstance(aggregate, Min | Max | First | Last):
        ranked = [{**row, str(column): None if row[column] is None else _Ranked(row[column])} for row in rows]
        results = window_oracles.aggregate_of(aggregate, ranked, length, available_at)
        if isinstance(results, list):
            return [one.value if isinstance(one, _Ranked) else one for one in results]
        return results.value if isinstance(results, _Ranked) else results
    if has_nan and isinstance(aggregate, DistinctCount):
        return len({"NaN" if isinstance(value, float) and math.isnan(value) else value for value in values})
    if isinstance(aggregate, Rate | Mean) and not all(math.isfinite(value) for value in values):
        total = window_oracles.aggregate_of(Sum(str(column)), rows, length, available_at)
        return total if values else None
    return window_oracles.aggregate_of(aggregate, rows, length, available_at)


class _Ranked:
    """A value that is compared as DuckDB compares it."""

    def __init__(self, value: Any) -> None:
        self.value = 0.0 if value == 0 and isinstance(value, float) else value
        self.rank = (isinstance(value, float) and math.isnan(value), self.value)

    def __lt__(self, other: "_Ranked") -> bool:
        return self.rank[0] < other.rank[0] or (self.rank[0] == other.rank[0] is False and self.value < other.value)

    def __gt__(self, other: "_Ranked") -> bool:
        return other < self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ranked) and not self < other and not other < self

    def __hash__(self) -> int:
        return 0


HOURS = st.one_of(
    st.integers(0, 40).map(lambda quarter: timedelta(minutes=15) * quarter),
    st.builds(lambda quarter, us: timedelta(minutes=15) * quarter + timedelta(microseconds=us), st.integers(0, 40), st.integers(-2, 2)),
    st.integers(0, 10 * 3600 * 10**6).map(lambda us: timedelta(microseconds=us)),
)  # fmt: skip
TIMES = HOURS.map(lambda since: START + since)
FLOATS = st.one_of(
    st.sampled_from([0.1, 0.2, 0.3, -0.3, 1e16, -1e16, 1.0, -0.0, 5e-324, 1e300, 12.34]), st.floats(-1e6, 1e6),
)  # fmt: skip
ODD_FLOATS = st.one_of(FLOATS, FLOATS, FLOATS, st.sampled_from([math.nan, math.inf, -math.inf, 1.7e308, -1.7e308]))


def rows_of(floats: st.SearchStrategy[float], at_most: int = 25) -> st.SearchStrategy[list[Row]]:
    """Rows of few keys, of which some are late, some early, and some equal."""
    row = st.fixed_dictionaries(
        {
            "k": st.sampled_from(["x", "y", "", None, "x"]),
            "j": st.sampled_from([1, 2, None, 1]),
            "e": st.one_of(TIMES, TIMES, TIMES, st.none()),
            "a": st.one_of(TIMES, TIMES, TIMES, st.none()),
            "n": st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**58), 2**58)),
            "x": st.one_of(st.none(), floats),
            "t": st.one_of(st.none(), st.sampled_from(["a", "b", "é", "\U0001f600", "", "ab"])),
            "b": st.one_of(st.none(), st.booleans()),
            "s": st.one_of(st.none(), TIMES),
        }
    )
    return st.lists(row, max_size=at_most)


REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "s_k": st.sampled_from(["x", "y", "", "z", None]),
            "s_j": st.sampled_from([1, 2, 3, None]),
            "at": st.one_of(TIMES, TIMES, TIMES, st.none()),
        }
    ),
    max_size=8,
)
WINDOWS = st.tuples(
    st.sampled_from(["1h", "30min", "2h"]),
    st.lists(st.sampled_from(["20min", "1h", "2h", "150min", "5h", "5ms"]), min_size=1, max_size=3, unique=True),
)
