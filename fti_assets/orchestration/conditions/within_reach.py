"""A condition on what an asset reads, mapped to exactly the partitions that reach it.

Dagster maps with one number of partitions for a whole calendar, the largest (``reach.partitions_back``); by that alone a day
that is read by two months would run a third.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import AssetKey

from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.partitions import is_timed


@dataclass(frozen=True)
class Upstream:
    """An asset that is read, its partitions, and how far back it is read."""

    key: AssetKey
    partitions_def: dg.PartitionsDefinition[str] | None
    reach: Reach = field(default_factory=Reach)


@dataclass(frozen=True, eq=False)
class AnyWithinReach(dg.AutomationCondition[dg.AssetKey]):
    """Partitions for which something is true of a partition that they read."""

    sources: tuple[Upstream, ...]
    operand: dg.AutomationCondition[Any]
    label: str

    @property
    def name(self) -> str:
        return f"{self.label}_within_reach"

    @property
    def description(self) -> str:
        return f"{self.label.replace('_', ' ')}: a partition of an input that the window reads"

    @property
    def children(self) -> list[dg.AutomationCondition[Any]]:
        return [self.operand]

    @property
    def requires_cursor(self) -> bool:
        return False

    async def evaluate(  # type: ignore[override]  # Dagster awaits it
        self, context: dg.AutomationContext[Any]
    ) -> dg.AutomationResult[Any]:
        view, result, results = context.asset_graph_view, context.get_empty_subset(), []
        for source in self.sources:
            child = context.for_child_condition(self.operand, [None], view.get_full_subset(key=source.key))
            results.append(await child.evaluate_async())
            if not results[-1].true_subset.is_empty:
                result = result.compute_union(touched(context, source, results[-1].true_subset))
        return dg.AutomationResult(
            context, context.candidate_subset.compute_intersection(result), child_results=results
        )


def touched(context: dg.AutomationContext[Any], source: Upstream, subset: Any) -> Any:
    """The partitions of the context's asset that read one of a subset of an upstream's."""
    own, theirs = context.partitions_def, source.partitions_def
    if not is_timed(own) or not is_timed(theirs):
        return subset.compute_mapped_subset(context.key, direction="down")
    spans = [source.reach.touched(own, span.start, span.end) for span in spans_of(subset)]
    return subset_of(context, [span for span in spans if span is not None])


def spans_of(subset: Any) -> list[dg.TimeWindow]:
    """The adjoining windows of a subset of time windows, as spans in the order of time."""
    windows = subset.get_internal_subset_value()
    if not hasattr(windows, "included_time_windows"):  # all partitions
        first, last = (
            windows.partitions_def.get_first_partition_window(),
            windows.partitions_def.get_last_partition_window(),
        )
        return [] if first is None or last is None else [dg.TimeWindow(first.start, last.end)]
    return [dg.TimeWindow(window.start, window.end) for window in windows.included_time_windows]


def subset_of(context: dg.AutomationContext[Any], spans: list[dg.TimeWindow]) -> Any:
    """The asset's partitions in some spans, which begin and end where partitions do; those that do not exist are left out."""
    view, own = context.asset_graph_view, context.partitions_def
    assert is_timed(own)
    result = context.get_empty_subset()
    for span in spans:
        part = own.get_partition_subset_in_time_window(span)
        value = result.convert_to_serializable_subset()
        result = result.compute_union(view.get_subset_from_serializable_subset(type(value)(context.key, part)))
    return view.get_full_subset(key=context.key).compute_intersection(result)
