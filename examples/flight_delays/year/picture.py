"""The picture of a year: served quality by week, and below it the builds and what was wrong with files."""

from __future__ import annotations

import math
from datetime import datetime

from examples.flight_delays.year.replay import Timeline

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900, 380, 56, 70, 250
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#445}.title{font-size:14px;font-weight:600;fill:#112}.grid{stroke:#dde}"
    ".band{fill:#43d;opacity:.15}.line{fill:none;stroke:#43d;stroke-width:2}.accepted{fill:#2a7}.rejected{fill:#fff;stroke:#b44;"
    "stroke-width:2}.back{stroke:#b44;stroke-width:2;stroke-dasharray:4 3}.fault{fill:#c80}"
)


def picture(timeline: Timeline) -> str:
    """Served quality by week, and below it the builds and what happened, as one SVG."""
    weeks = timeline.weeks
    times: list[float] = [week.start.timestamp() for week in weeks]
    start, end = times[0], times[-1] + 7 * 86_400
    lows = [week.values["roc_auc"] if week.low is None else week.low for week in weeks]
    highs = [week.values["roc_auc"] if week.high is None else week.high for week in weeks]
    least, most = math.floor(min(lows) * 20) / 20, min(1.0, math.ceil(max(highs) * 20) / 20)
    across = _WIDTH - _LEFT - 20

    def x(seconds: float) -> float:
        return _LEFT + (seconds - start) / (end - start) * across

    def y(value: float) -> float:
        return _BOTTOM - (value - least) / (most - least) * (_BOTTOM - _TOP)

    def at(text: str) -> float:
        return x(min(max(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp(), start), end))

    middles = [one + 3.5 * 86_400 for one in times]
    parts = []
    for step in range(round((most - least) * 20) + 1):
        value = least + step / 20
        parts.append(f"<path class='grid' d='M{_LEFT} {y(value):.1f}H{_WIDTH - 20}'/>")
        parts.append(f"<text x='{_LEFT - 8}' y='{y(value) + 4:.1f}' text-anchor='end'>{value:.2f}</text>")
    for month in range(1, 13):
        first = datetime.fromisoformat(f"2013-{month:02}-01T00:00:00+00:00")
        if start <= first.timestamp() <= end:
            parts.append(f"<path class='grid' d='M{x(first.timestamp()):.1f} {_TOP}V340'/>")
            parts.append(f"<text x='{x(first.timestamp()) + 3:.1f}' y='356'>{first:%b}</text>")
    outline = [*zip(middles, highs, strict=True), *reversed(list(zip(middles, lows, strict=True)))]
    parts.append(f"<path class='band' d='M{'L'.join(f'{x(a):.1f} {y(b):.1f}' for a, b in outline)}Z'/>")
    line = "L".join(f"{x(a):.1f} {y(week.values['roc_auc']):.1f}" for a, week in zip(middles, weeks, strict=True))
    parts.append(f"<path class='line' d='M{line}'/>")
    for change in timeline.rollbacks:
        parts.append(f"<path class='back' d='M{at(change.at):.1f} {_TOP - 8}V340'/>")
    for build in timeline.builds:
        kind = "rejected" if build.status == "rejected" else "accepted"
        parts.append(f"<circle class='{kind}' cx='{at(build.created_at):.1f}' cy='285' r='4'/>")
    for event in timeline.events:
        if event.kind == "landing":
            parts.append(f"<circle class='fault' cx='{at(event.at.isoformat()):.1f}' cy='315' r='4'/>")
    parts.append(f"<text x='{_LEFT - 8}' y='289' text-anchor='end'>builds</text>")
    parts.append(f"<text x='{_LEFT - 8}' y='319' text-anchor='end'>files</text>")
    title = "A year unattended: ROC-AUC of what was served, by week"
    about = (
        "Band: 95% interval. Dashed: rolled back on evidence. Builds: green accepted, red ring rejected by the gates. "
        "Files: late, wrong, broken or corrected."
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}' role='img' "
        f"aria-label='{title}'><style>{_STYLE}</style><rect width='100%' height='100%' fill='#fff'/>"
        f"<text class='title' x='14' y='24'>{title}</text><text x='14' y='43'>{about}</text>{''.join(parts)}</svg>\n"
    )
