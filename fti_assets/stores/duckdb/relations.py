"""Names for DuckDB relations, and their SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote, temporary_name

if TYPE_CHECKING:
    import duckdb

_recording: ContextVar[dict[str, str] | None] = ContextVar("recorded_relations", default=None)


def relation_name(relation: duckdb.DuckDBPyRelation) -> str:
    """Give a relation a quoted name that SQL on its connection can use: a temporary view, gone with the connection."""
    return name_relation(relation, temporary_name("relation"))


def name_relation(relation: duckdb.DuckDBPyRelation, name: str) -> str:
    """Make a temporary view of a relation, or make it again, and give its name quoted for SQL."""
    texts = _recording.get()
    if texts is not None and (text := sql_of(relation)) is not None:
        texts[name] = text
    # A relation's query() makes a temporary view and leaves it behind, gone with the connection. What is asked is not of the view,
    # whose tables DuckDB would look up once more.
    relation.query(name, "SELECT 1")
    return quote("temp", name)


@contextmanager
def recording_relations() -> Iterator[dict[str, str]]:
    """Keep the SQL of the relations that are named in a block, by name: DuckDB itself does not give it."""
    texts: dict[str, str] = {}
    token = _recording.set(texts)
    try:
        yield texts
    finally:
        _recording.reset(token)


def sql_of(relation: duckdb.DuckDBPyRelation) -> str | None:
    """A relation as SQL, or None if it holds rows that were fetched, which DuckDB would print one by one."""
    plain = relation.type in ("QUERY_RELATION", "TABLE_RELATION", "VIEW_RELATION")
    # Asked only where it may be so: the plan of a large query takes time of its own.
    if not plain and "COLUMN_DATA_SCAN" in relation.explain():
        return None
    text: str = relation.sql_query()
    return text
