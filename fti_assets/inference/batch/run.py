"""What the step of batch predictions does: choose a build for each partition, join, score, store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import PartitionRecord
from fti_assets.core.rules import Verdict, worst
from fti_assets.core.sql import literal, quoted, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import NoChampionError, NotMaterializedError, StoreError, listed
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.online.load import joined_whole, load_online
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import stage
from fti_assets.features.spine_rows import LATE, spine_as_of, with_spine_times
from fti_assets.features.stored_partitions import COMPLETE, missing_partitions
from fti_assets.inference.batch.inputs import Inputs, coverage_over, inputs_of
from fti_assets.inference.batch.predictions import (
    BUILD,
    PREDICTED_AT,
    BatchPredictions,
    PredictionConfig,
    columns_of,
    layout_of,
)
from fti_assets.inference.batch.scoring import numbered_table, scored
from fti_assets.orchestration.lineage import COLUMN_LINEAGE, answers_lineage
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import ONLINE_KEYS, Stores
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.execution import execution_providers
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.coverage import coverage_metadata, with_match_columns
from fti_assets.training.judging.evaluation import OUTPUT_NAMES


def run_batch_predictions(
    predictions: BatchPredictions, context: dg.AssetExecutionContext, stores: Stores, config: PredictionConfig
) -> Iterator[Any]:
    """Predict the partitions that are run, in one pass for each build, all or nothing."""
    partitions, store = running_partitions(context), stores.model_store()
    builds = {partition: build_for(store, predictions.model.name, partition) for partition in partitions}
    distinct = {build.reference: build for build in builds.values()}
    view = predictions.model.view
    with stores.offline_store().connect() as lake:
        snapshot = lake.snapshot()
        read_external(lake, view.groups)
        before = lake.ledger(predictions.table)
        missing = _missing(lake, predictions, partitions, snapshot)
        old = None
        if not config.predict_again and lake.has(predictions.table):
            # Answers that were given stay as they were: a rerun answers only rows that have none yet.
            old = lake.rows(predictions.table, partitions=[partition.key for partition in partitions])
        answers = [
            _answers(
                lake,
                store,
                predictions,
                build,
                [partition for partition in partitions if builds[partition].reference == reference],
                old,
                snapshot,
            )
            for reference, build in distinct.items()
        ]
        rows = " UNION ALL BY NAME ".join(
            f"FROM {relation_name(part)}" for part in [*([] if old is None else [old]), *(one.rows for one in answers)]
        )
        staged = stage(lake.connection, lake.connection.sql(rows), layout_of(predictions), partitions)
        late = old is not None and all(partition.key in before for partition in partitions)
        verdicts = [*staged.verdicts, missing, *worst([one.inputs.verdicts(late=late) for one in answers])]

        # Before anything is stored: a key that the online store cannot hold is then no half-done run.
        if predictions.online and staged.accepted:
            joined_whole(predictions, lake.staged_types(staged.table))

        def store_answers() -> Outcome:
            commit = lake.replace(
                predictions.table,
                staged.table,
                [partition.key for partition in partitions],
                # Under the writers' lock: answers that were read before may have been replaced since.
                check=lambda: _refuse_concurrent_write(lake, predictions, partitions, before),
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            metadata = {
                "builds": ", ".join(distinct),
                "delay_breaches": sum(one.delay_breaches for one in answers),
                **coverage_metadata(coverage_over([one.inputs for one in answers])),
                **stored_schema(columns_of(predictions), lake.types(predictions.table)),
                COLUMN_LINEAGE: answers_lineage(
                    [build.view for build in distinct.values()],
                    [OUTPUT_NAMES[predictions.model.task]],
                    {group.table_name: group.key for group in view.groups},
                ),
            }
            if predictions.online:
                metadata[ONLINE_KEYS] = _loaded(lake, stores, predictions)
            return Outcome(commit, metadata, verdicts)

        part = Part(staged, predictions.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, predictions.table, [part], verdicts, store=store_answers)


def _loaded(lake: Lake, stores: Stores, predictions: BatchPredictions) -> int:
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


def build_for(store: ModelStore, model: str, partition: Partition) -> ModelManifest:
    """The build that answers a partition: the champion until it ends, after that the one of its time.

    Raises:
        NoChampionError: the model has no champion, or no accepted build as early as the partition.
    """
    if partition.start is None or partition.end is None or clock.now() < partition.end:
        return store.champion(model)
    result = store.newest_accepted(model, at_or_before=partition.start.isoformat())
    if result is None:
        builds = [f"{build.reference} ({build.status})" for build in store.builds(model)] or ["none"]
        raise NoChampionError(
            f"no accepted build of model {model!r} has a cutoff at or before {partition.start}, so nothing can answer partition "
            f"{partition.key}: the store has {', '.join(builds)}. Materialize the model at an earlier cutoff (which takes a dataset "
            "with partitions_def), or predict later partitions"
        )
    return result


@dataclass(frozen=True)
class _Answers:
    """The answers of one build, for how many the spine row was not available at its prediction time, and what they rest on."""

    rows: duckdb.DuckDBPyRelation
    delay_breaches: int
    inputs: Inputs


def _answers(
    lake: Lake,
    store: ModelStore,
    predictions: BatchPredictions,
    build: ModelManifest,
    partitions: Sequence[Partition],
    old: duckdb.DuckDBPyRelation | None,
    snapshot: int,
) -> _Answers:
    """One build's answers for the spine rows of its partitions that have none yet."""
    view = with_spine_times(build.view, predictions.model.view.spine)
    versions = lake.rows(view.spine_table, snapshot=snapshot).filter(_within(view.prediction_time, partitions))
    due = spine_as_of(lake.connection, versions, view)
    if old is not None:
        same = " AND ".join(f"old.{quoted(name)} = spine.{quoted(name)}" for name in view.identity)
        due = lake.connection.sql(
            f"SELECT spine.* FROM {relation_name(due)} spine WHERE NOT EXISTS (FROM {relation_name(old)} old WHERE {same})"
        )
    joined = relation_name(assemble(lake, with_match_columns(view), due, snapshot=snapshot))
    table = numbered_table(lake.connection, joined)
    manifest, graph = load_build(store, build.model, build.reference, providers=execution_providers())
    answers = scored(lake.connection, table, manifest, graph, kept=view.identity)
    rows = lake.connection.sql(
        f"SELECT *, {literal(build.reference)} AS {BUILD}, {timestamp(clock.now())} AS {PREDICTED_AT} FROM {answers}"
    )
    [(late,)] = lake.connection.execute(f"SELECT count(*) FILTER ({LATE}) FROM {table}").fetchall()
    inputs = inputs_of(lake.connection.sql(f"FROM {table}"), view)
    lake.connection.execute(f"DROP TABLE {table}")  # features are wider than answers, and done with
    return _Answers(rows, int(late), inputs)


def _missing(lake: Lake, predictions: BatchPredictions, partitions: Sequence[Partition], snapshot: int) -> Verdict:
    """Whether what the answers rest on is there.

    Raises:
        NotMaterializedError: a partition of the spine is not, so there is nothing to answer.
    """
    start, end, view = partitions[0].start, partitions[-1].end, predictions.model.view
    if start is None or end is None:
        return Verdict(COMPLETE)
    for partition in partitions:
        if partition.start is not None and partition.end is not None:
            absent = missing_partitions(lake, view.spine, partition.start, partition.end, snapshot=snapshot)
            if absent:
                raise NotMaterializedError(
                    f"{predictions.table_name} {partition.key} has no rows to answer: {listed(absent)} is not materialized; materialize "
                    "it first"
                )
    missing = [
        name
        for group in view.groups
        if group not in (view.spine, view.label.group)
        for name in missing_partitions(lake, group, start - (group.ttl or timedelta(0)), end, snapshot=snapshot)
    ]
    problem = (
        f"{predictions.table_name} answered without {listed(missing)}: materialize them, and run it with predict_again to replace "
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
            f"{predictions.table_name} {listed(changes)} was written by another run meanwhile; nothing of this run was stored: run it "
            "again, and it keeps those answers"
        )


def _within(time: str | None, partitions: Sequence[Partition]) -> str:
    """The SQL that a prediction time is in one of the partitions; adjoining ones are one span."""
    if time is None or partitions[0].start is None:
        return "true"
    spans: list[tuple[Any, Any]] = []
    for partition in partitions:
        is_next = bool(spans) and spans[-1][1] == partition.start
        spans.append((spans.pop()[0] if is_next else partition.start, partition.end))
    column = quoted(time)
    within = [f"{column} >= {timestamp(start)} AND {column} < {timestamp(end)}" for start, end in spans]
    return f"({' OR '.join(within)})"
