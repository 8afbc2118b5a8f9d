"""Small pictures of how a build does on the test split, as SVG, for the model's page.

Dagster shows a Markdown entry in place if it is shorter than 1,000 characters, and else behind a button; so a picture is
drawn with few points and whole coordinates, and stays below that.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from fti_assets.core.manifest import Task, each_task
from fti_assets.training.judging.pictures.curves import (
    dots,
    ends,
    line,
    places,
    reliability,
    roc,
    worst_first,
    xml_text,
)
from fti_assets.training.judging.slices import LARGEST_SLICES

SHOWN_IN_PLACE = 1_000
"""Markdown of this many characters or more is hidden behind a button."""

ENOUGH_ROWS = 30
"""Slices of fewer rows are left out of the worst ones, unless all are so small: a handful of rows has any score."""

_SIDE = 200
_CURVE_POINTS = 18
_DOTS = 24
_BARS = 6
_NAME = 10


def pictures(
    task: Task,
    outputs: np.ndarray,
    y: np.ndarray,
    slices: Mapping[str, Mapping[str, Mapping[str, float]]],
    metric: str,
    labels: Sequence[str] = (),
) -> dict[str, str]:
    """Every picture of a build by name, as SVG.

    Args:
        task: what the model does.
        outputs: ``[n]``, or ``[n, k]`` for a multiclass model or several labels: what the exported graph answers.
        y: ``[n]``: 0 or 1, the class's position, or the value; of several labels ``[n, k]``.
        slices: column to value to metrics and ``rows``.
        metric: the metric of which slices are drawn.
        labels: the names of several labels, each of which has pictures of its own.
    """
    svgs: dict[str, str] = {}
    for at, label in enumerate(labels):
        own = pictures(each_task(task), outputs[:, at], y[:, at], {}, metric)
        svgs |= {f"{name}/{label}": svg for name, svg in own.items()}
    if task == "binary":
        if len(np.unique(y)) == 2:
            svgs["roc_curve"] = roc_curve(y, outputs)
        svgs["calibration"] = calibration(y, outputs)
    elif task == "multiclass":
        right = outputs.argmax(axis=1) == y
        svgs["calibration"] = calibration(right, outputs.max(axis=1), of="top class")
    elif not labels and task != "ranking":  # a score means nothing beside a label
        if task == "quantile":  # the middle one is the most like a value
            outputs = outputs[:, outputs.shape[1] // 2]
        svgs["predicted_and_actual"] = predicted_and_actual(y, outputs)
    for column, values in slices.items():
        order = worst_first(values, metric)
        large = [value for value in order if values[value]["rows"] >= ENOUGH_ROWS] or order
        if large:
            fewest = ENOUGH_ROWS if len(large) < len(order) else 0
            scores = {value: values[value][metric] for value in large}
            svgs[f"slices/{column}"] = bars(f"{metric} by {column}", scores, len(values), fewest)
    return svgs


def image(svg: str, title: str) -> str:
    """Markdown that holds a picture; the title is what is read out."""
    return f"![{title[:40]}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def roc_curve(y: np.ndarray, probability: np.ndarray) -> str:
    """The true positive rate at each false positive rate; a guess lies on the diagonal.

    Args:
        y: ``[n]``, 0 or 1, of which both occur.
        probability: ``[n]``.
    """
    curve = roc(y, probability)
    along = curve.hits + curve.alarms
    at = np.linspace(0, 2, _CURVE_POINTS)
    points = _points(np.interp(at, along, curve.alarms), np.interp(at, along, curve.hits), 0.0, 1.0)
    return _plot(f"ROC, area {curve.area:.3f}", "false positive rate", "true positive rate", line(points), 0.0, 1.0)


def calibration(y: np.ndarray, probability: np.ndarray, of: str = "") -> str:
    """How often it came true where a probability was predicted, in ten bins of as many rows; the diagonal is right.

    Args:
        y: ``[n]``, whether it came true.
        probability: ``[n]``.
        of: whose probability it is, for the title.
    """
    bins = reliability(y, probability)
    points = _points(bins.predicted, bins.observed, 0.0, bins.high)
    title = f"Calibration{f' of {of}' if of else ''}"
    return _plot(title, "predicted probability", "observed share", line(points) + dots(points, 6), 0.0, bins.high)


def reliability_before(task: Task, outputs: np.ndarray, y: np.ndarray, labels: Sequence[str] = ()) -> dict[str, str]:
    """The same of what a model answered before it was calibrated, by name; the arguments are those of ``pictures``."""
    name = "calibration_before"
    if labels:
        of_label = zip(labels, outputs.T, y.T, strict=True)
        return {f"{name}/{label}": calibration(truth, own, of="what came before") for label, own, truth in of_label}
    if task == "binary":
        return {name: calibration(y, outputs, of="what came before")}
    return {name: calibration(outputs.argmax(axis=1) == y, outputs.max(axis=1), of="top class before")}


def predicted_and_actual(y: np.ndarray, value: np.ndarray) -> str:
    """Some rows, evenly taken by their predicted value; the diagonal is right.

    Args:
        y: ``[n]``, what turned out.
        value: ``[n]``, what was predicted.
    """
    order = np.argsort(value, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, _DOTS).round().astype(np.int64))]
    predicted, observed = value[rows].astype(np.float64), np.asarray(y)[rows].astype(np.float64)
    low, high = ends(predicted, observed)
    picture = dots(_points(predicted, observed, low, high), 6)
    return _plot(f"{len(rows)} of {len(order):,} rows", "predicted", "actual", picture, low, high)


def bars(title: str, scores: Mapping[str, float], of: int | None = None, fewest: int = 0) -> str:
    """A bar for each of the first values, as many as there is room for; what is missing is the value ``""``.

    Args:
        title: what is drawn.
        scores: the score of each value, the worst first.
        of: how many slices there are in all, those left out here too; ``len(scores)`` by default.
        fewest: the rows that each of these has at least, if others were left out for having fewer.
    """
    return next(
        svg
        for most in range(_BARS, 0, -1)
        if len(image(svg := _bars(title, scores, most, of or len(scores), fewest), title)) < SHOWN_IN_PLACE or most == 1
    )


def _bars(title: str, scores: Mapping[str, float], most: int, of: int, fewest: int) -> str:
    scores = dict(islice(scores.items(), most))
    shares = all(0 <= score <= 1 for score in scores.values())
    longest = max(1.0 if shares else 0.0, *map(abs, scores.values())) or 1.0
    path = "".join(
        f"M118 {24 * row}h{round(abs(score) / longest * 116)}v16H118z" for row, score in enumerate(scores.values())
    )
    names = "".join(
        f"<text y='{24 * row + 12}'>{xml_text(value or '(missing)', _NAME)} {score:.3g}</text>"
        for row, (value, score) in enumerate(scores.items())
    )
    least = f" with {fewest} rows or more" if fewest else ""
    all_of = f"the {of} largest" if of >= LARGEST_SLICES else str(of)
    which = f"the worst {len(scores)}{least}, of {all_of}" if of > len(scores) else "the worst first"
    message = f"<text y='-24'>{xml_text(title, 38)}</text><text y='-9'>{which}</text>"
    return drawing(-6, -40, 244, 24 * len(scores) + 38, f"<path d='{path}' fill='#43d'/>{names}{message}")


def _plot(title: str, across: str, up: str, picture: str, low: float, high: float) -> str:
    """A square with both axes from ``low`` to ``high`` and the diagonal."""
    return drawing(
        -26,
        -22,
        240,
        244,
        f"<path d='M0 0V200H200M0 200L200 0' fill='none' stroke='#aaa'/>{picture}<text y='-8'>{xml_text(title, 40)}</text>"
        f"<text y='214'>{low:.3g}</text><text x='200' y='214' text-anchor='end'>{high:.3g}</text><text x='65' y='214'>{across}</text>"
        f"<text transform='rotate(-90)' x='-160' y='-8'>{up}</text>",
    )


def drawing(x: int, y: int, width: int, height: int, body: str) -> str:
    """An SVG of that corner and size."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='{x} {y} {width} {height}' width='{width}' "
        f"style='background:#fff;font:11px sans-serif'>{body}</svg>"
    )


def _points(across: np.ndarray, up: np.ndarray, low: float, high: float) -> list[str]:
    return places(across, up, low, high, side=_SIDE)
