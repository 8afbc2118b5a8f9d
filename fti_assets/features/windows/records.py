"""Aggregates as a manifest has them, and back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

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
    Percentile,
    Rate,
    Sessions,
    Std,
    Sum,
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
    Percentile: "percentile",
    Sessions: "sessions",
}
_BY_KIND = {kind: aggregate for aggregate, kind in _KINDS.items()}


def record_of(name: str, aggregate: Aggregate) -> WindowAggregate:
    """An aggregate as a manifest has it.

    Raises:
        DeclarationError: it is none that can be computed at the time of a request.
    """
    kind = _KINDS.get(type(aggregate))
    if kind is None:
        kinds = one_of(f"fti.{one.__name__}" for one in _KINDS)
        raise DeclarationError(f"aggregate {name!r} is {aggregate!r}, which is not an aggregate: use {kinds}")
    more: dict[str, Any] = {}
    match aggregate:
        case Rate():
            more["per_us"] = microseconds(duration(aggregate.per, what="per"))
        case First() | Last():
            more |= {"n": aggregate.n, "distinct": aggregate.distinct}
        case Percentile():
            more["share"] = float(aggregate.share)
        case Sessions():
            more |= {"gap_us": microseconds(duration(aggregate.gap, what="gap")), "of": aggregate.of}
    return WindowAggregate(name, kind, getattr(aggregate, "column", None), **more)


def aggregate_of(record: WindowAggregate) -> Aggregate:
    """The aggregate that a record is of."""
    match record.kind:
        case "rate":
            return Rate(record.column, per=timedelta(microseconds=record.per_us or 0))
        case "first" | "last":
            return (First if record.kind == "first" else Last)(str(record.column), record.n, record.distinct)
        case "percentile":
            return Percentile(str(record.column), record.share or 0.0)
        case "sessions":
            return Sessions(gap=timedelta(microseconds=record.gap_us or 0), of=record.of or "number")
    kind = _BY_KIND[record.kind]
    return kind() if record.column is None else kind(record.column)  # type: ignore[call-arg]
