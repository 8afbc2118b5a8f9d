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
from fti_assets.orchestration.conditions.defaults import on_changed_inputs, on_partition_end
from fti_assets.orchestration.conditions.partition_end import PartitionOver
from fti_assets.orchestration.conditions.reach import Reach, partitions_back
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset


def monitor_asset(monitor: Monitor) -> dg.AssetsDefinition:
    """The monitor's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.monitors.run import run_monitor

        return run_monitor(monitor, context, stores)

    answers, and_quality = monitor.answers, ", and how good the answers were" if monitor.quality else ""
    return build_asset(
        monitor,
        function=None,
        run=run,
        deps=[_dep(monitor), *_label_deps(monitor)],
        check_specs=check_specs(monitor.key, [*layout_of(monitor).rules, *monitor.rules]),
        metadata={
            "dagster/table_name": monitor.table.full_name,
            "watches": answers.table.full_name,
            "figures": VERSION,
            "rules": ", ".join([*(rule.name for rule in monitor.drift), *(rule.name for rule in monitor.quality)])
            or "none",
            **column_schema(columns_of(monitor)),
        },
        kinds={"duckdb", "parquet"},
        group_name="monitoring",
        description=f"How features, labels and answers of {answers.table_name} drift{and_quality}, partition by partition.",
        automation_condition=_condition(monitor),
        code_terms=(
            monitor.name,
            monitor.version,
            answers.table_name,
            monitor.drift,
            monitor.weeks,
            VERSION,
            *([one.name for one in monitor.drift if one.unusual]),
            *([] if not monitor.quality else [monitor.quality, monitor.estimate]),
        ),
    )


def _condition(monitor: Monitor) -> dg.AutomationCondition[Any]:
    """The answers of its time have changed, or the labels that its rows may have; or its rows' labels have become mature.

    A week is measured though one of its days was never answered.
    """
    answers, own = monitor.answers, monitor.calendar
    inputs = [Upstream(answers.key, answers.partitions_def)]
    if not monitor.quality:
        # Of half a day each hour of the day would be drift.
        return (on_changed_inputs(inputs, whole=False, gaps=True) & PartitionOver()).with_label("answers_changed")
    # Of a label's group without partitions in time the sensor of late labels says of which days, where Dagster would ask for all.
    labels = [one for one in monitor.labels if one.group.source is None and is_timed(one.group.partitions_def)]
    outcomes = [Upstream(one.group.key, one.group.partitions_def, Reach(ahead=one.age)) for one in labels]
    condition = on_changed_inputs(inputs, whole=False, outcomes=outcomes, gaps=True) & PartitionOver()
    if is_timed(own) and monitor.maturity is not None:
        condition = condition | on_partition_end(own, monitor.maturity)
    return condition.with_label("answers_or_labels_changed")


def _label_deps(monitor: Monitor) -> list[dg.AssetDep]:
    """A partition looks at labels that come until its last row's is mature."""
    if not monitor.quality:
        return []
    own, deps = monitor.partitions_def, []
    for label in monitor.labels:
        theirs = label.group.partitions_def
        if label.group.key == monitor.answers.key:
            continue
        if not is_timed(theirs) or not is_timed(own):
            deps.append(dg.AssetDep(label.group.key))
            continue
        with beta_accepted():
            mapping = dg.TimeWindowPartitionMapping(
                end_offset=partitions_back(own, label.age), allow_nonexistent_upstream_partitions=True
            )
        deps.append(dg.AssetDep(label.group.key, partition_mapping=mapping))
    return deps


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
