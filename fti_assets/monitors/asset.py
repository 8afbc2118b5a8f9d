"""A monitor as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.features.groups.columns import column_schema
from fti_assets.monitoring.drift.statistics import VERSION
from fti_assets.monitors.monitor import Monitor, columns_of, layout_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs
from fti_assets.orchestration.conditions.partition_end import PartitionOver
from fti_assets.orchestration.conditions.reach import partitions_back
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset


def monitor_asset(monitor: Monitor) -> dg.AssetsDefinition:
    """The monitor's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.monitors.run import run_monitor

        return run_monitor(monitor, context, stores)

    answers = monitor.answers
    return build_asset(
        monitor,
        function=None,
        run=run,
        deps=[_dep(monitor)],
        check_specs=check_specs(monitor.key, [*layout_of(monitor).rules, *monitor.rules]),
        metadata={
            "dagster/table_name": monitor.table.full_name,
            "watches": answers.table.full_name,
            "figures": VERSION,
            "rules": ", ".join(rule.name for rule in monitor.drift) or "none",
            **column_schema(columns_of(monitor)),
        },
        kinds={"duckdb", "parquet"},
        group_name="monitoring",
        description=f"How features, labels and answers of {answers.table_name} drift, partition by partition.",
        # Of half a day each hour of the day would be drift.
        automation_condition=(
            on_changed_inputs([Upstream(answers.key, answers.partitions_def)], whole=False) & PartitionOver()
        ).with_label("answers_changed"),
        code_terms=(monitor.name, monitor.version, answers.table_name, monitor.drift, monitor.weeks, VERSION),
    )


def _dep(monitor: Monitor) -> dg.AssetDep:
    """A partition looks at the answers of its own time and of the weeks before."""
    answers, own = monitor.answers, monitor.partitions_def
    if not is_timed(answers.partitions_def) or not is_timed(own):
        return dg.AssetDep(answers.key)
    with beta_accepted():
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-partitions_back(own, timedelta(weeks=monitor.weeks)),
            allow_nonexistent_upstream_partitions=True,
        )
    return dg.AssetDep(answers.key, partition_mapping=mapping)
