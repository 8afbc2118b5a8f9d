"""Every feature of a view for the rows of a spine: the joins, then the on-demand functions."""

from __future__ import annotations

import duckdb

from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.sql import quoted, temporary_name
from fti_assets.core.types import ColumnType
from fti_assets.features.point_in_time.arrays import as_table, fetch_columns
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake

_ROW = "__fti_order"


def assemble(lake: Lake, view: ViewRecord, spine: duckdb.DuckDBPyRelation, *, snapshot: int) -> duckdb.DuckDBPyRelation:
    """Add each feature of a view to the rows of a spine, point in time, as of a lake snapshot.

    Args:
        lake: the open lake that ``spine`` belongs to.
        view: the view as a manifest has it, so that training, batch and online join alike.
        spine: rows with the view's request columns and prediction time, in any order.
        snapshot: the snapshot that every group is read at.

    Returns:
        The spine's columns, then the joined and the on-demand features: one row a spine row, in the spine's order.
    """
    joined = point_in_time(
        lake.connection,
        _without_unused(spine, view),
        view.joins,
        lambda group: lake.rows(group.table, snapshot=snapshot),
        prediction_time=view.prediction_time,
    )
    if not view.on_demand:
        return joined
    connection, name = lake.connection, quoted(temporary_name("assembled"))
    connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT row_number() OVER () AS {_ROW}, * FROM {relation_name(joined)}"
    )
    types = column_types(view)
    for call in view.on_demand:
        inputs = [Column(column, types[column]) for column in call.inputs]
        rows = connection.sql(f"FROM {name} ORDER BY {_ROW}")
        total = connection.table(name).aggregate("count(*)").fetchall()[0][0]
        outputs = connection.from_arrow(as_table(call.outputs, LoadedCall(call)(fetch_columns(rows, inputs), total)))
        following = quoted(temporary_name("assembled"))
        connection.execute(
            f"CREATE TEMP TABLE {following} AS SELECT assembled.*, outputs.* EXCLUDE ({_ROW}) FROM {name} assembled "
            f"JOIN (SELECT row_number() OVER () AS {_ROW}, * FROM {relation_name(outputs)}) outputs USING ({_ROW})"
        )
        connection.execute(f"DROP TABLE {name}")
        name = following
    return connection.sql(f"SELECT * EXCLUDE ({_ROW}) FROM {name} ORDER BY {_ROW}")


def _without_unused(spine: duckdb.DuckDBPyRelation, view: ViewRecord) -> duckdb.DuckDBPyRelation:
    """The spine without columns that the view does not use and whose names its features need."""
    used = {column.name for column in view.request}
    unused = [column.name for column in view.features if column.name in spine.columns and column.name not in used]
    return spine.project(f"* EXCLUDE ({', '.join(map(quoted, unused))})") if unused else spine


def column_types(view: ViewRecord) -> dict[str, ColumnType]:
    """The types of everything that an on-demand function can take: request fields, prediction time, features."""
    types: dict[str, ColumnType] = {column.name: column.type for column in view.request}
    if view.prediction_time is not None:
        types[view.prediction_time] = "timestamp"
    types |= {column.feature: column.type for join in view.joins for column in join.columns}
    types |= {output.name: output.type for call in view.on_demand for output in call.outputs}
    return types
