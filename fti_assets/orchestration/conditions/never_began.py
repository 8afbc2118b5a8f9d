"""A condition on requests that never began: no run was made of them, or one that failed before a step of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fti_assets.core.times import naive_utc
from fti_assets.orchestration.conditions.launches import MOST_AGAIN, Launch, launch_of, next_launch
from fti_assets.orchestration.conditions.within_reach import spans_of, subset_of
from fti_assets.orchestration.dagster_internals import BulkActionStatus
from fti_assets.orchestration.partitions import is_timed

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_LOOKED_AT = 100
_BACKFILLS = 20
_CANCELLED = (BulkActionStatus.CANCELED, BulkActionStatus.CANCELING)


@dataclass(frozen=True)
class _Request:
    """Partitions that were requested at a tick: what Dagster's log held then, when it was, and how often again."""

    subset: Any
    event: int
    at: datetime
    again: int

    @property
    def due(self) -> datetime:
        return next_launch(self.at, self.again)


@dataclass(frozen=True, eq=False)
class NeverBegan(dg.AutomationCondition[dg.AssetKey]):
    """Partitions whose last request never began and may be made again by now.

    It is true until they are requested. Requests are forgotten once they end, or have been made again five times.
    """

    @property
    def name(self) -> str:
        return "request_never_began"

    @property
    def description(self) -> str:
        return (
            "No run was made of the last request, or one that failed before a step of its own: it is made again after 1, 2, 4, "
            "8 and 16 minutes"
        )

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        requests = list(_with_newest(context, list(_read(context))))
        if not requests:
            return dg.AutomationResult(context, context.get_empty_subset())
        view, now, kept, results = (
            context.asset_graph_view,
            naive_utc(context.evaluation_time),
            [],
            context.get_empty_subset(),
        )
        everything = view.get_full_subset(key=context.key)
        running = await view.compute_run_in_progress_subset(key=context.key, from_subset=everything)
        backfill = await view.compute_backfill_in_progress_subset(key=context.key, from_subset=everything)
        busy = running.compute_union(backfill)
        for request in requests:
            lost, open_still = _lost(context, request, busy)
            waits = open_still
            if not lost.is_empty and now < request.due:
                waits = waits.compute_union(lost)
            elif not lost.is_empty and request.again == MOST_AGAIN:
                context.log.error(
                    f"{_named(context, lost)} never began, {MOST_AGAIN + 1} times; not requested again: see to the code location "
                    "and the run's log, then materialize it"
                )
            elif not lost.is_empty:
                context.log.warning(
                    f"{_named(context, lost)} never began: requested again, {request.again + 1} of {MOST_AGAIN}"
                )
                results, waits = results.compute_union(lost), waits.compute_union(lost)
            if not waits.is_empty:
                kept.append(_Request(waits, request.event, request.at, request.again))
        return dg.AutomationResult(
            context, context.candidate_subset.compute_intersection(results), cursor=_written(context, kept)
        )


def _with_newest(context: dg.AutomationContext[Any], requests: list[_Request]) -> Iterator[_Request]:
    """The requests with those of the tick before, which take the place of older ones for the same partitions."""
    newest = context.get_previous_requested_subset(context.key)
    if newest is None or newest.is_empty or context.previous_evaluation_time is None:
        yield from requests
        return
    at, event = naive_utc(context.previous_evaluation_time), context.previous_max_storage_id or 0
    for old in requests:
        same = old.subset.compute_intersection(newest)
        if not same.is_empty:
            yield _Request(same, event, at, old.again + 1 if old.due <= at else 0)
            newest = newest.compute_difference(same)
        rest = old.subset.compute_difference(same)
        if not rest.is_empty:
            yield _Request(rest, old.event, old.at, old.again)
    if not newest.is_empty:
        yield _Request(newest, event, at, 0)


def _lost(context: dg.AutomationContext[Any], request: _Request, busy: Any) -> tuple[Any, Any]:
    """Of a request the partitions that never began, and those of which it is not known yet."""
    instance, nothing = context.asset_graph_view.instance, context.get_empty_subset()
    under_way = request.subset.compute_intersection(busy)
    rest = request.subset.compute_difference(under_way)
    if rest.is_empty:
        return nothing, under_way
    planned = instance.get_latest_planned_materialization_info(context.key)
    if planned is None or planned.storage_id <= request.event:
        return (nothing, nothing) if _cancelled(context, request) else (rest, under_way)
    if not rest.is_partitioned:
        run = instance.get_run_by_id(planned.run_id)
        launch: Launch = "ended" if run is None else launch_of(instance, run)
        return (rest if launch == "never began" else nothing), (rest if launch == "under way" else nothing)
    made = set(instance.get_materialized_partitions(context.key, after_cursor=request.event))
    left = sorted(rest.expensively_compute_partition_keys() - made)
    by_launch: dict[Launch, set[str]] = {"under way": set(), "never began": set(), "ended": set()}
    cancelled: bool | None = None
    for _ in range(_LOOKED_AT):
        if not left:
            break
        planned = instance.get_latest_planned_materialization_info(context.key, partition=left[0])
        if planned is None or planned.storage_id <= request.event:
            cancelled = _cancelled(context, request) if cancelled is None else cancelled
            by_launch["ended" if cancelled else "never began"].add(left[0])
            left = left[1:]
            continue
        run = instance.get_run_by_id(planned.run_id)
        of_run = _partitions_of(context, run) | {left[0]}
        by_launch["ended" if run is None else launch_of(instance, run)].update(of_run.intersection(left))
        left = [key for key in left if key not in of_run]
    by_launch["under way"].update(left)  # looked at in the next tick
    kept = request.subset.compute_intersection_with_partition_keys(by_launch["under way"])
    lost = request.subset.compute_intersection_with_partition_keys(by_launch["never began"])
    return lost, under_way.compute_union(kept)


def _partitions_of(context: dg.AutomationContext[Any], run: dg.DagsterRun | None) -> set[str]:
    """The partitions of a run over a range; nothing for one over a single partition."""
    first, last = ((run.tags if run else {}).get(tag) for tag in _RANGE)
    own = context.partitions_def
    if first is None or last is None or own is None:
        return set()
    return set(own.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))


def _cancelled(context: dg.AutomationContext[Any], request: _Request) -> bool:
    """Whether somebody has cancelled a backfill of the asset since, before its runs were made."""
    since = request.at.replace(tzinfo=UTC).timestamp()
    return any(
        backfill.status in _CANCELLED
        and backfill.backfill_timestamp >= since
        and context.key in (backfill.asset_selection or [])
        for backfill in context.asset_graph_view.instance.get_backfills(limit=_BACKFILLS)
    )


def _named(context: dg.AutomationContext[Any], subset: Any) -> str:
    name = context.key.to_user_string()
    return f"the run of {subset.size} partitions of {name}" if subset.is_partitioned else f"the run of {name}"


def _read(context: dg.AutomationContext[Any]) -> Iterator[_Request]:
    for said, event, at, again in json.loads(context.cursor or "[]"):
        view, own = context.asset_graph_view, context.partitions_def
        if said is True and own is None:
            subset = view.get_full_subset(key=context.key)
        elif is_timed(own) and isinstance(said, dict):
            ends = [
                (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)) for start, end in said["spans"]
            ]
            subset = subset_of(context, [dg.TimeWindow(start, end) for start, end in ends])
        elif own is not None and isinstance(said, list):
            subset = view.get_subset_from_partition_keys(context.key, own, set(said) & set(own.get_partition_keys()))
        else:
            continue  # it had other partitions then
        if not subset.is_empty:
            yield _Request(subset, event, datetime.fromisoformat(at), again)


def _written(context: dg.AutomationContext[Any], requests: list[_Request]) -> str:
    return json.dumps([[_subset_text(context, r.subset), r.event, r.at.isoformat(), r.again] for r in requests])


def _subset_text(context: dg.AutomationContext[Any], subset: Any) -> Any:
    if context.partitions_def is None:
        return True
    if is_timed(context.partitions_def):
        return {"spans": [[span.start.timestamp(), span.end.timestamp()] for span in spans_of(subset)]}
    return sorted(subset.expensively_compute_partition_keys())
