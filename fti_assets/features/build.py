"""A feature group as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.assets.checks import check_specs
from fti_assets.assets.step import asset_key, beta_accepted, build_asset
from fti_assets.assets.windows import partitions_back
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.features.run import IN_TIME, judges_time, layout_of, run_feature_group
from fti_assets.features.schema import constraints, described
from fti_assets.features.validation import rules_of
from fti_assets.resources import Stores


def build_feature_group(group: FeatureGroup) -> dg.AssetsDefinition:
    """Build the group's asset, once."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        return run_feature_group(group, context, stores, arguments)

    rules = [*rules_of(group.schema), *layout_of(group).rules, *([IN_TIME] if judges_time(group) else [])]
    return build_asset(
        name=group.table,
        function=group.function,
        options=group.options,
        run=run,
        provided=set(group.inputs),
        annotations=group.annotations,
        ins=group.asset_ins,
        deps=[_dep(group, source) for source in dict.fromkeys(group.inputs.values())],
        check_specs=check_specs(asset_key(group.options, group.table), rules),
        metadata=_metadata(group),
        kinds={"duckdb", "parquet"},
        group_name="features",
        declaration=_declaration(group),
    )


def dep_on(
    source: FeatureGroup, partitions_def: dg.PartitionsDefinition[str] | None, reach: timedelta, *, end_offset: int = 0
) -> dg.AssetDep:
    """The dependency of something partitioned on a group that it reads ``reach`` back into.

    An ``end_offset`` of -1 leaves out its own window: a cutoff reads what lies before it.
    """
    if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition) and isinstance(
        source.partitions_def, dg.TimeWindowPartitionsDefinition
    ):
        with beta_accepted():
            mapping = dg.TimeWindowPartitionMapping(
                start_offset=-partitions_back(partitions_def, reach),
                end_offset=end_offset,
                allow_nonexistent_upstream_partitions=True,
            )
        return dg.AssetDep(source.key, partition_mapping=mapping)
    return dg.AssetDep(source.key)


def _dep(group: FeatureGroup, source: FeatureGroup) -> dg.AssetDep:
    return dep_on(source, group.partitions_def, group.lookback)


def _metadata(group: FeatureGroup) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/table_name": str(group.table_name),
        "keys": ", ".join(group.keys),
        "event_time": group.event_time or "none: a lookup, always visible",
    }
    if group.available_at is not None:
        metadata["available_at"] = group.available_at
    if group.serving_delay is not None:
        metadata["serving_delay"] = str(group.serving_delay)
    if group.ttl is not None:
        metadata["ttl"] = str(group.ttl)
    if group.schema is not None:
        metadata["dagster/column_schema"] = dg.TableSchema(
            [
                dg.TableColumn(
                    name,
                    (group.columns or {}).get(name) or str(column.dtype),
                    description=column.description,
                    constraints=dg.TableColumnConstraints(
                        nullable=column.nullable, unique=column.unique, other=constraints(column)
                    ),
                )
                for name, column in group.schema.columns.items()
            ]
        )
    return metadata


def _declaration(group: FeatureGroup) -> tuple[object, ...]:
    inputs = tuple((name, source.table) for name, source in group.inputs.items())
    times = (group.event_time, group.available_at, group.serving_delay, group.ttl, group.tie_break, group.partition_by)
    schema = described(group.schema)
    return (group.name, group.version, group.keys, times, group.lookback, inputs, schema)
