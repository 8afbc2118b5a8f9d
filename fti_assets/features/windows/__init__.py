"""Rolling windows over a group's rows: what is computed, and where."""

from fti_assets.features.windows.aggregate import window_aggregate
from fti_assets.features.windows.aggregates import (
    Aggregate,
    Count,
    DistinctCount,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Std,
    Sum,
)

__all__ = [
    "Aggregate",
    "Count",
    "DistinctCount",
    "Last",
    "Max",
    "Mean",
    "Min",
    "Rate",
    "Std",
    "Sum",
    "window_aggregate",
]
