"""What the step of a monitor does: measure the partitions that are run, judge them, store the figures and show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.times import Partition
from fti_assets.errors import NotMaterializedError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import stage
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.drift.judging import in_a_row
from fti_assets.monitoring.drift.usual import judged_beside_usual
from fti_assets.monitoring.quality.judging import quality_in_a_row
from fti_assets.monitors.answers.answered import Answered, answer_partitions, missing_answers
from fti_assets.monitors.answers.batch import batch_answers
from fti_assets.monitors.answers.log import log_answers
from fti_assets.monitors.checks import verdicts_of
from fti_assets.monitors.drift.measuring import drift_of
from fti_assets.monitors.history import earlier_breaches, earlier_values, reach_of
from fti_assets.monitors.monitor import Monitor, columns_of, layout_of
from fti_assets.monitors.page import answers_by_partition, page_of
from fti_assets.monitors.quality.history import quality_history
from fti_assets.monitors.quality.measuring import quality_of
from fti_assets.monitors.quality.page import quality_page, with_quality
from fti_assets.monitors.rows import measured_rows
from fti_assets.monitors.service import service_of
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake


def run_monitor(monitor: Monitor, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Measure the partitions that are run, all or nothing; what cannot be measured of one thing stops nothing else."""
    partitions, now = running_partitions(context), clock.now()
    keys = [partition.key for partition in partitions]
    groups = list(dict.fromkeys(group for model in monitor.models for group in model.view.groups))
    with stores.offline_store().connect() as lake:
        read_external(lake, groups)
        with lake.one_snapshot():
            snapshot = lake.snapshot()
            missing = _missing(lake, monitor, partitions, snapshot)
            earlier = lake.rows(monitor.table, snapshot=snapshot, partitions=keys) if lake.has(monitor.table) else None
        store, measurements, qualities, problems = stores.model_store(), [], [], []
        for answers in answers_of(monitor, lake, snapshot, now):
            drifts = drift_of(
                answers,
                store,
                partitions,
                calendar=monitor.calendar,
                weeks=monitor.weeks,
                rules=monitor.drift,
            )
            measurements += drifts.measurements
            problems += drifts.problems
            if monitor.quality:
                quality = quality_of(answers, store, partitions, monitor.quality, estimate=monitor.estimate)
                qualities += quality.measurements
                problems += quality.problems
        if isinstance(monitor.answers, PredictionLog):
            measurements += service_of(lake, monitor.answers, partitions, snapshot)
        values = earlier_values(lake, monitor, partitions, snapshot)
        measurements = judged_beside_usual(measurements, monitor.drift, values, reach_of(monitor))
        history = earlier_breaches(lake, monitor, partitions, snapshot)
        measurements = in_a_row(measurements, monitor.drift, history)
        earlier_quality = quality_history(lake, monitor, partitions, snapshot)
        qualities = quality_in_a_row(qualities, monitor.quality, earlier_quality)
        measurements += qualities
        rows = measured_rows(lake.connection, measurements, earlier, now)
        staged_rows = stage(lake.connection, rows, layout_of(monitor), partitions)
        verdicts = [*staged_rows.verdicts, *verdicts_of(monitor, measurements, missing, problems)]

        def store_figures() -> Outcome:
            commit = lake.replace(
                monitor.table,
                staged_rows.table,
                keys,
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            metadata = {**stored_schema(columns_of(monitor), commit.types), **page_of(lake, monitor, partitions[-1])}
            metadata |= quality_page(lake, monitor, partitions[-1])
            by_partition = answers_by_partition(lake, monitor, partitions)
            by_partition = with_quality(by_partition, monitor, qualities, partitions)
            return Outcome(commit, metadata, verdicts, monitor.maturity, by_partition)

        part = Part(staged_rows, monitor.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, monitor.table, [part], verdicts, store=store_figures)


def answers_of(monitor: Monitor, lake: Lake, snapshot: int, now: datetime) -> Iterator[Answered]:
    """What a monitor watches, model by model."""
    if isinstance(monitor.answers, BatchPredictions):
        yield from batch_answers(lake, monitor.answers, snapshot, now)
    else:
        yield log_answers(lake, monitor.answers, snapshot, now)


def _missing(lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int) -> list[str]:
    """The partitions of answers that are not there, each of which is a day of its own that was missed.

    Raises:
        NotMaterializedError: none is.
    """
    answers = monitor.answers
    lake.require(answers.table, snapshot=snapshot)
    missing = missing_answers(lake, answers, partitions, snapshot)
    if missing and len(missing) == len(answer_partitions(answers, partitions)):
        raise NotMaterializedError(
            f"{monitor.table_name} has no answers to measure: {list_some(missing)} is not materialized; materialize it first"
        )
    return missing
