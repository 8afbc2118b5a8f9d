"""The whole pictures of a build on one HTML page, which lies beside its card: every row, threshold and slice.

The page needs nothing from elsewhere, so it can be opened from the model store, copied and sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import ImportanceRecord, Task, each_task
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
from fti_assets.training.judging.pictures.importance_picture import importance_section
from fti_assets.training.judging.slices import LARGEST_SLICES

PICTURES = "pictures.html"
"""The page's file name in a build."""

_SIDE = 480
_DOTS = 5_000
_CELLS = 96
_TICKS = 5
_PLACES = 20
_STYLE = (
    "body{font:14px sans-serif;margin:24px;color:#222;background:#fff}svg{font:11px sans-serif;display:block}"
    "table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left}td.n,th.n{text-align:right}"
    ".bar{background:#43d;height:12px}"
)

Slices = Mapping[str, Mapping[str, Mapping[str, float]]]


def picture_page(
    title: str,
    task: Task,
    outputs: np.ndarray,
    y: np.ndarray,
    slices: Slices,
    metrics: Sequence[str],
    importance: ImportanceRecord | None = None,
    further: Sequence[str] = (),
    queries: np.ndarray | None = None,
    labels: Sequence[str] = (),
    weight: str = "",
) -> str:
    """The page.

    Args:
        title: names the build.
        task: what the model does.
        outputs: ``[n]``, or ``[n, k]`` for a multiclass model or several labels: what the exported graph answers.
        y: ``[n]``: 0 or 1, the class's position, or the value; of several labels ``[n, k]``.
        slices: column to value to metrics and ``rows``.
        metrics: of the slices; by the first one they are ordered.
        importance: of the features.
        further: sections of HTML that stand behind the others.
        queries: ``[n]``, the number of each row's query, of a ranking model.
        labels: the names of several labels, each of which has sections of its own.
        weight: the column by which metrics count rows, if they do not count alike; curves count each row once.
    """
    rows = f"On the test split, {len(y):,} rows."
    if weight:
        rows += f" Curves and calibration count each row once; the metrics of slices and importance count it by {xml_text(weight)}."
    sections = [f"<h1>{xml_text(title)}</h1><p>{rows}</p>"]
    if task == "ranking":
        sections += [] if queries is None else [_by_place(y, outputs, queries)]
    elif not labels:
        sections += _of_answers(task, outputs, y)
    for at, label in enumerate(labels):
        sections += [f"<h1>{xml_text(label)}</h1>", *_of_answers(each_task(task), outputs[:, at], y[:, at])]
    sections += [] if importance is None else [importance_section(importance)]
    sections += [_slices(column, values, metrics) for column, values in slices.items()]
    body = "\n".join([*sections, *further])
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{xml_text(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _of_answers(task: Task, outputs: np.ndarray, y: np.ndarray) -> Iterator[str]:
    if task == "binary":
        if len(np.unique(y)) == 2:
            yield _roc_curve(y, outputs)
        yield _calibration(y, outputs, "Calibration")
    elif task == "multiclass":
        right = outputs.argmax(axis=1) == y
        yield _calibration(right, outputs.max(axis=1), "Calibration of the top class")
    else:
        if task == "quantile":  # the middle one is the most like a value
            outputs = outputs[:, outputs.shape[1] // 2]
        yield _predicted_and_actual(y, outputs)


def _roc_curve(y: np.ndarray, probability: np.ndarray) -> str:
    curve = roc(y, probability)
    plot = _plot("false positive rate", "true positive rate", _line(curve.alarms, curve.hits, 0.0, 1.0), 0.0, 1.0)
    return f"<h2>ROC curve, area {curve.area:.4f}</h2>{plot}"


def calibration_section(task: Task, outputs: np.ndarray, y: np.ndarray, method: str, labels: Sequence[str] = ()) -> str:
    """The reliability of what a model answered before it was calibrated; the arguments are those of ``picture_page``."""
    title = f"Before calibration ({method})"
    if labels:
        of_label = zip(labels, outputs.T, y.T, strict=True)
        return "".join(_calibration(truth, own, f"{title} of {xml_text(label)}") for label, own, truth in of_label)
    if task == "binary":
        return _calibration(y, outputs, title)
    return _calibration(outputs.argmax(axis=1) == y, outputs.max(axis=1), f"{title}, of the top class")


def _calibration(y: np.ndarray, probability: np.ndarray, title: str) -> str:
    bins = reliability(y, probability)
    ends_of_axis = (0.0, bins.high)
    curve = _line(bins.predicted, bins.observed, *ends_of_axis) + _dots(bins.predicted, bins.observed, *ends_of_axis, 4)
    rows = "".join(
        f"<tr><td class=n>{predicted:.4f}<td class=n>{observed:.4f}<td class=n>{count:,}</tr>"
        for predicted, observed, count in zip(bins.predicted, bins.observed, bins.rows, strict=True)
    )
    table = f"<table><tr><th class=n>predicted<th class=n>observed<th class=n>rows</tr>{rows}</table>"
    return f"<h2>{title}</h2>{_plot('predicted probability', 'observed share', curve, *ends_of_axis)}{table}"


def _predicted_and_actual(y: np.ndarray, value: np.ndarray) -> str:
    predicted, actual = value.astype(np.float64), np.asarray(y, dtype=np.float64)
    low, high = ends(predicted, actual)
    if len(predicted) <= _DOTS:
        picture, message = _dots(predicted, actual, low, high, 2), f"A dot for each of {len(y):,} rows."
    else:
        picture = _cells(predicted, actual, low, high)
        message = f"{len(y):,} rows, counted in cells: the darker, the more."
    return f"<h2>Predicted and actual</h2><p>{message}</p>{_plot('predicted', 'actual', picture, low, high)}"


def _by_place(y: np.ndarray, score: np.ndarray, queries: np.ndarray) -> str:
    """What the rows of each of the first places of their lists are worth, beside all rows; of one score in their own order."""
    order = np.lexsort((-score, queries))
    of_query = queries[order]
    place = np.arange(len(order)) - np.searchsorted(of_query, of_query)
    labels = np.asarray(y, dtype=np.float64)[order]
    means = [labels[place == at] for at in range(min(_PLACES, int(place.max(initial=-1)) + 1))]
    longest = max((float(one.mean()) for one in means), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td class=n>{at}<td class=n>{len(one):,}<td class=n>{one.mean():.4g}"
        f"<td><div class=bar style='width:{float(one.mean()) / longest * 240:.0f}px'></div></tr>"
        for at, one in enumerate(means, 1)
    )
    mean = f"Of all {len(labels):,} rows it is {labels.mean():.4g}." if len(labels) else "There are no rows."
    return (
        f"<h2>Label by place</h2><p>The mean label of the rows that have a place in their list. {mean}</p>"
        f"<table><tr><th class=n>place<th class=n>lists<th class=n>mean label<th></tr>{rows}</table>"
    )


def _slices(column: str, values: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    """Every slice as a row, those without a value of the first metric last."""
    first = metrics[0]
    order = worst_first(values, first)
    order += [value for value in values if first not in values[value]]
    longest = max((abs(scores[first]) for scores in values.values() if first in scores), default=0.0) or 1.0
    which = f"the {len(values)} values with the most rows" if len(values) >= LARGEST_SLICES else f"{len(values)} values"
    head = "".join(f"<th class=n>{xml_text(name)}" for name in ("rows", *metrics))
    rows = "".join(
        f"<tr><td>{xml_text(value or '(missing)')}<td class=n>{values[value]['rows']:,.0f}"
        + "".join("<td class=n>" + (f"{values[value][name]:.6g}" if name in values[value] else "") for name in metrics)
        + f"<td><div class=bar style='width:{abs(values[value].get(first, 0.0)) / longest * 240:.0f}px'></div></tr>"
        for value in order
    )
    return (
        f"<h2>By {xml_text(column)}</h2><p>{which}, the worst {xml_text(first)} first.</p>"
        f"<table><tr><th>{xml_text(column)}{head}<th>{xml_text(first)}</tr>{rows}</table>"
    )


def _plot(across: str, up: str, picture: str, low: float, high: float) -> str:
    """A square with both axes from ``low`` to ``high`` and the diagonal."""
    ticks = "".join(
        f"<text x='{at:.0f}' y='{_SIDE + 14}' text-anchor='middle'>{value:.4g}</text>"
        f"<text x='-6' y='{_SIDE - at + 4:.0f}' text-anchor='end'>{value:.4g}</text>"
        for at, value in zip(np.linspace(0, _SIDE, _TICKS), np.linspace(low, high, _TICKS), strict=True)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='-80 -10 {_SIDE + 110} {_SIDE + 50}' width='{_SIDE + 110}'>"
        f"<path d='M0 0V{_SIDE}H{_SIDE}M0 {_SIDE}L{_SIDE} 0' fill='none' stroke='#aaa'/>{picture}{ticks}"
        f"<text x='{_SIDE / 2:.0f}' y='{_SIDE + 34}' text-anchor='middle'>{across}</text>"
        f"<text transform='rotate(-90)' x='{-_SIDE / 2:.0f}' y='-66' text-anchor='middle'>{up}</text></svg>"
    )


def _line(across: np.ndarray, up: np.ndarray, low: float, high: float) -> str:
    return line(places(across, up, low, high, side=_SIDE, digits=1), " stroke-width='1.5'")


def _dots(across: np.ndarray, up: np.ndarray, low: float, high: float, size: int) -> str:
    return dots(places(across, up, low, high, side=_SIDE, digits=1), size * 2, " stroke-opacity='.6'")


def _cells(across: np.ndarray, up: np.ndarray, low: float, high: float) -> str:
    counts, _, _ = np.histogram2d(across, up, bins=_CELLS, range=[[low, high], [low, high]])
    side, most = _SIDE / _CELLS, np.log1p(counts.max())
    return "".join(
        f"<rect x='{column * side:.0f}' y='{_SIDE - (row + 1) * side:.0f}' width='{side:.0f}' height='{side:.0f}' fill='#43d' "
        f"fill-opacity='{np.log1p(counts[column, row]) / most:.2f}'/>"
        for column, row in np.argwhere(counts).tolist()
    )
