"""What windows at the time of a request come to for each key at an instant, from the lake."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import duckdb

from fti_assets.core.manifest import JoinedColumn, JoinedGroup
from fti_assets.core.sql import quote, timestamp
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.stores.duckdb.relations import relation_name

_AT, _MARK = "_fti_at", "_fti_has_row"


def windows_at(
    connection: duckdb.DuckDBPyConnection, whole: JoinedGroup, rows: duckdb.DuckDBPyRelation, at: datetime
) -> duckdb.DuckDBPyRelation:
    """The one row a key that a request at an instant would have been answered with.

    Args:
        connection: the connection that ``rows`` belongs to.
        whole: the join of the columns that are wanted, each under its own name.
        rows: the rows of the source.
        at: naive UTC.

    Returns:
        The keys and the columns, for each key with a row in the longest window, in no order.
    """
    keys = ", ".join(quote(key.group) for key in whole.keys)
    spine = connection.sql(f"SELECT DISTINCT {keys}, {timestamp(at)} AS {_AT} FROM {relation_name(rows)}")
    mark = JoinedColumn(_MARK, whole.keys[0].group, whole.keys[0].type)
    marked = replace(whole, columns=(*whole.columns, mark))
    result = point_in_time(connection, spine, [marked], lambda _: rows, prediction_time=_AT)
    return result.filter(f"{_MARK} IS NOT NULL").project(f"* EXCLUDE ({_AT}, {_MARK})")
