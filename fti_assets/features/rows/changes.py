"""Row-level changes that a group's function gives instead of whole partitions: upserts, appends, deletes, a change feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DataError, count_of, list_some, one_of
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class FeedPosition:
    """The position of the stored rows in their change feed. A function parameter with this annotation receives it.

    Args:
        value: the ``position`` of the last batch that was stored; None before the first, and after a full reload.
    """

    value: str | None = None


@checked_arguments()
@dataclass(frozen=True)
class Changes:
    """One batch of row-level changes to a group without partitions, stored in one commit with its position.

    Deletes are applied first. Storing the same upserts and deletes again changes nothing. A frame without columns counts as empty. If the
    first batch is empty, it creates an empty table with the keys, the times and the declared columns, so that the position advances; the
    first rows then give it their columns and types.

    Args:
        upserts: rows that replace the stored row of equal keys and times, or are added.
        appends: rows whose keys and times are not stored yet; one that is breaks ``rows_unique``. Upserts or appends, not both.
        deletes: rows with the group's key columns, which remove every row of a key, or with its keys and times, which remove that
            row. None of them may be null. Like rows, they have the stored types or types that hold the values exactly.
        position: where the next batch begins, for the ``fti.FeedPosition`` of the next run; the old one stays if None.

    >>> import pandas as pd
    >>> Changes(upserts=pd.DataFrame({"customer_id": [7], "age": [34]}), position="lsn-42").position
    'lsn-42'
    """

    upserts: Any = None
    appends: Any = None
    deletes: Any = None
    position: str | None = None


@checked_arguments()
@dataclass(frozen=True)
class ChangeFeed:
    """A batch of a change feed, such as Debezium's: whole rows, each with its operation.

    The result is the same as if the operations had been applied one at a time in their order. A deletion removes every row of its key. A
    frame without columns has no operations.

    Args:
        rows: the group's columns with ``operation`` and ``order``; for a deletion, only the keys are read.
        operation: the column with the operation of each row.
        order: the column that orders the operations, a number or a time, such as a log sequence number.
        upsert: the operations that add a row or replace the row with equal keys and times.
        delete: the operations that remove a key.
        position: where the next batch begins; by default the greatest ``order`` as text.
    """

    rows: Any
    operation: str = "op"
    order: str = "lsn"
    upsert: Sequence[str] = ("c", "r", "u", "insert", "update", "upsert")
    delete: Sequence[str] = ("d", "delete")
    position: str | None = None


@dataclass(frozen=True)
class NetChanges:
    """What a feed comes to: the rows to upsert and the keys to delete before that."""

    upserts: duckdb.DuckDBPyRelation
    deletes: duckdb.DuckDBPyRelation
    position: str | None


def net_changes(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    feed: ChangeFeed,
    *,
    keys: Sequence[str],
    identity: Sequence[str],
    extras: Sequence[str],
    what: str,
) -> NetChanges:
    """What a feed's operations come to when they are done in their order.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: the feed's rows.
        feed: how to read them.
        keys: the group's keys.
        identity: the columns that no two rows of the group share.
        extras: further columns to keep although the feed itself needs them, because the group declares them.
        what: the group's table, for errors.

    Raises:
        DataError: a column is missing, an operation is not known, the order is text, or two operations on a row have no order.
    """
    missing = [name for name in dict.fromkeys([feed.operation, feed.order, *keys]) if name not in rows.columns]
    if missing:
        raise DataError(
            f"the change feed of {what} has no column {one_of(missing)}: it has {one_of(rows.columns)}; name its columns "
            "in fti.ChangeFeed(rows, operation=..., order=...)"
        )
    _refuse_text_order(rows, feed, what)
    source, key = relation_name(rows), ", ".join(map(quote, keys))
    upsert, delete = (", ".join(map(literal, names)) or "NULL" for names in (feed.upsert, feed.delete))
    operation, order = f"{quote(feed.operation)}::VARCHAR", quote(feed.order)
    _refuse_unreadable(connection, source, feed, what)
    _refuse_no_order(connection, source, feed, key, delete, what)
    exclusions = [name for name in (feed.operation, feed.order) if name not in extras]
    columns = f"* EXCLUDE ({', '.join(map(quote, dict.fromkeys(exclusions)))})" if exclusions else "*"
    same = ", ".join(map(quote, identity))
    # rank(), not row_number(): two upserts of a row at one place in the order both stay, so that the rule of unique rows refuses them.
    upserts = connection.sql(
        f"SELECT {columns} FROM (SELECT * EXCLUDE (__fti_deleted) FROM ("
        f"SELECT *, max({order}) FILTER ({operation} IN ({delete})) OVER (PARTITION BY {key}) AS __fti_deleted FROM {source}) "
        f"WHERE {operation} IN ({upsert}) AND (__fti_deleted IS NULL OR {order} > __fti_deleted) "
        f"QUALIFY rank() OVER (PARTITION BY {same} ORDER BY {order} DESC) = 1)"
    )
    deletes = connection.sql(f"SELECT DISTINCT {key} FROM {source} WHERE {operation} IN ({delete})")
    # The position is text: the ledger keeps it as such, whatever the order is counted in.
    last = connection.sql(f"SELECT max({order})::VARCHAR FROM {source}").fetchall()[0][0]
    return NetChanges(upserts, deletes, feed.position if feed.position is not None else last)


def _refuse_text_order(rows: duckdb.DuckDBPyRelation, feed: ChangeFeed, what: str) -> None:
    """As text, '10' comes before '9', and so would a batch's last operation and the position of the next batch."""
    kind = rows.types[rows.columns.index(feed.order)]
    if kind.id in ("varchar", "enum"):
        raise DataError(
            f"the change feed of {what} is ordered by {feed.order!r}, which is text ({kind}): as text '10' comes before '9'. "
            f"Order by a number or a time and cast it, such as frame[{feed.order!r}].astype('int64') or "
            f"CAST({quote(feed.order)} AS BIGINT); a Postgres log sequence number such as '0/10' becomes a number there by "
            f"{quote(feed.order)}::pg_lsn - '0/0'::pg_lsn"
        )


def _refuse_unreadable(connection: duckdb.DuckDBPyConnection, source: str, feed: ChangeFeed, what: str) -> None:
    operation, order = f"{quote(feed.operation)}::VARCHAR", quote(feed.order)
    names = [*feed.upsert, *feed.delete]
    operations = ", ".join(map(literal, names)) or "NULL"
    strange = connection.sql(
        f"SELECT DISTINCT {operation} FROM {source} WHERE {operation} IS NULL OR {operation} NOT IN ({operations}) ORDER BY 1"
    ).fetchall()
    if strange:
        raise DataError(
            f"the change feed of {what} has operations {list_some(row[0] for row in strange)} in {feed.operation!r}, and knows "
            f"{one_of(names)}: say what they mean in fti.ChangeFeed(rows, upsert=[...], delete=[...])"
        )
    if nulls := connection.sql(f"SELECT count(*) FROM {source} WHERE {order} IS NULL").fetchall()[0][0]:
        raise DataError(
            f"{count_of(nulls, 'row')} in the change feed of {what} with a null in {feed.order!r}, which orders the rows"
        )


def _refuse_no_order(
    connection: duckdb.DuckDBPyConnection, source: str, feed: ChangeFeed, key: str, delete: str, what: str
) -> None:
    """An upsert and a deletion of one key at one place in the order could be done either way round."""
    operation, order = f"{quote(feed.operation)}::VARCHAR", quote(feed.order)
    both = connection.sql(
        f"SELECT {key}, {order} FROM {source} GROUP BY ALL "
        f"HAVING bool_or({operation} IN ({delete})) AND NOT bool_and({operation} IN ({delete})) ORDER BY ALL LIMIT 1"
    ).fetchone()
    if both is not None:
        raise DataError(
            f"the change feed of {what} deletes and upserts the key {both[:-1]!r} at {feed.order} {both[-1]!r}: nothing says "
            "which came first; give it an order without ties"
        )
