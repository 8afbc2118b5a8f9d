"""Conditions that only the data's time can tell: whether a window has ended, a cutoff has come, a build can answer.

Each looks at what is new since its last evaluation or at the newest partitions, never at all of them.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.times import Partition, naive_utc
from fti_assets.orchestration.conditions.within_reach import Upstream, spans_of, subset_of
from fti_assets.orchestration.partitions import is_timed, windows_between

PROVISIONAL = "fti/provisional"
"""The tag of a materialization that was made before its window and delay had ended."""

_FOUND_IN_TICK: WeakKeyDictionary[Any, dict[Any, asyncio.Future[tuple[Any, str]]]] = WeakKeyDictionary()
_RECENT = 100
_CUTOFFS = 1000
_EVENTS = 400
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class InputsThere(dg.AutomationCondition[dg.AssetKey]):
    """Whether every input of an asset without partitions is there, however many of its partitions that may be."""

    upstream: tuple[Upstream, ...]

    @property
    def name(self) -> str:
        return "inputs_there"

    @property
    def description(self) -> str:
        return "Every input has been materialized, or some partition of it"

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        there = [not (await _materialized(context, source)).is_empty for source in self.upstream]
        return dg.AutomationResult(context, context.candidate_subset if all(there) else context.get_empty_subset())


@dataclass(frozen=True, eq=False)
class WindowEnded(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that were last made before their window and delay had ended, which have ended now.

    Only the newest 100 windows are looked at.
    """

    partitions: dg.TimeWindowPartitionsDefinition
    delay: timedelta

    @property
    def name(self) -> str:
        return "made_before_its_window_ended"

    @property
    def description(self) -> str:
        return f"Last made before the window and a delay of {self.delay} had ended, which have ended now"

    def evaluate(self, context: dg.AutomationContext[Any]) -> dg.AutomationResult[Any]:
        now, instance = clock.now(), context.asset_graph_view.instance
        recent = {window.key: window for window in newest_windows(self.partitions, _RECENT)}
        seen, early = None, set[str]()
        if context.cursor:
            seen, keys = json.loads(context.cursor)
            early = set(keys) & recent.keys()
        newest = context.asset_graph_view.last_event_id or 0
        made = _newest_made(instance, context.key, recent.keys(), after=seen)
        early = {key for key in recent if made.get(key, key in early)}
        ended = [
            window for key, window in recent.items() if key in early and window.end and window.end + self.delay <= now
        ]
        return dg.AutomationResult(
            context,
            context.candidate_subset.compute_intersection(_subset(context, ended)),
            cursor=json.dumps([newest, sorted(early)]),
        )


@dataclass(frozen=True, eq=False)
class NewestCutoffs(dg.AutomationCondition[dg.AssetKey]):
    """Missing cutoffs that have come and are ready, of the newest so many that are; older ones are left, and the tick says so.

    A cutoff is ready when every upstream's last partition before it was made after its window and delay had ended.
    """

    upstream: tuple[Upstream, ...]
    catch_up: int

    @property
    def name(self) -> str:
        return "newest_cutoffs_ready"

    @property
    def description(self) -> str:
        which = (
            "the newest cutoff that is" if self.catch_up == 1 else f"one of the newest {self.catch_up} cutoffs that are"
        )
        return (
            f"Missing, and {which} ready: it has come, and the last partition before it of each input was made after its "
            "window had ended. Older cutoffs are left: materialize them, or raise catch_up"
        )

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.candidate_subset, cursor=context.cursor)
        in_tick = _FOUND_IN_TICK.setdefault(context.asset_graph_view, {})
        if self not in in_tick:  # the conditions of one tick that rest on it are evaluated beside one another
            in_tick[self] = asyncio.ensure_future(self._search(context))
        due, left = await in_tick[self]
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(due), cursor=left)

    async def _search(self, context: dg.AutomationContext[Any]) -> tuple[Any, str]:
        own, now = context.partitions_def, clock.now()
        assert is_timed(own)
        built = await context.asset_graph_view.compute_materialized_asset_subset(context.key)
        made, upstream = Spans(spans_of(built)), [(one, await _materialized(context, one)) for one in self.upstream]
        latest = min([now, *(_last_cutoff(source, match) for source, match in upstream)])
        sources = [(source, Spans(spans_of(match))) for source, match in upstream if _timed(source)]
        due, ready, oldest = list[Partition](), 0, None
        come = (window for window in windows_backwards(own) if window.start is not None and window.start <= now)
        for window in islice(come, _CUTOFFS):
            assert window.start is not None
            missing = window.start not in made
            if missing and not (window.start <= latest and all(_ready(context, *one, window.start) for one in sources)):
                continue
            ready, oldest = ready + 1, window
            due += [window] if missing else []
            if ready == self.catch_up:
                break
        left = _left(context, built, oldest if ready == self.catch_up else None, self.catch_up)
        if left and left != context.cursor:
            context.log.info(left)
        return _subset(context, due), left


@dataclass(frozen=True, eq=False)
class Answerable(dg.AutomationCondition[dg.AssetKey]):
    """Partitions that a build of the model can answer, from the newest so many builds' cutoffs on.

    While a partition's window is open the champion answers it, so any build will do. What was answered before may be answered
    again, if its rows have changed, by the build of its time.
    """

    model: Upstream
    catch_up: int

    @property
    def name(self) -> str:
        return "a_build_can_answer"

    @property
    def description(self) -> str:
        since = "the newest cutoff" if self.catch_up == 1 else f"the newest {self.catch_up} cutoffs"
        return (
            f"{self.model.key.to_user_string()} has an accepted build that is early enough. What was never answered is "
            f"answered from {since} with a build on: materialize what is older, or raise catch_up"
        )

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        built, own = await _materialized(context, self.model), context.partitions_def
        if built.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        cutoffs = self.model.partitions_def
        if not is_timed(cutoffs) or not is_timed(own):
            return dg.AutomationResult(context, context.candidate_subset)
        made, now = Spans(spans_of(built)), clock.now()
        starts = (window.start for window in windows_backwards(cutoffs) if window.start in made)
        newest = list(islice((start for start in starts if start is not None), self.catch_up))
        if not newest:  # what was built is none of the cutoffs any more
            return dg.AutomationResult(context, context.get_empty_subset())
        answered = await context.asset_graph_view.compute_materialized_asset_subset(context.key)
        before = own.get_prev_partition_window(now.replace(tzinfo=UTC), respect_bounds=False)
        able = _since(context, min(newest[-1], now if before is None else naive_utc(before.end)))
        again = _since(context, made.first).compute_intersection(answered)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(able.compute_union(again)))


@dataclass(frozen=True, eq=False)
class OfNewestCutoffs(dg.AutomationCondition[dg.AssetKey]):
    """The newest so many cutoffs of what a model learns from."""

    dataset: Upstream
    catch_up: int

    @property
    def name(self) -> str:
        return "newest_cutoffs"

    @property
    def description(self) -> str:
        which = "The newest cutoff" if self.catch_up == 1 else f"The newest {self.catch_up} cutoffs"
        return f"{which} of {self.dataset.key.to_user_string()}. Older cutoffs are left: materialize them, or raise catch_up"

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        own = context.partitions_def
        if not is_timed(own):
            return dg.AutomationResult(context, context.candidate_subset)
        # Those that are about to be made count, or a model would be made first for a cutoff that is about to be old.
        subsets = [await _materialized(context, self.dataset), *await _coming(context, self.dataset)]
        there = [Spans(spans_of(subset)) for subset in subsets]
        newest = islice(
            (window for window in windows_backwards(own) if any(window.start in spans for spans in there)),
            self.catch_up,
        )
        return dg.AutomationResult(
            context, context.candidate_subset.compute_intersection(_subset(context, list(newest)))
        )


class Spans:
    """Spans of time, to be asked whether an instant lies in one of them."""

    def __init__(self, spans: Sequence[dg.TimeWindow]) -> None:
        self._starts = [naive_utc(span.start) for span in spans]
        self._ends = [naive_utc(span.end) for span in spans]

    def __contains__(self, instant: object) -> bool:
        assert isinstance(instant, datetime)
        number = bisect_right(self._starts, instant) - 1
        return number >= 0 and instant < self._ends[number]

    @property
    def first(self) -> datetime:
        return self._starts[0] if self._starts else datetime.max

    @property
    def last(self) -> datetime:
        return self._ends[-1] if self._ends else datetime.min


def windows_backwards(partitions_def: dg.TimeWindowPartitionsDefinition) -> Iterator[Partition]:
    """The windows of a definition from the newest back."""
    span = partitions_def.get_last_partition_window()
    while span is not None:
        yield Partition(_key(partitions_def, span), naive_utc(span.start), naive_utc(span.end))
        span = partitions_def.get_prev_partition_window(span.start)


def _key(partitions_def: dg.TimeWindowPartitionsDefinition, span: dg.TimeWindow) -> str:
    [key] = partitions_def.get_partition_keys_in_time_window(span)
    return str(key)


def newest_windows(partitions_def: dg.TimeWindowPartitionsDefinition, number: int) -> tuple[Partition, ...]:
    """At most so many of a definition's windows, the newest first."""
    last = partitions_def.get_last_partition_window()
    return () if last is None else _newest_windows(partitions_def, number, last.start)


@lru_cache(maxsize=500)
def _newest_windows(
    partitions_def: dg.TimeWindowPartitionsDefinition, number: int, last: datetime
) -> tuple[Partition, ...]:
    return tuple(islice(windows_backwards(partitions_def), number))


def provisional(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str]) -> set[str]:
    """Of some partitions, those whose newest materialization was made before their window and delay had ended."""
    return {partition for partition, early in _newest_made(instance, key, partitions).items() if early}


def _newest_made(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str], *, after: int | None = None
) -> dict[str, bool]:
    """Of some partitions, those that were made after an event, and whether their newest materialization is provisional."""
    left, made = set(partitions), dict[str, bool]()
    while left:
        result = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=sorted(left), after_storage_id=after), limit=_EVENTS
        ).records
        for record in result:  # newest first
            event = record.asset_materialization
            if event is not None and event.partition in left:
                left.discard(event.partition)
                made[event.partition] = (event.tags or {}).get(PROVISIONAL) == "true"
        if len(result) < _EVENTS:
            break
    return made


async def _materialized(context: dg.AutomationContext[Any], source: Upstream) -> Any:
    """What was ever materialized of an asset, as Dagster keeps it: spans, not partitions."""
    return await context.asset_graph_view.compute_materialized_asset_subset(source.key)


async def _coming(context: dg.AutomationContext[Any], source: Upstream) -> list[Any]:
    """What is requested of an asset in this tick, and what runs of it make."""
    view = context.asset_graph_view
    full = view.get_full_subset(key=source.key)
    running = await view.compute_run_in_progress_subset(key=source.key, from_subset=full)
    requested = context.request_subsets_by_key.get(source.key)
    return [running] if requested is None else [running, requested]


def _subset(context: dg.AutomationContext[Any], windows: Sequence[Partition]) -> Any:
    spans = [
        dg.TimeWindow(w.start.replace(tzinfo=UTC), w.end.replace(tzinfo=UTC)) for w in windows if w.start and w.end
    ]
    return subset_of(context, sorted(spans, key=lambda span: span.start))


def _since(context: dg.AutomationContext[Any], start: datetime) -> Any:
    """The asset's windows that start at an instant or later."""
    own = context.partitions_def
    assert is_timed(own)
    last = own.get_last_partition_window()
    first = own.get_next_partition_window(max(start, naive_utc(own.start)).replace(tzinfo=UTC), respect_bounds=False)
    if last is None or first is None or first.start >= last.end:
        return context.get_empty_subset()
    return subset_of(context, [dg.TimeWindow(first.start, last.end)])


def _last_before(source: Upstream, start: datetime) -> Partition | None:
    """The source's last window before a cutoff; None if it has none that early, and the cutoff then cannot be ready."""
    partitions_def = source.partitions_def
    assert is_timed(partitions_def)
    before = windows_between(partitions_def, start - _INSTANT, start)
    if not before:  # its definition ended earlier, or leaves out the last window
        end = start if partitions_def.end is None else min(start, naive_utc(partitions_def.end))
        last = partitions_def.get_prev_partition_window(end.replace(tzinfo=UTC))
        before = [] if last is None else windows_between(partitions_def, naive_utc(last.start), naive_utc(last.end))
    return before[-1] if before else None


def _timed(source: Upstream) -> bool:
    return is_timed(source.partitions_def)


def _ready(context: dg.AutomationContext[Any], source: Upstream, there: Any, cutoff: datetime) -> bool:
    """Whether the source's last partition before a cutoff is there and final."""
    last = _last_before(source, cutoff)
    if last is None or last.start not in there:
        return False
    return not provisional(context.asset_graph_view.instance, source.key, [last.key])


def _last_cutoff(source: Upstream, made: Any) -> datetime:
    """The last instant at which a cutoff can be ready by what is materialized of a source."""
    own = source.partitions_def
    if made.is_empty:
        return datetime.min
    if not is_timed(own):
        return datetime.max
    end, last = Spans(spans_of(made)).last, own.get_last_partition_window()
    if last is None or own.end is None or end < naive_utc(last.end):
        return end
    following = own.get_next_partition_window(last.end, respect_bounds=False)
    return datetime.max if following is None or following.end > own.end else end


def _left(context: dg.AutomationContext[Any], built: Any, oldest: Partition | None, catch_up: int) -> str:
    """Which cutoffs before the oldest that is caught up on are missing, as the tick says it."""
    own = context.partitions_def
    assert is_timed(own)
    first = own.get_first_partition_window()
    if oldest is None or oldest.start is None or first is None or naive_utc(first.start) >= oldest.start:
        return ""
    older = subset_of(context, [dg.TimeWindow(first.start, oldest.start.replace(tzinfo=UTC))])
    missing = older.compute_difference(built)
    if missing.is_empty:
        return ""
    spans = spans_of(missing)
    last = own.get_prev_partition_window(spans[-1].end)
    assert last is not None
    keys = dict.fromkeys(own.get_partition_key_for_timestamp(at.timestamp()) for at in (spans[0].start, last.start))
    newest = "cutoff that is" if catch_up == 1 else f"{catch_up} cutoffs that are"
    return (
        f"{context.key.to_user_string()} catches up on the newest {newest} ready; {missing.size} older missing ones are left: "
        f"{' to '.join(keys)}. Materialize them as a backfill, or declare catch_up={min(catch_up + older.size, 1000)}"
    )
