"""A condition on what an asset reads, mapped to exactly the partitions that reach it.

Dagster maps with one number of partitions for a whole calendar, the largest (``reach.partitions_back``); by that alone a day
that is read by two months would run a third.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, TypeAlias

import dagster as dg

from fti_assets.orchestration.conditions.reach import Reach, join_spans, naive
from fti_assets.orchestration.partitions import is_timed

_EPOCH = datetime(1970, 1, 1)

Context: TypeAlias = dg.AutomationContext[Any]
Result: TypeAlias = dg.AutomationResult[Any]


@dataclass(frozen=True)
class Upstream:
    """An asset that is read, its partitions, and how far back it is read."""

    key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition[str] | None
    reach: Reach = field(default_factory=Reach)


@dataclass(frozen=True, eq=False)
class AnyWithinReach(dg.AutomationCondition[dg.AssetKey]):
    """Partitions for which something is true of a partition that they read; the operand keeps no cursor."""

    sources: tuple[Upstream, ...]
    operand: dg.AutomationCondition[Any]
    label: str

    requires_cursor = False

    @property
    def name(self) -> str:
        return f"{self.label}_within_reach"

    @property
    def description(self) -> str:
        return f"{self.label.replace('_', ' ')}: a partition of an input that this one reads"

    @property
    def children(self) -> list[dg.AutomationCondition[Any]]:
        return [self.operand]

    async def evaluate(self, context: Context) -> Result:
        view, subset, children = context.asset_graph_view, context.get_empty_subset(), []
        # Where nobody asks, nothing is looked up, as in Dagster's own conditions.
        of_source = view.get_empty_subset if context.candidate_subset.is_empty else view.get_full_subset
        for source in self.sources:
            child = await context.for_child_condition(self.operand, [None], of_source(key=source.key)).evaluate_async()
            children.append(child)
            if not child.true_subset.is_empty:
                subset = subset.compute_union(readers_of(context, source, child.true_subset))
        return true_of(context, subset, child_results=children)


def true_of(context: Context, subset: Any, **more: Any) -> Result:
    """The result of a condition that is true of a subset, as far as Dagster asks about it."""
    return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset), **more)


def readers_of(context: Context, source: Upstream, subset: Any) -> Any:
    """The candidates of the context that read one of a subset of an upstream's partitions."""
    own = context.partitions_def
    if not is_timed(own) or not is_timed(source.partitions_def):
        return subset.compute_mapped_subset(context.key, direction="down")
    spans: Iterable[dg.TimeWindow] = spans_of(subset)
    if source.reach != Reach() or source.partitions_def != own:
        # A walk through the calendar for each span, and years have thousands of gaps: for those alone that are asked about.
        near = source.reach.near(spans_of(context.candidate_subset), spans)
        spans_in_reach = (source.reach.span_of(own, span.start, span.end) for span in near)
        spans = (span for span in spans_in_reach if span is not None)
    return context.candidate_subset.compute_intersection(subset_of(context, spans))


def spans_of(subset: Any) -> list[dg.TimeWindow]:
    """The adjoining partitions of a subset in time, as spans in the order of time."""
    inner = subset.get_internal_subset_value()
    if hasattr(inner, "included_time_windows"):
        return [dg.TimeWindow(window.start, window.end) for window in inner.included_time_windows]
    # Dagster has a class of its own for the subset of all partitions, which lists no partitions.
    first, last = (
        inner.partitions_def.get_first_partition_window(),
        inner.partitions_def.get_last_partition_window(),
    )
    return [] if first is None or last is None else [dg.TimeWindow(first.start, last.end)]


def _ends_of(subset: Any) -> Iterable[tuple[datetime, datetime]]:
    """The spans of a subset in naive UTC, by their timestamps: times in a zone take most of a tick where there are thousands of gaps."""
    inner = subset.get_internal_subset_value()
    if not hasattr(inner, "included_time_windows"):
        return map(naive, spans_of(subset))
    seconds = ((window.start_timestamp, window.end_timestamp) for window in inner.included_time_windows)
    return ((_EPOCH + timedelta(seconds=start), _EPOCH + timedelta(seconds=end)) for start, end in seconds)


def subset_of(context: Context, spans: Iterable[dg.TimeWindow]) -> Any:
    """The asset's partitions in some spans, which begin and end where partitions do; those that do not exist are left out."""
    view, own = context.asset_graph_view, context.partitions_def
    assert is_timed(own)
    # All spans at once: with one subset a span Dagster would sort all that came before for each.
    windows = [
        dg.TimeWindow(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
        for start, end in join_spans(map(naive, spans))
    ]
    partitions: Any = own.partitions_subset_class
    result = context.get_empty_subset()
    # A subset of an asset is made by way of its serialized form alone, whose class knows the key.
    serializable = type(result.convert_to_serializable_subset())(context.key, partitions(own, None, windows))
    result = view.get_subset_from_serializable_subset(serializable)
    return view.get_full_subset(key=context.key).compute_intersection(result)


class Spans:
    """The spans of subsets of partitions in time, to be asked whether an instant lies in one of them."""

    def __init__(self, *subsets: Any) -> None:
        spans = join_spans(chain.from_iterable(map(_ends_of, subsets)))
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]

    def __contains__(self, instant: datetime) -> bool:
        number = bisect_right(self._starts, instant) - 1
        return number >= 0 and instant < self._ends[number]

    def __reversed__(self) -> Iterator[tuple[datetime, datetime]]:
        return zip(reversed(self._starts), reversed(self._ends), strict=True)

    @property
    def first(self) -> datetime:
        return self._starts[0] if self._starts else datetime.max

    @property
    def last(self) -> datetime:
        return self._ends[-1] if self._ends else datetime.min
