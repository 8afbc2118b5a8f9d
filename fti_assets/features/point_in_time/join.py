"""The point-in-time join: for each spine row, the group's row that a system had at that moment.

A plan rests on two facts. Rows that are overtaken before they become visible can never win, so each key keeps a
*frontier* (``frontier.py``). On a frontier the row that became visible last is the row with the latest event time, so one
ASOF join (``asof.py``) finds the winner and has no ties.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.sql import number_rows, quote, temporary_name
from fti_assets.errors import DataError, DeclarationError, StoreError, one_of
from fti_assets.features.point_in_time.asof import (
    KEY,
    ROW,
    Points,
    by_duckdb,
    candidates,
    in_memory,
    same_keys,
)
from fti_assets.features.point_in_time.equal_keys import check_equal_keys
from fti_assets.features.point_in_time.windowed import windows_at_points
from fti_assets.features.rows.visibility import check_columns
from fti_assets.stores.duckdb.nul_texts import columns_with_nul
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb


class Joins(Protocol):
    """What makes joins in place of DuckDB, where it takes them."""

    def join(
        self, spine: str, group: JoinedGroup, rows: duckdb.DuckDBPyRelation, prediction_time: str | None
    ) -> str | None: ...


def point_in_time(
    connection: duckdb.DuckDBPyConnection,
    spine: duckdb.DuckDBPyRelation,
    joins: Sequence[JoinedGroup],
    rows: Callable[[JoinedGroup], duckdb.DuckDBPyRelation],
    *,
    prediction_time: str | None,
    by: Joins | None = None,
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
        by: what makes the joins that it takes, elsewhere; DuckDB makes the others.

    Returns:
        The spine's columns, then one column for each joined feature: exactly one row a spine row, in the spine's order.

    Raises:
        DeclarationError: a column is missing or named twice, or a group has times and ``prediction_time`` is None.
        DataError: a lookup has two rows of one key, or a key is a float on one side that merges keys of the other.

    Method: the ASOF join of DuckDB and kdb+; the frontier keeps it exact for rows that tie or arrive late.

    >>> import duckdb
    >>> from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
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
    plan = _Plan(connection, spine, prediction_time, by)
    return plan.side_by_side([(plan.join(group, rows(group)), group) for group in joins])


class _Plan:
    """A spine whose rows are numbered, and what is joined to it, each as a temporary table."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        spine: duckdb.DuckDBPyRelation,
        prediction_time: str | None,
        by: Joins | None,
    ) -> None:
        self._connection = connection
        self._by = by
        self._prediction_time = prediction_time
        self._columns = spine.columns
        self._spine = self._table(f"SELECT (row_number() OVER ())::UINTEGER AS {ROW}, * FROM {relation_name(spine)}")
        self._rows = self._connection.execute(f"SELECT count(*) FROM {self._spine}").fetchall()[0][0]
        self._codes: dict[tuple[str, ...], str] = {}

    def join(self, group: JoinedGroup, rows: duckdb.DuckDBPyRelation) -> str:
        """A table of a group's features in the spine's order."""
        pairs = [(key.spine, key.group) for key in group.keys]
        check_columns([theirs for _, theirs in pairs], rows.columns, of=group.table_name)
        check_equal_keys(self._connection.table(self._spine), rows, pairs, what="the spine", of=group.table_name)
        if group.event_time is None or self._prediction_time is None:
            _check_lookup(self._connection, rows, group)
            if self._by is not None and (query := self._by.join(self._spine, group, rows, None)) is not None:
                return self._in_order(query)
            return self._in_order(self._looked_up(group, rows))
        if self._by is not None:
            columns = [*(one.column for one in group.columns), *group.times.columns]
            check_columns([] if group.windows else columns, rows.columns, of=group.table_name)
            if (query := self._by.join(self._spine, group, rows, self._prediction_time)) is not None:
                return self._in_order(query)
        keys = [key.spine for key in group.keys]
        codes = self._codes_of(keys)
        points = Points(self._spine, codes, self._prediction_time, columns_with_nul(self._connection, codes, keys))
        if group.windows is not None:
            return self._in_order(windows_at_points(self._connection, points, group, rows))
        frontier_rows = candidates(self._connection, points, group, rows)
        arrow = in_memory(self._connection, points, group, frontier_rows)
        if arrow is None:
            return self._in_order(by_duckdb(points, group, frontier_rows))
        name = temporary_name("arrow")
        self._connection.register(name, arrow)
        try:
            return self._check(self._table(f"FROM {quote('temp', name)}"))
        finally:
            self._connection.unregister(name)

    def _in_order(self, query: str) -> str:
        return self._check(self._table(f"FROM ({query}) ORDER BY {ROW}"))

    def side_by_side(self, parts: Sequence[tuple[str, JoinedGroup]]) -> duckdb.DuckDBPyRelation:
        """The spine with the features beside: positional joins copy no row, where a join on row numbers would hash them all."""
        columns, beside = [f"s.{quote(name)}" for name in self._columns], ""
        for number, (table, group) in enumerate(parts):
            columns += [f"j{number}.{quote(column.feature)}" for column in group.columns]
            beside += f" POSITIONAL JOIN {table} j{number}"
        return self._connection.sql(f"SELECT {', '.join(columns)} FROM {self._spine} s{beside}")

    def _check(self, table: str) -> str:
        return checked_order(self._connection, table, ROW, rows=self._rows)

    def _looked_up(self, group: JoinedGroup, rows: duckdb.DuckDBPyRelation) -> str:
        with_nul = columns_with_nul(self._connection, self._spine, [key.spine for key in group.keys])
        equal = same_keys(group, with_nul, spine="s", rows="f")
        features = "".join(f", f.{quote(column.column)} AS {quote(column.feature)}" for column in group.columns)
        return f"SELECT s.{ROW}{features} FROM {self._spine} s LEFT JOIN {relation_name(rows)} f ON {equal}"

    def _codes_of(self, keys: Sequence[str]) -> str:
        """A table that gives each keys of the spine a number: one number sorts faster than texts, or than several keys."""
        distinct = tuple(dict.fromkeys(map(quote, keys)))
        if distinct not in self._codes:
            complete = " AND ".join(f"{key} IS NOT NULL" for key in distinct)
            self._codes[distinct] = self._table(
                f"SELECT (row_number() OVER ())::UINTEGER AS {KEY}, * "
                f"FROM (SELECT DISTINCT {', '.join(distinct)} FROM {self._spine} WHERE {complete})"
            )
        return self._codes[distinct]

    def _table(self, sql: str) -> str:
        name = quote("temp", temporary_name("joined"))
        self._connection.execute(f"CREATE TEMP TABLE {name} AS {sql}")
        return name


def checked_order(connection: duckdb.DuckDBPyConnection, table: str, number: str, *, rows: int) -> str:
    """The quoted table, whose rows must lie in the order of their numbers from 1, as positional joins need them.

    DuckDB keeps the order of what it inserts by a setting that a user may turn off.

    Raises:
        StoreError: some do not.
    """
    source, position = number_rows(table, connection.table(table).columns)
    counts = f"SELECT count(*) FILTER ({position} + 1 = {number}), count(*) FROM {source}"
    in_place, total = connection.execute(counts).fetchall()[0]
    if not in_place == total == rows:
        raise StoreError(
            f"DuckDB stored {total - in_place} of {total} joined rows out of order, of {rows}; is preserve_insertion_order off?"
        )
    return table


def _check_lookup(connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, group: JoinedGroup) -> None:
    keys = [key.group for key in group.keys]
    check_columns([*keys, *(column.column for column in group.columns)], rows.columns, of=group.table_name)
    names, complete = ", ".join(map(quote, keys)), " AND ".join(f"{quote(key)} IS NOT NULL" for key in keys)
    duplicate = connection.sql(
        f"SELECT {names}, count(*) FROM {relation_name(rows)} WHERE {complete} GROUP BY {names} HAVING count(*) > 1 "
        f"ORDER BY {names} LIMIT 1"
    ).fetchone()
    if duplicate is not None:
        key = ", ".join(f"{name}={value!r}" for name, value in zip(keys, duplicate, strict=False))
        raise DataError(
            f"{group.table_name} has {duplicate[-1]} rows of the key {key}: a group without an event time holds one row a key; "
            "keep one of them, or declare the event_time that tells them apart"
        )


def _check_spine(spine: duckdb.DuckDBPyRelation, joins: Sequence[JoinedGroup], prediction_time: str | None) -> None:
    groups = [group.table_name for group in joins if group.event_time is not None]
    if groups and prediction_time is None:
        raise DeclarationError(
            f"{one_of(groups)} has an event time, so the spine needs a prediction_time: name its column"
        )
    names = [*(key.spine for group in joins for key in group.keys), prediction_time]
    check_columns([name for name in names if name is not None], spine.columns, of="the spine")
    columns: set[str] = set()
    for name in [*spine.columns, *(column.feature for group in joins for column in group.columns)]:
        if name.lower().startswith("__fti_"):
            raise DeclarationError(f"column {name!r} starts with '__fti_', which is kept for plans: name it otherwise")
        if name.lower() in columns:
            raise DeclarationError(f"there would be two columns {name!r} after the join: give one group a prefix")
        columns.add(name.lower())
