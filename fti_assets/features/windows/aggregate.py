"""Rolling windows over a group's rows, at the instants of a grid or at each row's own.

A row counts from the instant at which it became visible until it leaves the window. ``axis`` turns that into whole
positions, ``sweep`` goes over them, and ``results`` makes the aggregates of what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name
from fti_assets.core.times import LIFETIME, duration, microseconds
from fti_assets.errors import DeclarationError
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.rows.visibility import check_columns
from fti_assets.features.windows.aggregates import Aggregate, Rate, names_of
from fti_assets.features.windows.arrivals import windows_of_arrivals
from fti_assets.features.windows.axis import Axis, RowsBy, Windows
from fti_assets.features.windows.combined import aggregated
from fti_assets.features.windows.sweep import spans_table
from fti_assets.features.windows.window import Window, refuse_doubled


@checked_arguments()
def window_aggregate(
    rows: Table,
    *,
    keys: Sequence[str],
    every: str | timedelta | None = None,
    windows: Sequence[str | timedelta | Window],
    aggregates: Mapping[str, Aggregate],
    rows_by: RowsBy = "visible_at",
) -> Table:
    """Aggregate rows over rolling windows, at each instant ``h`` of the running group's grid or at each row's own.

    With ``every``, instants are its whole multiples since 1970, and a key has a row at ``h`` if it has one in some window.
    Without it there is one instant for each row of the run: its event time ``t``. The window there leaves out the
    row itself and all of its key and instant, those with event time ``t``: it holds what was true before ``t`` and visible
    at ``t``. A row that has no others gets a Count of 0.

    Rows with a null key or time do not count. A float column that is summed is read once beforehand, for the range of its
    exponents, and rows are read immediately for ``Min``, ``Max``, ``First`` and ``Last``. For several last or first values,
    percentiles and sessions the result is computed immediately, some keys at a time.

    Args:
        rows: another group's rows.
        keys: the columns to aggregate by.
        every: the time between two instants; without it, each row of the run has its own.
        windows: the lengths ``w``; ``"lifetime"`` is everything that was ever visible, and an ``fti.Window`` ends some time before
            ``h``.
        aggregates: what to compute, by name; the columns are ``<name>_<window as written>``, such as ``late_rate_3h``. An aggregate of
            several values has a column for each, ``<name>_<number>_<window as written>``.
        rows_by: ``visible_at`` counts rows that became visible in ``(h - w, h]``; ``event_time`` those whose event time
            is in it and that were visible at ``h``. At a row's own instant ``t`` as at ``h``, less the rows of event time
            ``t``: ``event_time`` is then in ``(t - w, t)``.

    Returns:
        Lazy: the keys, the instant under the running group's event time, the aggregates; one row per key and instant. Without
        ``every`` the rows' own group keys stand before the others, one row for each of them, the keys and the event time. If the
        source has ``partition_by``, that column is included, as the first version of a row has it. The running group is partitioned
        by it too, so a row that lands late gets its windows in the partition in which it lands. Counts, sessions and sums of whole
        numbers are ``BIGINT``, means, rates, deviations, percentiles, seconds and sums of floats ``DOUBLE``, the others have their
        column's type.

    Raises:
        DeclarationError: there is no such column, its type cannot be aggregated so, a window is not a duration, the table has no
            event time or grid, a lifetime meets a shorter lookback or a ``Rate``, or the running group is not partitioned by the
            column that the source is partitioned by.
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
    grid, declared = _check(rows, keys, windows, aggregates, every)
    if rows_by not in ("visible_at", "event_time"):
        raise DeclarationError(f"rows_by {rows_by!r} is not known: write 'visible_at' or 'event_time'")
    if every is not None and not duration(every, what="every"):
        raise DeclarationError(f"every {every!r} is no time: write the time between two instants, such as '1h'")
    axis = Axis.of(grid, None if every is None else microseconds(duration(every, what="every")))
    lengths = {window.text: window.us for window in declared}
    delays = {window.text: window.delay_us for window in declared}
    plan = Windows(rows, keys, aggregates, lengths, rows_by, axis, grid.starts, delays)
    own = () if every is not None else tuple(key for key in rows.keys if key not in keys)
    if every is None and rows.arrives is not None:
        relation = windows_of_arrivals(plan, own)
    else:
        targets = None if every is not None else plan.own_instants(own)
        relation = aggregated(plan, own, targets, spans_table())
    arrives = rows.arrives if every is None else None
    return Table(relation, rows.connection, rows.name, (*own, *keys), grid.instant, arrives=arrives, grid=grid)


def _check(
    rows: Table,
    keys: Sequence[str],
    windows: Sequence[str | timedelta | Window],
    aggregates: Mapping[str, Aggregate],
    every: str | timedelta | None,
) -> tuple[Grid, list[Window]]:
    """The grid and the windows, once the declaration is found possible."""
    if rows.grid is None:
        raise DeclarationError(
            f"{rows.name} has no grid of instants: a run gives it; in a test write "
            "dataclasses.replace(table, grid=Grid(instant='hour', start=..., end=...))"
        )
    if rows.event_time is None:
        raise DeclarationError(f"{rows.name} has no event time: a lookup has no windows")
    aggregate_columns = [getattr(aggregate, "column", None) for aggregate in aggregates.values()]
    own = rows.keys if every is None else ()
    times = [rows.event_time, rows.available_at, rows.arrives]
    names = [name for name in [*keys, *own, *aggregate_columns, *times] if name is not None]
    check_columns(names, rows.relation.columns, of=rows.name)
    if not keys or not windows or not aggregates:
        raise DeclarationError(f"a window over {rows.name} takes at least one key, one window and one aggregate")
    declared = [window if isinstance(window, Window) else Window(window) for window in windows]
    refuse_doubled(declared, what=f"window_aggregate over {rows.name}")
    columns = [
        *(key for key in own if key not in keys),
        *keys,
        rows.grid.instant,
        *(
            f"{one}_{window.text}"
            for name, aggregate in aggregates.items()
            for one in names_of(checked_name(name, what="aggregate"), aggregate)
            for window in declared
        ),
    ]
    for column in columns:
        if columns.count(column) > 1:
            raise DeclarationError(
                f"the windows over {rows.name} would have two columns {column!r}: name one otherwise"
            )
    if rows.beyond is not None and any(window.length == LIFETIME for window in declared):
        raise DeclarationError(
            f"a window over {rows.name} is a lifetime, and the group that asks for it reads {rows.name} only as far back as its "
            f"lookback: declare the group with lookback={LIFETIME!r}"
        )
    rates = [name for name, aggregate in aggregates.items() if isinstance(aggregate, Rate)]
    if rates and any(window.length == LIFETIME for window in declared):
        raise DeclarationError(
            f"aggregate {rates[0]!r} over {rows.name} is a rate, and a lifetime has no length to divide by: take fti.Count or "
            "fti.Sum, or a window with a length"
        )
    return rows.grid, declared
