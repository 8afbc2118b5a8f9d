"""Freshness curves in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.freshness.curves import FreshnessCurves, Point


def as_text(curves: FreshnessCurves) -> str:
    """A table for people."""
    return "\n".join(_lines(curves))


def _lines(curves: FreshnessCurves) -> Iterator[str]:
    better = "higher" if curves.higher_is_better else "lower"
    yield f"{curves.model} at {curves.partition}: {curves.metric} is {curves.score:.4f} as declared{_within(curves.interval, '.4f')}"
    yield f"{curves.train_rows:,} train rows and {curves.test_rows:,} test rows; {better} is better"
    width = max(len("group"), *(len(group) for group in curves.groups))
    yield f"\n{'group':{width}}  {'delay':>7}  {curves.metric:>9}  {'change':>8}  95% interval of the change"
    for group, points in curves.groups.items():
        for at, point in enumerate(points):
            yield f"{'' if at else group:{width}}  {delay_text(point.delay):>7}  {_scores(point)}"
    if curves.problems:
        yield "\nno model, since its training failed:"
    for problem in curves.problems:
        yield f"{problem.group} {delay_text(problem.delay)} after its event time: {problem.reason}"


def _scores(point: Point) -> str:
    if point.is_declared:
        return f"{point.score:>9.4f}  as declared"
    interval = point.interval
    within = "" if interval is None else f"  {interval.low:+.4f} to {interval.high:+.4f}"
    return f"{point.score:>9.4f}  {point.change:>+8.4f}{within}"


def _within(interval: Interval | None, digits: str) -> str:
    if interval is None:
        return ""
    return f", {interval.confidence * 100:g}% interval {interval.low:{digits}} to {interval.high:{digits}}"


def delay_text(delay: timedelta) -> str:
    """A delay in the largest unit that divides it; a day is 24 hours.

    >>> [delay_text(timedelta(minutes=minutes)) for minutes in (0, 15, 24 * 60, 7 * 24 * 60)]
    ['0', '15 min', '24 h', '7 d']
    """
    seconds = delay.total_seconds()
    if not seconds:
        return "0"
    units = [(86_400, "d"), (3_600, "h"), (60, "min")][seconds <= 86_400 :]
    return next((f"{seconds / size:.0f} {unit}" for size, unit in units if not seconds % size), f"{seconds:g} s")
