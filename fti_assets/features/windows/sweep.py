"""The aggregates at each instant: rows as spans of positions, and their totals and extremes over them.

What a row adds to a total at the first position at which it counts, it takes away at the last. Totals are whole numbers, so they
do not depend on the order, the threads or the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote, temporary_name
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import LookbackError
from fti_assets.features.rows.visibility import check_columns
from fti_assets.features.windows.aggregates import First, Last, Max, Min
from fti_assets.features.windows.axis import AT, EVENT, Windows
from fti_assets.features.windows.extremes import extremes_sql, frame_lengths, lengths_sql
from fti_assets.features.windows.results import Results, RowTerms, Spreads
from fti_assets.features.windows.tiles import Tiles, tiles_of
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

_NEXT = "__fti_next"
"""The first position after one at which a total changes again."""


def spans_table() -> str:
    """A name for the temporary table that holds the spans where extremes are asked for."""
    return quote("temp", temporary_name("spans"))


def sweep(windows: Windows, extras: Sequence[str], targets: str | None, table: str) -> duckdb.DuckDBPyRelation:
    """The aggregates: columns that are kept of the targets, the keys, the instant, and a column for each aggregate and window.

    Args:
        windows: what to compute.
        extras: further columns of the targets.
        targets: the SQL of ``extras``, the keys and ``__fti_at``; or None for each position at which a key has a row in the
            longest window.
        table: a name from ``spans_table``.
    """
    rows, names = windows.rows, windows.names
    tiles = tiles_of(windows)
    recent = " OR ".join(f"({one})" for one in windows.recent())
    source = f"(SELECT * FROM {relation_name(rows.relation)} WHERE {recent})" if tiles is None else tiles.rows
    results = Results(windows, Spreads(rows.connection, source, {} if tiles is None else tiles.spreads))
    early: dict[str, str] = {}
    late: dict[str, str] = {}  # of extremes, which are beside the totals only at the end
    for name, aggregate in windows.aggregates.items():
        of_states = isinstance(aggregate, Min | Max | First | Last)
        for number, text in enumerate(windows.lengths):
            (late if of_states else early)[f"{name}_{text}"] = results.sql(aggregate, number)
    terms = results.terms
    if rows.beyond is not None:
        _check_lookback(windows, rows.beyond)
    # A key whose last row has left the longest window has no row on the grid, or its stale rates would live on.
    where = "" if targets is not None else f" WHERE {terms.total('1', windows.longest)} > 0"
    spans_sql = _collapsed_sql(windows, source, tiles, terms)
    if terms.states:  # the lengths of their frames are asked of the spans before the query is written
        rows.connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {spans_sql}")
        spans, ctes = table, []
    else:
        # Materialized, since the totals of each window read them.
        spans, ctes = "__fti_spans", [f"__fti_spans AS MATERIALIZED ({spans_sql})"]
    totals = str(targets)
    if terms.measures or terms.values:
        totals = _totals_sql(names, terms, len(windows.lengths), spans=spans, targets=targets and f"({targets})")
    if targets is None:
        # Materialized, since DuckDB gives the last rows of a lead that it streams again and again into an unnest behind it, if that
        # makes more than one vector of them: https://github.com/duckdb/duckdb/issues/25306
        ctes.append(f"__fti_running AS MATERIALIZED ({totals})")
        totals = "SELECT * FROM __fti_running"
    for step in terms.steps():
        totals = f"SELECT *, {step} FROM ({totals})"
    columns = ", ".join(map(quote, [*extras, *windows.keys]))
    at = f"unnest(range({AT}, {_NEXT})) AS {AT}" if targets is None else AT
    answers = "".join(f", {sql} AS {quote(name)}" for name, sql in early.items())
    ctes += [
        f"__fti_totals AS ({totals})",
        f"__fti_results AS (SELECT {columns}, {at}{answers} FROM __fti_totals{where})",
    ]
    result = "__fti_results"
    if terms.states:
        lengths = [
            frame_lengths(rows.connection.sql(lengths_sql(windows, number, spans)).fetchall())
            for number in range(len(windows.lengths))
        ]
        result = f"({extremes_sql(names, terms, windows, lengths, spans=spans, targets=result)})"
    answers = ", ".join(
        f"{late.get(name, quote(name))} AS {quote(name)}"
        for name in (f"{name}_{text}" for name in windows.aggregates for text in windows.lengths)
    )
    return rows.connection.sql(f"""
        WITH {", ".join(ctes)}
        SELECT {columns}, {windows.axis.instant(AT)} AS {quote(windows.grid.instant)}, {answers} FROM {result}""")


def _collapsed_sql(windows: Windows, source: str, tiles: Tiles | None, terms: RowTerms) -> str:
    """The SQL of the spans, those that count for the same positions together."""
    measures = [f"{sql} AS __fti_measure_{number}" for number, sql in enumerate(terms.measures)]
    values = [f"{sql} AS __fti_value_{number}" for number, sql in enumerate(terms.values)]
    states = [f"{sql} AS __fti_state_{number}" for number, (sql, _) in enumerate(terms.states)]
    same = [*map(quote, windows.keys), *(f"__fti_value_{number}" for number in range(len(values))), "__fti_enters"]
    same += [f"__fti_leaves_{number}" for number in range(len(windows.lengths))]
    # Sums of whole numbers, which are the same in whatever order the threads add them.
    together = [f"sum(__fti_measure_{number}) AS __fti_measure_{number}" for number in range(len(measures))]
    together += [f"{of}(__fti_state_{number}) AS __fti_state_{number}" for number, (_, of) in enumerate(terms.states)]
    parts = [windows.spans(source, [*measures, *values, *states])]
    parts += [] if tiles is None else tiles.spans(windows, terms)
    spans = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    return f"SELECT {', '.join([*same, *together])} FROM ({spans}) GROUP BY {', '.join(same)}"


def _check_lookback(windows: Windows, beyond: duckdb.DuckDBPyRelation) -> None:
    """Refuse rows that the lookback leaves out and a window needs; of older files only the statistics are read."""
    rows, axis = windows.rows, windows.axis
    times = [name for name in (rows.event_time, rows.available_at, rows.arrives) if name]
    check_columns(times, beyond.columns, of=f"before {rows.name}")
    # Each condition has a query of its own, a plain comparison with the least and greatest values of a file.
    source, key_windows = (
        relation_name(beyond),
        replace(windows, keys=[key for key in windows.keys if key in beyond.columns]),
    )
    spans_sql = " UNION ALL ".join(
        key_windows.spans(f"(SELECT * FROM {source} WHERE {recent})") for recent in windows.recent()
    )
    number, oldest, first = rows.connection.sql(
        f"SELECT count(*), min({EVENT}), min(__fti_enters) FROM ({spans_sql})"
    ).fetchall()[0]
    if number:
        at = from_microseconds(axis.start + first * axis.every).isoformat()
        since = from_microseconds(axis.first + oldest).isoformat()
        days = max(0, -oldest) // microseconds(timedelta(days=1)) + 1
        raise LookbackError(
            f"{number} rows of {rows.name} that the lookback leaves out are needed: the window "
            f"{list(windows.lengths)[windows.longest]!r} at {at} has one, and their event times begin at {since}; declare a "
            f"lookback of at least the longest window plus the greatest lateness, for these rows lookback='{days}d'"
        )


def _totals_sql(keys: str, terms: RowTerms, windows: int, *, spans: str, targets: str | None) -> str:
    """The SQL of every total and distinct count of each window, ``__fti_total_<window>_<number>`` and ``__fti_distinct_...``:
    for each position ``__fti_at`` at which one changes and good until ``__fti_next``; or, with targets, for each of them.

    Args:
        keys: the quoted keys.
        terms: what is summed and counted.
        windows: how many windows there are.
        spans: a table as ``Windows.spans`` gives it.
        targets: a table of ``keys`` and ``__fti_at``, with further columns that are kept.
    """
    measures = {
        f"__fti_total_{window}_{number}": (window, f"__fti_measure_{number}")
        for window in range(windows)
        for number in range(len(terms.measures))
    }
    counts = [f"__fti_distinct_{window}_{number}" for window in range(windows) for number in range(len(terms.values))]
    columns = [*measures, *counts]

    def change(at: str, source: str, deltas: dict[str, str]) -> str:
        items = ", ".join(f"{deltas.get(column, '0')} AS {column}" for column in columns)
        return f"SELECT {keys}, {at} AS {AT}, {items} FROM {source}"

    changes = [change("__fti_enters", spans, {column: measure for column, (_, measure) in measures.items()})]
    for leaving in range(windows):
        subtractions = {column: f"-{measure}" for column, (window, measure) in measures.items() if window == leaving}
        changes.append(change(f"__fti_leaves_{leaving}", spans, subtractions))
        for number in range(len(terms.values)):
            fresh, column = _fresh_sql(keys, number, leaving, spans), f"__fti_distinct_{leaving}_{number}"
            changes.append(change("__fti_from", f"({fresh})", {column: "1"}))
            changes.append(change(f"__fti_leaves_{leaving}", f"({fresh})", {column: "-1"}))
    # What a key's rows add they also take away, so its totals end at zero, and one running sum over the sorted changes of all
    # keys is each key's own: DuckDB streams it, five times as fast as sums by partition.
    sums = ", ".join(f"sum({column}) AS {column}" for column in columns)
    running = ", ".join(f"sum({column}) OVER (ROWS UNBOUNDED PRECEDING) AS {column}" for column in columns)
    totals = f"SELECT {keys}, {AT}, {sums} FROM ({' UNION ALL '.join(changes)}) GROUP BY {keys}, {AT}"
    if targets is None:  # a window without an order takes rows as they come: sorted
        return f"SELECT {keys}, {AT}, lead({AT}) OVER () AS {_NEXT}, {running} FROM ({totals} ORDER BY {keys}, {AT})"
    # A target comes after the changes of its position, since false sorts before true.
    nothing = ", ".join(f"0 AS {column}" for column in columns)
    return f"""
        SELECT * EXCLUDE (__fti_target)
        FROM (SELECT * REPLACE ({running})
              FROM (SELECT *, {nothing}, true AS __fti_target FROM {targets}
                    UNION ALL BY NAME SELECT *, false AS __fti_target FROM ({totals})
                    ORDER BY {keys}, {AT}, __fti_target))
        WHERE __fti_target"""


def _fresh_sql(keys: str, number: int, window: int, spans: str) -> str:
    """The spans of one value of a key, each without the part that an earlier one covers already."""
    value, leaves = f"__fti_value_{number}", f"__fti_leaves_{window}"
    before = (
        f"max({leaves}) OVER (PARTITION BY {keys}, {value} ORDER BY __fti_enters ROWS BETWEEN UNBOUNDED PRECEDING "
        "AND 1 PRECEDING)"
    )
    return f"""
        SELECT {keys}, {leaves}, greatest(__fti_enters, coalesce(__fti_before, 0)) AS __fti_from
        FROM (SELECT {keys}, __fti_enters, {leaves}, {before} AS __fti_before
              FROM (SELECT {keys}, {value}, __fti_enters, max({leaves}) AS {leaves} FROM {spans}
                    WHERE {value} IS NOT NULL GROUP BY ALL))
        WHERE {leaves} > __fti_from"""
