"""The requests of each partition that were compared, with those that differ in red."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from fti_assets.report.charts.axes import Axis, svg
from fti_assets.report.reading.comparisons import ParityDay

_WIDTH, _HEIGHT = 720, 128
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 710, 10, 104


def parity_chart(days: Sequence[ParityDay]) -> str:
    """The picture of at least one partition: a bar of what was compared, on it what was not, and a dot where something differs."""
    most = max(max(one.compared + one.not_compared for one in days), 1)
    first, last = days[0].start, days[-1].start
    slots = max(round((last - first) / _shortest(days)) + 1, 1) if len(days) > 1 else 1
    width = max((_RIGHT - _LEFT) / max(slots, 8) * 0.8, 1.0)
    across = Axis(first.timestamp(), last.timestamp(), _LEFT + width / 2 + 2, _RIGHT - width / 2 - 2)
    up = Axis(0, most, _BOTTOM, _TOP)
    shapes = [f"<path class='axis' d='M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}'/>"]
    shapes.append(f"<text x='{_LEFT - 4}' y='{_TOP + 4}' text-anchor='end'>{most:,}</text>")
    shapes.append(f"<text x='{_LEFT - 4}' y='{_BOTTOM + 4}' text-anchor='end'>0</text>")
    for one in days:
        x = across.place(one.start.timestamp()) - width / 2
        top = up.place(one.compared)
        shapes.append(f"<rect class='bar' x='{x:.1f}' y='{top:.1f}' width='{width:.1f}' height='{_BOTTOM - top:.1f}'/>")
        if one.not_compared:
            higher = up.place(one.compared + one.not_compared)
            shapes.append(
                f"<rect class='bar pale' x='{x:.1f}' y='{higher:.1f}' width='{width:.1f}' height='{top - higher:.1f}'/>"
            )
        if one.breaks or one.breaches:
            kind = "dot warned" if one.breaks else "dot late"
            shapes.append(f"<path class='{kind}' d='M{x + width / 2:.1f} {_TOP + 2}h0'/>")
    shapes.append(f"<text x='{_LEFT}' y='{_BOTTOM + 18}'>{first:%Y-%m-%d}</text>")
    if last != first:
        shapes.append(f"<text x='{_RIGHT}' y='{_BOTTOM + 18}' text-anchor='end'>{last:%Y-%m-%d}</text>")
    breaks, breaches = sum(one.breaks for one in days), sum(one.breaches for one in days)
    words = (
        f"{sum(one.compared for one in days):,} requests compared in {len(days)} partitions from {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
        f"{sum(one.not_compared for one in days):,} not; {breaks:,} values differ, {breaches:,} rest on rows that came late"
    )
    return svg("".join(shapes), _WIDTH, _HEIGHT, words)


def _shortest(days: Sequence[ParityDay]) -> timedelta:
    """The least time between two partitions."""
    return min(later.start - earlier.start for earlier, later in pairwise(days))
