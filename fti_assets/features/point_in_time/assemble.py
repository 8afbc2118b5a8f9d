"""Every feature of a view for the rows of a spine: the joins, then the on-demand functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column, JoinedGroup, ViewRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.sql import quote, temporary_name
from fti_assets.core.types import ColumnType
from fti_assets.engines.running import RunningEngine
from fti_assets.features.point_in_time.arrays import CHUNK_ROWS, as_table, fetch_columns
from fti_assets.features.point_in_time.join import checked_order, point_in_time
from fti_assets.features.point_in_time.on_spark import SparkJoins
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake

_ROW, _CHUNK = "__fti_order", "__fti_on_demand_chunk"


def assemble(
    lake: Lake,
    view: ViewRecord,
    spine: duckdb.DuckDBPyRelation,
    *,
    snapshot: int,
    rows: Callable[[JoinedGroup], duckdb.DuckDBPyRelation] | None = None,
    engine: RunningEngine | None = None,
) -> duckdb.DuckDBPyRelation:
    """Add each feature of a view to the rows of a spine, point in time, as of a lake snapshot.

    Args:
        lake: the open lake that ``spine`` belongs to.
        view: the view as a manifest has it, so that training, batch and online join alike.
        spine: rows with the view's request columns and prediction time, in any order.
        snapshot: the snapshot that every group is read at.
        rows: gives a group's rows in place of those of the lake at the snapshot.
        engine: what runs the joins; DuckDB by default.

    Returns:
        The spine's columns, then the joined and the on-demand features: one row a spine row, in the spine's order.
    """
    features = point_in_time(
        lake.connection,
        _without_unused(spine, view),
        view.joins,
        rows or (lambda group: lake.rows(group.table, snapshot=snapshot)),
        prediction_time=view.prediction_time,
        by=None
        if engine is None or not engine.may_use_spark
        else _on_spark(engine, lake, snapshot, own_rows=rows is None),
    )
    if not view.on_demand:
        return features
    connection, name = lake.connection, quote("temp", temporary_name("assembled"))
    connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT row_number() OVER () AS {_ROW}, * FROM {relation_name(features)}"
    )
    on_demand_rows = _on_demand(connection, name, view)
    return connection.sql(
        f"SELECT rows.* EXCLUDE ({_ROW}), made.* EXCLUDE ({_ROW}) FROM {name} rows POSITIONAL JOIN {on_demand_rows} made"
    )


def _on_spark(engine: RunningEngine, lake: Lake, snapshot: int, *, own_rows: bool) -> SparkJoins:
    from fti_assets.engines.spark.lake_files import Bounds, LakeTable

    def files(group: JoinedGroup, bounds: Sequence[Bounds]) -> LakeTable | None:
        """The group's files, where its rows are those of the lake."""
        if not own_rows or not lake.is_in_files(group.table):
            return None
        return LakeTable(lake, group.table, snapshot=snapshot, bounds=bounds)

    return SparkJoins(engine, lake.connection, files)


def _on_demand(connection: duckdb.DuckDBPyConnection, table: str, view: ViewRecord) -> str:
    """A table of what the on-demand functions give for the rows of a numbered one, in their order.

    They are called for some rows at a time, as they are online for one: neither inputs nor outputs are ever held in Python whole.
    """
    types = column_types(view)
    calls = [LoadedCall(call, types=types) for call in view.on_demand]
    computed_names = {output.name for call in view.on_demand for output in call.outputs}
    names = dict.fromkeys(name for call in view.on_demand for name in call.inputs if name not in computed_names)
    inputs = [Column(name, types[name]) for name in names]
    [(total,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    outputs = quote("temp", temporary_name("on_demand"))
    for first in range(0, max(total, 1), CHUNK_ROWS):  # a table without rows gives outputs their types
        count = min(CHUNK_ROWS, total - first)
        rows = f"FROM {table} WHERE {_ROW} > {first} AND {_ROW} <= {first + CHUNK_ROWS} ORDER BY {_ROW}"
        arrays = fetch_columns(connection.sql(rows), inputs)
        chunk = pa.table({_ROW: np.arange(first + 1, first + count + 1)})
        for call in calls:
            # Copies, for a function may write into its inputs.
            values = as_table(call.call.outputs, call({name: arrays[name].copy() for name in call.call.inputs}, count))
            arrays |= fetch_columns(connection.from_arrow(values), call.call.outputs)
            for output in values.column_names:
                chunk = chunk.append_column(output, values[output])
        connection.register(_CHUNK, chunk)
        into = f"CREATE TEMP TABLE {outputs} AS" if first == 0 else f"INSERT INTO {outputs}"
        connection.execute(f"{into} FROM {_CHUNK}")
        connection.unregister(_CHUNK)
    for one in (table, outputs):
        checked_order(connection, one, _ROW, rows=total)
    return outputs


def _without_unused(spine: duckdb.DuckDBPyRelation, view: ViewRecord) -> duckdb.DuckDBPyRelation:
    """The spine without columns that the view does not use and whose names its features need."""
    needs = {view.prediction_time, *(column.name for column in view.request)}
    spare = [column.name for column in view.features if column.name in spine.columns and column.name not in needs]
    return spine.project(f"* EXCLUDE ({', '.join(map(quote, spare))})") if spare else spine


def column_types(view: ViewRecord) -> dict[str, ColumnType]:
    """The types of everything that an on-demand function can take: request fields, prediction time, features."""
    types: dict[str, ColumnType] = {column.name: column.type for column in view.request}
    if view.prediction_time is not None:
        types[view.prediction_time] = "timestamp"
    types |= {column.feature: column.type for join in view.joins for column in join.columns}
    types |= {output.name: output.type for call in view.on_demand for output in call.outputs}
    return types
