"""What the step of batch predictions does: choose a build for each partition, join, score, store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import PartitionRecord
from fti_assets.core.rules import Verdict, worst
from fti_assets.core.sql import literal, quoted, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import NoChampionError, NotMaterializedError, StoreError, listed
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import stage
from fti_assets.features.spine_rows import LATE, spine_as_of, with_spine_times
from fti_assets.features.stored_partitions import COMPLETE, missing_partitions
from fti_assets.inference.batch.inputs import Inputs, coverage_together, inputs_of
from fti_assets.inference.batch.predictions import (
    BUILD,
    PREDICTED_AT,
    BatchPredictions,
    PredictionConfig,
    columns_of,
    layout_of,
)
from fti_assets.orchestration.lineage import COLUMN_LINEAGE, answers_lineage
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.relations import view_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.coverage import coverage_metadata, with_match_columns
from fti_assets.training.judging.evaluation import OUTPUT_NAMES

_CHUNK_ROWS = 65_536


def run_batch_predictions(
    predictions: BatchPredictions, context: dg.AssetExecutionContext, stores: Stores, config: PredictionConfig
) -> Iterator[Any]:
    """Predict the partitions that are run, in one pass for each build, all or nothing."""
    windows, store = running_partitions(context), stores.model_store()
    chosen = {window: build_for(store, predictions.model.name, window) for window in windows}
    with stores.offline_store().connect() as lake:
        snapshot = lake.snapshot()
        read_external(lake, predictions.model.view.groups)
        before = lake.ledger(predictions.table)
        missing = _missing(lake, predictions, windows, snapshot)
        kept = None if config.predict_again else _stored(lake, predictions, windows)
        answers = [
            _answers(
                lake,
                store,
                predictions,
                build,
                [w for w in windows if chosen[w].reference == build.reference],
                kept,
                snapshot,
            )
            for build in {build.reference: build for build in chosen.values()}.values()
        ]
        rows = " UNION ALL BY NAME ".join(
            f"FROM {view_of(part)}" for part in [*([] if kept is None else [kept]), *(made.rows for made in answers)]
        )
        layout = layout_of(predictions)
        staged = stage(lake.connection, lake.connection.sql(rows), layout, windows)
        late = kept is not None and all(window.key in before for window in windows)
        judged = [made.inputs.verdicts(late=late) for made in answers]
        verdicts = [*staged.verdicts, missing, *worst(judged)]

        def store_answers() -> Outcome:
            commit = lake.replace(
                predictions.table,
                staged.table,
                [window.key for window in windows],
                check=lambda: _refuse_concurrent_write(lake, predictions, windows, before),
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )

            metadata = {
                "builds": ", ".join(dict.fromkeys(build.reference for build in chosen.values())),
                "delay_breaches": sum(made.delay_breaches for made in answers),
                **coverage_metadata(coverage_together([made.inputs for made in answers])),
                **stored_schema(columns_of(predictions), lake.types(predictions.table)),
                COLUMN_LINEAGE: answers_lineage(
                    {build.reference: build.view for build in chosen.values()}.values(),
                    [OUTPUT_NAMES[predictions.model.task]],
                    {group.table_name: group.key for group in predictions.model.view.groups},
                ),
            }
            return Outcome(commit, metadata, verdicts)

        part = Part(staged, predictions.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, predictions.table, [part], verdicts, store=store_answers)


def build_for(store: ModelStore, model: str, window: Partition) -> ModelManifest:
    """The build that answers a partition: the champion while its window is open, after that the one of its time.

    Raises:
        NoChampionError: the model has no champion, or no accepted build as early as the partition.
    """
    if window.start is None or window.end is None or clock.now() < window.end:
        return store.champion(model)
    result = store.newest_accepted(model, at_or_before=window.start.isoformat())
    if result is None:
        known = [f"{build.reference} ({build.status})" for build in store.builds(model)] or ["none"]
        raise NoChampionError(
            f"no accepted build of model {model!r} has a cutoff at or before {window.start}, so nothing can answer partition "
            f"{window.key}: the store has {', '.join(known)}. Materialize the model at an earlier cutoff (which takes a dataset "
            "with partitions_def), or predict later partitions"
        )
    return result


def _stored(lake: Lake, predictions: BatchPredictions, windows: Sequence[Partition]) -> duckdb.DuckDBPyRelation | None:
    if not lake.has(predictions.table):
        return None
    return lake.rows(predictions.table, partitions=[window.key for window in windows])


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
    windows: Sequence[Partition],
    kept: duckdb.DuckDBPyRelation | None,
    snapshot: int,
) -> _Answers:
    """One build's answers for the spine rows of its windows that have none yet."""
    view = with_spine_times(build.view, predictions.model.view.spine)
    stored = lake.rows(view.spine_table, snapshot=snapshot)
    within = lake.connection.sql(f"FROM {view_of(stored)} WHERE {_within(view.prediction_time, windows)}")
    spine = spine_as_of(lake.connection, within, view)
    absent = ""
    if kept is not None:
        same = " AND ".join(f"kept.{quoted(name)} = spine.{quoted(name)}" for name in view.identity)
        absent = f" WHERE NOT EXISTS (FROM {view_of(kept)} kept WHERE {same})"
    due = lake.connection.sql(f"SELECT spine.* FROM {view_of(spine)} spine{absent}")
    name = quoted(temporary_name("scored"))
    lake.connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT row_number() OVER () AS __fti_scored, * "
        f"FROM {view_of(assemble(lake, with_match_columns(view), due, snapshot=snapshot))}"
    )
    scored = lake.connection.from_arrow(_scored(lake, store, build, name))
    selected = ", ".join(f"rows.{quoted(column)}" for column in view.identity)
    late = lake.connection.execute(f"SELECT count(*) FILTER ({LATE}) FROM {name}").fetchall()[0][0]
    rows = lake.connection.sql(
        f"SELECT {selected}, answers.* EXCLUDE (__fti_scored), {literal(build.reference)} AS {BUILD}, "
        f"{timestamp(clock.now())} AS {PREDICTED_AT} "
        f"FROM {name} rows JOIN {view_of(scored)} answers USING (__fti_scored)"
    )
    return _Answers(rows, int(late), inputs_of(lake.connection.sql(f"FROM {name}"), view))


def _missing(lake: Lake, predictions: BatchPredictions, windows: Sequence[Partition], snapshot: int) -> Verdict:
    """Whether what the answers rest on is there.

    Raises:
        NotMaterializedError: a partition of the spine is not, so there is nothing to answer.
    """
    start, end, view = windows[0].start, windows[-1].end, predictions.model.view
    if start is None or end is None:
        return Verdict(COMPLETE)
    for window in windows:
        if window.start is not None and window.end is not None:
            absent = missing_partitions(lake, view.spine, window.start, window.end, snapshot=snapshot)
            if absent:
                raise NotMaterializedError(
                    f"{predictions.table_name} {window.key} has no rows to answer: {listed(absent)} is not materialized; materialize "
                    "it first"
                )
    joined = [group for group in view.groups if group not in (view.spine, view.label.group)]
    missing = [
        name
        for group in joined
        for name in missing_partitions(lake, group, start - (group.ttl or timedelta(0)), end, snapshot=snapshot)
    ]
    problem = (
        f"{predictions.table_name} answered without {listed(missing)}: materialize them, and run it with predict_again to replace "
        "the answers"
    )
    return Verdict(COMPLETE, len(missing), (), problem if missing else "")


def _refuse_concurrent_write(
    lake: Lake, predictions: BatchPredictions, windows: Sequence[Partition], before: Mapping[str, PartitionRecord]
) -> None:
    """Under the writers' lock: answers that another run stored meanwhile stay."""
    now = lake.ledger(predictions.table)
    changed = [window.key for window in windows if now.get(window.key) != before.get(window.key)]
    if changed:
        raise StoreError(
            f"{predictions.table_name} {listed(changed)} was written by another run meanwhile; nothing of this run was stored: run it "
            "again, and it keeps those answers"
        )


def _scored(lake: Lake, store: ModelStore, build: ModelManifest, table: str) -> pa.Table:
    """The graph's answer for each numbered row, in chunks."""
    manifest, graph = load_build(store, build.model, build.reference)
    total = lake.connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    chunks = []
    for first in range(0, max(total, 1), _CHUNK_ROWS):
        rows = lake.connection.sql(
            f"FROM {table} WHERE __fti_scored > {first} AND __fti_scored <= {first + _CHUNK_ROWS} ORDER BY __fti_scored"
        )
        columns = fetch_columns(rows, manifest.view.features)
        size = len(next(iter(columns.values())))
        if size == 1:  # onnxruntime rounds one row alone otherwise than among others
            columns = {name: np.repeat(values, 2) for name, values in columns.items()}
        outputs = {name: values[:size] for name, values in graph.run(columns).items()}
        answers = _columns(outputs, manifest)
        chunks.append(
            pa.table({"__fti_scored": pa.array(np.arange(first + 1, first + 1 + size), pa.int64()), **answers})
        )
    return pa.concat_tables(chunks)


def _columns(outputs: Mapping[str, np.ndarray], manifest: ModelManifest) -> dict[str, pa.Array]:
    """``probability`` or ``value`` as a number, ``probabilities`` as a map of class to probability."""
    columns = {}
    for output in manifest.outputs:
        values = outputs[output.name].astype(np.float64)
        if output.name == "probabilities":
            kind = pa.map_(pa.string(), pa.float64())
            columns[output.name] = pa.array(
                [list(zip(manifest.classes, row, strict=True)) for row in values.tolist()], kind
            )
        else:
            columns[output.name] = pa.array(values)
    return columns


def _within(time: str | None, windows: Sequence[Partition]) -> str:
    """The SQL that a prediction time is in one of the windows; adjoining windows are one span."""
    if time is None or windows[0].start is None:
        return "true"
    spans: list[tuple[Any, Any]] = []
    for window in windows:
        if spans and spans[-1][1] == window.start:
            spans[-1] = (spans[-1][0], window.end)
        else:
            spans.append((window.start, window.end))
    column = quoted(time)
    within = [f"{column} >= {timestamp(start)} AND {column} < {timestamp(end)}" for start, end in spans]
    return f"({' OR '.join(within)})"
