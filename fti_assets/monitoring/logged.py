"""Logged answers, asked again of the lake: what the offline join and the graph say to the same request at the same instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, ModelManifest, far_end
from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import PredictionError, list_some
from fti_assets.features.point_in_time.arrays import as_table, fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.point_in_time.windowed import ROWS
from fti_assets.features.rows.visibility import available_sql
from fti_assets.inference.serving.log.answer import LoggedAnswer
from fti_assets.inference.serving.log.lines import HASH_PREFIX
from fti_assets.inference.serving.requests.form import RequestForm
from fti_assets.inference.serving.rows.online_features import join_label
from fti_assets.monitoring.parity import feature_differences, numbers_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.graph import Graph

if TYPE_CHECKING:
    import duckdb

TOLERANCE = 1e-5
"""The largest difference of two answers that are the same: a graph rounds one row otherwise than among others."""

_ORDER = "_fti_asked"


@dataclass(frozen=True)
class Recomputation:
    """What the offline join and the graph say: the features by name, and the answer in the form of ``Prediction.value``.

    ``times`` has those of the row that each join with an event time brought, by its label as ``Prediction.ages`` has it.
    """

    features: Mapping[str, Any]
    value: Any
    times: Mapping[str, RowTimes] = field(default_factory=dict)


class RowTimes(NamedTuple):
    """The times of the row that a join brought: None without one, an expired one included.

    Of windows they are the latest among the rows in the longest one, of which there are so many.
    """

    event: datetime | None
    available: datetime | None
    rows: int = 1


@dataclass(frozen=True)
class WinningRow:
    """The row of a group that an answer rests on, None where none was visible; ``stale`` if it is older than the ttl allows."""

    table: str
    keys: Mapping[str, Any]
    partition: str | None = None
    row: Mapping[str, Any] | None = None
    age: timedelta | None = None
    stale: bool = False


def recompute(
    lake: Lake,
    manifest: ModelManifest,
    graph: Graph,
    requests: Sequence[Mapping[str, Any]],
    times: Sequence[datetime],
    *,
    snapshot: int,
    rows: Callable[[JoinedGroup], duckdb.DuckDBPyRelation] | None = None,
) -> list[Recomputation]:
    """Answer requests offline, in one join and one run of the graph.

    Args:
        lake: the open lake.
        manifest: the build's.
        graph: the build's.
        requests: ``n`` requests in clear; fields that the build's view does not take are left aside.
        times: their ``n`` prediction times, naive UTC.
        snapshot: of the lake.
        rows: gives a group's rows in place of those of the lake at the snapshot.

    Raises:
        RequestError: a request lacks a field of the build's view, or has a wrong one.
        NotMaterializedError: a group is not there at the snapshot.
    """
    view = manifest.view
    spine = lake.connection.sql(f"FROM {_spine(lake, manifest, requests, times)}")
    timed = {place: join for place, join in enumerate(view.joins) if join.event_time is not None}
    joins = tuple(_with_times(join, place) if place in timed else join for place, join in enumerate(view.joins))
    features = assemble(lake, replace(view, joins=joins), spine, snapshot=snapshot, rows=rows)
    table = quote(temporary_name("recomputed"))
    lake.connection.execute(f"CREATE TEMP TABLE {table} AS FROM {relation_name(features)}")
    in_order = lake.connection.sql(f"FROM {table} ORDER BY {quote(_ORDER)}")
    arrays = fetch_columns(in_order, view.features)
    plain = in_order.project(", ".join(quote(column.name) for column in view.features)).fetchall()
    if len(plain) == 1:  # one row alone is rounded otherwise than among others
        arrays = {feature: np.repeat(values, 2) for feature, values in arrays.items()}
    answers = Answering(manifest, graph)(arrays)
    names = [column.name for column in view.features]
    labels = [join_label(join, view.joins) for join in timed.values()]
    columns = ", ".join(quote(name) for place in timed for name in _time_columns(place))
    instants = in_order.project(columns).fetchall() if timed else [()] * len(plain)
    return [
        Recomputation(
            dict(zip(names, row, strict=True)),
            _plain_answer(manifest, answer),
            {label: _row_times(*of_row[3 * place : 3 * place + 3]) for place, label in enumerate(labels)},
        )
        for row, answer, of_row in zip(plain, answers, instants, strict=False)
    ]


def _row_times(event: datetime | None, available: datetime | None, rows: Any) -> RowTimes:
    return RowTimes(event, available, rows if isinstance(rows, int) else 1)


def _time_columns(place: int) -> tuple[str, str, str]:
    return f"_fti_event_{place}", f"_fti_available_{place}", f"_fti_rows_{place}"


def _with_times(join: JoinedGroup, place: int) -> JoinedGroup:
    """A join that brings the times of its row, too: with a fixed delay the event time in place of the other."""
    event, available = str(join.event_time), join.available_at or str(join.event_time)
    of_event, of_available, of_rows = _time_columns(place)
    # How many rows there are is of windows alone; a row's own time stands in its place.
    count = (
        JoinedColumn(of_rows, event, "timestamp") if join.windows is None else JoinedColumn(of_rows, ROWS, "integer")
    )
    columns = (
        JoinedColumn(of_event, event, "timestamp"),
        JoinedColumn(of_available, available, "timestamp"),
        count,
    )
    return replace(join, columns=(*join.columns, *columns))


def differences(
    manifest: ModelManifest, answer: LoggedAnswer, again: Recomputation, *, redactions: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Where a logged answer and the recomputed one differ: ``feature`` (``value`` for the answer), ``online`` and ``offline``.

    Args:
        manifest: that of the build that answered.
        answer: what was answered.
        again: what is recomputed.
        redactions: the features that the log does not have.
    """
    result = [
        one
        for one in feature_differences(manifest.view, again.features, {**again.features, **answer.features})
        if one["feature"] not in redactions and not is_hashed(one["online"])
    ]
    if not same_answer(manifest, answer.value, again.value):
        result.append({"feature": "value", "online": answer.value, "offline": again.value})
    return result


def same_answer(manifest: ModelManifest, one: Any, other: Any) -> bool:
    """Whether two answers are the same but for rounding; an answer that is no number is the same as another such."""
    first, second = (numbers_of(manifest, _numeric(value)) for value in (one, other))
    return bool(np.allclose(first, second, rtol=0.0, atol=TOLERANCE, equal_nan=True))


def is_hashed(value: Any) -> bool:
    """Whether a logged value is a hash in place of what was redacted."""
    return isinstance(value, str) and value.startswith(HASH_PREFIX)


def winning_rows(
    lake: Lake, manifest: ModelManifest, request: Mapping[str, Any], at: datetime, *, snapshot: int
) -> list[WinningRow]:
    """The row of each joined group that wins for a request at an instant, by the rule of the join, each group's key once."""
    form = RequestForm(manifest.view, what=f"model {manifest.model!r}")
    fields = dict(zip((column.name for column in form.columns), form.read(_request_of(manifest, request)), strict=True))
    return [_winner(lake, join, fields, at, snapshot) for join in manifest.view.joins]


def _winner(lake: Lake, join: JoinedGroup, fields: Mapping[str, Any], at: datetime, snapshot: int) -> WinningRow:
    keys = {key.group: fields[key.spine] for key in join.keys}
    rows = lake.rows(join.table, snapshot=snapshot, with_partition=True)
    time, where = join.event_time, [f"{quote(name)} = ${number}" for number, name in enumerate(keys, 1)]
    order = ""
    if time is not None:
        visible = f"greatest({quote(time)}, {available_sql(join.times)})"
        where.append(f"{visible} <= {timestamp(at)}")
        if (windows := join.windows) is not None:  # the newest row that counts
            begin = far_end(microseconds(at), windows.longest.us, windows.every_us)
            where.append(f"{visible} > {timestamp(from_microseconds(max(begin, microseconds(datetime.min))))}")
        ties = [f"{available_sql(join.times)} DESC", *([f"{quote(join.tie_break)} DESC"] if join.tie_break else [])]
        order = f" ORDER BY {quote(time)} DESC, {', '.join(ties)}"
    sql = f"SELECT * FROM {relation_name(rows)} WHERE {' AND '.join(where)}{order} LIMIT 1"
    result = lake.connection.execute(sql, list(keys.values()))
    names = [column[0] for column in result.description or ()]
    records = result.fetchall()
    if not records:
        return WinningRow(join.table_name, keys)
    row = dict(zip(names, records[0], strict=True))
    partition = row.pop(PARTITION, None)
    age = None if time is None else at - row[time]
    stale = age is not None and join.ttl_us is not None and age > timedelta(microseconds=join.ttl_us)
    return WinningRow(join.table_name, keys, partition, row, age, stale)


def _spine(
    lake: Lake, manifest: ModelManifest, requests: Sequence[Mapping[str, Any]], times: Sequence[datetime]
) -> str:
    """The requests as a temporary table, with their prediction times and their order."""
    view = manifest.view
    form = RequestForm(view, what=f"model {manifest.model!r}")
    values = [form.read(_request_of(manifest, request)) for request in requests]
    columns = [*form.columns, Column(_ORDER, "integer")]
    by_column: list[Sequence[Any]] = [list(of) for of in zip(*values, strict=True)] if form.columns else []
    by_column.append(range(len(requests)))
    if view.prediction_time is not None:
        columns.append(Column(view.prediction_time, "timestamp"))
        by_column.append(list(times))
    name, chunk = quote(temporary_name("asked")), temporary_name("asked")
    lake.connection.register(chunk, as_table(columns, by_column))
    lake.connection.execute(f"CREATE TEMP TABLE {name} AS FROM {quote(chunk)}")
    lake.connection.unregister(chunk)
    return name


def _request_of(manifest: ModelManifest, request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that a build takes."""
    view = manifest.view
    fields = [column.name for column in view.request if column.name != view.prediction_time]
    if hashes := [name for name in fields if is_hashed(request.get(name))]:
        raise PredictionError(
            f"{list_some(hashes)} was redacted when it was logged, so the request cannot be asked again"
        )
    return {name: request[name] for name in fields if name in request}


def _plain_answer(manifest: ModelManifest, answer: np.ndarray) -> Any:
    if manifest.classes and np.ndim(answer):
        return dict(zip(manifest.classes, np.asarray(answer, dtype=np.float64).tolist(), strict=True))
    return float(answer)


def _numeric(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: np.nan if one is None else one for name, one in value.items()}
    return np.nan if value is None else value
