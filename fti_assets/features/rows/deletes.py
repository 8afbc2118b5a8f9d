"""What a batch of changes deletes: keys, or keys and times, in the types in which they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fti_assets.core.names import WHOLE
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, count_of, one_of
from fti_assets.features.rows.frames.relations import column_names, relation_of
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.rename import rename_columns
from fti_assets.features.rows.staging import coerced_relation
from fti_assets.features.rows.to_lake import FLOATS
from fti_assets.features.rows.typed_copy import typed_copy
from fti_assets.features.validation.pandera_run import without_rules
from fti_assets.features.validation.table_validation import validate_table

if TYPE_CHECKING:
    import duckdb
    import pandera.pandas as pa


def staged_deletes(
    connection: duckdb.DuckDBPyConnection,
    deletes: Any,
    layout: Layout,
    *,
    keys: Sequence[str],
    identity: Sequence[str],
    types: Mapping[str, str],
    has_rows: bool,
) -> tuple[str, tuple[str, ...]]:
    """Put what is to be deleted into a temporary table, and say by which columns: the keys, or the keys and times.

    Its values become those of the stored types as a batch's rows do, since DuckDB compares a whole number with a float as floats,
    by which ids above 2**53 are alike.

    Args:
        connection: the lake's connection.
        deletes: a frame or relation with the key columns, or the key and time columns.
        layout: what the stored table demands of its rows.
        keys: the key columns.
        identity: the key and time columns.
        types: the DuckDB types that these columns are to have.
        has_rows: whether rows of these types are stored; if none are, deletes of other types meet nothing.

    Raises:
        DataError: a column is missing, has a null, or is of another type than the stored one.
    """
    what = f"the deletes of {layout.what}"
    names = list(map(str, column_names(deletes) or ()))  # DuckDB would read the first of two
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{what} have two columns {one_of(twice)}: keep one of them")
    rows = rename_columns(relation_of(connection, deletes, what=layout.what), layout.rename, what=what, partly=True)
    by = identity if (set(identity) - set(keys)) & set(rows.columns) else keys
    missing = [name for name in by if name not in rows.columns]
    if missing:
        raise DataError(
            f"{what} have no column {one_of(missing)}: give its keys, {one_of(keys)}, or its keys and times, {one_of(identity)}; "
            f"there was {one_of(rows.columns)}"
        )
    rows = rows.project(", ".join(map(quote, by)))
    key_types = {name: types[name] for name in by}
    of_stored = replace(layout, stored_types=key_types)
    table, _ = typed_copy(connection, rows, of_stored, [Partition(WHOLE)])
    if (relation := _coerce(connection, table, layout.schema, by, what)) is not None:
        table, _ = typed_copy(connection, relation, of_stored, [Partition(WHOLE)])
    _refuse_nulls(connection, table, by, what)
    kinds = dict(zip(by, map(str, connection.table(quote(table)).types), strict=False))  # `_partition` follows
    if has_rows and (other := next((name for name in by if kinds[name] != key_types[name]), None)):
        hint = "; pandas makes floats of whole numbers beside a null, unless they are Int64"
        raise DataError(
            f"{what} have {other!r} as {kinds[other]}, {key_types[other]} is stored: cast it to the type of the rows"
            + (hint if kinds[other] in FLOATS else "")
        )
    return table, tuple(by)


def _coerce(
    connection: duckdb.DuckDBPyConnection, table: str, schema: pa.DataFrameSchema | None, by: Sequence[str], what: str
) -> duckdb.DuckDBPyRelation | None:
    """The deletes as the schema coerces their columns, as it does those of rows; None if it changes none, or cannot."""
    if schema is None or not set(by) <= set(schema.columns):
        return None
    of_types = without_rules(schema).select_columns(list(by))
    validation = validate_table(connection, table, of_types, columns=by)
    if validation.coercion is None or any(verdict.failures for verdict in validation.verdicts):
        return None
    return coerced_relation(connection, table, validation.coercion, what=what)


def _refuse_nulls(connection: duckdb.DuckDBPyConnection, table: str, by: Sequence[str], what: str) -> None:
    """No stored key or time is null, so a null is a mistake of whoever made the deletes."""
    counts = ", ".join(f"count(*) FILTER ({quote(name)} IS NULL)" for name in by)
    numbers = connection.execute(f"SELECT {counts} FROM {quote(table)}").fetchall()[0]
    for name, number in zip(by, numbers, strict=True):
        if number:
            raise DataError(
                f"{count_of(number, 'row')} in {what} with a null in {name!r}, which no stored row has: leave out what has one"
            )
