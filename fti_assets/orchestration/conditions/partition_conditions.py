"""Conditions that only the data's time can tell: whether a partition has ended, a cutoff has come, a build can answer.

Each looks at what is new since its last evaluation or at the newest partitions, never at all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.times import Partition, naive_utc
from fti_assets.orchestration.conditions.made import last_before, newest_made
from fti_assets.orchestration.conditions.newest import newest_first, newest_within
from fti_assets.orchestration.conditions.within_reach import (
    Context,
    Result,
    Spans,
    Upstream,
    spans_of,
    subset_of,
    true_of,
)
from fti_assets.orchestration.partitions import is_timed

CHAMPION, CHAMPION_AFTER_RUN, NO_CHAMPION = "champion", "champion_after_run", "none"
"""The metadata of a change of champion and of a build by which a condition knows whether there is one, and its text for none."""

# What NewestCutoffs finds in a tick: Dagster evaluates a condition again for each condition that rests on it.
_SEARCHES: WeakKeyDictionary[Any, dict[Any, asyncio.Future[tuple[Any, str]]]] = WeakKeyDictionary()
_MOST_CUTOFFS = 1000
_OBSERVATIONS = 100


@dataclass(frozen=True, eq=False)
class InputsThere(dg.AutomationCondition[dg.AssetKey]):
    """Whether every input of an asset without partitions is there, however many of its partitions that may be."""

    upstream: tuple[Upstream, ...]

    name = "inputs_there"
    requires_cursor = False
    description = "Every input has been materialized, or some partition of it"

    async def evaluate(self, context: Context) -> Result:
        empty = [(await _materialized_subset(context, source.key)).is_empty for source in self.upstream]
        return true_of(context, context.get_empty_subset() if any(empty) else context.candidate_subset)


@dataclass(frozen=True, eq=False)
class AfterNewest(dg.AutomationCondition[dg.AssetKey]):
    """Partitions after the newest that is there: they may be on their way, where one that is missing before it is a gap."""

    name = "after_newest_partition"
    requires_cursor = False
    description = "No later partition is there"

    async def evaluate(self, context: Context) -> Result:
        own = context.partitions_def
        if not is_timed(own):
            return true_of(context, context.candidate_subset)
        subset = await _materialized_subset(context, context.key)
        return true_of(context, context.candidate_subset if subset.is_empty else _since(context, Spans(subset).last))


@dataclass(frozen=True, eq=False)
class IsThere(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that are materialized. Dagster's own is ``~missing()``, which keeps all partitions in the cursor."""

    name = "is_there"
    requires_cursor = False
    description = "The partition was materialized"

    async def evaluate(self, context: Context) -> Result:
        return true_of(context, await _materialized_subset(context, context.key))


@dataclass(frozen=True, eq=False)
class NewestCutoffs(dg.AutomationCondition[dg.AssetKey]):
    """Missing cutoffs that have come and are ready, of the newest so many that are; older ones are left, and the tick says so.

    A cutoff is ready when every upstream's last partition before it was made after its end and delay had passed.
    """

    upstream: tuple[Upstream, ...]
    catch_up: int

    name = "newest_cutoffs_ready"

    @property
    def description(self) -> str:
        which = "the newest cutoff that is"
        if self.catch_up > 1:
            which = f"one of the {_newest(self.catch_up)} that are"
        return (
            f"Missing, and {which} ready: it has come, and the last partition before it of each input was made after its "
            "end. Older cutoffs are left: materialize them, or raise catch_up"
        )

    async def evaluate(self, context: Context) -> Result:
        if context.candidate_subset.is_empty:
            return true_of(context, context.candidate_subset, cursor=context.cursor)
        in_tick = _SEARCHES.setdefault(context.asset_graph_view, {})
        if self not in in_tick:
            in_tick[self] = asyncio.ensure_future(self._search(context))
        due, older = await in_tick[self]
        return true_of(context, due, cursor=older)

    async def _search(self, context: Context) -> tuple[Any, str]:
        """The cutoffs that are due, and a sentence about the missing ones that are left."""
        own, now = context.partitions_def, clock.now()
        assert is_timed(own)
        builds = await _materialized_subset(context, context.key)
        spans, upstream = (
            Spans(builds),
            [(source, await _materialized_subset(context, source.key)) for source in self.upstream],
        )
        latest = min([now, *(_last_cutoff(source, subset) for source, subset in upstream)])
        sources = [(source, Spans(subset)) for source, subset in upstream if is_timed(source.partitions_def)]
        due, ready, oldest = list[Partition](), 0, None
        cutoffs = (cutoff for cutoff in newest_first(own) if cutoff.start is not None and cutoff.start <= now)
        for cutoff in islice(cutoffs, _MOST_CUTOFFS):
            assert cutoff.start is not None
            missing = cutoff.start not in spans
            if missing and not (cutoff.start <= latest and all(_ready(context, *one, cutoff.start) for one in sources)):
                continue
            ready += 1
            due += [cutoff] if missing else []
            if ready == self.catch_up:
                oldest = cutoff
                break
        older = _older_missing(context, builds, oldest, self.catch_up)
        if older and older != context.cursor:
            context.log.info(older)
        return _subset(context, due), older


@dataclass(frozen=True)
class Answering(Upstream):
    """A model that answers, and whether its first accepted build becomes champion without a person's word."""

    promotes_itself: bool = True


@dataclass(frozen=True, eq=False)
class Answerable(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that a build of the model can answer, from the newest so many builds' cutoffs on.

    Until a partition ends, the champion answers it: any build will do, unless a person promotes and nobody has. What was answered
    before may be answered again, if its rows have changed, by the build of its time.
    """

    model: Upstream
    catch_up: int

    name = "a_build_can_answer"
    requires_cursor = False

    @property
    def description(self) -> str:
        return (
            f"{self.model.key.to_user_string()} has an accepted build that is early enough. What was never answered is "
            f"answered from the {_newest(self.catch_up)} with a build on: materialize what is older, or raise catch_up"
        )

    async def evaluate(self, context: Context) -> Result:
        builds = await _materialized_subset(context, self.model.key)
        own, cutoffs = context.partitions_def, self.model.partitions_def
        if builds.is_empty:
            return true_of(context, context.get_empty_subset())
        waits_for_person = isinstance(self.model, Answering) and not self.model.promotes_itself
        has_champion = not waits_for_person or _has_champion(context.asset_graph_view.instance, self.model.key)
        if not is_timed(cutoffs) or not is_timed(own):
            return true_of(context, context.candidate_subset if has_champion else context.get_empty_subset())
        spans, now = Spans(builds), clock.now()
        newest = [cutoff.start for cutoff in islice(newest_within(cutoffs, spans), self.catch_up) if cutoff.start]
        if not newest:  # what was built is none of the cutoffs any more
            return true_of(context, context.get_empty_subset())
        answers = await _materialized_subset(context, context.key)
        before = own.get_prev_partition_window(now.replace(tzinfo=UTC), respect_bounds=False)
        open_from = now if before is None else naive_utc(before.end)
        able = _since(context, min(newest[-1], open_from))
        again = _since(context, spans.first).compute_intersection(answers)
        able = able.compute_union(again)
        return true_of(context, able if has_champion else able.compute_difference(_since(context, open_from)))


@dataclass(frozen=True, eq=False)
class OfNewestCutoffs(dg.AutomationCondition[dg.AssetKey]):
    """The newest so many cutoffs of what a model learns from."""

    dataset: Upstream
    catch_up: int

    name = "newest_cutoffs"
    requires_cursor = False

    @property
    def description(self) -> str:
        of = f"{_newest(self.catch_up)} of {self.dataset.key.to_user_string()}"
        return f"The {of}. Older cutoffs are left: materialize them, or raise catch_up"

    async def evaluate(self, context: Context) -> Result:
        own, view, key = context.partitions_def, context.asset_graph_view, self.dataset.key
        if not is_timed(own):
            return true_of(context, context.candidate_subset)
        # Those that are about to be made count, or a model would be made first for a cutoff that is about to be old.
        running = await view.compute_run_in_progress_subset(key=key, from_subset=view.get_full_subset(key=key))
        requests = context.request_subsets_by_key.get(key)
        subsets = [await _materialized_subset(context, key), running, *([] if requests is None else [requests])]
        return true_of(context, _subset(context, list(islice(newest_within(own, Spans(*subsets)), self.catch_up))))


def _has_champion(instance: dg.DagsterInstance, model: dg.AssetKey) -> bool:
    """Whether a model has a champion, by what its page shows: its newest build says so, or a promotion since."""
    newest = instance.get_latest_materialization_event(model)
    build = None if newest is None else newest.asset_materialization
    after_run = None if build is None else build.metadata.get(CHAMPION_AFTER_RUN)
    if after_run is not None and after_run.value != NO_CHAMPION:
        return True
    observations = instance.fetch_observations(model, limit=_OBSERVATIONS).records
    events = (record.event_log_entry.asset_observation for record in observations)
    return any(event is not None and CHAMPION in event.metadata for event in events)


def _newest(catch_up: int) -> str:
    return "newest cutoff" if catch_up == 1 else f"newest {catch_up} cutoffs"


async def _materialized_subset(context: Context, key: dg.AssetKey) -> Any:
    """What was ever materialized of an asset, as Dagster keeps it: spans, not partitions."""
    return await context.asset_graph_view.compute_materialized_asset_subset(key)


def _subset(context: Context, partitions: Sequence[Partition]) -> Any:
    ends = sorted((one.start, one.end) for one in partitions if one.start and one.end)
    return subset_of(
        context, [dg.TimeWindow(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)) for start, end in ends]
    )


def _since(context: Context, start: datetime) -> Any:
    """The asset's partitions that start at an instant or later."""
    own = context.partitions_def
    assert is_timed(own)
    last = own.get_last_partition_window()
    first = own.get_next_partition_window(max(start, naive_utc(own.start)).replace(tzinfo=UTC), respect_bounds=False)
    if last is None or first is None or first.start >= last.end:
        return context.get_empty_subset()
    return subset_of(context, [dg.TimeWindow(first.start, last.end)])


def _ready(context: Context, source: Upstream, spans: Spans, cutoff: datetime) -> bool:
    """Whether the source's last partition before a cutoff is there and final."""
    last = last_before(source, cutoff)
    if last is None or last.start is None or last.start not in spans:
        return False
    return not any(newest_made(context.asset_graph_view.instance, source.key, [last.key]).values())


def _last_cutoff(source: Upstream, subset: Any) -> datetime:
    """The last instant at which a cutoff can be ready by what is materialized of a source."""
    own = source.partitions_def
    if subset.is_empty:
        return datetime.min
    if not is_timed(own):
        return datetime.max
    end, last = Spans(subset).last, own.get_last_partition_window()
    if last is None or own.end is None or end < naive_utc(last.end):
        return end
    # Of a definition that has ended, and whose last partition is stored, nothing more will come: every later cutoff is ready.
    following = own.get_next_partition_window(last.end, respect_bounds=False)
    return datetime.max if following is None or following.end > own.end else end


def _older_missing(context: Context, builds: Any, oldest: Partition | None, catch_up: int) -> str:
    """Which cutoffs before the oldest that is caught up on are missing, as the tick says it."""
    own = context.partitions_def
    assert is_timed(own)
    first = own.get_first_partition_window()
    if oldest is None or oldest.start is None or first is None or naive_utc(first.start) >= oldest.start:
        return ""
    older = subset_of(context, [dg.TimeWindow(first.start, oldest.start.replace(tzinfo=UTC))])
    missing = older.compute_difference(builds)
    if missing.is_empty:
        return ""
    spans = spans_of(missing)
    last = own.get_prev_partition_window(spans[-1].end)
    assert last is not None
    keys = dict.fromkeys(own.get_partition_key_for_timestamp(at.timestamp()) for at in (spans[0].start, last.start))
    return (
        f"{context.key.to_user_string()} catches up on the {_newest(catch_up)} that {'is' if catch_up == 1 else 'are'} ready; "
        f"{missing.size} older missing ones are left: {' to '.join(keys)}. Materialize them as a backfill, or declare "
        f"catch_up={min(catch_up + older.size, _MOST_CUTOFFS)}"
    )
