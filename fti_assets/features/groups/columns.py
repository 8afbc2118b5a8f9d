"""What the catalog shows of declarations: columns, as declared and as stored, keys and times; and code versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from fti_assets.core.types import type_of_sql
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.window_columns import in_words, windows_in_words
from fti_assets.features.validation.schema import column_types, constraints, schema_demands

if TYPE_CHECKING:
    import pandera.pandas as pa

COLUMN_SCHEMA = "dagster/column_schema"
"""The metadata under which Dagster looks for an asset's columns."""

UNKNOWN = "unknown"
"""The type of a column that nothing declares: the first run tells it."""

Columns = dict[str, dg.TableColumn]


def table_column(name: str, kind: str | None, description: str | None, *, nullable: bool = True) -> dg.TableColumn:
    """A column as the columns tab shows it."""
    constraints = dg.TableColumnConstraints(nullable=nullable)
    return dg.TableColumn(name, kind or UNKNOWN, description=description, constraints=constraints)


def declared_columns(own: Iterable[dg.TableColumn], schema: pa.DataFrameSchema | None) -> Columns:
    """The columns that a declaration is known to have, with what its Pandera schema says of them and its further ones."""
    of_schema = {} if schema is None else _schema_columns(schema)
    columns = {column.name: _merge(column, of_schema.get(column.name)) for column in own}
    return {**columns, **{name: column for name, column in of_schema.items() if name not in columns}}


def group_columns(group: FeatureGroup) -> Columns:
    """The columns of a feature group: keys and times, and those of its schema."""
    kinds: Mapping[str, Any] = group.columns or {}
    own = [table_column(key, kinds.get(key), "Key", nullable=False) for key in group.keys]
    if group.windows is not None:
        for name, (aggregate, length, place) in group.windows.columns.items():
            own.append(table_column(name, kinds.get(name), f"{in_words(aggregate, place)} over {length.text}"))
        return {column.name: column for column in own}
    if group.event_time is not None:
        own.append(table_column(group.event_time, "timestamp", "Event time: when it was true", nullable=False))
    if group.available_at is not None and group.available_at != group.event_time:
        message = "Available-at: when a system could first use it"
        own.append(table_column(group.available_at, "timestamp", message, nullable=False))
    return _with_source_names(declared_columns(own, group.schema), group.rename)


def _with_source_names(columns: Columns, rename: Mapping[str, str]) -> Columns:
    """The columns with what the source calls those that are renamed."""
    result = dict(columns)
    for source, name in rename.items():
        column = result.get(name) or table_column(name, None, None)
        message = f'The source calls it "{source}"'
        text = f"{column.description}. {message}" if column.description else message
        result[name] = dg.TableColumn(name, column.type, description=text, constraints=column.constraints)
    return result


def column_schema(columns: Columns) -> dict[str, Any]:
    """The metadata that shows columns before the first run; none if there is nothing to show."""
    return {COLUMN_SCHEMA: dg.TableSchema(list(columns.values()))} if columns else {}


def stored_schema(declaration: Columns, types: Mapping[str, str]) -> dict[str, Any]:
    """The metadata that shows columns as they are stored; none if the declaration shows the same.

    Args:
        declaration: what the declaration shows.
        types: the DuckDB type of each stored column.
    """
    of_sql = {name: type_of_sql(kind) or kind for name, kind in types.items()}
    # A list shows the width of its numbers, unless it is declared a vector.
    examples = {
        name: types[name] if kind == "vector" and (name not in declaration or declaration[name].type != kind) else kind
        for name, kind in of_sql.items()
    }
    columns = {name: _as_stored(name, kind, declaration.get(name)) for name, kind in examples.items()}
    return {} if columns == declaration else column_schema(columns)


def _schema_columns(schema: pa.DataFrameSchema) -> Columns:
    return {
        name: dg.TableColumn(
            name,
            kind or (UNKNOWN if schema.columns[name].dtype is None else str(schema.columns[name].dtype)),
            description=schema.columns[name].description,
            constraints=dg.TableColumnConstraints(
                nullable=schema.columns[name].nullable,
                unique=schema.columns[name].unique,
                other=constraints(schema.columns[name]),
            ),
        )
        for name, kind in column_types(schema).items()
    }


def _merge(own: dg.TableColumn, of_schema: dg.TableColumn | None) -> dg.TableColumn:
    if of_schema is None:
        return own
    return dg.TableColumn(
        own.name,
        own.type if of_schema.type == UNKNOWN else of_schema.type,
        description=of_schema.description or own.description,
        constraints=dg.TableColumnConstraints(
            nullable=own.constraints.nullable and of_schema.constraints.nullable,
            unique=of_schema.constraints.unique,
            other=of_schema.constraints.other,
        ),
    )


def _as_stored(name: str, kind: str, declaration: dg.TableColumn | None) -> dg.TableColumn:
    if declaration is None:
        return dg.TableColumn(name, kind)
    return dg.TableColumn(name, kind, description=declaration.description, constraints=declaration.constraints)


def declared_metadata(group: FeatureGroup) -> dict[str, Any]:
    """Keys, times and columns, as the catalog shows them before the first run."""
    metadata: dict[str, Any] = {
        "keys": ", ".join(group.keys),
        "event_time": group.event_time or "none: a lookup, always visible",
    }
    if group.available_at is not None:
        metadata["available_at"] = group.available_at
    if group.serving_delay is not None:
        metadata["serving_delay"] = str(group.serving_delay)
    if group.ttl is not None:
        metadata["ttl"] = str(group.ttl)
    if group.rename:
        metadata["renamed"] = ", ".join(f"{source!r} to {name!r}" for source, name in group.rename.items())
    if group.schedule is not None:
        metadata["schedule"] = str(group.schedule)
    if group.stream is not None:
        metadata["stream"] = group.stream.place
    if group.windows is not None:
        metadata["windows"] = windows_in_words(group.windows)
    if group.body:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{group.body.strip()}\n```")
    has_columns = group.schema is not None or group.windows is not None
    return metadata | (column_schema(group_columns(group)) if has_columns else {})


def code_terms_of(group: FeatureGroup) -> tuple[object, ...]:
    """Everything of a group but its source that decides what it holds, for the code version."""
    inputs = tuple((name, source.table_name) for name, source in group.inputs.items())
    times = (group.event_time, group.available_at, group.serving_delay, group.ttl, group.tie_break, group.partition_by)
    schema = schema_demands(group.schema)
    in_sql = (group.body,) if group.body else ()
    names = (tuple(sorted(group.rename.items())),) if group.rename else ()
    of_schedule = () if group.schedule is None else group.schedule.terms
    of_rows = (group.lookback, inputs, schema, group.duplicates)
    of_stream = (group.stream.words,) if group.stream is not None else ()
    windows = () if group.windows is None else (group.windows,)
    return (group.name, group.version, group.keys, times, *of_rows, *in_sql, *names, *of_schedule, *of_stream, *windows)
