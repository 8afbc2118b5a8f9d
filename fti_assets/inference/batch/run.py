"""What the step of batch predictions does: choose a build for each partition, join, score, store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import PartitionRecord
from fti_assets.core.rules import Verdict, worst
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.errors import NoChampionError, NotMaterializedError, StoreError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.load import load_online
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import stage
from fti_assets.features.stored_partitions import COMPLETE, missing_partitions
from fti_assets.inference.batch.answers import answers_of
from fti_assets.inference.batch.inputs import coverage_over
from fti_assets.inference.batch.predictions import (
    BatchPredictions,
    PredictionConfig,
    columns_of,
    layout_of,
)
from fti_assets.orchestration.engine import engine_metadata
from fti_assets.orchestration.lineage import COLUMN_LINEAGE, answers_lineage
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import ONLINE_KEYS, Stores
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.sinks.sink import StoredPartition, write_partitions
from fti_assets.training.datasets.checks.coverage import coverage_metadata

Builds = tuple[ModelManifest, ...]
"""The build of each model that answers some partitions, in the order of the models."""


def run_batch_predictions(
    predictions: BatchPredictions, context: dg.AssetExecutionContext, stores: Stores, config: PredictionConfig
) -> Iterator[Any]:
    """Predict the partitions that are run, those that the same builds answer in one pass, all or nothing."""
    partitions, store = running_partitions(context), stores.model_store()
    answering: dict[tuple[str, ...], tuple[Builds, list[Partition]]] = {}
    for partition in partitions:
        builds = tuple(build_for(store, model.name, partition) for model in predictions.models)
        answering.setdefault(tuple(build.reference for build in builds), (builds, []))[1].append(partition)
    groups = list(dict.fromkeys(group for model in predictions.models for group in model.view.groups))
    with (
        stores.offline_store().connect() as lake,
        stores.engine(predictions.engine, lake, what=predictions.table_name, log=context.log.info) as engine,
    ):
        read_external(lake, groups)
        with lake.one_snapshot():
            snapshot, before = lake.snapshot(), lake.ledger(predictions.table)
            missing = _missing(lake, predictions, partitions, snapshot)
            old = None
            if not config.predict_again and lake.has(predictions.table):
                # Answers that were given stay as they were: a rerun answers only rows that have none yet.
                keys = [partition.key for partition in partitions]
                old = lake.rows(predictions.table, partitions=keys, snapshot=snapshot)
        answers = [
            answers_of(lake, store, predictions, builds, those, old, snapshot, engine)
            for builds, those in answering.values()
        ]
        every = " UNION ALL BY NAME ".join(
            f"FROM {relation_name(part)}" for part in [*([] if old is None else [old]), *(one.rows for one in answers)]
        )
        # Old answers of models that are declared no more are not carried on: that is another schema, which the lake refuses.
        rows = f"SELECT {', '.join(map(quote, predictions.columns))} FROM ({every})"
        staged_rows = stage(lake.connection, lake.connection.sql(rows), layout_of(predictions), partitions)
        late = old is not None and all(partition.key in before for partition in partitions)
        inputs = [one for part in answers for one in part.inputs]
        verdicts = [*staged_rows.verdicts, missing, *worst([one.verdicts(late=late) for one in inputs])]

        # Before anything is stored: a key that the online store cannot hold is then no half-done run.
        if predictions.online and staged_rows.is_accepted:
            joined_whole(predictions, lake.staged_types(staged_rows.table))

        def store_answers() -> Outcome:
            commit = lake.replace(
                predictions.table,
                staged_rows.table,
                [partition.key for partition in partitions],
                # Under the writers' lock: answers that were read before may have been replaced since.
                check=lambda: _refuse_concurrent_write(lake, predictions, partitions, before),
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            metadata = {
                "builds": _builds_text(predictions, [builds for builds, _ in answering.values()]),
                **engine_metadata(engine),
                "delay_breaches": sum(one.delay_breaches for one in answers),
                **coverage_metadata(coverage_over(inputs)),
                **stored_schema(columns_of(predictions), commit.types),
                COLUMN_LINEAGE: answers_lineage(
                    {
                        answer.value: [builds[place].view for builds, _ in answering.values()]
                        for place, answer in enumerate(predictions.answers)
                    },
                    {group.table_name: group.key for group in groups},
                ),
            }
            if predictions.online:
                metadata[ONLINE_KEYS] = _load_online(lake, stores, predictions)
            if predictions.sinks:
                parts_of_table = [StoredPartition(lake, predictions.table, partition.key) for partition in partitions]
                write_partitions(predictions.sinks, parts_of_table)
                metadata["sinks"] = ", ".join(sink.place for sink in predictions.sinks)
            return Outcome(commit, metadata, verdicts)

        part = Part(staged_rows, predictions.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, predictions.table, [part], verdicts, store=store_answers)


def _load_online(lake: Lake, stores: Stores, predictions: BatchPredictions) -> int:
    """How many keys the online store then has.

    Raises:
        StoreError: it takes none; the answers are in the lake, and a rerun loads them.
    """
    store = stores.online_store()
    try:
        return load_online(lake, store, predictions)
    except StoreError as error:
        raise StoreError(
            f"{predictions.table_name} is in the lake, but not in the online store {store}: {error}. Run it again: its answers stay, "
            "and are loaded"
        ) from error


def _builds_text(predictions: BatchPredictions, answering: Iterable[Builds]) -> str:
    """The builds that answer; those of several models with the model's name before each."""
    names = [
        f"{build.model} {build.reference}" if predictions.by_model else build.reference
        for builds in answering
        for build in builds
    ]
    return ", ".join(dict.fromkeys(names))


def build_for(store: ModelStore, model: str, partition: Partition) -> ModelManifest:
    """The build that answers a partition: the champion until it ends, after that the one of its time.

    Raises:
        NoChampionError: the model has no champion, or no accepted build as early as the partition.
    """
    if partition.start is None or partition.end is None or clock.now() < partition.end:
        return store.champion(model)
    result = store.newest_accepted(model, at_or_before=partition.start.isoformat())
    if result is None:
        builds = [f"{build.reference} ({build.status})" for build in store.readable_builds(model)] or ["none"]
        raise NoChampionError(
            f"no accepted build of model {model!r} has a cutoff at or before {partition.start}, so nothing can answer partition "
            f"{partition.key}: the store has {', '.join(builds)}. Materialize the model at an earlier cutoff (which takes a dataset "
            "with partitions_def), or predict later partitions"
        )
    return result


def _missing(lake: Lake, predictions: BatchPredictions, partitions: Sequence[Partition], snapshot: int) -> Verdict:
    """Whether what the answers rest on is there.

    Raises:
        NotMaterializedError: a partition of the spine is not, so there is nothing to answer.
    """
    start, end, spine = partitions[0].start, partitions[-1].end, predictions.spine
    if start is None or end is None:
        return Verdict(COMPLETE)
    for partition in partitions:
        if partition.start is not None and partition.end is not None:
            absent = missing_partitions(lake, spine, partition.start, partition.end, snapshot=snapshot)
            if absent:
                raise NotMaterializedError(
                    f"{predictions.table_name} {partition.key} has no rows to answer: {list_some(absent)} is not materialized; materialize "
                    "it first"
                )
    missing = [
        name
        for group in predictions.feature_groups
        for name in missing_partitions(lake, group, start - (group.ttl or timedelta(0)), end, snapshot=snapshot)
    ]
    problem = (
        f"{predictions.table_name} answered without {list_some(missing)}: materialize them, and run it with predict_again to replace "
        "the answers"
    )
    return Verdict(COMPLETE, len(missing), (), problem if missing else "")


def _refuse_concurrent_write(
    lake: Lake, predictions: BatchPredictions, partitions: Sequence[Partition], before: Mapping[str, PartitionRecord]
) -> None:
    """Under the writers' lock: answers that another run stored meanwhile stay."""
    now = lake.ledger(predictions.table)
    keys = [partition.key for partition in partitions]
    if changes := [key for key in keys if now.get(key) != before.get(key)]:
        raise StoreError(
            f"{predictions.table_name} {list_some(changes)} was written by another run meanwhile; nothing of this run was stored: run it "
            "again, and it keeps those answers"
        )
