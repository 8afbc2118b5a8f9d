"""The frontier of a group: the rows that can ever be the newest that a system had.

Rows that are overtaken before they become visible can never win, so each key keeps the rows that raise its newest event time,
in the order in which they became visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote
from fti_assets.core.times import Times
from fti_assets.errors import DeclarationError
from fti_assets.features.rows.visibility import available_sql, check_columns
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

VISIBLE = "__fti_visible"
"""The frontier's column that says when a row became visible."""

EVENT = "__fti_event"
"""The frontier's column that says when a row was true."""

_AVAILABLE = "__fti_available"
_TIE = "__fti_tie"


def frontier(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    keys: Sequence[str],
    columns: Iterable[str],
    times: Times,
    *,
    of: str,
    is_validated: bool = True,
) -> duckdb.DuckDBPyRelation:
    """The rows that can ever win, one per keys and moment of visibility.

    Within a key, a row that became visible later has a later event time, or the same one and a later available-at.
    Rows with a null key, event time or available-at are never visible. A null ``tie_break`` loses to any other.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: a group's rows under its own column names; times are naive UTC ``TIMESTAMP``.
        keys: the columns that name the entity.
        columns: what else is wanted of the rows.
        times: the columns that say when; the event time is not None.
        of: the group's table, for errors.
        is_validated: whether no two rows have equal keys and times; else the greatest columns win among them.

    Returns:
        Keys, columns, ``__fti_event`` and ``__fti_visible`` (the later of event time and available-at), lazy and in no order.

    Raises:
        DeclarationError: there is no event time, or ``rows`` lacks a column that it names.
    """
    if times.event_time is None:
        raise DeclarationError(f"{of} has no event time: a lookup is always visible and has no frontier")
    columns = list(dict.fromkeys([*keys, *columns]))
    check_columns([*columns, *times.columns], rows.columns, of=of)
    event, available = quote(times.event_time), available_sql(times)
    never_null = [*map(quote, keys), event, *([available] if times.available_at is not None else [])]
    where = " AND ".join(f"{name} IS NOT NULL" for name in never_null)
    items = ", ".join([*map(quote, columns), f"{event} AS {EVENT}"])
    source = relation_name(rows)
    # With one delay for all, rows become visible in the order of event time and none hides another: all are the frontier.
    if times.have_fixed_delay and is_validated:
        return connection.sql(f"SELECT {items}, {available} AS {VISIBLE} FROM {source} WHERE {where}")
    tie = "" if times.tie_break is None else f", {quote(times.tie_break)} AS {_TIE}"
    order = [VISIBLE, EVENT, _AVAILABLE, *([_TIE] if tie else [])]
    if tie or not is_validated:
        # A tie_break may itself tie, and a table that nobody has validated have equal rows: one answer all the same.
        order += map(quote, columns)
    # Written out: a default order of the connection would change which row wins.
    ascending = ", ".join(f"{name} ASC NULLS FIRST" for name in order)
    window = f"PARTITION BY {', '.join(map(quote, keys))} ORDER BY {ascending}"
    return connection.sql(f"""
        SELECT {", ".join(map(quote, columns))}, {EVENT}, {VISIBLE}
        FROM (SELECT {items}, {available} AS {_AVAILABLE}, greatest({event}, {available}) AS {VISIBLE}{tie}
              FROM {source} WHERE {where})
        QUALIFY lead({VISIBLE}) OVER ({window}) IS DISTINCT FROM {VISIBLE}
            AND {EVENT} >= max({EVENT}) OVER ({window} ROWS UNBOUNDED PRECEDING)""")
