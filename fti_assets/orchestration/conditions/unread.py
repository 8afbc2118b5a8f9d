"""What is to be read since it has changed, once: what a run of the asset's own has read by now is not asked for again.

A run that makes an asset and what it reads, as a cutoff of a dataset with its model, changes the one before it begins the other.
A run has read what was there when its step began, whatever became of the step: one that failed, or a build that was turned down, is
not made again of the same data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dagster as dg

from fti_assets.orchestration.conditions.stored_subsets import from_plain, to_plain
from fti_assets.orchestration.conditions.within_reach import Context, Result, Upstream, readers_of, true_of
from fti_assets.orchestration.dagster_internals import TemporalContext

_MOST_RUNS = 500
_CHUNK = 1000


@dataclass(frozen=True)
class _Plan:
    """A run that is the last that was planned of some partitions, and the event of that."""

    run_id: str
    event: int
    partitions: Any


@dataclass(frozen=True, eq=False)
class Unread(dg.AutomationCondition[dg.AssetKey]):
    """Partitions for which a trigger was true since they were requested, and of which no run has begun since on the same data.

    The trigger wins over the request of the tick before: what changed after that run began is in the next one.

    Args:
        trigger: what asks for partitions, such as a change of an input.
        sources: what is read.
        others: whether what the asset depends on otherwise is read too, as Dagster maps it.
    """

    trigger: dg.AutomationCondition[Any]
    sources: tuple[Upstream, ...]
    others: bool

    name = "not_read_since"
    description = "Asked for since it was last requested, and no run of it has begun since on the same data"

    @property
    def children(self) -> list[dg.AutomationCondition[Any]]:
        return [self.trigger]

    async def evaluate(self, context: Context) -> Result:
        view, instance = context.asset_graph_view, context.asset_graph_view.instance
        asking = context.for_child_condition(self.trigger, [0], view.get_full_subset(key=context.key))
        child = await asking.evaluate_async()
        true_subset, state = child.true_subset, json.loads(context.cursor) if context.cursor else None
        requested = context.get_previous_requested_subset(context.key) or context.get_empty_subset()
        kept = context.get_empty_subset() if state is None else from_plain(context, state["asked"])
        unread = kept.compute_difference(requested).compute_union(true_subset)
        looked_at = None if state is None else state["plan"]
        # Of what came before the first look nothing is known: what is missing then is asked for, whatever was tried.
        if state is not None and not unread.is_empty:
            plan = instance.get_latest_planned_materialization_info(context.key)
            newest = None if plan is None else plan.storage_id
            if newest is not None and (newest != looked_at or not true_subset.is_empty):
                unread, is_known = await self._unread_of(asking, unread)
                looked_at = newest if is_known else None
        cursor = json.dumps({"asked": to_plain(context, unread), "plan": looked_at})
        return true_of(context, unread, child_results=[child], cursor=cursor)

    async def _unread_of(self, context: Context, partitions: Any) -> tuple[Any, bool]:
        """What of some partitions no run has read yet, and whether that is known of all: a run under way may yet begin their step."""
        instance, unread, is_known = context.asset_graph_view.instance, partitions, True
        for plan in _newest_plans(context, partitions):
            run = instance.get_run_by_id(plan.run_id)
            if run is None or not _has_begun(instance, run, context.key):
                is_known = is_known and (run is None or run.is_finished)
                continue
            changed = await self._changed_since(context, plan.event, run)
            unread = unread.compute_difference(plan.partitions.compute_difference(changed))
        return unread, is_known

    async def _changed_since(self, context: Context, event: int, run: dg.DagsterRun) -> Any:
        """The asset's partitions that read what has changed since an event, but by a run that was planned then."""
        view, readers = context.asset_graph_view, context.get_empty_subset()
        since = TemporalContext(effective_dt=view.effective_dt, last_event_id=event)
        sources = {source.key: source for source in self.sources}
        parents = view.asset_graph.get(context.key).parent_keys if self.others else ()
        for key in dict.fromkeys([*sources, *parents]):
            if not view.asset_graph.has(key):
                continue
            changed = await view.compute_data_version_changed_since_temporal_context_subset(
                key=key, temporal_context=since
            )
            if not changed.is_empty and (not run.asset_selection or key in run.asset_selection):
                # What the run itself has made was made before it began the asset's own step.
                changed = changed.compute_difference(_made_by(view, key, event, run.run_id))
            if key in sources:
                readers = readers.compute_union(readers_of(context, sources[key], changed))
            else:
                readers = readers.compute_union(changed.compute_mapped_subset(context.key, direction="down"))
        return readers


def _newest_plans(context: Context, subset: Any) -> Iterator[_Plan]:
    """The runs that were planned last of each of some partitions; what was never planned is in none."""
    instance, key, kind = (
        context.asset_graph_view.instance,
        context.key,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    )
    if not subset.is_partitioned:
        plan = instance.get_latest_planned_materialization_info(key)
        if plan is not None:
            yield _Plan(plan.run_id, plan.storage_id, subset)
        return
    keys = subset.expensively_compute_partition_keys()
    newest = instance.get_latest_storage_id_by_partition(key, kind, partitions=keys)
    ids = sorted((one for partition, one in newest.items() if partition in keys), reverse=True)
    by_run: dict[str, list[Any]] = {}
    for first in range(0, len(ids), _CHUNK):
        of_chunk = ids[first : first + _CHUNK]
        for record in instance.get_asset_event_summary_records(
            kind, asset_key=key, storage_ids=of_chunk, limit=len(of_chunk)
        ):
            if record.run_id is not None:
                by_run.setdefault(record.run_id, []).append(record)
    # Of very many runs the oldest are not looked at, and their partitions are made again.
    for run_id, records in islice(by_run.items(), _MOST_RUNS):
        partitions = subset.compute_intersection_with_partition_keys({one.partition for one in records})
        yield _Plan(run_id, min(one.storage_id for one in records), partitions)


def _has_begun(instance: dg.DagsterInstance, run: dg.DagsterRun, key: dg.AssetKey) -> bool:
    """Whether the step of an asset has begun in a run."""
    step = key.to_python_identifier()
    starts = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return any((entry.step_key or "").rpartition(".")[2] == step for entry in starts)


def _made_by(view: Any, key: dg.AssetKey, event: int, run_id: str) -> Any:
    """The partitions of an asset that were made since an event, and by a run last."""
    made = view.instance.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key=key, after_storage_id=event
    )
    last_run = {one.partition: one.run_id for one in reversed(made)}  # the newest of them come first
    partitions = {partition for partition, of in last_run.items() if of == run_id}
    own = view.asset_graph.get(key).partitions_def
    if own is None:
        return view.get_full_subset(key=key) if partitions else view.get_empty_subset(key=key)
    return view.get_full_subset(key=key).compute_intersection_with_partition_keys(partitions - {None})
