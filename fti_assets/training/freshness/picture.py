"""The picture of freshness curves: a panel for each group, its change of the metric against the delay, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fti_assets.training.freshness.curves import FreshnessCurves, Point
from fti_assets.training.freshness.text import delay_text
from fti_assets.training.judging.pictures.curves import xml_text

_MOST_ACROSS, _WIDTH, _HEIGHT = 3, 200, 120
_LEFT, _TOP, _BETWEEN_X, _BETWEEN_Y = 58, 78, 34, 66
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#445}.title{font-size:14px;font-weight:600;fill:#112}.group{font-size:12px;"
    "font-weight:600;fill:#112}.band{fill:#43d;opacity:.16}.line{fill:none;stroke:#43d;stroke-width:2}.dot{fill:#43d}"
    ".declared{fill:#fff;stroke:#43d;stroke-width:2}.grid{stroke:#dde;stroke-width:1}.zero{stroke:#889;stroke-width:1}"
)


def picture(curves: FreshnessCurves) -> str:
    """The curves as one SVG. All panels share the axis of the change, so that groups can be told apart by what their delay costs."""
    groups = list(curves.groups.items())
    across = 2 if len(groups) == 4 else min(_MOST_ACROSS, len(groups))
    rows = math.ceil(len(groups) / across)
    width = max(_LEFT + across * (_WIDTH + _BETWEEN_X), 560)
    height = _TOP + rows * (_HEIGHT + _BETWEEN_Y)
    ticks = _ticks(curves.points)
    panels = "".join(
        _panel(
            name,
            points,
            ticks,
            _LEFT + at % across * (_WIDTH + _BETWEEN_X),
            _TOP + 20 + at // across * (_HEIGHT + _BETWEEN_Y),
            has_scale=at % across == 0,
        )
        for at, (name, points) in enumerate(groups)
    )
    better = "higher" if curves.higher_is_better else "lower"
    title = f"{curves.model}: what a delay of each feature group costs"
    about = [
        f"Change of {curves.metric} ({better} is better), {curves.score:.4f} as declared; hollow: as declared",
        f"Retrained for each delay, {curves.test_rows:,} test rows, 95% intervals of the change",
    ]
    if curves.problems:
        about[1] += f"; {len(curves.problems)} failed, left out"
    lines = "".join(f"<text x='14' y='{43 + 16 * at}'>{xml_text(line)}</text>" for at, line in enumerate(about))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' role='img' "
        f"aria-label='{xml_text(title)}'><style>{_STYLE}</style><rect width='100%' height='100%' fill='#fff'/>"
        f"<text class='title' x='14' y='24'>{xml_text(title)}</text>{lines}{panels}</svg>\n"
    )


def _panel(
    name: str, points: Sequence[Point], ticks: Sequence[float], left: float, top: float, *, has_scale: bool
) -> str:
    low, high = ticks[0], ticks[-1]

    def up(value: float) -> float:
        return top + (high - value) / (high - low) * _HEIGHT

    across = left + np.linspace(0.06, 0.94, len(points)) * _WIDTH if len(points) > 1 else np.array([left + _WIDTH / 2])
    parts = [f"<text class='group' x='{left}' y='{top - 8}'>{xml_text(name, 30)}</text>"]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        parts.append(f"<path class='{kind}' d='M{left} {up(tick):.1f}h{_WIDTH}'/>")
        if has_scale:
            parts.append(f"<text x='{left - 6}' y='{up(tick) + 4:.1f}' text-anchor='end'>{_change(tick, ticks)}</text>")
    # What is as declared has no interval: its change is 0 on any rows.
    limits = [(0.0, 0.0) if point.interval is None else (point.interval.low, point.interval.high) for point in points]
    band = [f"{x:.1f} {up(high):.1f}" for x, (_, high) in zip(across, limits, strict=True)]
    band += [f"{x:.1f} {up(low):.1f}" for x, (low, _) in reversed(list(zip(across, limits, strict=True)))]
    parts.append(f"<path class='band' d='M{'L'.join(band)}z'/>")
    line = "L".join(f"{x:.1f} {up(point.change):.1f}" for x, point in zip(across, points, strict=True))
    parts.append(f"<path class='line' d='M{line}'/>")
    for x, point in zip(across, points, strict=True):
        kind = "declared" if point.is_declared else "dot"
        parts.append(f"<circle class='{kind}' cx='{x:.1f}' cy='{up(point.change):.1f}' r='3.5'/>")
        parts.append(
            f"<text x='{x:.1f}' y='{top + _HEIGHT + 16}' text-anchor='middle'>{delay_text(point.delay)}</text>"
        )
    return "".join(parts)


def _ticks(points: Sequence[Point]) -> list[float]:
    """Round numbers from below the least change or end of an interval to above the greatest, 0 among them."""
    values = [0.0, *(point.change for point in points)]
    for point in points:
        values += [] if point.interval is None else [point.interval.low, point.interval.high]
    low, high = min(values), max(values)
    rough = max(high - low, 1e-4) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [number * step for number in range(math.floor(low / step), max(math.ceil(high / step), 1) + 1)]


def _change(value: float, ticks: Sequence[float]) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return "0" if value == 0 else f"{value:+.{digits}f}"
