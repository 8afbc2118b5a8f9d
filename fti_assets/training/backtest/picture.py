"""The picture of a backtest: a panel for each metric, its value at each cutoff with intervals, and the baseline."""

from __future__ import annotations

import math

import numpy as np

from fti_assets.training.backtest.scores import AtCutoff, Backtest
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.pictures.curves import xml_text

_WIDTH, _HEIGHT, _LEFT, _TOP, _BETWEEN = 480, 130, 64, 62, 66
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#445}.title{font-size:14px;font-weight:600;fill:#112}.metric{font-size:12px;"
    "font-weight:600;fill:#112}.whisker{stroke:#43d;stroke-width:2;opacity:.35}.line{fill:none;stroke:#43d;stroke-width:2}"
    ".dot{fill:#43d}.grid{stroke:#dde;stroke-width:1}.baseline{fill:none;stroke:#889;stroke-width:1.5;stroke-dasharray:4 3}"
)
_MOST_NAMES = 8


def picture(result: Backtest) -> str:
    """One SVG; each panel has a scale of its own."""
    points = [point for point in result.points if not point.problem]
    panels = "".join(
        _panel(metric, points, _TOP + 20 + at * (_HEIGHT + _BETWEEN)) for at, metric in enumerate(result.metrics)
    )
    width, height = _LEFT + _WIDTH + 40, _TOP + len(result.metrics) * (_HEIGHT + _BETWEEN)
    title = f"{result.model} at {len(points)} cutoffs"
    about = "On the test rows of each cutoff, with 95% intervals; dashed: the answer that knows no features"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img' "
        f"aria-label='{xml_text(title)}'><style>{_STYLE}</style><rect width='100%' height='100%' fill='#fff'/>"
        f"<text class='title' x='14' y='24'>{xml_text(title)}</text><text x='14' y='43'>{xml_text(about)}</text>{panels}</svg>\n"
    )


def _panel(metric: str, points: list[AtCutoff], top: float) -> str:
    values = [point.metrics[metric] for point in points if metric in point.metrics]
    values += [point.baseline[metric] for point in points if metric in point.baseline]
    for point in points:
        values += [point.intervals[metric].low, point.intervals[metric].high] if metric in point.intervals else []
    better = "higher" if metric_named(metric).higher_is_better else "lower"
    parts = [f"<text class='metric' x='{_LEFT}' y='{top - 8}'>{xml_text(metric, 40)}, {better} is better</text>"]
    if not values:
        return f"{parts[0]}<text x='{_LEFT}' y='{top + 20}'>undefined at each cutoff</text>"
    ticks = _ticks(min(values), max(values))

    def up(value: float) -> float:
        return top + (ticks[-1] - value) / (ticks[-1] - ticks[0]) * _HEIGHT

    across = _LEFT + (np.arange(len(points)) + 0.5) / len(points) * _WIDTH
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        parts.append(f"<path class='grid' d='M{_LEFT} {up(tick):.1f}h{_WIDTH}'/>")
        parts.append(f"<text x='{_LEFT - 6}' y='{up(tick) + 4:.1f}' text-anchor='end'>{tick:.{digits}f}</text>")
    for kind, scores in (("baseline", [one.baseline for one in points]), ("line", [one.metrics for one in points])):
        line = [f"{x:.1f} {up(one[metric]):.1f}" for x, one in zip(across, scores, strict=True) if metric in one]
        parts.append(f"<path class='{kind}' d='M{'L'.join(line)}'/>" if line else "")
    every = math.ceil(len(points) / _MOST_NAMES)
    for at, (x, point) in enumerate(zip(across, points, strict=True)):
        if metric in point.intervals:
            ends = point.intervals[metric]
            parts.append(f"<path class='whisker' d='M{x:.1f} {up(ends.low):.1f}V{up(ends.high):.1f}'/>")
        if metric in point.metrics:
            parts.append(f"<circle class='dot' cx='{x:.1f}' cy='{up(point.metrics[metric]):.1f}' r='3.5'/>")
        if at % every == 0:
            name = xml_text(point.partition, 12)
            parts.append(f"<text x='{x:.1f}' y='{top + _HEIGHT + 16}' text-anchor='middle'>{name}</text>")
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the least to above the greatest."""
    rough = max(high - low, abs(high) * 1e-3, 1e-9) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
