"""The point-in-time join: for each spine row, the group's row that a system had at that moment.

A plan rests on two facts. Rows that are overtaken before they become visible can never win, so each key keeps a
*frontier*: the rows that raise its newest event time, in the order in which they became visible. On a frontier the row
that became visible last is the row with the latest event time, so one ASOF join finds the winner and has no ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from fti_assets.errors import DataError, DeclarationError, one_of
from fti_assets.stores.manifest import JoinedGroup, JoinedKey
from fti_assets.stores.sql import quoted

if TYPE_CHECKING:
    import duckdb

VISIBLE = "__fti_visible"
"""The frontier's column that says when a row became visible."""

EVENT = "__fti_event"
"""The frontier's column that says when a row was true."""

_ROW = "__fti_row"
_KEY = "__fti_key"
_AT = "__fti_at"
_AVAILABLE = "__fti_available"
_TIE = "__fti_tie"
_names = count(1)
_recorded: ContextVar[dict[str, str] | None] = ContextVar("recorded_views", default=None)


def view_of(relation: duckdb.DuckDBPyRelation) -> str:
    """Give a relation a quoted name that SQL on its connection can use: a temporary view, gone with the connection."""
    return named_view(relation, f"__fti_view_{next(_names)}")


def named_view(relation: duckdb.DuckDBPyRelation, name: str) -> str:
    """Make a temporary view of a relation, or make it anew, and give its name quoted for SQL."""
    recorded = _recorded.get()
    if recorded is not None and (text := sql_of(relation)) is not None:
        recorded[name] = text
    relation.query(name, f"FROM {quoted('temp', name)}")
    return quoted("temp", name)


@contextmanager
def views_recorded() -> Iterator[dict[str, str]]:
    """Keep the SQL of the views that are made in a block, by name: DuckDB itself does not tell it."""
    recorded: dict[str, str] = {}
    token = _recorded.set(recorded)
    try:
        yield recorded
    finally:
        _recorded.reset(token)


def sql_of(relation: duckdb.DuckDBPyRelation) -> str | None:
    """A relation as SQL, or None if it holds rows that were fetched, which DuckDB would print one by one."""
    plain = relation.type in ("QUERY_RELATION", "TABLE_RELATION", "VIEW_RELATION")
    if not plain and "COLUMN_DATA_SCAN" in relation.explain():
        return None
    text: str = relation.sql_query()
    return text


def available_sql(event_time: str, available_at: str | None, delay_us: int) -> str:
    """The SQL of available-at: its column, or event time plus ``delay_us`` microseconds."""
    return quoted(available_at) if available_at is not None else f"{quoted(event_time)} + to_microseconds({delay_us})"


def frontier(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, group: JoinedGroup
) -> duckdb.DuckDBPyRelation:
    """The rows of a group that can ever win, one per keys and moment of visibility.

    Within a key, a row that became visible later has a later event time, or the same one and a later available-at.
    Rows with a null key, event time or available-at are never visible. A null ``tie_break`` loses to any other.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: the group's rows under its own column names; times are naive UTC ``TIMESTAMP``.
        group: the join; its event time is not None.

    Returns:
        The group's key columns and joined columns under the group's names, ``__fti_event`` and ``__fti_visible``
        (the later of event time and available-at), lazy and in no order.

    Raises:
        DeclarationError: the group is a lookup, or ``rows`` lacks a column that it names.
    """
    if group.event_time is None:
        raise DeclarationError(f"{group.table} has no event time: a lookup is always visible and has no frontier")
    keys = [key.group for key in group.keys]
    columns = list(dict.fromkeys([*keys, *(column.column for column in group.columns)]))
    times = [name for name in (group.event_time, group.available_at, group.tie_break) if name is not None]
    check_columns([*columns, *times], rows.columns, of=group.table)
    event, available = (
        quoted(group.event_time),
        available_sql(group.event_time, group.available_at, group.serving_delay_us),
    )
    never_null = [*map(quoted, keys), event, *([available] if group.available_at is not None else [])]
    where = " AND ".join(f"{name} IS NOT NULL" for name in never_null)
    selected = ", ".join([*map(quoted, columns), f"{event} AS {EVENT}"])
    source = view_of(rows)
    if group.available_at is None and group.tie_break is None:
        return connection.sql(f"SELECT {selected}, {available} AS {VISIBLE} FROM {source} WHERE {where}")
    tie = "" if group.tie_break is None else f", {quoted(group.tie_break)} AS {_TIE}"
    # The joined columns come last, so that even a tie_break that itself ties gives one answer.
    order = [VISIBLE, EVENT, _AVAILABLE, *([_TIE, *map(quoted, columns)] if tie else [])]
    window = (
        f"PARTITION BY {', '.join(map(quoted, keys))} ORDER BY {', '.join(f'{name} ASC NULLS FIRST' for name in order)}"
    )
    return connection.sql(f"""
        SELECT {", ".join(map(quoted, columns))}, {EVENT}, {VISIBLE}
        FROM (SELECT {selected}, {available} AS {_AVAILABLE}, greatest({event}, {available}) AS {VISIBLE}{tie}
              FROM {source} WHERE {where})
        QUALIFY lead({VISIBLE}) OVER ({window}) IS DISTINCT FROM {VISIBLE}
            AND {EVENT} >= max({EVENT}) OVER ({window} ROWS UNBOUNDED PRECEDING)""")


def point_in_time(
    connection: duckdb.DuckDBPyConnection,
    spine: duckdb.DuckDBPyRelation,
    joins: Sequence[JoinedGroup],
    rows: Callable[[JoinedGroup], duckdb.DuckDBPyRelation],
    *,
    prediction_time: str | None,
) -> duckdb.DuckDBPyRelation:
    """Join to each spine row what every group had at its prediction time.

    For a spine row at ``t``: among a group's rows with equal non-null keys that were visible at or before ``t``, the
    one with the latest event time wins, ties by the latest available-at, then by the greatest ``tie_break``. If its
    event time is before ``t - ttl`` there is no value. A group without an event time is joined on its keys alone.
    Groups are joined now, one at a time, each to the spine's keys and times alone, so that memory does not grow with their
    number. The spine, its keys and each group's features stay behind as temporary tables, as long as the connection lives.

    Args:
        connection: the connection that ``spine`` and all ``rows`` belong to; it runs in UTC.
        spine: the rows to be joined to, any columns, in the order that the result is to have.
        joins: the groups; the same one may come twice under other keys.
        rows: gives a group's rows, under the group's own column names.
        prediction_time: the spine's column that holds ``t``, or None if no group has an event time.

    Returns:
        The spine's columns, then one column for each joined feature: exactly one row a spine row, in the spine's order.

    Raises:
        DeclarationError: a column is missing or named twice, or a group has times and ``prediction_time`` is None.
        DataError: a lookup has two rows of one key.

    Method: the ASOF join of DuckDB and kdb+; the frontier keeps it exact for rows that tie or arrive late.

    >>> import duckdb
    >>> from fti_assets.stores.manifest import JoinedColumn, JoinedGroup, JoinedKey
    >>> connection = duckdb.connect()
    >>> weather = connection.sql("SELECT 'JFK' AS origin, TIMESTAMP '2013-01-01 05:00' AS observed_at, 3.5 AS temp")
    >>> flights = connection.sql("SELECT 7 AS flight, 'JFK' AS origin, TIMESTAMP '2013-01-01 06:00' AS predict_at")
    >>> join = JoinedGroup(
    ...     "weather", 1, (JoinedKey("origin", "origin", "text"),), (JoinedColumn("temp", "temp", "number"),),
    ...     event_time="observed_at", serving_delay_us=3_600_000_000,
    ... )
    >>> joined = point_in_time(connection, flights, [join], lambda group: weather, prediction_time="predict_at")
    >>> joined.project("flight, temp").fetchall()
    [(7, Decimal('3.5'))]
    """
    _check_spine(spine, joins, prediction_time)
    plan = _Plan(connection, spine, prediction_time)
    return plan.side_by_side([plan.features(group, rows(group)) for group in joins])


class _Plan:
    """A spine whose rows are numbered, and what is joined to it, each as a temporary table."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, spine: duckdb.DuckDBPyRelation, prediction_time: str | None
    ) -> None:
        self._connection = connection
        self._prediction_time = prediction_time
        self._columns = spine.columns
        self._spine = self._table(f"SELECT (row_number() OVER ())::UINTEGER AS {_ROW}, * FROM {view_of(spine)}")
        self._codes: dict[tuple[str, ...], str] = {}

    def features(self, group: JoinedGroup, rows: duckdb.DuckDBPyRelation) -> tuple[str, list[str]]:
        """A table of a group's features in the spine's order, and their names."""
        if group.event_time is None or self._prediction_time is None:
            _check_lookup(self._connection, rows, group)
            joined = self._looked_up(group, rows)
        else:
            codes = self._codes_of([key.spine for key in group.keys])
            joined = asof_plan(self._connection, self._spine, codes, group, rows, self._prediction_time)
        return self._table(f"FROM ({joined}) ORDER BY {_ROW}"), [column.feature for column in group.columns]

    def side_by_side(self, parts: Sequence[tuple[str, list[str]]]) -> duckdb.DuckDBPyRelation:
        """The spine with the features beside; a row that is not beside its own, which DuckDB's order rules out, is an error."""
        columns = [f"s.{quoted(name)}" for name in self._columns]
        columns += [f"j{number}.{quoted(name)}" for number, (_, names) in enumerate(parts) for name in names]
        beside = "".join(f" POSITIONAL JOIN {table} j{number}" for number, (table, _) in enumerate(parts))
        same = " AND ".join(f"s.{_ROW} = j{number}.{_ROW}" for number in range(len(parts)))
        held = f" WHERE CASE WHEN {same} THEN true ELSE error('joined rows are out of order') END" if parts else ""
        return self._connection.sql(f"SELECT {', '.join(columns)} FROM {self._spine} s{beside}{held}")

    def _looked_up(self, group: JoinedGroup, rows: duckdb.DuckDBPyRelation) -> str:
        equal = " AND ".join(f"s.{quoted(key.spine)} = f.{quoted(key.group)}" for key in group.keys)
        features = "".join(f", f.{quoted(column.column)} AS {quoted(column.feature)}" for column in group.columns)
        return f"SELECT s.{_ROW}{features} FROM {self._spine} s LEFT JOIN {view_of(rows)} f ON {equal}"

    def _codes_of(self, keys: Sequence[str]) -> str:
        """A table that gives each keys of the spine a number: one number sorts faster than texts, or than several keys."""
        wanted = tuple(dict.fromkeys(keys))
        if wanted not in self._codes:
            names = ", ".join(map(quoted, wanted))
            known = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in wanted)
            self._codes[wanted] = self._table(
                f"SELECT (row_number() OVER ())::UINTEGER AS {_KEY}, * "
                f"FROM (SELECT DISTINCT {names} FROM {self._spine} WHERE {known})"
            )
        return self._codes[wanted]

    def _table(self, sql: str) -> str:
        name = quoted("temp", f"__fti_joined_{next(_names)}")
        self._connection.execute(f"CREATE TEMP TABLE {name} AS {sql}")
        return name


def asof_plan(
    connection: duckdb.DuckDBPyConnection,
    spine: str,
    codes: str,
    group: JoinedGroup,
    rows: duckdb.DuckDBPyRelation,
    prediction_time: str,
) -> str:
    """The SQL of one group's join: the spine's row numbers with the group's features, in no order.

    Rows whose keys the spine does not have are left out before anything is sorted.

    Args:
        connection: the connection that all belong to.
        spine: the table of the spine, its rows numbered.
        codes: the table of its distinct keys, numbered.
        group: the join; its event time is not None.
        rows: the group's rows.
        prediction_time: the spine's column.
    """
    keys, columns = [key.group for key in group.keys], [column.column for column in group.columns]
    times = [name for name in (group.event_time, group.available_at, group.tie_break) if name is not None]
    needed = list(dict.fromkeys([*columns, *times]))
    check_columns([*keys, *needed], rows.columns, of=group.table)
    same = " AND ".join(f"c.{quoted(key.spine)} = r.{quoted(key.group)}" for key in group.keys)
    selected = ", ".join([f"c.{_KEY}", *(f"r.{quoted(name)}" for name in needed)])
    coded = connection.sql(f"SELECT {selected} FROM {view_of(rows)} r JOIN {codes} c ON {same}")
    by_code = replace(group, keys=(JoinedKey(_KEY, _KEY, "integer"),))
    winners = view_of(frontier(connection, coded, by_code))

    equal = " AND ".join(f"s.{quoted(key.spine)} = c.{quoted(key.spine)}" for key in group.keys)
    at = f"s.{quoted(prediction_time)}"
    points = f"SELECT s.{_ROW}, c.{_KEY}, {at} AS {_AT} FROM {spine} s LEFT JOIN {codes} c ON {equal}"
    # DuckDB's sorted ASOF join matches a null time to the last row, so a null one is ruled out here.
    alive = f"s.{_AT} IS NOT NULL"
    if group.ttl_us is not None:
        alive = f"f.{EVENT} >= s.{_AT} - to_microseconds({group.ttl_us})"
        if group.available_at is None and group.tie_break is None:  # one time fewer to sort
            alive = f"f.{VISIBLE} >= s.{_AT} - to_microseconds({group.ttl_us - group.serving_delay_us})"
    features = "".join(
        f", CASE WHEN {alive} THEN f.{quoted(column.column)} END AS {quoted(column.feature)}"
        for column in group.columns
    )
    return (
        f"SELECT s.{_ROW}{features} FROM ({points}) s ASOF LEFT JOIN {winners} f "
        f"ON s.{_KEY} = f.{_KEY} AND s.{_AT} >= f.{VISIBLE}"
    )


def _check_lookup(connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, group: JoinedGroup) -> None:
    keys = [key.group for key in group.keys]
    check_columns([*keys, *(column.column for column in group.columns)], rows.columns, of=group.table)
    names = ", ".join(map(quoted, keys))
    known = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in keys)
    twice = connection.sql(
        f"SELECT {names}, count(*) FROM {view_of(rows)} WHERE {known} GROUP BY {names} HAVING count(*) > 1 "
        f"ORDER BY {names} LIMIT 1"
    ).fetchone()
    if twice is not None:
        key = ", ".join(f"{name}={value!r}" for name, value in zip(keys, twice, strict=False))
        raise DataError(
            f"{group.table} has {twice[-1]} rows of the key {key}: a group without an event time holds one row a key; "
            "keep one of them, or declare the event_time that tells them apart"
        )


def _check_spine(spine: duckdb.DuckDBPyRelation, joins: Sequence[JoinedGroup], prediction_time: str | None) -> None:
    timed = [group.table for group in joins if group.event_time is not None]
    if timed and prediction_time is None:
        raise DeclarationError(
            f"{one_of(timed)} has an event time, so the spine needs a prediction_time: name its column"
        )
    needed = [key.spine for group in joins for key in group.keys]
    check_columns([*needed, *([prediction_time] if prediction_time is not None else [])], spine.columns, of="the spine")
    features = [column.feature for group in joins for column in group.columns]
    seen: set[str] = set()
    for name in [*spine.columns, *features]:
        if name.lower().startswith("__fti_"):
            raise DeclarationError(f"column {name!r} starts with '__fti_', which is kept for plans: name it otherwise")
        if name.lower() in seen:
            raise DeclarationError(f"there would be two columns {name!r} after the join: give one group a prefix")
        seen.add(name.lower())


def check_columns(needed: Iterable[str], columns: Sequence[str], *, of: str) -> None:
    """Raise a DeclarationError that lists the ``columns`` there are if a ``needed`` one is not among them."""
    for name in needed:
        if name not in columns:
            raise DeclarationError(f"{of} has no column {name!r}: it has {one_of(columns)}")
