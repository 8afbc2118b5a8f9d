"""Which partitions of a monitor have answers whose labels have changed since a look, beyond what its condition asks for by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord
from fti_assets.core.sql import literal, not_pushed_down, quote, temporary_name, timestamp
from fti_assets.core.times import Partition, microseconds, naive_utc
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitors.answers.answered import PARTITION, Answered, with_partitions
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.run import answers_of
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.models.model import Model
from fti_assets.training.views.terms import Label


@dataclass(frozen=True)
class Look:
    """A look at labels: the lake's snapshot, and when by the clock, naive UTC."""

    snapshot: int
    at: datetime


def late_days(lake: Lake, monitor: Monitor, before: Look | None) -> list[Partition]:
    """The measured partitions of a monitor with answers whose labels have come, changed or gone since a look.

    A label's rows are compared with those at the snapshot of that look, partition by partition of their group, and the keys of those that
    differ say which answers they are of. What the monitor's condition maps by time, as a label's partition lies within the maturity
    of the answers, is left out.

    Args:
        lake: the open lake, within one snapshot.
        monitor: with quality.
        before: the look; of one whose snapshot is expired, each row of a partition that has changed since counts. None for no look at all:
            then what was measured before the label's partition was stored.
    """
    if not lake.has(monitor.table):
        return []
    own, calendar = lake.ledger(monitor.table), monitor.calendar
    measured = partitions_of(calendar, [key for key in own if calendar.has_partition_key(key)])
    snapshot, days = lake.snapshot(), set[str]()
    answers = [*answers_of(monitor, lake, snapshot, clock.now())] if measured else []
    for label in monitor.labels:
        changed = _changed_rows(lake, label.group, _columns_of(label.group, monitor), before) if answers else None
        if changed is None:
            continue
        spans = _spans_asked_for(monitor, label, changed.partitions)
        for one in answers:
            for joined in one.all_labels.values():
                if joined.group is label.group:
                    days |= _days_of(one, joined, changed.table, spans, measured, {} if before else own)
    return [one for one in measured if one.key in days]


@dataclass(frozen=True)
class _Changed:
    """The rows of a label's group that are not as they were: a temporary table by its quoted name, and their partitions."""

    table: str
    partitions: Mapping[str, PartitionRecord | None]


def _columns_of(group: FeatureGroup, monitor: Monitor) -> list[str]:
    """What a label is told by."""
    models = [one for one in monitor.models if isinstance(one, Model)]
    labels = [label.name for model in models for label in model.view.labels.values() if label.group is group]
    times = [one for one in (group.event_time, group.available_at, group.tie_break) if one is not None]
    return list(dict.fromkeys([*group.keys, *times, *labels]))


def _changed_rows(lake: Lake, group: FeatureGroup, columns: Sequence[str], before: Look | None) -> _Changed | None:
    if group.source is not None or not lake.has(group.table):
        return None
    ledger, earlier = lake.ledger(group.table), _ledger_then(lake, group, before)
    if earlier is None:
        since = datetime.min if before is None else before.at
        changed = [key for key, record in ledger.items() if record.committed_at >= since]
    else:
        keys = dict.fromkeys([*ledger, *earlier])
        changed = [key for key in keys if _version_of(ledger, key) != _version_of(earlier, key)]
    if not changed:
        return None
    listed = ", ".join(["_partition", *map(quote, columns)])
    now = _rows(lake, group, [key for key in changed if key in ledger], listed, None)
    rows = now or "SELECT 1 WHERE false"
    if earlier is not None and before is not None:
        then = _rows(lake, group, [key for key in changed if key in earlier], listed, before.snapshot)
        rows = (
            f"(({now}) EXCEPT ALL ({then})) UNION ALL (({then}) EXCEPT ALL ({now}))" if now and then else then or rows
        )
    table = quote("temp", temporary_name("changed"))
    lake.connection.execute(f"CREATE TEMP TABLE {table} AS {rows}")
    return _Changed(table, {key: ledger.get(key) for key in changed})


def _ledger_then(lake: Lake, group: FeatureGroup, before: Look | None) -> Mapping[str, PartitionRecord] | None:
    """What was stored at a look; None if nobody can tell any more."""
    if before is None:
        return None
    try:
        return lake.ledger(group.table, snapshot=before.snapshot)
    except (NotMaterializedError, StoreError):
        return None


def _version_of(ledger: Mapping[str, PartitionRecord], key: str) -> str:
    return ledger[key].data_version if key in ledger else ""


def _rows(lake: Lake, group: FeatureGroup, keys: Sequence[str], listed: str, snapshot: int | None) -> str:
    """The SQL of rows of some partitions; empty for no partition."""
    if not keys:
        return ""
    rows = lake.rows(group.table, snapshot=snapshot, partitions=keys, with_partition=True)
    return f"SELECT {listed} FROM {relation_name(rows)}"


def _spans_asked_for(
    monitor: Monitor, label: Label, partitions: Mapping[str, PartitionRecord | None]
) -> Iterator[tuple[str, datetime, datetime, datetime]]:
    """By each changed partition of a label's group, which answers the condition asks for, and when it was stored."""
    theirs = label.group.partitions_def
    for key, record in partitions.items():
        nothing = (datetime(1970, 1, 1), datetime(1970, 1, 1))
        stored_at = datetime.max if record is None else record.committed_at
        if not is_timed(theirs) or not theirs.has_partition_key(key):
            yield (key, *nothing, stored_at)
            continue
        (one,) = partitions_of(theirs, [key])
        assert one.start is not None
        assert one.end is not None
        start, end = one.start.replace(tzinfo=UTC), one.end.replace(tzinfo=UTC)
        calendar = monitor.calendar
        assert is_timed(calendar)
        span = Reach(ahead=label.age).span_of(calendar, start, end)
        yield (key, *(nothing if span is None else (naive_utc(span.start), naive_utc(span.end))), stored_at)


def _days_of(
    answers: Answered,
    label: Label,
    changed: str,
    spans: Iterable[tuple[str, datetime, datetime, datetime]],
    measured: Sequence[Partition],
    measured_at: Mapping[str, PartitionRecord],
) -> set[str]:
    """The partitions of the monitor whose answers have a label among some rows that have changed.

    Args:
        answers: of one model.
        label: a label of its.
        changed: the table of the rows.
        spans: what is asked for otherwise.
        measured: the partitions of the monitor.
        measured_at: when each was measured, if what came before that was seen; else nothing.
    """
    group, time = label.group, quote(answers.time)
    span_values = ", ".join(
        f"({literal(key)}, {timestamp(since)}, {timestamp(until)}, {timestamp(stored)})"
        for key, since, until, stored in spans
    )
    keys = [(quote(label.column.spine_keys.get(key, key)), quote(key)) for key in group.keys]
    beside = answers.beside_keys(label)
    kinds = dict(zip(map(quote, beside.columns), map(str, beside.types), strict=True))
    # A text is compared as the lake's catalog is not asked for it: with a NUL in it, it could not be.
    compared = {
        own: not_pushed_down(f"answers.{own}") if kinds[own] == "VARCHAR" else f"answers.{own}" for own, _ in keys
    }
    same = " AND ".join(f"{compared[own]} = changed.{theirs}" for own, theirs in keys)
    if label.horizon is not None and group.event_time is not None:
        event = f"changed.{quote(group.event_time)}"
        horizon = f"to_microseconds({microseconds(label.horizon)})"
        same += f" AND {event} > answers.{time} AND {event} <= answers.{time} + {horizon}"
    elif group is answers.model.view.spine and group.event_time is not None:
        same += f" AND changed.{quote(group.event_time)} = answers.{time}"
    rows = (
        f"SELECT DISTINCT answers.{time}, changed._partition AS _fti_came_in, asked.stored_at AS _fti_stored FROM "
        f"{relation_name(beside)} answers JOIN {changed} changed ON {same} JOIN (FROM (VALUES {span_values}) "
        "asked(partition, since, until, stored_at)) asked ON asked.partition = changed._partition "
        f"WHERE NOT (answers.{time} >= asked.since AND answers.{time} < asked.until)"
    )
    listed = with_partitions(f"({rows})", answers.time, measured, ["answers._fti_stored"])
    answer_rows = answers.lake.connection.execute(
        f"SELECT {PARTITION}, max(_fti_stored) FROM ({listed}) GROUP BY 1"
    ).fetchall()
    return {key for key, stored_at in answer_rows if key not in measured_at or measured_at[key].run_at < stored_at}
