"""A few rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from fti_assets.core.sql import quote
from fti_assets.errors import StoreError, list_some
from fti_assets.features.external.rows import external_rows
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.orchestration.resources import Stores
from fti_assets.reading import read
from fti_assets.stores.sources.source import read_errors, source_connection

MOST_ROWS = 50
_MOST_COLUMNS = 60


def some_rows(
    declaration: TableDeclaration,
    stores: Stores,
    *,
    limit: int,
    columns: Sequence[str] | None,
    partition: str | None,
) -> list[dict[str, Any]]:
    """Some rows of what a declaration has stored, or of where it lies, in no order.

    Raises:
        StoreError: there are no such columns, or too many are asked for.
        NotMaterializedError: it, or the partition, is not there.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise StoreError(f"limit={limit}: from 1 to {MOST_ROWS} rows can be read at once")
    if isinstance(declaration, FeatureGroup) and declaration.source is not None:
        if partition is not None:
            raise StoreError(
                f"{declaration.table_name} has no partitions: another system keeps it; leave partition out"
            )
        with source_connection() as connection, read_errors(declaration.source):
            return _taken(external_rows(connection, declaration), limit, columns, declaration.table_name)
    partitions = None if partition is None else [partition]
    relation = read(declaration, partitions=partitions, as_="relation", stores=stores)  # type: ignore[arg-type]
    return _taken(relation, limit, columns, declaration.table_name)


def _taken(
    relation: duckdb.DuckDBPyRelation, limit: int, columns: Sequence[str] | None, what: str
) -> list[dict[str, Any]]:
    unknown = [name for name in columns or () if name not in relation.columns]
    if unknown:
        raise StoreError(f"{what} has no column {list_some(unknown)}: it has {list_some(relation.columns, limit=50)}")
    names = list(dict.fromkeys(columns or relation.columns))
    if columns is None:
        names = names[:_MOST_COLUMNS]
    if len(names) > _MOST_COLUMNS:
        raise StoreError(f"{len(names)} columns of {what} are asked for: at most {_MOST_COLUMNS} can be read at once")
    rows = relation.limit(limit).project(", ".join(map(quote, names))).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]
