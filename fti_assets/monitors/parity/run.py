"""What the step of a parity does: take past requests, replay and compare them, and store what differs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.rules import Verdict
from fti_assets.core.times import Partition
from fti_assets.errors import NotMaterializedError
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.replays.online_path import OnlinePath
from fti_assets.monitoring.replays.replay import Build, Replay
from fti_assets.monitors.parity.parity import Parity, columns_of
from fti_assets.monitors.parity.requests import Sample, compare_predictions, requests_of_log, sampled_rows
from fti_assets.monitors.parity.rows import Compared, as_table, facts_of, rows_of, verdicts_of
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.loaded_build import load_build


def run_parity(parity: Parity, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Compare the requests of the partitions that are run; each partition's rows replace those of its last run."""
    partitions, now = running_partitions(context), clock.now()
    with stores.offline_store().connect() as lake:
        read_external(lake, [group for model in parity.models for group in model.view.groups])
        if not lake.has(parity.of.table):
            raise NotMaterializedError(
                f"{parity.of.table.full_name} is not there: materialize it before {parity.table_name}"
            )
        redactions = parity.of.redact if isinstance(parity.of, PredictionLog) else frozenset()
        results: dict[str, Compared] = {}
        rows: list[dict[str, Any]] = []
        totals: dict[str, int] = {}
        for partition in partitions:
            results[partition.key], totals[partition.key] = compare_partition(
                parity, lake, stores, partition, redactions
            )
            rows += rows_of(parity, partition, results[partition.key], now, redactions)
        layout = Layout(
            what=parity.table_name,
            not_null=("measured_at", "kind"),
            unique=(),
            partition_by=None if parity.partitions_def is None else "partition_start",
        )
        staged_rows = stage(lake.connection, lake.connection.from_arrow(as_table(parity, rows)), layout, partitions)
        verdicts: list[Verdict] = verdicts_of(parity, results)

        def store() -> Outcome:
            commit = lake.replace(
                parity.table,
                staged_rows.table,
                [partition.key for partition in partitions],
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            every = [one for of_partition in results.values() for one in of_partition]
            metadata = {
                "requests": sum(totals.values()),
                **facts_of(every),
                **stored_schema(columns_of(parity), commit.types),
            }
            by_partition = {key: {"requests": totals[key], **facts_of(one)} for key, one in results.items()}
            return Outcome(commit, metadata, verdicts, by_partition=by_partition)

        part = Part(staged_rows, parity.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, parity.table, [part], verdicts, store=store)


def compare_partition(
    parity: Parity, lake: Lake, stores: Stores, partition: Partition, redactions: frozenset[str]
) -> tuple[Compared, int]:
    """What came of the requests of a partition by model, and how many there were."""
    sample = sampled_rows(lake, parity.of, partition, sample=parity.sample, snapshot=lake.snapshot())
    answers = [None] if isinstance(parity.of, PredictionLog) else parity.of.answers
    results = []
    for answer, model in zip(answers, parity.models, strict=True):
        models, online = stores.model_store(), stores.online_store()
        path = OnlinePath(model.name, models, online)

        @cache
        def load(build: str, name: str = model.name) -> Build:
            return load_build(stores.model_store(), name, build)

        replay = Replay(lake, load, path, lag=parity.lag, redactions=redactions)
        try:
            _add(parity, lake, replay, sample, answer)
        finally:
            path.close()
        results.append((model.name, replay.result))
    return results, sample.total


def _add(parity: Parity, lake: Lake, replay: Replay, sample: Sample, answer: Any) -> None:
    if isinstance(parity.of, PredictionLog):
        replay.add(requests_of_log(parity.of, lake, sample))
    else:
        compare_predictions(parity.of, answer, lake, replay, sample)
