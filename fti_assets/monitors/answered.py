"""What was answered in some partitions: each row's features as the build joined them, its answer, and its label once there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import StoreError
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import spine_as_of, with_spine_times
from fti_assets.inference.batch.predictions import Answer, BatchPredictions
from fti_assets.orchestration.partitions import is_timed, partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore

PARTITION, BUILD, ANSWER = "_fti_monitored", "_fti_build", "_fti_answer"
"""The columns of a row's partition of the monitor, of the build that answered, and of its answer."""


@dataclass(frozen=True)
class AnsweredRows:
    """Rows of one model's answers, joined by the view of one of its builds.

    Args:
        manifest: that build's.
        table: the quoted name of a temporary table with the spine's columns, the features, ``PARTITION``, ``BUILD`` and ``ANSWER``.
    """

    manifest: ModelManifest
    table: str


def builds_of(
    lake: Lake, predictions: BatchPredictions, answer: Answer, partitions: Sequence[Partition], snapshot: int
) -> dict[str, dict[str, int]]:
    """How many rows each build answered in each partition, by the partition's key."""
    rows = relation_name(stored_answers(lake, predictions, answer, partitions, snapshot))
    counts: dict[str, dict[str, int]] = {}
    query = f"SELECT {PARTITION}, {BUILD}, count(*) FROM {rows} GROUP BY 1, 2 ORDER BY 1, 2"
    for partition, build, count in lake.connection.execute(query).fetchall():
        counts.setdefault(partition, {})[build] = count
    return counts


def stored_answers(
    lake: Lake, predictions: BatchPredictions, answer: Answer, partitions: Sequence[Partition], snapshot: int
) -> duckdb.DuckDBPyRelation:
    """The stored answers of a model in some partitions: ``identity``, ``PARTITION``, ``BUILD`` and ``ANSWER``."""
    assert predictions.event_time is not None
    time = quote(predictions.event_time)
    rows = relation_name(
        lake.rows(predictions.table, snapshot=snapshot, partitions=_stored_in(lake, predictions, partitions, snapshot))
    )
    spans = spans_sql(partitions)
    identity = ", ".join(f"answers.{quote(name)}" for name in predictions.identity)
    return lake.connection.sql(
        f"SELECT {identity}, spans.key AS {PARTITION}, answers.{quote(answer.build)} AS {BUILD}, "
        f"answers.{quote(answer.value)} AS {ANSWER} FROM {rows} answers ASOF JOIN {spans} spans ON answers.{time} >= spans.since "
        f"WHERE answers.{time} < spans.until"
    )


def spans_sql(partitions: Sequence[Partition]) -> str:
    """The SQL of one partition or several as a table: ``key``, ``since`` and ``until``."""
    values = ", ".join(
        f"({literal(one.key)}, {timestamp(one.start)}, {timestamp(one.end)})"
        for one in partitions
        if one.start is not None and one.end is not None
    )
    return f"(FROM (VALUES {values}) spans(key, since, until))"


def answered_rows(
    lake: Lake,
    predictions: BatchPredictions,
    answer: Answer,
    manifest: ModelManifest,
    partitions: Sequence[Partition],
    snapshot: int,
) -> AnsweredRows:
    """The answers of some partitions with the features that a build's view joins to their spine rows, as batches do.

    Answers whose spine row is no longer there are left out.
    """
    view = with_spine_times(manifest.view, predictions.spine)
    versions = lake.rows(view.spine_table, snapshot=snapshot).filter(_within(view.prediction_time, partitions))
    spine = relation_name(spine_as_of(lake.connection, versions, view))
    answers = relation_name(stored_answers(lake, predictions, answer, partitions, snapshot))
    same = " AND ".join(f"answers.{quote(name)} = spine.{quote(name)}" for name in predictions.identity)
    own = ", ".join(f"answers.{name}" for name in (PARTITION, BUILD, ANSWER))
    rows = lake.connection.sql(f"SELECT spine.*, {own} FROM {spine} spine JOIN {answers} answers ON {same}")
    table = quote("temp", temporary_name("answered"))
    lake.connection.execute(
        f"CREATE TEMP TABLE {table} AS FROM {relation_name(assemble(lake, view, rows, snapshot=snapshot))}"
    )
    return AnsweredRows(manifest, table)


def manifest_of(store: ModelStore, model: str, build: str) -> ModelManifest | None:
    """A build's manifest, None if it is lost: what it answered stays, but not what it saw."""
    try:
        return store.manifest(model, build)
    except StoreError:
        return None


def _stored_in(
    lake: Lake, predictions: BatchPredictions, partitions: Sequence[Partition], snapshot: int
) -> list[str] | None:
    """The stored partitions of the predictions that overlap some of a monitor's; None is all of them."""
    if not is_timed(predictions.partitions_def):
        return None
    ledger, starts = lake.ledger(predictions.table, snapshot=snapshot), [one for one in partitions if one.start]
    keys: dict[str, None] = {}
    for start, end in _spans(starts):
        keys |= dict.fromkeys(one.key for one in partitions_between(predictions.partitions_def, start, end))
    return [key for key in keys if key in ledger]


def _spans(partitions: Sequence[Partition]) -> Iterator[tuple[datetime, datetime]]:
    """Adjoining partitions as spans."""
    start = end = None
    for one in sorted(partitions, key=lambda one: one.start or datetime.min):
        assert one.start is not None
        assert one.end is not None
        if start is None or end is None:
            start, end = one.start, one.end
        elif one.start <= end:
            end = max(end, one.end)
        else:
            yield start, end
            start, end = one.start, one.end
    if start is not None and end is not None:
        yield start, end


def _within(time: str | None, partitions: Sequence[Partition]) -> str:
    assert time is not None
    spans = [
        f"{quote(time)} >= {timestamp(start)} AND {quote(time)} < {timestamp(end)}" for start, end in _spans(partitions)
    ]
    return f"({' OR '.join(spans)})" if spans else "false"
