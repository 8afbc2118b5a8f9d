"""Freshness curves as JSON, so that what they cost to compute is there for others."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from fti_assets.core.manifest.intervals import Interval
from fti_assets.errors import DataError, excerpt
from fti_assets.training.freshness.curves import FreshnessCurves, Point, Problem

FORMAT = 1


def to_json(curves: FreshnessCurves) -> str:
    """The curves as JSON text, delays in seconds."""
    return json.dumps(
        {
            "format": FORMAT,
            **{name: getattr(curves, name) for name in _PLAIN},
            "interval": _interval(curves.interval),
            "points": [
                {
                    "group": point.group,
                    "delay_s": point.delay.total_seconds(),
                    "score": point.score,
                    "change": point.change,
                    "interval": _interval(point.interval),
                    "is_declared": point.is_declared,
                }
                for point in curves.points
            ],
            "problems": [
                {"group": one.group, "delay_s": one.delay.total_seconds(), "reason": one.reason}
                for one in curves.problems
            ],
        },
        indent=2,
    )


def from_json(text: str, *, what: str) -> FreshnessCurves:
    """What ``to_json`` wrote.

    Args:
        text: the JSON text.
        what: where it is from, for errors.

    Raises:
        DataError: it is something else.
    """
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"it has format {excerpt(content['format'])}, and {FORMAT} can be read")
        points = tuple(
            Point(
                one["group"],
                timedelta(seconds=one["delay_s"]),
                one["score"],
                one["change"],
                _of(one["interval"]),
                one["is_declared"],
            )
            for one in content["points"]
        )
        problems = tuple(
            Problem(one["group"], timedelta(seconds=one["delay_s"]), one["reason"])
            for one in content.get("problems", ())
        )
        plain = {name: content[name] for name in _PLAIN}
        return FreshnessCurves(**plain, interval=_of(content["interval"]), points=points, problems=problems)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{what} has no freshness curves ({error}): write them with fti freshness --json") from error


_PLAIN = ("model", "partition", "metric", "higher_is_better", "score", "train_rows", "test_rows")


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high, interval.confidence]


def _of(values: Any) -> Interval | None:
    return None if values is None else Interval(*values)
