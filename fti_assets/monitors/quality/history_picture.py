"""The history of a metric as a small picture, which stays short enough for Dagster to show it in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, drawing, image
from fti_assets.training.judging.pictures.curves import xml_text

_WIDTH, _HEIGHT = 240, 60
_MOST_POINTS = 40
_FEWEST_POINTS = 6
_COARSE = 3
_ALONE = 6

Figure = tuple[float, float | None, float | None]
"""A value, and where it lies."""


@dataclass
class QualityHistory:
    """A metric by the start of each partition: as labels say, and as it was estimated."""

    name: str
    truth: dict[datetime, Figure] = field(default_factory=dict)
    estimate: dict[datetime, Figure] = field(default_factory=dict)
    bound: float | None = None


def quality_picture(history: QualityHistory) -> str:
    """The metric as a blue line over its interval, estimates as a dashed grey one, its bound dashed in red, the oldest on the left."""
    return next(
        svg
        for points in range(_MOST_POINTS, _FEWEST_POINTS - 1, -2)
        if len(image(svg := _drawn(history, points), history.name)) < SHOWN_IN_PLACE or points <= _FEWEST_POINTS + 1
    )


def _drawn(history: QualityHistory, points: int) -> str:
    starts = sorted({*history.truth, *history.estimate})
    first, last = starts[0], starts[-1]
    every = [
        number for one in (*history.truth.values(), *history.estimate.values()) for number in one if number is not None
    ]
    every += [] if history.bound is None else [history.bound]
    bottom, top = min(every), max(every)
    scale = _Scale(first, last, bottom, (top - bottom) or 1.0)
    # What is less exact is drawn with fewer points, so that the metric itself has more of them.
    coarse = max(_FEWEST_POINTS, points // _COARSE)
    truth, estimate = scale.places(history.truth, points), scale.places(history.estimate, coarse)
    band = _band(scale.places(history.truth, coarse))
    shapes = f"<path d='{band}' fill='#43d' opacity='.2'/>" if band else ""
    shapes += _line(estimate, "#888' stroke-dasharray='3") + _line(truth, "#43d")
    if history.bound is not None:
        shapes += f"<path d='M0 {scale.height(history.bound)}H{_WIDTH}' stroke='#c33' stroke-dasharray='4'/>"
    newest, kind = (history.truth, "") if history.truth else (history.estimate, " estimated")
    title = f"{xml_text(history.name, 24)} {newest[max(newest)][0]:.3g}{kind}, axis {bottom:.3g} to {top:.3g}"
    text = (
        f"<text y='-5'>{title}</text><text y='73'>{first:%Y-%m-%d}</text>"
        f"<text x='{_WIDTH}' y='73' text-anchor='end'>{last:%m-%d}</text>"
    )
    return drawing(-4, -18, _WIDTH + 8, _HEIGHT + 36, f"{shapes}{text}")


Place = tuple[int, int, int, int]
"""Where a figure lies: from the left, and from the top its value, the low and the high end of its interval."""


@dataclass(frozen=True)
class _Scale:
    first: datetime
    last: datetime
    bottom: float
    span: float

    def height(self, value: float) -> int:
        return round(_HEIGHT - (value - self.bottom) / self.span * _HEIGHT)

    def places(self, figures: Mapping[datetime, Figure], points: int) -> list[Place]:
        """Those of the figures, of each stretch the last."""
        seconds = (self.last - self.first).total_seconds() or 1.0
        places: dict[int, Place] = {}
        for start, (value, low, high) in sorted(figures.items()):
            step = round((start - self.first).total_seconds() / seconds * (points - 1))
            x = round(step * _WIDTH / (points - 1))
            ends = (value if low is None else low, value if high is None else high)
            places[x] = (x, self.height(value), self.height(ends[0]), self.height(ends[1]))
        return [places[x] for x in sorted(places)]


def _line(places: Sequence[Place], colour: str) -> str:
    if not places:
        return ""
    # Steps from point to point are fewer characters than points.
    steps = [f"{x - a} {y - b}".replace(" -", "-") for (a, b, *_), (x, y, *_) in pairwise(places)] or ["1 0"]
    return f"<path d='M{places[0][0]} {places[0][1]}l{' '.join(steps)}' fill='none' stroke='{colour}'/>"


def _band(places: Sequence[Place]) -> str:
    """The path around the intervals."""
    if not places:
        return ""
    if len(places) == 1:
        # A band of no width cannot be seen.
        ((x, _, low, high),) = places
        return f"M{x} {high}h{_ALONE}V{low}h-{_ALONE}z"
    around = [*((x, high) for x, _, _, high in places), *((x, low) for x, _, low, _ in reversed(places))]
    steps = " ".join(f"{x - a} {y - b}".replace(" -", "-") for (a, b), (x, y) in pairwise(around))
    return f"M{around[0][0]} {around[0][1]}l{steps}z"
