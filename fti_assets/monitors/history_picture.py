"""The history of a column as a small picture, which stays short enough for Dagster to show it in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, drawing, image
from fti_assets.training.judging.pictures.curves import xml_text

_WIDTH, _HEIGHT = 240, 60
_MOST_POINTS = 60


@dataclass
class History:
    """How far a column was from its reference, and how many of its rows had no value, by the start of each partition."""

    column: str
    psi: dict[datetime, float] = field(default_factory=dict)
    nulls: dict[datetime, float] = field(default_factory=dict)
    limit: float | None = None

    @property
    def newest(self) -> float:
        """The newest PSI; 0 without one."""
        return self.psi[max(self.psi)] if self.psi else 0.0


def history_picture(history: History) -> str:
    """PSI as a blue line with its limit dashed, the null rate as a grey one from 0 to 1, the oldest partition on the left, as SVG."""
    return next(
        svg
        for points in range(_MOST_POINTS, 4, -3)
        if len(image(svg := _drawn(history, points), history.column)) < SHOWN_IN_PLACE or points < 8
    )


def _drawn(history: History, points: int) -> str:
    starts = sorted({*history.psi, *history.nulls})
    first, last = starts[0], starts[-1]
    high = max([*history.psi.values(), (history.limit or 0.0) * 1.25, 1e-9])
    lines = _line(history.nulls, first, last, 1.0, points, "#999") + _line(
        history.psi, first, last, high, points, "#43d"
    )
    if history.limit is not None and history.psi:
        y = round(_HEIGHT - history.limit / high * _HEIGHT)
        lines += f"<path d='M0 {y}H{_WIDTH}' stroke='#c33' stroke-dasharray='4'/>"
    figures = f"psi {history.newest:.2g}, " if history.psi else ""
    nulls = history.nulls[max(history.nulls)]
    title = f"{xml_text(history.column, 24)} {figures}nulls {nulls:.2g}"
    text = (
        f"<text y='-5'>{title}</text><text y='73'>{first:%Y-%m-%d}</text>"
        f"<text x='{_WIDTH}' y='73' text-anchor='end'>{last:%m-%d}</text>"
    )
    return drawing(-4, -18, _WIDTH + 8, _HEIGHT + 36, f"{lines}{text}")


def _line(
    figures: Mapping[datetime, float], first: datetime, last: datetime, high: float, points: int, colour: str
) -> str:
    """A line through figures, of each stretch the largest; a single one as a dot."""
    span = (last - first).total_seconds() or 1.0
    places: dict[int, int] = {}
    for start, value in figures.items():
        x = round(round((start - first).total_seconds() / span * (points - 1)) * _WIDTH / (points - 1))
        y = round(_HEIGHT - min(value, high) / high * _HEIGHT)
        places[x] = min(y, places.get(x, _HEIGHT))
    if not places:
        return ""
    corners = _corners(sorted(places.items()))
    # Steps from point to point are fewer characters than points.
    steps = [f"{x - a} {y - b}".replace(" -", "-") for (a, b), (x, y) in pairwise(corners)] or ["1 0"]
    (x, y), *_ = corners
    return f"<path d='M{x} {y}l{' '.join(steps)}' fill='none' stroke='{colour}'/>"


def _corners(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Points without those in the middle of a level stretch."""
    last = len(points) - 1
    return [
        point
        for place, point in enumerate(points)
        if place in (0, last) or not points[place - 1][1] == point[1] == points[place + 1][1]
    ]
