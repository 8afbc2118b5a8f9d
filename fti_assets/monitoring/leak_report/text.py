"""A leak report in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from fti_assets.core.manifest.intervals import Interval
from fti_assets.monitoring.leak_report.report import JOINS, LeakReport
from fti_assets.training.judging.metrics.registry import metric_named


def as_text(report: LeakReport) -> str:
    """A table for people."""
    return "\n".join(_lines(report))


def _lines(report: LeakReport) -> Iterator[str]:
    first = report.metrics[0]
    yield f"{report.view} on {report.dataset} {report.partition}: what a quick model promises offline, and delivers when served"
    yield f"{report.train_rows:,} train rows and {report.test_rows:,} test rows; {_better(first)}"
    width = max(len(name) for name in JOINS)
    heads = "".join(f"  {f'{name} promised':>18}  {'delivered':>9}" for name in report.metrics)
    yield f"\n{'join':{width}}{heads}  95% interval of the gap"
    for promise in report.promises:
        scores = "".join(
            f"  {promise.promised[name]:>18.4f}  {promise.delivered[name]:>9.4f}" for name in report.metrics
        )
        yield f"{promise.join:{width}}{scores}{_within(promise.gap)}"
    yield ""
    for promise in report.promises:
        changed = "" if promise.join == "honest" else f"; {promise.changed:.1%} of the test rows have other values"
        yield f"{promise.join}: {JOINS[promise.join]}{changed}"
    yield from report.notes


def _better(metric: str) -> str:
    return f"{'higher' if metric_named(metric).higher_is_better else 'lower'} {metric} is better"


def _within(interval: Interval | None) -> str:
    return "" if interval is None else f"  {interval.low:+.4f} to {interval.high:+.4f}"
