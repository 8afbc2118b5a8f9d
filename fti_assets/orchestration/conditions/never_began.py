"""What was requested and never began: no run was made of it, or one that failed before a step of its own started.

Such a run failed for Dagster's reasons: a code server that does not answer in time, a launch that fails, a machine that takes no
process. The request is made again, after one minute, two, four, eight and sixteen. What fails in a step is the asset's own failure,
and what somebody has cancelled stays so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg

from fti_assets.core.times import naive_utc
from fti_assets.orchestration.conditions.stored_subsets import from_plain, to_plain
from fti_assets.orchestration.conditions.within_reach import Context, Result, true_of
from fti_assets.orchestration.dagster_internals import BulkActionStatus
from fti_assets.orchestration.partitions import RANGE_TAGS

MOST_AGAIN = 5
"""How often a request that never began is made again."""

_MOST_RUNS = 100
_BACKFILLS = 20
_CANCELLATIONS = (BulkActionStatus.CANCELED, BulkActionStatus.CANCELING)

Launch = Literal["under way", "ended", "never began"]


def launch_of(instance: dg.DagsterInstance, run: dg.DagsterRun | None) -> Launch:
    """What became of the launch of a run: it is under way, has ended for better or worse (or was deleted), or never began."""
    if run is None:
        return "ended"
    if not run.is_finished:
        return "under way"
    if run.status != dg.DagsterRunStatus.FAILURE:
        return "ended"
    # A run whose code location could not be loaded fails without a step: nothing of it has been tried.
    starts = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return "ended" if starts else "never began"


def next_launch(at: datetime, again: int) -> datetime:
    """When a request that never began may be made again.

    Args:
        at: when it was made last.
        again: how often it was made again so far.

    >>> str(next_launch(datetime(2024, 1, 1), again=2))
    '2024-01-01 00:04:00'
    """
    return at + timedelta(minutes=2**again)


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

    name = "request_never_began"
    description = (
        "No run was made of the last request, or one that failed before a step of its own: it is made again after 1, 2, 4, "
        "8 and 16 minutes"
    )

    async def evaluate(self, context: Context) -> Result:
        requests = list(_with_newest(context, list(_read(context))))
        due = context.get_empty_subset()
        if not requests:
            return dg.AutomationResult(context, due)
        view, now, open_requests = context.asset_graph_view, naive_utc(context.evaluation_time), list[_Request]()
        everything = view.get_full_subset(key=context.key)
        running = await view.compute_run_in_progress_subset(key=context.key, from_subset=everything)
        backfill = await view.compute_backfill_in_progress_subset(key=context.key, from_subset=everything)
        busy = running.compute_union(backfill)
        for request in requests:
            lost, unknown = _never_begun(context, request, busy)
            if not lost.is_empty:
                what = _run_of(context, lost)
                if now >= request.due and request.again == MOST_AGAIN:
                    context.log.error(
                        f"{what} never began, {MOST_AGAIN + 1} times; not requested again: see to the code location "
                        "and the run's log, then materialize it"
                    )
                else:
                    unknown = unknown.compute_union(lost)
                    if now >= request.due:
                        context.log.warning(f"{what} never began: requested again, {request.again + 1} of {MOST_AGAIN}")
                        due = due.compute_union(lost)
            if not unknown.is_empty:
                open_requests.append(replace(request, subset=unknown))
        return true_of(context, due, cursor=_to_json(context, open_requests))


def _with_newest(context: Context, requests: list[_Request]) -> Iterator[_Request]:
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
        older = old.subset.compute_difference(same)
        if not older.is_empty:
            yield replace(old, subset=older)
    if not newest.is_empty:
        yield _Request(newest, event, at, 0)


def _never_begun(context: Context, request: _Request, busy: Any) -> tuple[Any, Any]:
    """Of a request the partitions that never began, and those of which it is not known yet."""
    instance, nothing = context.asset_graph_view.instance, context.get_empty_subset()
    under_way, idle = request.subset.compute_intersection(busy), request.subset.compute_difference(busy)
    if idle.is_empty:
        return nothing, under_way
    plan = instance.get_latest_planned_materialization_info(context.key)
    if plan is None or plan.storage_id <= request.event:
        return (nothing, nothing) if _is_cancelled(context, request) else (idle, under_way)
    if not idle.is_partitioned:
        launch = launch_of(instance, instance.get_run_by_id(plan.run_id))
        return (idle if launch == "never began" else nothing), (idle if launch == "under way" else nothing)
    # One look per run that was made of the request, not per partition.
    materialized_keys = set(instance.get_materialized_partitions(context.key, after_cursor=request.event))
    unknown = sorted(idle.expensively_compute_partition_keys() - materialized_keys)
    by_launch: dict[Launch, set[str]] = {"under way": set(), "never began": set(), "ended": set()}
    is_cancelled: bool | None = None
    for _ in range(_MOST_RUNS):
        if not unknown:
            break
        plan = instance.get_latest_planned_materialization_info(context.key, partition=unknown[0])
        if plan is None or plan.storage_id <= request.event:
            is_cancelled = _is_cancelled(context, request) if is_cancelled is None else is_cancelled
            of_run, launch = {unknown[0]}, "ended" if is_cancelled else "never began"
        else:
            run = instance.get_run_by_id(plan.run_id)
            of_run, launch = _range_of(context, run) | {unknown[0]}, launch_of(instance, run)
        by_launch[launch].update(of_run.intersection(unknown))
        unknown = [key for key in unknown if key not in of_run]
    by_launch["under way"].update(unknown)  # looked at in the next tick
    open_subset = request.subset.compute_intersection_with_partition_keys(by_launch["under way"])
    lost = request.subset.compute_intersection_with_partition_keys(by_launch["never began"])
    return lost, under_way.compute_union(open_subset)


def _range_of(context: Context, run: dg.DagsterRun | None) -> set[str]:
    """The partitions of a run over a range; nothing for one over a single partition."""
    first, last = ((run.tags if run else {}).get(tag) for tag in RANGE_TAGS)
    own = context.partitions_def
    if first is None or last is None or own is None:
        return set()
    return set(own.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))


def _is_cancelled(context: Context, request: _Request) -> bool:
    """Whether somebody has cancelled a backfill of the asset since, before its runs were made."""
    since = request.at.replace(tzinfo=UTC).timestamp()
    return any(
        backfill.status in _CANCELLATIONS
        and backfill.backfill_timestamp >= since
        and context.key in (backfill.asset_selection or [])
        for backfill in context.asset_graph_view.instance.get_backfills(limit=_BACKFILLS)
    )


def _run_of(context: Context, subset: Any) -> str:
    name = context.key.to_user_string()
    return f"the run of {subset.size} partitions of {name}" if subset.is_partitioned else f"the run of {name}"


def _read(context: Context) -> Iterator[_Request]:
    for partitions, event, at, again in json.loads(context.cursor or "[]"):
        subset = from_plain(context, partitions)
        if not subset.is_empty:
            yield _Request(subset, event, datetime.fromisoformat(at), again)


def _to_json(context: Context, requests: list[_Request]) -> str:
    return json.dumps([[to_plain(context, one.subset), one.event, one.at.isoformat(), one.again] for one in requests])
