"""What the step of a monitor does: measure the partitions that are run, judge them, store the figures and show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.rules import Verdict
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import stage
from fti_assets.monitors.drifting import drift_of
from fti_assets.monitors.monitor import Monitor, columns_of, layout_of, rule_of
from fti_assets.monitors.rows import measured_rows
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores


def run_monitor(monitor: Monitor, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Measure the partitions that are run, all or nothing; what cannot be measured of one thing stops nothing else."""
    partitions, now = running_partitions(context), clock.now()
    keys = [partition.key for partition in partitions]
    groups = list(dict.fromkeys(group for model in monitor.models for group in model.view.groups))
    with stores.offline_store().connect() as lake:
        read_external(lake, groups)
        with lake.one_snapshot():
            snapshot = lake.snapshot()
            earlier = lake.rows(monitor.table, snapshot=snapshot, partitions=keys) if lake.has(monitor.table) else None
        measurements = drift_of(monitor, lake, stores.model_store(), partitions, snapshot)
        rows = measured_rows(lake.connection, measurements, earlier, now)
        staged_rows = stage(lake.connection, rows, layout_of(monitor), partitions)
        verdicts = [*staged_rows.verdicts, *(Verdict(rule_of(rule)) for rule in monitor.drift)]

        def store_figures() -> Outcome:
            commit = lake.replace(
                monitor.table,
                staged_rows.table,
                keys,
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            return Outcome(commit, stored_schema(columns_of(monitor), commit.types), verdicts)

        part = Part(staged_rows, monitor.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, monitor.table, [part], verdicts, store=store_figures)
