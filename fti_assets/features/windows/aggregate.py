"""Rolling windows over a group's rows, at the instants of a grid or at each row's own.

A row counts from the instant at which it became visible until it leaves the window. ``axis`` turns that into whole
positions, ``totals`` and ``extremes`` sweep over them, and ``results`` makes the aggregates of what they find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name, quoted, temporary_name, timestamp
from fti_assets.core.times import duration, from_microseconds, microseconds
from fti_assets.errors import DeclarationError, LookbackError
from fti_assets.features.point_in_time.frontier import available_sql, check_columns
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.windows.aggregates import Aggregate, Last, Max, Min
from fti_assets.features.windows.arrivals import arrivals
from fti_assets.features.windows.axis import EVENT, Axis, RowsBy, Windows
from fti_assets.features.windows.exact import Spread, spread_sql
from fti_assets.features.windows.extremes import extremes_sql, frame_lengths, lengths_sql
from fti_assets.features.windows.results import Results, RowTerms
from fti_assets.features.windows.tiles import Tiles, tiled
from fti_assets.features.windows.totals import AT, NEXT, totals_sql
from fti_assets.stores.duckdb.relations import view_of

if TYPE_CHECKING:
    import duckdb

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta(seconds=1)}


@checked_arguments()
def window_aggregate(
    rows: Table,
    *,
    keys: Sequence[str],
    every: str | timedelta | None = None,
    windows: Sequence[str | timedelta],
    aggregates: Mapping[str, Aggregate],
    rows_by: RowsBy = "visible_at",
) -> Table:
    """Aggregate rows over rolling windows, at each instant ``h`` of the running group's grid or at each row's own.

    With ``every``, instants are its whole multiples since 1970, and a key has a row at ``h`` if it has one in the longest
    window. Without it there is one instant for each row of the run: its event time ``t``. The window there leaves out the
    row itself and all of its key and instant, those with event time ``t``: it holds what was true before ``t`` and visible
    at ``t``. A row that has no others gets a Count of 0.

    Rows with a null key or time count nowhere. A float column that is summed is read once before, for the span of its
    exponents, and rows are read at once for ``Min``, ``Max`` and ``Last``.

    Args:
        rows: another group's rows.
        keys: the columns to aggregate by.
        every: the time between two instants; left out, each row of the run has its own.
        windows: the lengths ``w``.
        aggregates: what to compute, by name; the columns are ``<name>_<window as written>``, such as ``late_rate_3h``.
        rows_by: ``visible_at`` counts rows that became visible in ``(h - w, h]``; ``event_time`` those whose event time
            is in it and that were visible at ``h``. At a row's own instant ``t`` as at ``h``, less the rows of event time
            ``t``: ``event_time`` is then in ``(t - w, t)``.

    Returns:
        Lazy: the keys, the instant under the running group's event time, the aggregates; one row a key and instant.
        Without ``every`` the rows' own group keys stand before the others, one row for each of them, the keys and the
        event time. Of a source with ``partition_by`` that column comes along, as the first version of a row has it: the running
        group is partitioned by it too, so that a row that lands late gets its windows in the partition in which it lands.
        Counts and sums of whole numbers are ``BIGINT``, means, rates, deviations and sums of floats ``DOUBLE``, the others
        have their column's type.

    Raises:
        DeclarationError: there is no such column, its type cannot be aggregated so, a window is no duration, the table has no
            event time or grid, or the running group is not partitioned by the column that the source is partitioned by.
        LookbackError: a window needs a row from before the group's lookback.

    >>> import duckdb
    >>> from datetime import datetime
    >>> from fti_assets import Mean
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
    grid, lengths = _checked(rows, keys, windows, aggregates, every)
    if rows_by not in ("visible_at", "event_time"):
        raise DeclarationError(f"rows_by {rows_by!r} is not known: write 'visible_at' or 'event_time'")
    if every is not None and not duration(every, what="every"):
        raise DeclarationError(f"every {every!r} is no time: write the time between two instants, such as '1h'")
    if every is None and rows.arrives is not None:
        own = tuple(key for key in rows.keys if key not in keys)
        relation = _of_arrivals(rows, keys, own, lengths, aggregates, rows_by)
    else:
        own = () if every is not None else tuple(key for key in rows.keys if key not in keys)
        axis = Axis.of(grid, None if every is None else microseconds(duration(every, what="every")))
        declared = Windows(axis, lengths, rows_by, grid.starts)
        targets = None if every is not None else _targets_sql(rows, view_of(rows.relation), [*own, *keys], declared)
        relation = _computed(rows, keys, own, declared, aggregates, targets, quoted("temp", temporary_name("spans")))
    return replace(
        rows,
        relation=relation,
        keys=(*own, *keys),
        event_time=grid.instant,
        available_at=None,
        serving_delay=timedelta(0),
        arrives=rows.arrives if every is None else None,
        beyond=None,
        partitions=None,
    )


def _computed(
    rows: Table,
    keys: Sequence[str],
    own: Sequence[str],
    declared: Windows,
    aggregates: Mapping[str, Aggregate],
    targets: str | None,
    spans: str,
) -> duckdb.DuckDBPyRelation:
    """The aggregates at the instants of an axis, or at ``targets``; ``spans`` is a name for a temporary table."""
    assert rows.grid is not None
    source = view_of(rows.relation)
    recent = f"(SELECT * FROM {source} WHERE {' OR '.join(f'({one})' for one in declared.recent(rows))})"
    tiles = _tiles(rows, keys, declared, aggregates)
    if tiles is not None:
        recent = tiles.rows
    results = _results(rows, declared, _Spreads(rows.connection, recent, {} if tiles is None else tiles.spreads))
    columns = {
        f"{name}_{window}": (aggregate, results.sql(aggregate, number))
        for name, aggregate in aggregates.items()
        for number, window in enumerate(declared.lengths)
    }
    if rows.beyond is not None:
        _check_lookback(rows, rows.beyond, keys, declared)
    return _swept(rows, recent, tiles, keys, own, rows.grid, declared, results.needed, columns, targets, spans)


def _of_arrivals(
    rows: Table,
    keys: Sequence[str],
    own: Sequence[str],
    lengths: dict[str, int],
    aggregates: Mapping[str, Aggregate],
    rows_by: RowsBy,
) -> duckdb.DuckDBPyRelation:
    """The aggregates for each row that arrives in the run, with when it arrived: partition by partition."""
    assert rows.grid is not None
    assert rows.arrives is not None
    carried = [name for name in dict.fromkeys([*own, rows.arrives]) if name not in keys]
    known = ", ".join(map(quoted, [*carried, *keys]))
    named = [getattr(aggregate, "column", None) for aggregate in aggregates.values()]
    read = dict.fromkeys([*own, *keys, rows.event_time, rows.available_at, rows.arrives, *named])
    columns = [name for name in read if name is not None]
    result, spans = (quoted("temp", temporary_name(what)) for what in ("windows", "spans"))
    add = f"CREATE TEMP TABLE {result} AS"
    for seen, declared, new in arrivals(rows, rows.grid, [*own, *keys], columns, lengths, rows_by):
        targets = (
            f"SELECT {known}, epoch_us({quoted(rows.event_time or '')}) - {declared.axis.first} AS {AT} FROM {new}"
        )
        # Stored at once: one plan of all partitions would hold what each of them needs until the end.
        part = _computed(seen, keys, carried, declared, aggregates, targets, spans)
        rows.connection.execute(f"{add} FROM {view_of(part)}")
        add = f"INSERT INTO {result}"
    if add.startswith("INSERT"):
        return rows.connection.sql(f"FROM {result}")
    nothing = replace(rows, relation=rows.relation.filter("false"), arrives=None, partitions=None, beyond=None)
    declared = Windows(Axis.of(rows.grid, None), lengths, rows_by)
    targets = _targets_sql(nothing, view_of(nothing.relation), [*carried, *keys], declared)
    return _computed(nothing, keys, carried, declared, aggregates, targets, spans)


def _results(rows: Table, windows: Windows, spread: Callable[[str], Spread]) -> Results:
    return Results(
        rows.name,
        {name: str(kind.id) for name, kind in zip(rows.relation.columns, rows.relation.types, strict=True)},
        tuple(windows.lengths.values()),
        quoted(rows.event_time or ""),
        available_sql(rows.times),
        spread,
    )


def _tiles(rows: Table, keys: Sequence[str], windows: Windows, aggregates: Mapping[str, Aggregate]) -> Tiles | None:
    """Tiles of the source's partitions, where it is read as it is stored."""
    if rows.partitions is None:
        return None

    def needed_of(spread: Callable[[str], Spread]) -> RowTerms:
        results = _results(rows, windows, spread)
        results.needed.total("1", 0)
        for aggregate in aggregates.values():
            results.sql(aggregate, 0)
        return results.needed

    types = dict(zip(rows.relation.columns, map(str, rows.relation.types), strict=True))
    named = [getattr(aggregate, "column", None) for aggregate in aggregates.values()]
    read = [*map(repr, aggregates.values()), *(types[name] for name in [*keys, *named] if name is not None)]
    return tiled(rows, rows.partitions, keys, windows, needed_of, read)


class _Spreads:
    """The spread of each DOUBLE of a source and of its tiles, asked for once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: str, tiles: Mapping[str, Spread]) -> None:
        self._connection, self._source, self._tiles = connection, source, tiles
        self._known: dict[str, Spread] = {}

    def __call__(self, value: str) -> Spread:
        if value not in self._known:
            result = Spread(*self._connection.sql(spread_sql([value], self._source)).fetchall()[0])
            self._known[value] = result | self._tiles.get(value, Spread())
        return self._known[value]


def _swept(
    rows: Table,
    source: str,
    tiles: Tiles | None,
    keys: Sequence[str],
    own: Sequence[str],
    grid: Grid,
    windows: Windows,
    needed: RowTerms,
    columns: Mapping[str, tuple[Aggregate, str]],
    targets: str | None,
    table: str,
) -> duckdb.DuckDBPyRelation:
    """The aggregates at each instant; ``table`` is a name for a temporary table."""
    names, spans = ", ".join(map(quoted, keys)), "__fti_spans"
    if targets is None:
        entered = needed.total("1", windows.longest)
    collapsed = _collapsed_sql(rows, source, tiles, keys, windows, needed)
    ctes = [f"__fti_spans AS MATERIALIZED ({collapsed})"]
    if needed.states:
        spans, ctes = table, []
        rows.connection.execute(f"CREATE OR REPLACE TEMP TABLE {spans} AS {collapsed}")
    if needed.measures or needed.values:
        totals = totals_sql(names, needed, len(windows.lengths), spans=spans, targets=targets and f"({targets})")
    else:
        totals = f"{targets}"
    late = [name for name, (aggregate, _) in columns.items() if isinstance(aggregate, Min | Max | Last)]
    early = "".join(f", {sql} AS {quoted(name)}" for name, (_, sql) in columns.items() if name not in late)
    kept = ", ".join(map(quoted, [*own, *keys]))
    at = f"unnest(range({AT}, {NEXT})) AS {AT}" if targets is None else AT
    where = f" WHERE {entered} > 0" if targets is None else ""
    for step in needed.steps():
        totals = f"SELECT *, {step} FROM ({totals})"
    ctes += [
        f"__fti_totals AS ({totals})",
        f"__fti_found AS (SELECT {kept}, {at}{early} FROM __fti_totals{where})",
    ]
    result = "__fti_found"
    if needed.states:
        lengths = [
            frame_lengths(rows.connection.sql(lengths_sql(windows, number, spans)).fetchall())
            for number in range(len(windows.lengths))
        ]
        result = f"({extremes_sql(names, needed, windows, lengths, spans=spans, targets=result)})"
    answers = ", ".join(
        f"{sql if name in late else quoted(name)} AS {quoted(name)}" for name, (_, sql) in columns.items()
    )
    return rows.connection.sql(f"""
        WITH {", ".join(ctes)}
        SELECT {kept}, {windows.axis.instant(AT)} AS {quoted(grid.instant)}, {answers} FROM {result}""")


def _collapsed_sql(
    rows: Table, source: str, tiles: Tiles | None, keys: Sequence[str], windows: Windows, needed: RowTerms
) -> str:
    """The SQL of the spans, those that count for the same positions together."""
    measures = [f"{sql} AS __fti_measure_{number}" for number, sql in enumerate(needed.measures)]
    values = [f"{sql} AS __fti_value_{number}" for number, sql in enumerate(needed.values)]
    states = [f"{sql} AS __fti_state_{number}" for number, (sql, _) in enumerate(needed.states)]
    leaves = [f"__fti_leaves_{number}" for number in range(len(windows.lengths))]
    same = ", ".join(
        [*map(quoted, keys), *(f"__fti_value_{number}" for number in range(len(values))), "__fti_enters", *leaves]
    )
    together = [f"sum(__fti_measure_{number}) AS __fti_measure_{number}" for number in range(len(measures))]
    together += [f"{of}(__fti_state_{number}) AS __fti_state_{number}" for number, (_, of) in enumerate(needed.states)]
    spans = windows.spans(rows, source, keys, [*measures, *values, *states])
    if tiles is not None:
        spans = " UNION ALL BY NAME ".join(f"({one})" for one in [spans, *tiles.spans(keys, windows, needed)])
    return f"SELECT {', '.join([same, *together])} FROM ({spans}) GROUP BY {same}"


def _targets_sql(rows: Table, source: str, keys: Sequence[str], windows: Windows) -> str:
    """The SQL of the keys and positions of the run's own rows."""
    axis, event = windows.axis, quoted(rows.event_time or "")
    available = available_sql(rows.times)
    known = " AND ".join(f"{name} IS NOT NULL" for name in [*map(quoted, keys), event, available])
    start, end = (timestamp(from_microseconds(us)) for us in (axis.first, axis.first + axis.number))
    return f"""
        SELECT DISTINCT {", ".join(map(quoted, keys))}, epoch_us({event}) - {axis.first} AS {AT}
        FROM {source} WHERE {known} AND {event} >= {start} AND {event} < {end}"""


def _check_lookback(rows: Table, beyond: duckdb.DuckDBPyRelation, keys: Sequence[str], windows: Windows) -> None:
    """Refuse rows that the lookback leaves out and a window needs; of older files only the statistics are read."""
    times = [name for name in (rows.event_time, rows.available_at, rows.arrives) if name]
    check_columns(times, beyond.columns, of=f"before {rows.name}")
    known = [key for key in keys if key in beyond.columns]
    source = view_of(beyond)
    needed = " UNION ALL ".join(
        windows.spans(rows, f"(SELECT * FROM {source} WHERE {recent})", known) for recent in windows.recent(rows)
    )
    number, oldest, first = rows.connection.sql(
        f"SELECT count(*), min({EVENT}), min(__fti_enters) FROM ({needed})"
    ).fetchall()[0]
    if number:
        axis, (window, _) = windows.axis, max(windows.lengths.items(), key=lambda item: item[1])
        at = from_microseconds(axis.first + first * axis.every).isoformat()
        since = from_microseconds(axis.first + oldest).isoformat()
        days = max(0, -oldest) // microseconds(timedelta(days=1)) + 1
        raise LookbackError(
            f"{number} rows of {rows.name} that the lookback leaves out are needed: the window {window!r} at {at} has "
            f"one, and their event times begin at {since}; declare a lookback of at least the longest window plus the "
            f"greatest lateness, for these rows lookback='{days}d'"
        )


def _checked(
    rows: Table,
    keys: Sequence[str],
    windows: Sequence[str | timedelta],
    aggregates: Mapping[str, Aggregate],
    every: str | timedelta | None,
) -> tuple[Grid, dict[str, int]]:
    """The grid, and each window's length in microseconds by its text, once the declaration is found possible."""
    if rows.grid is None:
        raise DeclarationError(
            f"{rows.name} has no grid of instants: a run gives it; in a test write "
            "dataclasses.replace(table, grid=Grid(instant='hour', start=..., end=...))"
        )
    if rows.event_time is None:
        raise DeclarationError(f"{rows.name} has no event time: a lookup has no windows")
    named = [getattr(aggregate, "column", None) for aggregate in aggregates.values()]
    own = rows.keys if every is None else ()
    times = [rows.event_time, rows.available_at, rows.arrives]
    needed = [name for name in [*keys, *own, *named, *times] if name is not None]
    check_columns(needed, rows.relation.columns, of=rows.name)
    if not keys or not windows or not aggregates:
        raise DeclarationError(f"a window over {rows.name} takes at least one key, one window and one aggregate")
    lengths = {_text(window): microseconds(duration(window, what="window")) for window in windows}
    columns = [
        *(key for key in own if key not in keys),
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
