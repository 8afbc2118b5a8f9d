"""What to do with rows of equal keys and times: refuse them, or keep the last by a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name, quote
from fti_assets.errors import DataError, DeclarationError, excerpt, one_of
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb


@checked_arguments()
@dataclass(frozen=True)
class KeepLast:
    """Keep the last of the rows with equal keys and times, ordered by a column; nulls come first.

    Rows that are equal in every column count as one. Rows with the same ``by`` that differ elsewhere are kept and then refused, because
    nothing says which of them is right.

    Args:
        by: the column that says which came last, such as a version number or the time of loading. Times without a zone are compared
            to the nanosecond if they have that precision, although the lake keeps microseconds. Times with a zone, or ISO text of
            an event time, are read in microseconds, so rows in the same microsecond tie; use
            ``.dt.tz_convert("UTC").dt.tz_localize(None)``.

    >>> KeepLast("loaded_at")
    KeepLast(by='loaded_at')
    """

    by: str


Duplicates = Literal["error"] | KeepLast


def checked_duplicates(duplicates: object, *, what: str) -> Duplicates:
    """The policy that was declared.

    Raises:
        DeclarationError: it is none.
    """
    if isinstance(duplicates, str) and str.__str__(duplicates) == "error":
        return "error"
    if isinstance(duplicates, KeepLast):
        checked_name(duplicates.by, what=f"duplicates of {what} by column")
        return duplicates
    raise DeclarationError(
        f"duplicates of {what} is {excerpt(duplicates)}: write 'error', which refuses rows of equal keys and times, or "
        "fti.KeepLast('loaded_at'), which keeps the last by a column"
    )


def without_duplicates(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    identity: Sequence[str],
    by: str,
    finer: str | None = None,
    *,
    what: str,
) -> duckdb.DuckDBPyRelation:
    """The rows that are last by a column among those of equal identity.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: any rows.
        identity: the columns that are to be unique.
        by: the column that says which row came last.
        finer: a column that says it of rows that tie in ``by``, and that is left out of the result.
        what: the table's name, for errors.

    Raises:
        DataError: a column is missing.

    >>> import duckdb
    >>> connection = duckdb.connect()
    >>> rows = connection.sql("SELECT * FROM (VALUES (1, 'old', 1), (1, 'new', 2), (2, 'only', 1)) AS t(id, name, version)")
    >>> without_duplicates(connection, rows, ["id"], "version", what="customers_v1").order("id").fetchall()
    [(1, 'new', 2), (2, 'only', 1)]
    """
    missing = [name for name in dict.fromkeys([*identity, by]) if name not in rows.columns]
    if missing:
        raise DataError(
            f"{what} keeps the last row by {by!r} among those of equal {', '.join(identity)}, but its result has no "
            f"{one_of(missing)}: it has {one_of(rows.columns)}"
        )
    # rank() keeps rows that tie, DISTINCT takes out those that are equal altogether: what is left twice is refused later.
    same = ", ".join(map(quote, identity))
    order = ", ".join(f"{quote(name)} DESC NULLS LAST" for name in (by, finer) if name is not None)
    without = f"EXCLUDE ({quote(finer)})" if finer is not None else ""
    return connection.sql(
        f"SELECT DISTINCT * {without} FROM (SELECT * FROM {relation_name(rows)} "
        f"QUALIFY rank() OVER (PARTITION BY {same} ORDER BY {order}) = 1)"
    )
