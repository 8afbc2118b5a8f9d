"""What is usual of a figure: where it was in the partitions before, so that a season, or a day beside a year, is no drift.

A limit is the median of the figures before, and three times their spread above it; the spread is the median of their distances from that
median, scaled to a standard deviation. Half of the figures may be out of the way without moving either by much, so a drift that lasts goes
on being told until it is half of what was before. Source: Hampel, "The influence curve and its role in robust estimation" (1974); limits by
what a figure was in reference periods as NannyML has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median

from fti_assets.monitoring.drift.drift import Drift
from fti_assets.monitoring.drift.judging import Series, rule_for
from fti_assets.monitoring.measurement import Measurement

LEAST_PARTITIONS = 7
"""Of fewer partitions nobody can say what is usual: a week has seven days."""

_TIMES = 3
_DEVIATION = 1.4826  # of a normal distribution, beside its median distance from the median

Values = Mapping[Series, Mapping[datetime, float]]
"""By series, what a figure was in each partition, the largest of several builds."""


def usual_limit(figures: Sequence[float]) -> float:
    """Above which a figure is unusual, beside at least one that was before.

    >>> usual_limit([1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 5.0]) < 1.5
    True
    """
    middle = median(figures)
    return middle + _TIMES * _DEVIATION * median(abs(one - middle) for one in figures)


def judged_beside_usual(
    measurements: Sequence[Measurement], rules: Sequence[Drift], before: Values, reach: timedelta
) -> list[Measurement]:
    """The measurements with a breach only where the figure is unusual as well, if its rule asks for that.

    Args:
        measurements: of some partitions, each judged by itself.
        rules: the monitor's.
        before: what was stored of other partitions.
        reach: how far back it is looked.
    """
    own, results = values_of(measurements), []
    for one in measurements:
        rule = rule_for(rules, one.statistic, one.reference, one.column_name)
        if rule is None or not rule.unusual or one.verdict not in ("ok", "warning"):
            results.append(one)
            continue
        assert one.value is not None
        assert one.threshold is not None
        figures = {**before.get(one.series, {}), **own[one.series]}
        since = one.partition_start - reach
        earlier = [value for start, value in figures.items() if since <= start < one.partition_start]
        if len(earlier) < LEAST_PARTITIONS:
            results.append(replace(one, verdict="no_reference"))
            continue
        limit = max(one.threshold, usual_limit(earlier))
        results.append(replace(one, threshold=limit, verdict="warning" if one.value > limit else "ok"))
    return results


def values_of(measurements: Iterable[Measurement]) -> dict[Series, dict[datetime, float]]:
    """What each figure was that was judged."""
    results: dict[Series, dict[datetime, float]] = {}
    for one in measurements:
        if one.verdict in ("ok", "warning") and one.value is not None:
            series = results.setdefault(one.series, {})
            series[one.partition_start] = max(series.get(one.partition_start, one.value), one.value)
    return results
