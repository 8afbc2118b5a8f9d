"""When Dagster runs an asset by itself: the default automation conditions.

They fire on a changed data version, never on a rerun that changed nothing, and a change that comes while a run is under way
is not lost. What only the data's time can tell, whether a window has ended and a cutoff has come, are conditions of their own,
so a sensor that evaluates them needs ``use_user_code_server=True``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from fti_assets import clock
from fti_assets.assets.windows import windows_between, windows_of
from fti_assets.stores.tables import WHOLE
from fti_assets.times import Window, naive_utc

PROVISIONAL = "fti/provisional"
"""The tag of a materialization that was made before its window and delay had ended."""

_RECENT = 100
_EVENTS = 400
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Upstream:
    """An asset that is read, and its partitions."""

    key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition[str] | None


def on_changed_inputs(
    inputs: Sequence[Upstream], *, whole: bool, changed: Sequence[dg.AssetKey] | None = None
) -> dg.AutomationCondition[Any]:
    """True once an input's data version has changed, none is missing and neither inputs nor asset are being made.

    Args:
        inputs: what must be there; other dependencies, such as tables that nobody here makes, only tell of changes.
        whole: whether the asset has no partitions and reads all that is there of each input, however much that is.
        changed: the dependencies whose change counts; all by default.
    """
    if not inputs:
        return _once(_changed(changed)) & ~dg.AutomationCondition.in_progress()
    keys = dg.AssetSelection.assets(*(source.key for source in inputs))
    there = InputsThere(tuple(inputs)) if whole else ~dg.AutomationCondition.any_deps_missing().allow(keys)
    running = dg.AutomationCondition.any_deps_in_progress().allow(keys)
    return _once(_changed(changed)) & there & ~running & ~dg.AutomationCondition.in_progress()


def on_window_end(partitions_def: dg.TimeWindowPartitionsDefinition, delay: timedelta) -> dg.AutomationCondition[Any]:
    """True once for a partition that was made before its window and delay had ended, after they have: its last run."""
    return _once(WindowEnded(partitions_def, delay).newly_true()) & ~dg.AutomationCondition.in_progress()


def on_cutoff(upstream: Sequence[Upstream], *, depth: int) -> dg.AutomationCondition[Any]:
    """True once for each cutoff that is missing, has come, and whose last partitions before it are there and final.

    It waits a tick after any change among the groups that the dataset rests on, so that those that follow are under way.

    Args:
        upstream: every group that the dataset rests on, near and far.
        depth: how many groups stand behind one another at most.
    """
    due = dg.AutomationCondition.missing() & CutoffReady(tuple(upstream))
    pending = _once(due.newly_true() | (due & _changed()))
    settled = dg.AutomationCondition.missing()
    moving = dg.AutomationCondition.data_version_changed()
    for _ in range(depth):
        moving = dg.AutomationCondition.any_deps_match(moving)
        settled = settled & ~moving
    return pending & settled & ~dg.AutomationCondition.any_deps_in_progress() & ~dg.AutomationCondition.in_progress()


def on_answerable_rows(
    spine: dg.AssetKey, inputs: Sequence[Upstream], model: Upstream, *, whole: bool
) -> dg.AutomationCondition[Any]:
    """True once the spine has changed and a build can answer; the model itself, missing or in progress, blocks nothing."""
    return on_changed_inputs(inputs, whole=whole, changed=[spine]) & Answerable(model)


def _once(trigger: dg.AutomationCondition[Any]) -> dg.AutomationCondition[Any]:
    # The trigger wins over the request of the tick before: what changed after that run began is in the next one.
    return trigger.since(dg.AutomationCondition.newly_requested() & ~trigger)


def _changed(keys: Sequence[dg.AssetKey] | None = None) -> dg.AutomationCondition[Any]:
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    return changed if keys is None else changed.allow(dg.AssetSelection.assets(*keys))


class _PartitionCondition(dg.AutomationCondition[dg.AssetKey]):
    """A condition that is asked about the partitions that are candidates; an unpartitioned asset has the one ``None``."""

    def true_partitions(self, context: dg.AutomationContext[Any], keys: Collection[str]) -> set[str]:
        raise NotImplementedError

    def true_unpartitioned(self, context: dg.AutomationContext[Any]) -> bool:
        return True

    def evaluate(self, context: dg.AutomationContext[Any]) -> dg.AutomationResult[Any]:
        candidates = context.candidate_subset
        if candidates.is_empty:
            return dg.AutomationResult(context, candidates)
        if context.partitions_def is None:
            found = candidates if self.true_unpartitioned(context) else context.get_empty_subset()
            return dg.AutomationResult(context, found)
        keys = self.true_partitions(context, candidates.expensively_compute_partition_keys())
        subset = context.asset_graph_view.get_subset_from_partition_keys(context.key, context.partitions_def, keys)
        return dg.AutomationResult(context, subset)


@dataclass(frozen=True, eq=False)
class InputsThere(_PartitionCondition):
    """Whether every input of an asset without partitions is there, however many of its partitions that may be."""

    upstream: tuple[Upstream, ...]

    @property
    def name(self) -> str:
        return "inputs_there"

    @property
    def description(self) -> str:
        return "Every input has been materialized, or some partition of it"

    def true_partitions(self, context: dg.AutomationContext[Any], keys: Collection[str]) -> set[str]:
        return set(keys) if self.true_unpartitioned(context) else set()

    def true_unpartitioned(self, context: dg.AutomationContext[Any]) -> bool:
        return all(_materialized(context.asset_graph_view.instance, source) for source in self.upstream)


@dataclass(frozen=True, eq=False)
class WindowEnded(_PartitionCondition):
    """Partitions that were last made before their window and delay had ended, which have ended now.

    Only the newest 100 windows that have ended are looked at.
    """

    partitions: dg.TimeWindowPartitionsDefinition
    delay: timedelta

    @property
    def name(self) -> str:
        return "made_before_its_window_ended"

    @property
    def description(self) -> str:
        return f"Last made before the window and a delay of {self.delay} had ended, which have ended now"

    def true_partitions(self, context: dg.AutomationContext[Any], keys: Collection[str]) -> set[str]:
        now, candidates, recent = clock.now(), set(keys), list[str]()
        for key in reversed(self.partitions.get_partition_keys()):
            if len(recent) == _RECENT:
                break
            [window] = windows_of(self.partitions, [key])
            if key in candidates and window.end is not None and window.end + self.delay <= now:
                recent.append(key)
        return provisional(context.asset_graph_view.instance, context.key, recent)


@dataclass(frozen=True, eq=False)
class CutoffReady(_PartitionCondition):
    """Cutoffs that have come, with every upstream's last partition before them made after its window and delay had ended."""

    upstream: tuple[Upstream, ...]

    @property
    def name(self) -> str:
        return "cutoff_ready"

    @property
    def description(self) -> str:
        return "The cutoff has come, and the last partition before it of each input was made after its window had ended"

    def true_partitions(self, context: dg.AutomationContext[Any], keys: Collection[str]) -> set[str]:
        assert context.partitions_def is not None
        now, instance = clock.now(), context.asset_graph_view.instance
        ready = {w.key: w for w in windows_of(context.partitions_def, list(keys)) if w.start and w.start <= now}
        for source in self.upstream:
            last = {key: _last_before(source, window) for key, window in ready.items()}
            there = _materialized(instance, source)
            unfinished = provisional(instance, source.key, {name for name in last.values() if name is not None})
            ready = {key: window for key, window in ready.items() if last[key] in there and last[key] not in unfinished}
        return set(ready)


@dataclass(frozen=True, eq=False)
class Answerable(_PartitionCondition):
    """Partitions that a build of the model can answer: one that was accepted at a cutoff not after their start.

    While a partition's window is open the champion answers it, so any build will do.
    """

    model: Upstream

    @property
    def name(self) -> str:
        return "a_build_can_answer"

    @property
    def description(self) -> str:
        return f"{self.model.key.to_user_string()} has an accepted build that is early enough"

    def true_partitions(self, context: dg.AutomationContext[Any], keys: Collection[str]) -> set[str]:
        assert context.partitions_def is not None
        built = _materialized(context.asset_graph_view.instance, self.model)
        if not built:
            return set()
        if not isinstance(self.model.partitions_def, dg.TimeWindowPartitionsDefinition):
            return set(keys)
        known = set(self.model.partitions_def.get_partition_keys()) & built
        cutoffs = [w.start for w in windows_of(self.model.partitions_def, sorted(known)) if w.start is not None]
        first, now = min(cutoffs, default=None), clock.now()
        return {
            window.key
            for window in windows_of(context.partitions_def, list(keys))
            if window.start is None
            or window.end is None
            or now < window.end
            or (first is not None and first <= window.start)
        }

    def true_unpartitioned(self, context: dg.AutomationContext[Any]) -> bool:
        return bool(_materialized(context.asset_graph_view.instance, self.model))


def provisional(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str]) -> set[str]:
    """Of some partitions, those whose newest materialization was made before their window and delay had ended."""
    left, found = set(partitions), set()
    while left:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=sorted(left)), limit=_EVENTS
        ).records
        for record in records:  # newest first
            event = record.asset_materialization
            if event is not None and event.partition in left:
                left.discard(event.partition)
                found |= {event.partition} if (event.tags or {}).get(PROVISIONAL) == "true" else set()
        if len(records) < _EVENTS:
            break
    return found


def _materialized(instance: dg.DagsterInstance, source: Upstream) -> set[str]:
    """The partitions that were ever materialized; an asset without windows in time is there as a whole or not at all."""
    if not isinstance(source.partitions_def, dg.TimeWindowPartitionsDefinition):
        return {WHOLE} if instance.get_latest_materialization_event(source.key) is not None else set()
    return set(instance.get_materialized_partitions(source.key))


def _last_before(source: Upstream, window: Window) -> str | None:
    """The source's last partition before a cutoff; None if it has none that early, which then cannot be ready."""
    partitions_def = source.partitions_def
    if not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return WHOLE
    assert window.start is not None
    before = windows_between(partitions_def, window.start - _INSTANT, window.start)
    if not before:  # its definition ended earlier, or leaves out the last window
        end = window.start if partitions_def.end is None else min(window.start, naive_utc(partitions_def.end))
        last = partitions_def.get_prev_partition_window(end.replace(tzinfo=UTC))
        before = [] if last is None else windows_between(partitions_def, naive_utc(last.start), naive_utc(last.end))
    return before[-1].key if before else None
