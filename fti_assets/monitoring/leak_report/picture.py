"""The picture of a leak report: of each join what it promises and what it delivers, as two ends of a line."""

from __future__ import annotations

import math

from fti_assets.monitoring.leak_report.report import JoinKind, LeakReport
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.pictures.curves import xml_text

_WIDTH, _LEFT, _TOP, _BETWEEN = 640, 120, 92, 52
_CAPTIONS: dict[JoinKind, str] = {
    "honest": "what was known",
    "event_time": "what had happened",
    "same_day": "the whole day",
}
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#445}.title{font-size:14px;font-weight:600;fill:#112}.join{font-size:12px;"
    "font-weight:600;fill:#112}.gap{stroke:#b44;stroke-width:3;opacity:.45}.promised{fill:#fff;stroke:#b44;stroke-width:2}"
    ".delivered{fill:#43d}.grid{stroke:#dde;stroke-width:1}"
)


def picture(report: LeakReport) -> str:
    """The report as one SVG, by its first metric: hollow what is promised, full what is delivered."""
    name = report.metrics[0]
    values = [value for promise in report.promises for value in (promise.promised[name], promise.delivered[name])]
    ticks = _ticks(min(values), max(values))
    height = _TOP + len(report.promises) * _BETWEEN + 34
    across = _WIDTH - _LEFT - 40

    def x(value: float) -> float:
        return _LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * across

    title = f"{report.view}: what a leak promises, and what it delivers"
    better = "higher" if metric_named(name).higher_is_better else "lower"
    about = [
        f"{name} of a quick model ({better} is better), {report.train_rows:,} train and {report.test_rows:,} test rows",
        "Hollow: on test rows of its own join; full: on what was known, as it is served",
    ]
    parts = [f"<text x='14' y='{43 + 16 * at}'>{xml_text(line)}</text>" for at, line in enumerate(about)]
    bottom = _TOP + len(report.promises) * _BETWEEN - 10
    for tick in ticks:
        parts.append(f"<path class='grid' d='M{x(tick):.1f} {_TOP - 14}V{bottom}'/>")
        parts.append(f"<text x='{x(tick):.1f}' y='{bottom + 16}' text-anchor='middle'>{_plain(tick, ticks)}</text>")
    for at, promise in enumerate(report.promises):
        y = _TOP + 12 + at * _BETWEEN
        promised, delivered = promise.promised[name], promise.delivered[name]
        left, right = sorted((promised, delivered))
        parts.append(f"<text class='join' x='14' y='{y + 4}'>{xml_text(promise.join.replace('_', ' '))}</text>")
        parts.append(f"<path class='gap' d='M{x(promised):.1f} {y}H{x(delivered):.1f}'/>")
        parts.append(f"<circle class='promised' cx='{x(promised):.1f}' cy='{y}' r='5'/>")
        parts.append(f"<circle class='delivered' cx='{x(delivered):.1f}' cy='{y}' r='4'/>")
        scores = f"{promised:.3f}" if promise.join == "honest" else f"{delivered:.3f}, not {promised:.3f}"
        parts.append(f"<text x='{(x(left) + x(right)) / 2:.1f}' y='{y + 20}' text-anchor='middle'>{scores}</text>")
        parts.append(f"<text x='14' y='{y + 20}' fill-opacity='.8'>{_CAPTIONS[promise.join]}</text>")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}' role='img' "
        f"aria-label='{xml_text(title)}'><style>{_STYLE}</style><rect width='100%' height='100%' fill='#fff'/>"
        f"<text class='title' x='14' y='24'>{xml_text(title)}</text>{''.join(parts)}</svg>\n"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest score to above the highest."""
    rough = max(high - low, 1e-3) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _plain(value: float, ticks: list[float]) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return f"{value:.{digits}f}"
