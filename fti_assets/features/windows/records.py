"""Aggregates as a manifest has them, and back."""

from __future__ import annotations

from datetime import timedelta

from fti_assets.core.manifest.windows import WindowAggregate, WindowKind
from fti_assets.core.times import duration, microseconds
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.windows.aggregates import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Std,
    Sum,
    is_ordered,
)

_KINDS: dict[type[Aggregate], WindowKind] = {
    Count: "count",
    Sum: "sum",
    Mean: "mean",
    Rate: "rate",
    Std: "std",
    Min: "min",
    Max: "max",
    First: "first",
    Last: "last",
    DistinctCount: "distinct_count",
}
_BY_KIND = {kind: aggregate for aggregate, kind in _KINDS.items()}


def record_of(name: str, aggregate: Aggregate) -> WindowAggregate:
    """An aggregate as a manifest has it.

    Raises:
        DeclarationError: it is none that can be computed at the time of a request.
    """
    kind = _KINDS.get(type(aggregate))
    if kind is None or is_ordered(aggregate):
        known = one_of(f"fti.{one.__name__}" for one in _KINDS)
        raise DeclarationError(
            f"aggregate {name!r} is {aggregate!r}, which no window at the time of a request computes: take {known}, or "
            "fti.window_aggregate for windows at the instants of a grid"
        )
    per_us = microseconds(duration(aggregate.per, what="per")) if isinstance(aggregate, Rate) else None
    return WindowAggregate(name, kind, getattr(aggregate, "column", None), per_us)


def aggregate_of(record: WindowAggregate) -> Aggregate:
    """The aggregate that a record is of."""
    if record.kind == "rate":
        return Rate(record.column, per=timedelta(microseconds=record.per_us or 0))
    kind = _BY_KIND[record.kind]
    return kind() if record.column is None else kind(record.column)  # type: ignore[call-arg]
