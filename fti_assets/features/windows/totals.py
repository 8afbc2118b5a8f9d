"""Totals over windows: what a row adds at the first position at which it counts, it takes away at the last.

Totals are whole numbers, so they do not depend on the order, the threads or the start.
"""

from __future__ import annotations

from fti_assets.features.windows.results import RowTerms

AT, NEXT = "__fti_at", "__fti_next"
"""A position at which a total changes, and the first at which one changes again."""


def totals_sql(keys: str, needed: RowTerms, windows: int, *, spans: str, targets: str | None) -> str:
    """The SQL of every total and distinct count of each window, ``__fti_total_<window>_<number>`` and ``__fti_distinct_...``:
    for each position ``__fti_at`` at which one changes and good until ``__fti_next``; or, with targets, for each of them.

    Args:
        keys: the quoted keys.
        needed: what is summed and counted.
        windows: how many windows there are.
        spans: a table as ``Windows.spans`` gives it.
        targets: a table of ``keys`` and ``__fti_at``, with further columns that are kept.
    """
    measures = {
        f"__fti_total_{window}_{number}": (window, f"__fti_measure_{number}")
        for window in range(windows)
        for number in range(len(needed.measures))
    }
    counts = [f"__fti_distinct_{window}_{number}" for window in range(windows) for number in range(len(needed.values))]
    columns = [*measures, *counts]

    def change(at: str, source: str, changed: dict[str, str]) -> str:
        listed = ", ".join(f"{changed.get(column, '0')} AS {column}" for column in columns)
        return f"SELECT {keys}, {at} AS {AT}, {listed} FROM {source}"

    changes = [change("__fti_enters", spans, {column: measure for column, (_, measure) in measures.items()})]
    for leaving in range(windows):
        taken = {column: f"-{measure}" for column, (window, measure) in measures.items() if window == leaving}
        changes.append(change(f"__fti_leaves_{leaving}", spans, taken))
        for number in range(len(needed.values)):
            fresh, column = _fresh_sql(keys, number, leaving, spans), f"__fti_distinct_{leaving}_{number}"
            changes.append(change("__fti_from", f"({fresh})", {column: "1"}))
            changes.append(change(f"__fti_leaves_{leaving}", f"({fresh})", {column: "-1"}))
    # What a key's rows add they also take away, so its totals end at zero, and one running sum over the sorted changes of all
    # keys is each key's own: DuckDB streams it, five times as fast as sums by partition.
    summed = ", ".join(f"sum({column}) AS {column}" for column in columns)
    running = ", ".join(f"sum({column}) OVER (ROWS UNBOUNDED PRECEDING) AS {column}" for column in columns)
    changed = f"SELECT {keys}, {AT}, {summed} FROM ({' UNION ALL '.join(changes)}) GROUP BY {keys}, {AT}"
    if targets is None:  # a window without an order takes rows as they come: sorted
        return f"SELECT {keys}, {AT}, lead({AT}) OVER () AS {NEXT}, {running} FROM ({changed} ORDER BY {keys}, {AT})"
    # A target comes after the changes of its position, since false sorts before true.
    nothing = ", ".join(f"0 AS {column}" for column in columns)
    return f"""
        SELECT * EXCLUDE (__fti_target)
        FROM (SELECT * REPLACE ({running})
              FROM (SELECT *, {nothing}, true AS __fti_target FROM {targets}
                    UNION ALL BY NAME SELECT *, false AS __fti_target FROM ({changed})
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
