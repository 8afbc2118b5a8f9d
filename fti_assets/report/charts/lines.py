"""A figure over time: its line with its interval, its limit, and what was only estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fti_assets.report.charts.axes import Axis, svg
from fti_assets.report.reading.figures import Point, Series

_WIDTH, _HEIGHT = 360, 128
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 10, 106
_MANY = 40
_ALONE = 8


@dataclass(frozen=True)
class Span:
    """The stretch of time that pictures of one kind share, so that what is above each other happened at once."""

    first: datetime
    last: datetime

    @staticmethod
    def of(starts: Sequence[datetime]) -> Span:
        """From the first to the last of some instants, of which there is at least one."""
        return Span(min(starts), max(starts))


def line_chart(series: Series, span: Span, *, from_zero: bool, in_order: bool = False) -> str:
    """The picture of a series.

    Args:
        series: with at least one figure.
        span: of the axis of time.
        from_zero: whether the axis of values begins at 0, for figures where that means no difference.
        in_order: whether the points lie at equal steps in their order, for figures that may come at one instant.
    """
    words = words_of(series)
    numbers = [
        number
        for point in (*series.points, *series.estimates)
        for number in (point.value, point.low, point.high)
        if number is not None
    ] + ([] if series.limit is None else [series.limit])
    low, high = (0.0 if from_zero else min(numbers)), max(numbers)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 0.1
    up = Axis(low if from_zero else low - room, high + room, _BOTTOM, _TOP)
    across = Axis(span.first.timestamp(), span.last.timestamp(), _LEFT, _RIGHT)
    if in_order:
        across = Axis(0, len(series.points) - 1, _LEFT, _RIGHT)
        # The number of a point takes the place of its time.
        steps = [replace(one, start=datetime.fromtimestamp(at, UTC)) for at, one in enumerate(series.points)]
        series = replace(series, points=tuple(steps))
    shapes = [f"<path class='axis' d='M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}'/>", *_labels(span, up, low, high)]
    shapes += [_band(series.points, across, up), _line(series.estimates, across, up, "line estimate")]
    shapes += [_line(series.points, across, up, "line")]
    if series.limit is not None:
        y = up.place(series.limit)
        shapes.append(f"<path class='limit' d='M{_LEFT} {y:.1f}H{_RIGHT}'/>")
    shapes += [_dots(series.estimates, across, up, "estimated"), _dots(series.points, across, up, "warned")]
    return svg("".join(shapes), _WIDTH, _HEIGHT, words)


def words_of(series: Series) -> str:
    """What a picture shows, for those who do not see it."""
    points = [one for one in series.points if one.value is not None]
    values = [one.value for one in points if one.value is not None]
    parts = [f"{series.name}, {series.statistic}, {series.reference}"]
    if points:
        parts.append(
            f"{_partitions(points)} from {_day(points[0].start)} to {_day(points[-1].start)}, lowest {min(values):.3g}, "
            f"highest {max(values):.3g}, newest {values[-1]:.3g} of {points[-1].rows:,} rows"
        )
    estimates = [one for one in series.estimates if one.value is not None]
    if estimates:
        newest = estimates[-1]
        parts.append(
            f"estimated in {_partitions(estimates)}, the newest {_day(newest.start)} {newest.value:.3g} of {newest.rows:,} rows"
        )
    if series.limit is not None:
        warnings = sum(one.is_warning for one in (*series.points, *series.estimates))
        parts.append(f"limit {series.limit:.3g}, {warnings} warnings")
    return "; ".join(parts)


def _partitions(points: Sequence[Point]) -> str:
    return f"{len(points)} partition{'s' if len(points) != 1 else ''}"


def _labels(span: Span, up: Axis, low: float, high: float) -> list[str]:
    first, last = _day(span.first), _day(span.last)
    ends = [
        f"<text x='{_LEFT - 4}' y='{up.place(value) + 4:.1f}' text-anchor='end'>{value:.3g}</text>"
        for value in dict.fromkeys((low, high))
    ]
    if first == last:
        return [*ends, f"<text x='{(_LEFT + _RIGHT) // 2}' y='{_BOTTOM + 16}' text-anchor='middle'>{first}</text>"]
    return [
        *ends,
        f"<text x='{_LEFT}' y='{_BOTTOM + 16}'>{first}</text>",
        f"<text x='{_RIGHT}' y='{_BOTTOM + 16}' text-anchor='end'>{last}</text>",
    ]


def _line(points: Sequence[Point], across: Axis, up: Axis, kind: str) -> str:
    """The points joined, with a gap where a partition has no value."""
    path, command = [], "M"
    for one in points:
        if one.value is None:
            command = "M"
            continue
        path.append(f"{command}{across.place(one.start.timestamp()):.1f} {up.place(one.value):.1f}")
        command = "L"
    return f"<path class='{kind}' d='{''.join(path)}'/>" if path else ""


def _band(points: Sequence[Point], across: Axis, up: Axis) -> str:
    bounds = [(one.start, one.low, one.high) for one in points if one.low is not None and one.high is not None]
    if not bounds:
        return ""
    if len(bounds) == 1:
        # A band of no width cannot be seen.
        ((start, low, high),) = bounds
        left = across.place(start.timestamp()) - _ALONE / 2
        return f"<path class='band' d='M{left:.1f} {up.place(high):.1f}h{_ALONE}V{up.place(low):.1f}h-{_ALONE}Z'/>"
    upper = [f"{across.place(start.timestamp()):.1f} {up.place(high):.1f}" for start, _, high in bounds]
    lower = [f"{across.place(start.timestamp()):.1f} {up.place(low):.1f}" for start, low, _ in reversed(bounds)]
    return f"<path class='band' d='M{'L'.join([*upper, *lower])}Z'/>"


def _dots(points: Sequence[Point], across: Axis, up: Axis, kind: str) -> str:
    """Dots where there is a warning; of few points and of estimates all of them, since a line of one point cannot be seen."""
    few = sum(one.value is not None for one in points) <= _MANY
    places: dict[bool, list[str]] = {True: [], False: []}
    for one in points:
        if one.value is not None and (one.is_warning or few):
            at = f"M{across.place(one.start.timestamp()):.1f} {up.place(one.value):.1f}h0"
            places[one.is_warning].append(at)
    warned = "dot warned many" if len(places[True]) > _MANY else "dot warned"
    plain = "dot" if kind == "warned" else "dot hollow"
    return "".join(
        f"<path class='{name}' d='{''.join(some)}'/>"
        for name, some in ((plain, places[False]), (warned, places[True]))
        if some
    )


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}" if moment.time() == datetime.min.time() else f"{moment:%Y-%m-%d %H:%M}"
