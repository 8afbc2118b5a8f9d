"""Drift and quality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fti_assets.errors import list_phrases
from fti_assets.report.charts.lines import Span, line_chart
from fti_assets.report.reading.figures import MonitorFigures, Point, Series
from fti_assets.report.sections.elements import (
    Html,
    badge,
    card,
    code,
    details,
    grid,
    interval,
    note,
    nothing,
    part,
    problem,
    table,
    text,
    under,
)

_MOST_ROWS = 14


def drift_part(monitors: Sequence[MonitorFigures], most: int) -> Html:
    """How features, labels and answers drift, with so many pictures of a monitor at most."""
    if not monitors:
        contents = [
            nothing(
                "No monitor is declared. fti.monitor(name=..., predictions=...) measures each partition of answers, log= what servers "
                "answered."
            )
        ]
    else:
        contents = [Html("".join(_drift_of(one, most))) for one in monitors]
    return part("drift", "Drift", *contents)


def _drift_of(monitor: MonitorFigures, most: int) -> Iterator[Html]:
    if monitor.problem:
        yield under(monitor.table, problem("Nothing to show:", monitor.problem))
        return
    current = [one for one in monitor.drift if one.newest is not None][:most]
    hidden = monitor.columns - len(current)
    rest = f" {hidden} more columns have no figure, or are in the monitor's table alone." if hidden else ""
    yield under(
        monitor.table,
        note(
            f"Of {monitor.watches}, newest partition {text(monitor.newest)}: {_beyond(monitor.warnings)}. PSI is 0 "
            f"where nothing has changed; the dashed line is its limit, a red dot a warning. The farthest from its limit comes first.{rest}"
        ),
    )
    cards = []
    counts = [one for one in monitor.answers if one.value is not None]
    if counts:
        series = Series("answers", "rows", "of all builds", monitor.answers)
        newest = counts[-1]
        picture = line_chart(series, Span.of([one.start for one in monitor.answers]), from_zero=True)
        cards.append(card("answers", picture, f"{newest.rows:,} in {text(newest.start)}"))
    if current:
        span = Span.of([point.start for one in current for point in one.points])
        cards += [card(one.name, line_chart(one, span, from_zero=True), _caption(one)) for one in current]
    yield grid(cards)
    yield table(
        "The figures of the newest partition that are nearest to their limits",
        ("column", "statistic", "compared with", "value", "limit", "rows", "verdict", "build"),
        [
            (
                one.name,
                one.statistic,
                one.reference.replace("_", " "),
                one.value,
                one.limit,
                one.rows,
                _verdict(one.verdict),
                code(one.build) if one.build else "",
            )
            for one in monitor.nearest
        ],
    )
    if current:
        yield details(f"The newest {_MOST_ROWS} partitions as numbers", _numbers(current))


def quality_part(monitors: Sequence[MonitorFigures], most: int) -> Html:
    """How good the answers are, as labels say, and as is estimated before they come, with so many pictures of a monitor at most."""
    contents: list[Html] = []
    for one in monitors:
        if one.quality or one.quality_now:
            contents.append(under(one.table, *_quality_of(one, most)))
    if not contents:
        contents.append(
            nothing(
                'No quality is measured yet. A monitor with quality=[fti.Quality("roc_auc", at_least=...)] measures it as labels come.'
                if monitors
                else "No monitor is declared: one with quality= measures metrics as labels come, and estimates them before."
            )
        )
    return part("quality", "Quality", *contents)


def _quality_of(monitor: MonitorFigures, most: int) -> Iterator[Html]:
    yield note(
        "A full line is what mature labels say, with its interval behind it. A dotted line with rings is an estimate from calibrated "
        "probabilities, before labels come. The dashed line is the limit."
    )
    if names := monitor.without_estimate:
        each = text(list_phrases(names, len(names)))
        yield note(
            f"Of {each} there is no estimate before labels come: it would need probabilities, or the metric cannot be computed of expected "
            "labels."
        )
    first = monitor.quality[:most]
    if first:
        span = Span.of([point.start for one in first for point in (*one.points, *one.estimates)])
        yield grid(card(one.name, line_chart(one, span, from_zero=False), _caption(one)) for one in first)
    yield table(
        "The newest figure of each metric, slice, build and arm",
        ("metric", "rows of", "value", "interval", "limit", "rows", "partition", "how", "verdict", "build", "arm"),
        [
            (
                " ".join(filter(None, (one.name, one.statistic))),
                one.slice or "all",
                one.value,
                interval(one.low, one.high),
                one.limit,
                one.rows,
                one.start,
                "estimated" if one.is_estimate else "labels",
                _verdict(one.verdict),
                code(one.build) if one.build else "",
                one.arm,
            )
            for one in monitor.quality_now
        ],
    )
    if first:
        yield details(f"The newest {_MOST_ROWS} partitions as numbers", _numbers(first))


def _beyond(number: int) -> str:
    return f"{number} figure{' is' if number == 1 else 's are'} beyond {'its limit' if number == 1 else 'their limits'}"


def _caption(series: Series) -> str:
    newest = series.newest
    assert newest is not None
    assert newest.value is not None
    where = interval(newest.low, newest.high)
    parts = [
        f"{series.statistic} {'estimated ' if newest in series.estimates else ''}{newest.value:.3g}",
        f" ({where})" if where else "",
        "" if series.limit is None else f", limit {series.limit:.3g}",
        f"; {newest.rows:,} rows of {text(newest.start)}, {series.reference}",
        "" if series.null_rate is None else f"; {series.null_rate:.2%} null",
    ]
    return "".join(parts)


def _numbers(series: Sequence[Series]) -> Html:
    rows = []
    for one in series:
        points: list[tuple[Point, str]] = [
            *((point, "") for point in one.points),
            *((point, "estimated") for point in one.estimates),
        ]
        points.sort(key=lambda pair: pair[0].start)
        rows += [
            (one.name, one.reference, point.start, point.value, interval(point.low, point.high), point.rows, how)
            for point, how in points[-_MOST_ROWS:]
        ]
    return table(
        "By partition", ("name", "against, or of", "partition", "value", "interval", "rows", "how"), rows[:600]
    )


def _verdict(verdict: str) -> Html:
    if verdict == "warning":
        return badge("warning", "bad")
    return badge(verdict, "good") if verdict == "ok" else text(verdict.replace("_", " "))
