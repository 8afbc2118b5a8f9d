"""What the monitors have measured: drift and quality as series over time, and the figures that are nearest to their limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fti_assets.core.sql import timestamp
from fti_assets.errors import FtiError
from fti_assets.monitoring.drift.drift import TRAINING
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.monitors.quality.page import without_estimate
from fti_assets.monitors.quality.redaction import mask_slice, redacted_by_logs
from fti_assets.stores.lake.lake import Lake

MOST_POINTS = 400
"""The newest partitions that a picture shows."""
_MOST_PICTURES = 48
_MOST_ROWS = 30


@dataclass(frozen=True)
class Point:
    """A figure in a partition: its value and interval, the rows that it rests on, and whether it is beyond its limit."""

    start: datetime
    value: float | None
    rows: int
    low: float | None = None
    high: float | None = None
    is_warning: bool = False


@dataclass(frozen=True)
class Series:
    """A figure over the partitions, oldest first.

    ``reference`` is what it is compared with, in words, and ``estimates`` are its values where labels have not come. ``limit`` is the
    newest one, and ``null_rate`` the newest share without a value.
    """

    name: str
    statistic: str
    reference: str
    points: tuple[Point, ...]
    estimates: tuple[Point, ...] = ()
    limit: float | None = None
    null_rate: float | None = None

    @property
    def newest(self) -> Point | None:
        """The newest figure that there is, an estimate only where labels say nothing."""
        of_truth = [one for one in self.points if one.value is not None]
        some = of_truth or [one for one in self.estimates if one.value is not None]
        return some[-1] if some else None


@dataclass(frozen=True)
class Judged:
    """A figure beside its limit."""

    start: datetime
    name: str
    statistic: str
    reference: str
    slice: str
    build: str
    arm: str
    value: float
    low: float | None
    high: float | None
    limit: float | None
    rows: int
    is_estimate: bool
    verdict: str


@dataclass(frozen=True)
class MonitorFigures:
    """What a monitor's table says.

    ``problem`` is why it says nothing, ``columns`` how many columns drift is measured of, ``without_estimate`` the metrics that nothing can
    tell before labels come.
    """

    table: str
    watches: str
    newest: datetime | None = None
    answers: tuple[Point, ...] = ()
    drift: tuple[Series, ...] = ()
    columns: int = 0
    nearest: tuple[Judged, ...] = ()
    quality: tuple[Series, ...] = ()
    quality_now: tuple[Judged, ...] = ()
    warnings: int = 0
    problem: str = ""
    without_estimate: tuple[str, ...] = ()


def figures_of(lake: Lake, monitor: Monitor, since: datetime | None, hidden: Collection[str] = ()) -> MonitorFigures:
    """What a monitor has measured; of a table that is not there or cannot be read, why.

    Args:
        lake: where its table is.
        monitor: the monitor.
        since: from when on, naive UTC; None for everything.
        hidden: the columns whose values are not shown in the names of slices, beside those that the logs of its models redact.
    """
    table, watches = monitor.table.full_name, monitor.answers.table_name
    if not lake.has(monitor.table):
        return MonitorFigures(table, watches, problem=f"it is not materialized yet: materialize {monitor.table_name}")
    try:
        return _figures(lake, monitor, since, redacted_by_logs(monitor.models).union(hidden))
    except FtiError as error:
        return MonitorFigures(table, watches, problem=str(error))


def _figures(lake: Lake, monitor: Monitor, since: datetime | None, hidden: Collection[str]) -> MonitorFigures:
    table, watches = monitor.table.full_name, monitor.answers.table_name
    rows = lake.rows(monitor.table)
    if since is not None:
        rows = rows.filter(f"{START} >= {timestamp(since)}")
    starts = [start for (start,) in rows.project(START).distinct().order(f"{START} DESC").limit(MOST_POINTS).fetchall()]
    if not starts:
        return MonitorFigures(
            table, watches, problem=f"it has no partition since {since}" if since else "it has no rows"
        )
    rows = rows.filter(f"{START} >= {timestamp(starts[-1])}")
    drift = _drift(rows)
    now = rows.filter(f"{START} = {timestamp(starts[0])}")
    warnings = now.filter("verdict = 'warning'").aggregate("count(*)").fetchall()[0][0]
    return MonitorFigures(
        table,
        watches,
        newest=starts[0],
        answers=_answers(rows),
        drift=tuple(drift[:_MOST_PICTURES]),
        columns=len(drift),
        nearest=_nearest(now),
        quality=_quality(rows),
        quality_now=tuple(
            replace(one, slice=mask_slice(one.slice, monitor.quality, hidden)) for one in _quality_now(rows)
        ),
        warnings=int(warnings),
        without_estimate=without_estimate(monitor),
    )


def _answers(rows: Any) -> tuple[Point, ...]:
    counts = rows.filter("statistic = 'answers'").aggregate(f"{START}, sum(value)", START).order(START)
    return tuple(Point(start, value, int(value or 0)) for start, value in counts.fetchall())


def _drift(rows: Any) -> list[Series]:
    """PSI of each column, the farthest from its limit first: of several builds the one that is farthest away."""
    columns = f"column_name, reference, {START}"
    figures = (
        rows.filter("statistic = 'psi' AND subject <> 'quality'")
        .aggregate(
            f"{columns}, max(value) AS value, coalesce(arg_max(rows, value), max(rows)) AS rows, max(threshold) AS threshold, "
            "bool_or(verdict = 'warning') AS is_warning",
            columns,
        )
        .order(columns)
    )
    nulls = dict(
        rows.filter("statistic = 'null_rate'")
        .aggregate(f"column_name, arg_max(value, {START}) AS value", "column_name")
        .fetchall()
    )
    points: dict[tuple[str, str], list[Point]] = {}
    limits: dict[tuple[str, str], float] = {}
    for column, reference, start, value, number, limit, is_warning in figures.fetchall():
        points.setdefault((column, reference), []).append(
            Point(start, _finite(value), number, is_warning=bool(is_warning))
        )
        if limit is not None:
            limits[column, reference] = limit
    results = []
    for column in dict.fromkeys(column for column, _ in points):
        # What training says is more than what the weeks before say, wherever it says anything.
        own = [key for key in points if key[0] == column]
        series = [key for key in own if any(point.value is not None for point in points[key])] or own
        key = next((one for one in series if one[1] == TRAINING), series[0])
        where = "against what the build learned from" if key[1] == TRAINING else "against the weeks before"
        results.append(
            Series(column, "PSI", where, tuple(points[key]), limit=limits.get(key), null_rate=nulls.get(column))
        )
    return sorted(results, key=lambda one: (-_distance(one), one.name))


def _finite(value: float | None) -> float | None:
    """A number that can be drawn: a loss may be infinite."""
    return value if value is not None and math.isfinite(value) else None


def _distance(series: Series) -> float:
    newest = series.newest
    return -1.0 if newest is None or newest.value is None else newest.value / max(series.limit or 1.0, 1e-9)


_JUDGED = f"{START}, column_name, statistic, reference, slice, build, arm, value, low, high, threshold, rows, estimated, verdict"


def _nearest(rows: Any) -> tuple[Judged, ...]:
    limited = rows.filter("threshold IS NOT NULL AND value IS NOT NULL AND subject <> 'quality'")
    order = "verdict = 'warning' DESC, value / greatest(threshold, 1e-9) DESC, column_name, statistic, reference, build"
    return tuple(Judged(*row) for row in limited.order(order).limit(_MOST_ROWS).project(_JUDGED).fetchall())


def _quality(rows: Any) -> tuple[Series, ...]:
    """Each metric over all rows of a day, and of each arm; over all builds where that is measured, else by build."""
    columns = f"column_name, statistic, build, arm, {START}, estimated, value, low, high, rows, threshold, verdict"
    figures = rows.filter("subject = 'quality' AND slice = ''").order(columns).project(columns).fetchall()
    over_all = {(column, statistic) for column, statistic, build, arm, *_ in figures if not build and not arm}
    series: dict[tuple[str, str, str, str], tuple[list[Point], list[Point]]] = {}
    limits: dict[tuple[str, str, str, str], float] = {}
    for column, statistic, build, arm, start, estimated, value, low, high, number, limit, verdict in figures:
        if build and not arm and (column, statistic) in over_all:
            continue
        key = (column, statistic, build, arm)
        series.setdefault(key, ([], []))[bool(estimated)].append(
            Point(start, _finite(value), number, _finite(low), _finite(high), verdict == "warning")
        )
        if limit is not None:
            limits[key] = limit
    results = [
        Series(
            " ".join(filter(None, (column, statistic))),
            statistic,
            ", ".join(filter(None, (f"arm {arm}" if arm else "", f"build {build}" if build else ""))) or "all builds",
            tuple(truth),
            tuple(estimates),
            limits.get((column, statistic, build, arm)),
        )
        for (column, statistic, build, arm), (truth, estimates) in series.items()
    ]
    current = [one for one in results if one.newest is not None]
    return tuple(sorted(current, key=lambda one: (one.limit is None, one.name, one.reference))[:_MOST_PICTURES])


def _quality_now(rows: Any) -> tuple[Judged, ...]:
    """The newest figure of each metric, slice, build and arm; that of a build which alone answered is the one of all."""
    latest = rows.filter("subject = 'quality' AND value IS NOT NULL").aggregate(
        f"column_name, statistic, reference, slice, build, arm, estimated, max({START}) AS {START}, "
        + ", ".join(f"arg_max({name}, {START}) AS {name}" for name in ("value", "rows", "verdict"))
        # Of an interval or a limit that is not there arg_max would take an older one.
        + "".join(
            f", arg_max(struct_pack(one := {name}), {START}).one AS {name}" for name in ("low", "high", "threshold")
        ),
        "column_name, statistic, reference, slice, build, arm, estimated",
    )
    order = f"verdict = 'warning' DESC, slice <> '', build <> '', {START} DESC, column_name, statistic, estimated, slice, build, arm"
    return _each_once([Judged(*row) for row in latest.order(order).limit(_MOST_ROWS).project(_JUDGED).fetchall()])


def _each_once(figures: Sequence[Judged]) -> tuple[Judged, ...]:
    """The figures, those of a build that answered alone once: as the figure of all builds, which gets its name."""
    builds = {_sample_of(one): one.build for one in figures if one.build}
    of_all = {_sample_of(one) for one in figures if not one.build}
    return tuple(
        one if one.build else replace(one, build=builds.get(_sample_of(one), ""))
        for one in figures
        if not one.build or _sample_of(one) not in of_all
    )


def _sample_of(one: Judged) -> tuple[object, ...]:
    return one.start, one.name, one.statistic, one.reference, one.slice, one.arm, one.value, one.rows, one.is_estimate
