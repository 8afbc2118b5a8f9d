"""The past requests of a partition: answers of a log, or rows that batch predictions have answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import FtiError
from fti_assets.features.spine_rows import stored_spine, with_spine_times
from fti_assets.inference.batch.predictions import PREDICTED_AT, Answer, BatchPredictions
from fti_assets.inference.log.log import FEATURES, REQUEST, REQUEST_ID, ROW, PredictionLog
from fti_assets.monitoring.parity import request_of
from fti_assets.monitoring.replays.past_request import PastRequest
from fti_assets.monitoring.replays.replay import Replay
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.splits.hash_split import share_sql

_SEED = 0


@dataclass(frozen=True)
class Sample:
    """Which requests of a partition are compared: ``table`` holds them, of ``total`` that are there."""

    table: str
    total: int


def sampled_rows(
    lake: Lake, of: PredictionLog | BatchPredictions, partition: Partition, *, sample: int, snapshot: int
) -> Sample:
    """A temporary table of some of the rows whose prediction time is in a partition: those with the smallest pinned hash."""
    names, where = (REQUEST_ID, ROW) if isinstance(of, PredictionLog) else of.identity, "true"
    keys: Sequence[str] | None = None
    if partition.start is not None and partition.end is not None and of.event_time is not None:
        assert of.partitions_def is not None
        ledger = lake.ledger(of.table, snapshot=snapshot)
        keys = [
            one.key
            for one in partitions_between(of.partitions_def, partition.start, partition.end)
            if one.key in ledger
        ]
        time = quote(of.event_time)
        where = f"{time} >= {timestamp(partition.start)} AND {time} < {timestamp(partition.end)}"
    rows = relation_name(lake.rows(of.table, snapshot=snapshot, partitions=keys))
    table = quote("temp", temporary_name("asked"))
    order = ", ".join(map(quote, names))
    lake.connection.execute(
        f"CREATE TEMP TABLE {table} AS FROM {rows} WHERE {where} ORDER BY {share_sql(names, _SEED, purpose='parity')}, {order} "
        f"LIMIT {int(sample)}"
    )
    [(total,)] = lake.connection.execute(f"SELECT count(*) FROM {rows} WHERE {where}").fetchall()
    return Sample(table, int(total))


def requests_of_log(log: PredictionLog, lake: Lake, sample: Sample) -> Iterator[PastRequest]:
    """The sampled answers of a log."""
    columns = (REQUEST_ID, ROW, log.event_time, "answered_at", "build", REQUEST, log.output, FEATURES, "ages")
    rows = lake.connection.execute(
        f"SELECT {', '.join(map(quote, columns))} FROM {sample.table} ORDER BY ALL"
    ).fetchall()
    for request_id, row, at, answered_at, build, request, value, features, ages in rows:
        yield PastRequest(
            request_id,
            row,
            at,
            answered_at,
            build,
            json.loads(request),
            _plain(value),
            json.loads(features),
            json.loads(ages),
        )


def compare_predictions(
    predictions: BatchPredictions, answer: Answer, lake: Lake, replay: Replay, sample: Sample
) -> None:
    """Compare what one model has answered to the sampled rows of batch predictions, each with its spine row at the snapshot of then."""
    groups = lake.connection.execute(
        f"SELECT DISTINCT {quote(answer.build)}, {PREDICTED_AT} FROM {sample.table} ORDER BY ALL"
    ).fetchall()
    for build, answered_at in groups:
        requests, lost, reason, detail = _requests(predictions, answer, lake, replay, sample, build, answered_at)
        if lost:
            replay.leave_out(lost, reason, detail)
        replay.add(requests)


def _requests(
    predictions: BatchPredictions,
    answer: Answer,
    lake: Lake,
    replay: Replay,
    sample: Sample,
    build: str,
    answered_at: datetime,
) -> tuple[list[PastRequest], list[PastRequest], str, str]:
    """The requests that a build answered at an instant; and those whose spine row is not there, with why."""
    identity = ", ".join(map(quote, predictions.identity))
    columns = f"{identity}, {quote(answer.value)}"
    result = lake.connection.execute(
        f"SELECT {columns} FROM {sample.table} WHERE {quote(answer.build)} = $1 AND {PREDICTED_AT} = $2 ORDER BY {identity}",
        [build, answered_at],
    )
    names = (*predictions.identity, answer.value)
    records = [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def past(record: dict[str, Any], request: dict[str, Any]) -> PastRequest:
        at = answered_at if predictions.event_time is None else record[predictions.event_time]
        row_name = ", ".join(f"{name}={record[name]}" for name in predictions.keys)
        return PastRequest(row_name, 0, at, answered_at, build, request, _plain(record[answer.value]))

    nothing = [past(record, {}) for record in records]
    snapshot = replay.times.current(answered_at)
    if snapshot is None:
        return [], nothing, "snapshot_is_expired", ""
    try:
        view = with_spine_times(replay.load(build)[0].view, predictions.spine)
    except FtiError as error:
        return [], nothing, "build_is_gone", str(error)
    of_answer = f"(SELECT {identity} FROM {sample.table} WHERE {quote(answer.build)} = $1 AND {PREDICTED_AT} = $2)"
    spine = stored_spine(lake, view, snapshot=snapshot)
    rows = lake.connection.execute(
        f"SELECT spine.* FROM {relation_name(spine)} spine JOIN {of_answer} USING ({identity})", [build, answered_at]
    )
    fields = [column[0] for column in rows.description or ()]
    spine_rows = [dict(zip(fields, row, strict=True)) for row in rows.fetchall()]
    by_identity = {tuple(row[name] for name in predictions.identity): row for row in spine_rows}
    requests, lost = [], []
    for record in records:
        row = by_identity.get(tuple(record[name] for name in predictions.identity))
        if row is None:
            lost.append(past(record, {}))
        else:
            requests.append(past(record, request_of(view, row)))
    return requests, lost, "spine_row_is_gone", ""


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value
