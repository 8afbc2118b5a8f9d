"""Rolling windows over a group's rows, at the instants of a grid.

A row counts from the instant at which it became visible until it leaves the window, so it adds to a total at the first
and takes away at the second. Totals are whole numbers, which add up to the same in any order, on any number of threads
and from any start: a float is sorted by its exponent into bins, where it is a whole number of the bin's unit, and a sum
is put together again from the bins' totals. The method is the superaccumulator of Neal, "Fast exact summation using
small and large superaccumulators" (2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from fti_assets.errors import DeclarationError, LookbackError
from fti_assets.features.point_in_time import available_sql, check_columns, view_of
from fti_assets.features.table import Grid, Table
from fti_assets.stores.sql import checked_name, quoted
from fti_assets.times import duration, from_microseconds, microseconds, naive_utc

if TYPE_CHECKING:
    import duckdb

_SMALL = {"boolean", "tinyint", "smallint", "integer", "utinyint", "usmallint", "uinteger"}
_LARGE = {"bigint", "hugeint", "ubigint", "uhugeint"}
_FLOATS = {"float", "double", "decimal"}
_BIN_BITS = 32
"""Powers of two in one bin of floats: the total of 2^42 rows of a bin fits 128 bits."""
_LOWEST_BIN = -30
"""Values below 2^-960 round to multiples of 2^-1012: a smaller unit has no reciprocal."""
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta(seconds=1)}


@dataclass(frozen=True)
class Count:
    """The number of rows in the window."""


@dataclass(frozen=True)
class Sum:
    """The sum of a column's values in the window, nulls skipped; null when there is none."""

    column: str


@dataclass(frozen=True)
class Mean:
    """The mean of a column's values in the window, nulls skipped; null when there is none."""

    column: str


Aggregate = Count | Sum | Mean


def window_aggregate(
    rows: Table,
    *,
    keys: Sequence[str],
    every: str | timedelta,
    windows: Sequence[str | timedelta],
    aggregates: Mapping[str, Aggregate],
    rows_by: Literal["visible_at", "event_time"] = "visible_at",
) -> Table:
    """Aggregate rows over rolling windows at each instant ``h`` of the running group's grid.

    Instants are whole multiples of ``every`` since 1970. A key has a row at ``h`` if it has one in the longest window.
    Rows with a null key or time count nowhere. A float column is read once before, for the span of its exponents.

    Args:
        rows: another group's rows.
        keys: the columns to aggregate by.
        every: the time between two instants.
        windows: the lengths ``w``.
        aggregates: what to compute, by name; the columns are ``<name>_<window as written>``, such as ``late_rate_3h``.
        rows_by: ``visible_at`` counts rows that became visible in ``(h - w, h]``; ``event_time`` those whose event time
            is in it and that were visible at ``h``.

    Returns:
        One row a key and instant, lazy: the keys, the instant under the running group's event time, the aggregates.
        Counts and sums of whole numbers are ``BIGINT``, means and sums of floats ``DOUBLE``.

    Raises:
        DeclarationError: there is no such column, a window is no duration, or the table has no event time or grid.
        LookbackError: a window needs a row from before the group's lookback.

    >>> import duckdb
    >>> from datetime import datetime
    >>> connection = duckdb.connect()
    >>> flights = connection.sql("SELECT 'UA' AS carrier, TIMESTAMP '2013-01-01 04:30' AS landed_at, true AS is_late")
    >>> grid = Grid("hour", datetime(2013, 1, 1), datetime(2013, 1, 2))
    >>> arrivals = Table(flights, connection, "arrivals_v1", ("carrier",), event_time="landed_at", grid=grid)
    >>> late = window_aggregate(
    ...     arrivals, keys=["carrier"], every="1h", windows=["2h"], aggregates={"late_rate": Mean("is_late")}
    ... )
    >>> late.relation.order("hour").project("hour::VARCHAR, late_rate_2h").fetchall()
    [('2013-01-01 05:00:00', 1.0), ('2013-01-01 06:00:00', 1.0)]
    """
    grid, lengths = _checked(rows, keys, windows, aggregates)
    if rows_by not in ("visible_at", "event_time"):
        raise DeclarationError(f"rows_by {rows_by!r} is not known: write 'visible_at' or 'event_time'")
    if not duration(every, what="every"):
        raise DeclarationError(f"every {every!r} is no time: write the time between two instants, such as '1h'")
    instants = _Instants.of(grid, microseconds(duration(every)))
    longest = max(lengths, key=lengths.__getitem__)
    if rows.beyond is not None:
        _check_lookback(rows, rows.beyond, keys, longest, lengths[longest], instants, rows_by)
    source = view_of(rows.relation)
    totals = _Totals(rows, source)
    results = ", ".join(
        f"{totals.result(aggregate, number)} AS {quoted(f'{name}_{window}')}"
        for name, aggregate in aggregates.items()
        for number, window in enumerate(lengths)
    )
    entered = totals.total("1", list(lengths).index(longest))
    names = ", ".join(map(quoted, keys))
    spans = _spans(rows, source, keys, list(lengths.values()), lengths[longest], instants, rows_by, totals.measures)
    relation = rows.connection.sql(f"""
        WITH __fti_spans AS MATERIALIZED ({spans}), __fti_totals AS ({totals.sql(names, len(lengths))})
        SELECT {names}, make_timestamp({instants.first} + {instants.every} * __fti_instant) AS {quoted(grid.instant)},
            * EXCLUDE ({names}, __fti_instant)
        FROM (SELECT {names}, unnest(range(__fti_at, __fti_next)) AS __fti_instant, {results}
              FROM __fti_totals WHERE {entered} > 0)""")
    return replace(
        rows,
        relation=relation,
        keys=tuple(keys),
        event_time=grid.instant,
        available_at=None,
        serving_delay=timedelta(0),
        beyond=None,
    )


@dataclass(frozen=True)
class _Instants:
    """A grid in whole microseconds: ``number`` instants from ``first`` on."""

    first: int
    every: int
    number: int

    @classmethod
    def of(cls, grid: Grid, every: int) -> _Instants:
        start, end = microseconds(naive_utc(grid.start)), microseconds(naive_utc(grid.end))
        first = -(-start // every) * every
        return cls(first, every, max(0, -(-(end - first) // every)))

    def reached(self, us: str) -> str:
        """The SQL of the number of the first instant at or after ``us``, itself counted from ``first``."""
        return f"least((greatest({us}, 0) + {self.every - 1}) // {self.every}, {self.number})"


class _Totals:
    """Totals, for each window, of whole numbers that a row's SQL gives; the aggregates are made of them."""

    def __init__(self, rows: Table, source: str) -> None:
        self._rows, self._source = rows, source
        self._types = dict(zip(rows.relation.columns, rows.relation.types, strict=True))
        self._spread: dict[str, tuple[list[int], bool]] = {}
        self.measures: list[str] = []

    def total(self, measure: str, window: int) -> str:
        """The column that holds a measure's total over a window."""
        if measure not in self.measures:
            self.measures.append(measure)
        return f"__fti_total_{window}_{self.measures.index(measure)}"

    def result(self, aggregate: Aggregate, window: int) -> str:
        """The SQL of an aggregate over a window, from totals."""
        if isinstance(aggregate, Count):
            return f"{self.total('1', window)}::BIGINT"
        column = quoted(aggregate.column)
        values = self.total(f"CASE WHEN {column} IS NULL THEN 0 ELSE 1 END", window)
        kind = str(self._types[aggregate.column].id)
        if kind in _SMALL | _LARGE:
            total = self.total(f"coalesce({column}::{'BIGINT' if kind in _SMALL else 'HUGEINT'}, 0)", window)
            total = f"{total}::BIGINT" if isinstance(aggregate, Sum) else f"{total}::DOUBLE"
        elif kind in _FLOATS:
            total = self._float_sum(f"{column}::DOUBLE", window)
        else:
            raise DeclarationError(
                f"{self._rows.name} has {aggregate.column!r} as {self._types[aggregate.column]}: only booleans and "
                "numbers can be summed; count its rows, or select a number from it first"
            )
        result = f"({total}) / {values}::DOUBLE" if isinstance(aggregate, Mean) else total
        return f"CASE WHEN {values} > 0 THEN {result} END"

    def _float_sum(self, value: str, window: int) -> str:
        bins, odd = self._bins(value)
        parts = ["0::DOUBLE"]
        for number in bins:
            lower = f"abs({value}) >= {_power(_BIN_BITS * number)} AND " if number > bins[0] else ""
            upper = f"abs({value}) < {_power(_BIN_BITS * (number + 1))}" if number < bins[-1] else f"isfinite({value})"
            unit = _BIN_BITS * number - 52
            whole = f"CASE WHEN {lower}{upper} THEN ({value} * {_power(-unit)})::HUGEINT ELSE 0 END"
            parts.append(f"{self.total(whole, window)}::DOUBLE * {_power(unit)}")
        finite = " + ".join(parts)
        if not odd:
            return finite
        nan, above, below = (
            f"{self.total(f'CASE WHEN {value} = {of}::DOUBLE THEN 1 ELSE 0 END', window)} > 0"
            for of in ("'nan'", "'inf'", "'-inf'")
        )
        return (
            f"CASE WHEN {nan} OR ({above} AND {below}) THEN 'nan'::DOUBLE WHEN {above} THEN 'inf'::DOUBLE "
            f"WHEN {below} THEN '-inf'::DOUBLE ELSE {finite} END"
        )

    def _bins(self, value: str) -> tuple[list[int], bool]:
        """The bins that a column's values lie in, and whether some are infinite or NaN."""
        if value not in self._spread:
            least, greatest, odd = self._rows.connection.sql(f"""
                SELECT min(x) FILTER (x > 0 AND isfinite(x)), max(x) FILTER (x > 0 AND isfinite(x)),
                    coalesce(bool_or(NOT isfinite(x)), false)
                FROM (SELECT abs({value}) AS x FROM {self._source})""").fetchall()[0]
            bins = [] if least is None else list(range(_bin(least), _bin(greatest) + 1))
            self._spread[value] = bins, odd
        return self._spread[value]

    def sql(self, keys: str, windows: int) -> str:
        """Totals at each instant ``__fti_at`` at which one changes, good until ``__fti_next``.

        What a key's rows add they also take away, so its totals end at zero, and one running sum over the sorted
        changes of all keys holds each key's own. DuckDB streams it, five times as fast as sums by partition.
        """
        cells = [(window, measure) for window in range(windows) for measure in range(len(self.measures))]
        added = ", ".join(f"__fti_{measure} AS __fti_total_{window}_{measure}" for window, measure in cells)
        changes = [f"SELECT {keys}, __fti_enters AS __fti_at, {added} FROM __fti_spans"]
        for leaving in range(windows):
            taken = ", ".join(f"-__fti_{measure}" if window == leaving else "0" for window, measure in cells)
            changes.append(f"SELECT {keys}, __fti_leaves_{leaving}, {taken} FROM __fti_spans")
        columns = [f"__fti_total_{window}_{measure}" for window, measure in cells]
        return f"""
            SELECT {keys}, __fti_at, lead(__fti_at) OVER () AS __fti_next,
                {", ".join(f"sum({column}) OVER (ROWS UNBOUNDED PRECEDING) AS {column}" for column in columns)}
            FROM (SELECT {keys}, __fti_at, {", ".join(f"sum({column}) AS {column}" for column in columns)}
                  FROM ({" UNION ALL ".join(changes)}) GROUP BY {keys}, __fti_at ORDER BY {keys}, __fti_at)"""


def _spans(
    rows: Table,
    source: str,
    keys: Sequence[str],
    lengths: Sequence[int],
    longest: int,
    instants: _Instants,
    rows_by: str,
    measures: Sequence[str],
) -> str:
    """The SQL of the rows that some instant needs: when each enters, when it leaves each window, and its measures."""
    event = quoted(rows.event_time or "")
    available = available_sql(rows.event_time or "", rows.available_at, microseconds(rows.serving_delay))
    known = " AND ".join(f"{name} IS NOT NULL" for name in [*map(quoted, keys), event, available])

    def leaves(length: int) -> str:
        end = f"__fti_seen + {length}" if rows_by == "visible_at" else f"greatest(__fti_event + {length}, __fti_seen)"
        return instants.reached(end)

    columns = [f"{leaves(length)} AS __fti_leaves_{number}" for number, length in enumerate(lengths)]
    values = [f"{measure} AS __fti_{number}" for number, measure in enumerate(measures)]
    return f"""
        SELECT *, {instants.reached("__fti_seen")} AS __fti_enters, {", ".join(columns)}
        FROM (SELECT {", ".join([*map(quoted, keys), *values])}{"," if keys or values else ""}
                epoch_us({event}) - {instants.first} AS __fti_event,
                epoch_us(greatest({event}, {available})) - {instants.first} AS __fti_seen
              FROM {source} WHERE {known})
        WHERE {instants.reached("__fti_seen")} < {leaves(longest)}"""


def _check_lookback(
    rows: Table,
    beyond: duckdb.DuckDBPyRelation,
    keys: Sequence[str],
    window: str,
    length: int,
    instants: _Instants,
    rows_by: str,
) -> None:
    check_columns(
        [name for name in (rows.event_time, rows.available_at) if name], beyond.columns, of=f"before {rows.name}"
    )
    known = [key for key in keys if key in beyond.columns]
    spans = _spans(rows, view_of(beyond), known, [length], length, instants, rows_by, [])
    number, oldest, needed = rows.connection.sql(
        f"SELECT count(*), min(__fti_event), min(__fti_enters) FROM ({spans})"
    ).fetchall()[0]
    if number:
        at = from_microseconds(instants.first + needed * instants.every).isoformat()
        since = from_microseconds(instants.first + oldest).isoformat()
        days = max(0, -oldest) // microseconds(timedelta(days=1)) + 1
        raise LookbackError(
            f"{number} rows of {rows.name} that the lookback leaves out are needed: the window {window!r} at {at} has "
            f"one, and their event times begin at {since}; declare a lookback of at least the longest window plus the "
            f"greatest lateness, for these rows lookback='{days}d'"
        )


def _checked(
    rows: Table, keys: Sequence[str], windows: Sequence[str | timedelta], aggregates: Mapping[str, Aggregate]
) -> tuple[Grid, dict[str, int]]:
    """The grid, and each window's length in microseconds by its text, once the declaration is found possible."""
    if rows.grid is None:
        raise DeclarationError(
            f"{rows.name} has no grid of instants: a run gives it; in a test write "
            "dataclasses.replace(table, grid=Grid(instant='hour', start=..., end=...))"
        )
    if rows.event_time is None:
        raise DeclarationError(f"{rows.name} has no event time: a lookup has no windows")
    named = [aggregate.column for aggregate in aggregates.values() if not isinstance(aggregate, Count)]
    times = [rows.event_time, *([rows.available_at] if rows.available_at is not None else [])]
    check_columns([*keys, *named, *times], rows.relation.columns, of=rows.name)
    if not keys or not windows or not aggregates:
        raise DeclarationError(f"a window over {rows.name} takes at least one key, one window and one aggregate")
    lengths = {_text(window): microseconds(duration(window, what="window")) for window in windows}
    columns = [
        *keys,
        rows.grid.instant,
        *(f"{checked_name(name, what='aggregate')}_{text}" for name in aggregates for text in lengths),
    ]
    for column in columns:
        if columns.count(column) > 1:
            raise DeclarationError(
                f"the windows over {rows.name} would have two columns {column!r}: name one otherwise"
            )
    if min(lengths.values()) == 0:
        raise DeclarationError(f"a window over {rows.name} has no length")
    return rows.grid, lengths


def _text(window: str | timedelta) -> str:
    """A window as written; a timedelta in the largest unit that divides it: ``3h``, ``90min``, ``7d``."""
    if isinstance(window, str):
        return "".join(window.split())
    for unit, length in _UNITS.items():
        if not window % length:
            return f"{window // length}{unit}"
    raise DeclarationError(
        f"window {window!r} is not a whole number of seconds: its columns could not be named after it"
    )


def _bin(value: float) -> int:
    return max(_LOWEST_BIN, (math.frexp(value)[1] - 1) // _BIN_BITS)


def _power(of_two: int) -> str:
    return f"'{2.0**of_two!r}'::DOUBLE"
