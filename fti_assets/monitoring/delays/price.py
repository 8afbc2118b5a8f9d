"""What a delay costs a model, read off its freshness curve between two points."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fti_assets.training.freshness.curves import FreshnessCurves, Point


@dataclass(frozen=True)
class Price:
    """What a model's metric changes by if a group's rows come ``delay`` after their event time.

    ``is_beyond`` says that the curve ends before: the change is that at its end.
    """

    model: str
    metric: str
    delay: timedelta
    change: float
    is_beyond: bool


def price_of(curves: FreshnessCurves, group: str, delay: timedelta) -> Price | None:
    """The change at a delay, on the straight line between the points around it; None if the curves have no such group.

    Args:
        curves: a model's curves.
        group: the table, ``weather_v1``.
        delay: after the event time.
    """
    points = sorted(curves.groups.get(group, ()), key=lambda point: point.delay)
    if not points:
        return None
    before = [point for point in points if point.delay <= delay]
    after = [point for point in points if point.delay >= delay]
    if not after or not before:
        end = points[-1] if not after else points[0]
        return Price(curves.model, curves.metric, delay, end.change, is_beyond=True)
    return Price(curves.model, curves.metric, delay, _between(before[-1], after[0], delay), is_beyond=False)


def _between(one: Point, other: Point, delay: timedelta) -> float:
    if one.delay == other.delay:
        return one.change
    share = (delay - one.delay) / (other.delay - one.delay)
    return one.change + share * (other.change - one.change)
