"""A group's input groups as frames of Spark, and its frame of Spark as rows: what a function with ``engine="spark"`` takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fti_assets.core.times import Partition
from fti_assets.engines.choice import Choice
from fti_assets.engines.running import RunningEngine
from fti_assets.engines.spark.lake_files import LakeTable
from fti_assets.features.groups.group import FeatureGroup, is_spark_frame
from fti_assets.features.rows.table import Table
from fti_assets.features.steps.inputs import bounds_of, same_partitions
from fti_assets.stores.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def spark_arguments(
    lake: Lake,
    group: FeatureGroup,
    partitions: Sequence[Partition],
    tables: Mapping[str, Table],
    engine: RunningEngine,
    *,
    snapshot: int,
) -> dict[str, Any]:
    """The input groups of a function, as far as it may see them, and the session.

    Args:
        tables: the same inputs as tables of DuckDB, which were refused if a partition were missing.
        engine: the engine of the step.
        snapshot: the snapshot that the inputs are read at.

    Raises:
        EngineError: Spark cannot be reached, or would change a column of an input.
    """
    engine.note(Choice(group.table_name, "spark", "its function is of Spark"))
    spark = engine.tables()

    def frame(name: str, table: Table) -> DataFrame:
        source = group.inputs[name]
        if not lake.is_in_files(source.table):
            return spark.send(table.relation, what=source.table_name, of=source.table_name)
        keys = same_partitions(source, group, partitions)
        bounds = bounds_of(source, group, partitions)
        stored_rows = LakeTable(lake, source.table, snapshot=snapshot, bounds=bounds, partitions=keys)
        engine.note(Choice(source.table_name, "spark", f"{group.table_name} reads it there"))
        engine.note_files(source.table_name, stored_rows.files)
        return stored_rows.frame(spark, list(lake.types(source.table)))

    frames = {name: frame(name, table) for name, table in tables.items()}
    return {**frames, **dict.fromkeys(group.session_parameters, spark.session)}


def as_relation(group: FeatureGroup, result: Any, engine: RunningEngine) -> Any:
    """A function's frame of Spark as a relation, once Spark has made it; whatever else it gives as it is."""
    if group.engine != "spark" or not any(map(is_spark_frame, type(result).__mro__)):
        return result
    return engine.tables().receive(result, what=group.table_name, of=group.table_name)
