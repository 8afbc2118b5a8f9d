"""Builds and champions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import instant
from fti_assets.report.charts.champions import champions_chart
from fti_assets.report.charts.lines import Span, line_chart
from fti_assets.report.reading.figures import Point, Series
from fti_assets.report.reading.models import ModelHistory
from fti_assets.report.sections.elements import (
    Html,
    badge,
    broad,
    card,
    code,
    details,
    grid,
    nothing,
    part,
    problem,
    table,
    under,
)


def models_part(models: Sequence[ModelHistory], since: datetime | None, now: datetime, most: int) -> Html:
    """The builds of each model over time, and who was champion when, and why, with so many rows of each at most."""
    if not models:
        return part(
            "models", "Builds and champions", nothing("No model is declared: fti.model(dataset=...) trains one.")
        )
    return part(
        "models", "Builds and champions", *(under(one.model, *_of_model(one, since, now, most)) for one in models)
    )


def _of_model(history: ModelHistory, since: datetime | None, now: datetime, most: int) -> Iterator[Html]:
    for one in history.problems:
        yield problem("Cannot be read:", one)
    aliases = history.aliases
    if not history.builds and not aliases.history:
        yield nothing("It has no builds yet: materialize it.")
        return
    champion = history.champion
    if aliases.champion is None:
        yield nothing(f"It has no champion: fti promote {history.model} BUILD --reason WHY makes one.")
    if aliases.proposal is not None:
        yield problem(
            "A rollback is proposed:",
            f"to {aliases.proposal.to}, since {aliases.proposal.at[:19]}. {aliases.proposal.evidence.text}",
        )
    caption = (
        "a full dot is an accepted build, a ring a rejected one; a bar is a champion, dashed if it was rolled back"
    )
    cards = [broad(card("builds and champions", champions_chart(history, since, now), caption))]
    metrics = [] if champion is None else list(champion.metrics)[:3]
    cards += [drawn for name in metrics if (drawn := _metric_card(history, name)) is not None]
    yield grid(cards)
    yield table(
        "Champions, the newest first",
        ("since", "champion", "before", "why", "by", "evidence"),
        [
            (
                instant(one.at),
                code(one.champion),
                code(one.previous) if one.previous else "",
                one.reason,
                one.author,
                "" if one.fresh is None else one.fresh.text,
            )
            for one in history.changes(since)[::-1][:most]
        ],
    )
    builds = list(reversed(history.builds))
    more = f"; {history.left_out} older ones are left out" if history.left_out else ""
    yield details(
        f"{len(builds)} builds{more}",
        table(
            "Builds, the newest first",
            (
                "build",
                "made",
                "cutoff",
                "verdict",
                "metrics on test",
                "test rows",
                "trained because",
                "what gates said",
            ),
            [_build_row(history, one) for one in builds[:most]],
        ),
    )


def _build_row(history: ModelHistory, build: ModelManifest) -> tuple[object, ...]:
    is_champion = build.reference == history.aliases.champion
    verdict = badge(build.status, "good" if build.status == "accepted" else "bad")
    if is_champion:
        verdict = Html(f"{verdict} {badge('champion', 'good')}")
    if build.reference in history.aliases.rolled_back:
        verdict = Html(f"{verdict} {badge('rolled back', 'bad')}")
    if any(build.reference == one.build for one in history.aliases.unpromoted):
        verdict = Html(f"{verdict} {badge('not promoted', 'bad')}")
    metrics = ", ".join(
        f"{name} {value:.4g}"
        + (f" ({build.intervals[name].low:.4g} to {build.intervals[name].high:.4g})" if name in build.intervals else "")
        for name, value in build.metrics.items()
    )
    gates = "; ".join(f"{'passed' if one.passed else 'failed'} {one.gate}: {one.reason}" for one in build.gates)
    return (
        code(build.reference), instant(build.created_at), instant(build.cutoff), verdict, metrics, _test_rows(build),
        build.trained_because, gates,
    )  # fmt: skip


def _metric_card(history: ModelHistory, name: str) -> Html | None:
    points = []
    for one in history.builds:
        if name in one.metrics:
            bounds = one.intervals.get(name)
            low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
            is_rejected = one.status != "accepted"
            points.append(
                Point(instant(one.created_at), one.metrics[name], _test_rows(one) or 0, low, high, is_rejected)
            )
    champion = history.champion
    if not points or champion is None:
        return None
    series = Series(f"{name} of builds", name, "on their test rows; a red dot is a rejected build", tuple(points))
    rows = _test_rows(champion)
    of_rows = "" if rows is None else f" on {rows:,} test rows"
    picture = line_chart(series, Span.of([one.start for one in points]), from_zero=False, in_order=True)
    return card(
        f"{name} of builds",
        picture,
        f"champion {champion.metrics[name]:.4g}{of_rows}; red: rejected, in the order they were made",
    )


def _test_rows(build: ModelManifest) -> int | None:
    rows = getattr(build.dataset, "rows", None)
    return rows.get("test") if isinstance(rows, dict) else None
