"""Feature groups in SQL: one SELECT over other groups, run in the lake."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Unpack

import dagster as dg

from fti_assets.core.arguments import caller_frame, checked_arguments
from fti_assets.core.sql import checked_name, literal, timestamp
from fti_assets.core.times import naive_utc
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.feature_group import feature_group
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.sql_body import SqlBody, sql_body
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.duplicates import Duplicates
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.signature import CONTEXT, take
from fti_assets.stores.sources.source import source_connection
from fti_assets.stores.streams.stream import EventStream


class RowTerms(AssetOptions, total=False):
    """What ``fti.feature_group`` takes beside name, keys, ins and stream."""

    version: int
    event_time: str | None
    available_at: str | None
    serving_delay: str | timedelta | None
    ttl: str | timedelta | None
    tie_break: str | None
    duplicates: Duplicates
    schema: Any
    partition_by: str | None
    lookback: str | timedelta | None
    online: bool
    online_history: str | timedelta | None
    rename: Mapping[str, str] | None
    must_equal_stream: bool


class GroupTerms(RowTerms, total=False):
    """What ``fti.feature_group`` takes beside name, keys and ins; a test holds the two equal."""

    stream: EventStream | None


@checked_arguments(options=GroupTerms)
def sql_feature_group(
    *,
    keys: Sequence[str],
    sql: str | None = None,
    file: str | Path | None = None,
    name: str | None = None,
    ins: Mapping[str, FeatureGroup] | None = None,
    **terms: Unpack[GroupTerms],
) -> FeatureGroup:
    """Declare a feature group whose body is SQL, in DuckDB's dialect: one SELECT statement, run lazily in the lake.

    The tables that it reads are feature groups, by their names here or in ``ins``. Each has the rows that the run may see, like an
    ``fti.Table``. ``$start`` and ``$end`` are the first instant of the partitions that are run and the first after them;
    ``$partition`` is the key of a partition that is not a span of time. A range is one run, so the SQL must give the rows of each
    partition whatever the range: bound them by ``$start`` and ``$end``, and windows by time.

    Args:
        keys: the columns that name the entity.
        sql: the statement, or
        file: the file that holds it, relative to the caller's file.
        name: the group's name, by default the file's.
        ins: groups under other names.
        terms: what ``fti.feature_group`` takes, with the same meaning. A comment at the head of the SQL is the description.

    Raises:
        DeclarationError: the SQL is not one SELECT, reads a table that is not a group, or reads or writes something outside; or the
            declaration is impossible.

    >>> import pandas as pd
    >>> @feature_group(keys=["customer"])
    ... def visits() -> pd.DataFrame: ...
    >>> spending = sql_feature_group(
    ...     name="spending", keys=["customer"], sql="SELECT customer, sum(price) AS spent FROM visits GROUP BY customer"
    ... )
    >>> spending.inputs
    {'visits': feature group visits_v1}
    """
    caller = caller_frame()
    body = _body(sql, file, caller, name)
    own_name = name or Path(str(file)).stem
    groups = _groups(body, dict(ins or {}), {} if caller is None else {**caller.f_globals, **caller.f_locals})
    _refuse_parameters(body, terms.get("partitions_def"))
    group = feature_group(keys=keys, name=own_name, ins=groups, **terms)(_function(body, list(groups)))
    return dataclasses.replace(group, body=body.text)


def _body(sql: str | None, file: str | Path | None, caller: FrameType | None, name: str | None) -> SqlBody:
    if (sql is None) == (file is None):
        raise DeclarationError(
            "sql_feature_group takes either sql='SELECT ...' or file='carrier_delays.sql', and one of them"
        )
    if sql is not None:
        if name is None:
            raise DeclarationError("sql_feature_group takes a name with sql=; only a file has one")
        return sql_body(sql, place=f"sql of {name!r}")
    folder = Path("." if caller is None else caller.f_code.co_filename).parent
    path = folder / str(file)
    try:
        return sql_body(path.read_text(), place=str(file))
    except OSError as error:
        raise DeclarationError(
            f"the SQL file {path} cannot be read: {error.strerror}; file= is seen from {folder}"
        ) from error


def _groups(body: SqlBody, ins: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, TimedTable]:
    groups: dict[str, TimedTable] = {}
    for table, line in body.tables.items():
        result = ins.get(table, names.get(table))
        if not isinstance(result, TimedTable):
            group_names = {*ins, *(name for name, value in names.items() if isinstance(value, TimedTable))}
            raise DeclarationError(
                f"{body.place}, line {line} reads {table!r}, but no feature group has that name here; there is "
                f"{one_of(sorted(group_names))}. Import the group, or give it in ins={{{table!r}: the_group}}"
            )
        groups[checked_name(table, what=f"table in {body.place}")] = result
    unread = [name for name in ins if name not in groups]
    if unread:
        raise DeclarationError(
            f"ins gives {one_of(unread)}, which {body.place} does not read: it reads {one_of(body.tables)}"
        )
    return groups


def _refuse_parameters(body: SqlBody, partitions_def: dg.PartitionsDefinition[str] | None) -> None:
    has_times = is_timed(partitions_def)
    values = ("start", "end") if has_times else () if partitions_def is None else ("partition",)
    wrong = [f"${name}" for name in body.parameters if name not in values]
    if wrong:
        gives = f"{type(partitions_def).__name__} gives {one_of(f'${name}' for name in values)}"
        raise DeclarationError(f"{body.place} takes {one_of(wrong)}, but {gives if values else 'it has no partitions'}")


def _function(body: SqlBody, tables: Sequence[str]) -> Callable[..., Any]:
    """What a step calls: the tables by name, and the context if the SQL takes parameters."""

    def run(context: Any = None, **inputs: Table) -> Any:
        values = _values(body, context, inputs)
        if inputs:
            return body.relation(next(iter(inputs.values())).connection, inputs, values)
        with source_connection() as connection:  # there is nothing that its rows could be joined with
            return body.relation(connection, {}, values).to_arrow_table()

    context = {CONTEXT: dg.AssetExecutionContext} if body.parameters else {}
    run.__name__ = run.__qualname__ = "sql"
    run.__doc__ = body.comment
    take(run, {**context, **dict.fromkeys(tables, Table)})
    run.__annotations__["return"] = Table
    return run


def _values(body: SqlBody, context: Any, tables: Mapping[str, Table]) -> dict[str, str]:
    """The literals of the parameters; without a context, of a call in a test, those of a table's grid."""
    if not body.parameters:
        return {}
    if body.parameters == ("partition",):
        return {"partition": literal(context.partition_key)}
    grids = (table.grid for table in tables.values() if table.grid is not None)
    bounds = next(grids, None) if context is None else context.partition_time_window
    if bounds is None:
        raise DeclarationError(f"{body.place} takes parameters: give it a context, or a table with a grid")
    return {"start": timestamp(naive_utc(bounds.start)), "end": timestamp(naive_utc(bounds.end))}
