"""Partitions as a condition keeps them in its cursor: spans of time, keys of others, True for an asset without."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fti_assets.orchestration.conditions.within_reach import Context, spans_of, subset_of
from fti_assets.orchestration.partitions import is_timed


def to_plain(context: Context, subset: Any) -> Any:
    """A subset of the context's asset as JSON takes it; None if it is empty."""
    if subset.is_empty:
        return None
    if context.partitions_def is None:
        return True
    if is_timed(context.partitions_def):
        return {"spans": [[span.start.timestamp(), span.end.timestamp()] for span in spans_of(subset)]}
    return sorted(subset.expensively_compute_partition_keys())


def from_plain(context: Context, plain: Any) -> Any:
    """The subset that was kept; of an asset that had other partitions then it is empty."""
    view, own = context.asset_graph_view, context.partitions_def
    if plain is True and own is None:
        return view.get_full_subset(key=context.key)
    if is_timed(own) and isinstance(plain, dict):
        ends = [[datetime.fromtimestamp(end, UTC) for end in span] for span in plain["spans"]]
        return subset_of(context, [dg.TimeWindow(*span) for span in ends])
    if own is not None and isinstance(plain, list):
        return view.get_subset_from_partition_keys(context.key, own, set(plain) & set(own.get_partition_keys()))
    return context.get_empty_subset()
