"""A backtest in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from fti_assets.training.backtest.scores import AtCutoff, Backtest

_WIDTH = 24


def as_text(result: Backtest) -> str:
    """A table for people: a row for each cutoff, a column for each metric, with its 95% interval and the baseline."""
    return "\n".join(_lines(result))


def _lines(result: Backtest) -> Iterator[str]:
    how = "the builds of the model store" if result.existing else "trained at each"
    yield f"{result.model} at {len(result.points)} cutoffs, {how}, judged on the test rows of its own cutoff"
    width = max(len("cutoff"), *(len(point.partition) for point in result.points))
    names = "".join(f"  {name:<{_WIDTH}}" for name in result.metrics)
    yield f"\n{'cutoff':{width}}  {'train':>9}  {'test':>9}{names}".rstrip()
    for point in result.points:
        if point.problem:
            yield f"{point.partition:{width}}  {point.problem}"
            continue
        rows = f"{point.rows.get('train', 0):>9,}  {point.rows.get('test', 0):>9,}"
        yield f"{point.partition:{width}}  {rows}{''.join(f'  {_score(point, name):<{_WIDTH}}' for name in result.metrics)}".rstrip()
    of_all = "".join(f"  {_mean(result, name):<{_WIDTH}}" for name in result.metrics)
    yield f"{'mean':{width}}  {'':>9}  {'':>9}{of_all}".rstrip()


def _score(point: AtCutoff, metric: str) -> str:
    if metric not in point.metrics:
        return "undefined"
    interval = point.intervals.get(metric)
    within = "" if interval is None else f" {interval.low:.4f} to {interval.high:.4f}"
    return f"{point.metrics[metric]:.4f}{within}"


def _mean(result: Backtest, metric: str) -> str:
    scores = result.scores(metric)
    return f"{fmean(scores):.4f}, {min(scores):.4f} to {max(scores):.4f}" if scores else ""
