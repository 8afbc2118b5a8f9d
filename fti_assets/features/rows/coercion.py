"""The rows of a schema that coerces: what it changed comes from pandas, all else stays as DuckDB has it, digit for digit."""

from __future__ import annotations

import duckdb

from fti_assets.core.sql import numbered, quoted
from fti_assets.features.rows.frames import relation_of
from fti_assets.features.validation.coercion import Coerced
from fti_assets.stores.duckdb.relations import view_of

_ROW = "__fti_row"


def coerced_relation(
    connection: duckdb.DuckDBPyConnection, table: str, coerced: Coerced, *, what: str
) -> duckdb.DuckDBPyRelation:
    """A table's rows after coercion: the changed columns of the frame beside the others of the table."""
    changed = set(map(str, coerced.frame.columns))
    if changed.issuperset(coerced.columns):
        return relation_of(connection, coerced.frame, what=what)
    frame = coerced.frame.assign(**{_ROW: coerced.frame.index})
    made = relation_of(connection, frame, what=what)
    source, position = numbered(quoted(table), connection.table(quoted(table)).columns)
    selected = ", ".join(f"{'made' if name in changed else 'stored'}.{quoted(name)}" for name in coerced.columns)
    return connection.sql(
        f"SELECT {selected} FROM {view_of(made)} made JOIN {source} stored ON stored.{position} = made.{_ROW} "
        f"ORDER BY made.{_ROW}"
    )
