"""The rows of external groups, lazy and read where they lie, and what their assets observe of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import dagster as dg
import duckdb

from fti_assets.core.names import is_kept
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import is_name, literal, quote
from fti_assets.core.types import SIDES, WIDE, ColumnType, type_held_by, type_of_sql
from fti_assets.errors import DataError, list_some, one_of
from fti_assets.features.groups.columns import group_columns, stored_schema
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.published.reading import refuse_changed_contracts
from fti_assets.features.rows.frames.object_columns import union_problem
from fti_assets.features.rows.rename import (
    refuse_clashes,
    refuse_missing_sources,
    rename_line,
    renamed_names,
    suggested_names,
)
from fti_assets.features.rows.stored_types import has_union
from fti_assets.features.rows.to_lake import FLOATS, can_be, to_lake
from fti_assets.orchestration.checks import check_result
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.sources.source import NOT_AS_DECLARED, column_types, read_errors, rows_of, source_connection

_log = logging.getLogger(__name__)
_messages: set[tuple[str, ...]] = set()


def read_external(lake: Lake, groups: Iterable[TimedTable]) -> None:
    """Let a lake give the rows of the external groups among some tables, from where they lie.

    What another code location owns must still be what this code was loaded with.

    Raises:
        SchemaChangedError: its owner has changed what one of them promises.
        StoreError: one cannot be read.
        DataError: one lacks a declared column, or has it with another type.
    """
    groups = list(groups)
    refuse_changed_contracts(lake, groups)
    for group in dict.fromkeys(groups):
        if isinstance(group, FeatureGroup) and group.source is not None:
            lake.read_outside(group.table, external_rows(lake.connection, group), group.source)


def external_versions(lake: Lake, groups: Iterable[FeatureGroup]) -> dict[str, str]:
    """The data version of each external group among some groups, by table, as it is now."""
    return {
        group.table_name: group.source.version(lake.connection)
        for group in dict.fromkeys(groups)
        if group.source is not None
    }


def changed_while_read(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """The tables whose version was another one after they were read, with both versions."""
    return {table: f"{version}..{after[table]}" for table, version in before.items() if after[table] != version}


def external_rows(connection: duckdb.DuckDBPyConnection, group: FeatureGroup) -> duckdb.DuckDBPyRelation:
    """The rows of an external group, lazily: times naive UTC (ISO text, too), null for NaN, declared columns in their declared types.

    Without a schema, columns that nothing could name are left out, and the log says so once; ``rename`` gives them names.

    Raises:
        StoreError: the source cannot be read.
        DataError: it lacks a declared column, or has it with another type.
    """
    assert group.source is not None
    source_types, declaration = column_types(connection, group.source), dict(group.columns or {})
    refuse_missing_sources(list(source_types), group.rename, what=group.source.place, of=group.table_name)
    refuse_clashes(list(source_types), group.rename, what=group.table_name)
    types = dict(zip(renamed_names(source_types, group.rename), source_types.values(), strict=True))
    names = list(declaration) or [name for name in types if is_name(name)]
    if clashes := [name for name in names if is_kept(name)]:
        sources = {name: source for source, name in zip(source_types, types, strict=True)}
        raise DataError(
            f"{group.source.place} of {group.table_name} has a column {list_some(clashes)}, a name that plans keep for themselves: give it "
            f"another, rename={{{sources[clashes[0]]!r}: {clashes[0].strip('_')!r}}}"
        )
    required_names = dict.fromkeys([*group.identity, *names])
    for name in names:
        if "UNION(" in types.get(name, "") and has_union(duckdb.sqltype(types[name])):
            raise DataError(union_problem(name, f"{group.source.place} of {group.table_name}"))
    missing = [name for name in required_names if name not in types]
    if missing:
        raise DataError(
            f"{group.table_name} should have {one_of(missing)}, but {group.source.place} has {one_of(source_types)}: "
            f"{_rename_hint(missing, types)}add it there, or declare a new version without it"
        )
    if not declaration:
        _log_omitted_columns(group, left_out(list(types)))
    items = ", ".join(_select(connection, group, name, types[name], declaration.get(name)) for name in required_names)
    relation = connection.sql(f"SELECT {items} FROM {group.source.scan(connection)}")
    name = outside_relation(group.table_name)
    # A relation's query() leaves a temporary view behind: by its name lineage and plans know where rows come from.
    relation.query(name, f"FROM {quote('temp', name)}")
    return connection.sql(f"FROM {quote('temp', name)}")


def left_out(columns: Sequence[str]) -> dict[str, str]:
    """The columns whose names no group can have, and a name for each."""
    return suggested_names(
        [name for name in columns if not is_name(name)], others=[name for name in columns if is_name(name)]
    )


def _log_omitted_columns(group: FeatureGroup, columns: dict[str, str]) -> None:
    message = (group.table_name, *columns)
    if columns and message not in _messages:
        _messages.add(message)
        _log.warning(
            "%s leaves out columns whose names have capitals, spaces or other signs; to have them, write %s",
            group.table_name,
            rename_line(columns, others=list(group.rename.values())),
        )


def _rename_hint(missing: Sequence[str], types: Mapping[str, str]) -> str:
    """The rename that makes missing columns of those that are there under the source's own names."""
    sources = {name: source for source, name in left_out(list(types)).items()}
    renames = {sources[name]: name for name in missing if name in sources}
    return f"if that is {one_of(renames)} there, write {rename_line(renames)}; else " if renames else ""


def outside_relation(table: str) -> str:
    """The temporary view through which an external group is read, by which lineage knows it."""
    return f"__fti_outside_{table}"


def _select(
    connection: duckdb.DuckDBPyConnection,
    group: FeatureGroup,
    name: str,
    source_type: str,
    column_type: ColumnType | None,
) -> str:
    assert group.source is not None
    column_type = column_type or ("timestamp" if name in group.time_columns else None)
    source, place = group.source_name(name), group.source.place
    if column_type == "timestamp" and source_type == "VARCHAR":
        target, problem = "TIMESTAMP", f"is no ISO time such as 2024-05-01T09:30:00Z, in {place}: cast it there"
    else:
        target = _target(source_type, column_type)
        problem = f"{target} does not hold exactly, in {place}: cast it there, or declare what it is"
    if column_type is not None and type_of_sql(target) != column_type:
        problem = f"should have {name!r} as {column_type}, but {place} has it as {source_type}: cast it there, or declare what it is"
        has_value = f"{quote(source)} IS NOT NULL" + (
            f" AND NOT isnan({quote(source)})" if source_type in FLOATS else ""
        )
        scan = group.source.scan(connection)
        if rows_of(connection, f"SELECT 1 FROM {scan} WHERE {has_value} LIMIT 1", group.source):
            raise DataError(f"{group.table_name} {problem}")
        # A value may come before the rows are read.
        error = f"error({literal(f'{group.table_name} {NOT_AS_DECLARED}it {problem}')})"
        return f"CASE WHEN {has_value} THEN {error} ELSE NULL::{SIDES[column_type].sql} END AS {quote(name)}"
    column = to_lake(connection, source, source_type, target)
    column = column if name in group.time_columns else column.finite
    value = column.or_error(f"{group.table_name} {NOT_AS_DECLARED}{source} is ", f", which {problem}")
    return f"{value} AS {quote(name)}"


def _target(source_type: str, column_type: ColumnType | None) -> str:
    """The type that a column is read as: casts that lose nothing, and a number's decimals as a double."""
    kind = type_held_by(source_type)
    if kind == "vector":  # an array's numbers as a list of them
        return f"{source_type.rstrip('0123456789[]')}[]"
    if column_type is not None and can_be(source_type, column_type):
        return SIDES[column_type].sql
    if source_type in (*WIDE, "UHUGEINT"):
        return "BIGINT"
    return SIDES[kind].sql if kind is not None and type_of_sql(source_type) is None else source_type


def observation(group: FeatureGroup) -> dg.ObserveResult:
    """What is there of an external group now: its data version, rows, newest event time, columns, and its checks.

    Raises:
        StoreError: the source cannot be read.
        DataError: it lacks a declared column, or has it with another type.
    """
    from fti_assets.features.rows.staging import stage  # needs pandas, which reading the rows does not

    assert group.source is not None
    with source_connection() as connection, read_errors(group.source):
        rows = external_rows(connection, group)
        newest = "NULL" if group.event_time is None else f"max({quote(group.source_name(group.event_time))})"
        count, latest = group.source.measure(connection, f"count(*), {newest}")
        types = dict(zip(rows.columns, map(str, rows.types), strict=True))
        names = renamed_names(column_types(connection, group.source), group.rename)
        nameless = {} if group.schema is not None else left_out(names)
        unusable = [name for name, kind in types.items() if type_of_sql(kind) is None]
        verdicts = stage(connection, rows, layout_of(group), [UNPARTITIONED]).verdicts if group.validate else []
        return dg.ObserveResult(
            asset_key=group.key,
            data_version=dg.DataVersion(group.source.version(connection)),
            metadata={
                "dagster/row_count": int(count),
                **({} if latest is None else {"newest_event_time": str(latest)}),
                **({"of_no_feature_type": ", ".join(unusable)} if unusable else {}),
                **({"left_out": rename_line(nameless, others=names)} if nameless else {}),
                **stored_schema(group_columns(group), types),
            },
            check_results=[check_result(group.key, _warning(verdict)) for verdict in verdicts],
        )


def _warning(verdict: Verdict) -> Verdict:
    return replace(verdict, rule=replace(verdict.rule, blocking=False))
