"""The last run of a partition that was made before its end, and what is done about one that fails.

Each looks at what is new since its last evaluation, never at all partitions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.times import Partition
from fti_assets.orchestration.conditions.made import newest_marks
from fti_assets.orchestration.conditions.within_reach import Context, Result, subset_of, true_of
from fti_assets.orchestration.partitions import is_timed, partitions_of

AGAIN = (timedelta(hours=1), timedelta(hours=2), timedelta(hours=4))
"""After how long a last run that failed is requested again, each counted from the request before."""

_MARKS: WeakKeyDictionary[Any, dict[tuple[dg.AssetKey, int | None], dict[str, bool]]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class PartitionEnded(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that were last made before their end and delay had passed, which have passed now.

    Its first evaluation looks at the newest 10,000 materializations, later ones at those since.
    """

    partitions: dg.TimeWindowPartitionsDefinition
    delay: timedelta

    name = "made_before_its_window_ended"  # stored cursors know the condition by it

    @property
    def description(self) -> str:
        return f"Last made before the partition's end and a delay of {self.delay} had passed, which have passed now"

    def evaluate(self, context: Context) -> Result:
        last_event, before = json.loads(context.cursor) if context.cursor else (None, [])
        newest_event = context.asset_graph_view.last_event_id or 0
        marks = _marks_since(context, last_event)
        early = sorted(key for key in {*before, *marks} if marks.get(key, True))
        latest_end = clock.now() - self.delay
        existing = partitions_of(self.partitions, [key for key in early if self.partitions.has_partition_key(key)])
        ended = [partition for partition in existing if partition.end is not None and partition.end <= latest_end]
        return true_of(context, _subset(context, ended), cursor=json.dumps([newest_event, early]))


@dataclass(frozen=True)
class _Request:
    """The last run of a partition that was requested: when, and how often again."""

    at: datetime
    again: int

    @property
    def due(self) -> datetime:
        return self.at + AGAIN[min(self.again, len(AGAIN) - 1)]


@dataclass(frozen=True, eq=False)
class LastRunFailed(dg.AutomationCondition[dg.AssetKey]):
    """Partitions whose last run was requested and has failed, so that they are still as they were made before their end.

    It is requested again after one hour, two and four; then it is left, which the tick says. A run that somebody cancelled or deleted is
    not. New data of the partition ask by themselves.
    """

    ended: PartitionEnded

    name = "last_run_failed"
    description = "The run after the partition's end has failed: it is requested again after 1, 2 and 4 hours"

    @property
    def children(self) -> list[dg.AutomationCondition[Any]]:
        return [self.ended]

    async def evaluate(self, context: Context) -> Result:
        child = await context.for_child_condition(self.ended, [None], context.candidate_subset).evaluate_async()
        ended = child.true_subset
        requests = {} if ended.is_empty else dict(self._requests(context, ended))
        due = list(self._due(context, requests))
        subset = context.get_empty_subset() if not due else _subset(context, partitions_of(self.ended.partitions, due))
        cursor = json.dumps({key: [one.at.isoformat(), one.again] for key, one in sorted(requests.items())})
        return true_of(context, subset, cursor=cursor, child_results=[child])

    def _requests(self, context: Context, ended: Any) -> Iterator[tuple[str, _Request]]:
        """The requests for partitions that are still early, those of the tick before among them."""
        state = json.loads(context.cursor or "{}")
        requests = {key: _Request(datetime.fromisoformat(at), again) for key, (at, again) in state.items()}
        newest, now = context.get_previous_requested_subset(context.key), clock.now()
        is_new = newest is not None and not newest.is_empty
        of_tick = newest.expensively_compute_partition_keys() if newest is not None and is_new else set()
        for key in ended.expensively_compute_partition_keys():
            old = requests.get(key)
            if key in of_tick:
                is_again = old is not None and old.due <= now
                yield key, _Request(now, (old.again if old is not None else 0) + is_again)
            elif old is not None:
                yield key, old

    def _due(self, context: Context, requests: dict[str, _Request]) -> Iterator[str]:
        now, instance = clock.now(), context.asset_graph_view.instance
        for key, request in requests.items():
            if now < request.due or request.again > len(AGAIN):
                continue
            plan = instance.get_latest_planned_materialization_info(context.key, partition=key)
            run = None if plan is None else instance.get_run_by_id(plan.run_id)
            if run is None or run.status != dg.DagsterRunStatus.FAILURE:
                continue
            what = f"the last run of {context.key.to_user_string()} {key}, after its end,"
            if request.again == len(AGAIN):
                context.log.error(
                    f"{what} has failed {len(AGAIN) + 1} times: it is not requested again; see to the run's log"
                )
                requests[key] = _Request(request.at, request.again + 1)
            else:
                context.log.warning(f"{what} has failed: requested again, {request.again + 1} of {len(AGAIN)}")
                yield key


@dataclass(frozen=True, eq=False)
class PartitionOver(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that have ended: what watches others waits for that, or it would run with each file of an open day."""

    name = "partition_over"
    description = "The partition has ended"
    requires_cursor = False

    def evaluate(self, context: Context) -> Result:
        own = context.partitions_def
        if not is_timed(own):
            return true_of(context, context.candidate_subset)
        last = own.get_prev_partition_window(clock.now().replace(tzinfo=UTC), respect_bounds=False)
        if last is None or last.end <= own.start:
            return true_of(context, context.get_empty_subset())
        return true_of(context, subset_of(context, [dg.TimeWindow(own.start, last.end)]))


@dataclass(frozen=True, eq=False)
class PartitionBegun(dg.AutomationCondition[dg.AssetKey]):
    """The newest partition that has begun: what rests on a schedule alone is there from then on."""

    name = "partition_begun"
    description = "The newest partition that has begun"
    requires_cursor = False

    def evaluate(self, context: Context) -> Result:
        own = context.partitions_def
        assert is_timed(own)
        over = own.get_prev_partition_window(clock.now().replace(tzinfo=UTC), respect_bounds=False)
        begun = None if over is None else own.get_next_partition_window(over.end, respect_bounds=False)
        # Without an end_offset a partition is one of the definition's only once it is over.
        for window in (begun, over):
            if window is not None and own.has_partition_key(
                own.get_partition_key_for_timestamp(window.start.timestamp())
            ):
                return true_of(context, subset_of(context, [window]))
        return true_of(context, context.get_empty_subset())


def _marks_since(context: Context, event: int | None) -> dict[str, bool]:
    """What was made since an event, looked up once a tick: the condition stands in two places of its asset's."""
    in_tick = _MARKS.setdefault(context.asset_graph_view, {})
    if (context.key, event) not in in_tick:
        in_tick[context.key, event] = newest_marks(context.asset_graph_view.instance, context.key, after=event)
    return in_tick[context.key, event]


def _subset(context: Context, partitions: Sequence[Partition]) -> Any:
    spans = [
        dg.TimeWindow(one.start.replace(tzinfo=UTC), one.end.replace(tzinfo=UTC))
        for one in partitions
        if one.start and one.end
    ]
    return subset_of(context, spans)
