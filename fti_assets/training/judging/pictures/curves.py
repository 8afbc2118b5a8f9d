"""What the pictures of a build draw, curves, bins and the order of slices, and how that becomes SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from fti_assets.training.judging.metrics.registry import metric_named

_BINS = 10


@dataclass(frozen=True)
class RocCurve:
    """The true positive rate ``hits`` at each false positive rate ``alarms``, both ``[points]``, from (0, 0) to (1, 1)."""

    alarms: np.ndarray
    hits: np.ndarray
    area: float


@dataclass(frozen=True)
class Reliability:
    """Bins of rows by their predicted probability: the mean of what was predicted, the share that came true, the rows."""

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray

    @property
    def high(self) -> float:
        """Where an axis that holds them ends."""
        most = max(self.predicted.max(), self.observed.max())
        return next(high for high in (0.05, 0.1, 0.2, 0.5, 1.0) if most <= high or high == 1.0)


def roc(y: np.ndarray, probability: np.ndarray) -> RocCurve:
    """The ROC curve, a point for each threshold.

    Args:
        y: ``[n]``, 0 or 1, of which both occur.
        probability: ``[n]``.

    >>> roc(np.array([0, 1]), np.array([0.2, 0.7])).area
    1.0
    """
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.diff(probability[order]) != 0, True)
    positive = np.asarray(y)[order].astype(np.float64)
    hits = np.concatenate([[0.0], positive.cumsum()[last_of_ties]]) / positive.sum()
    alarms = np.concatenate([[0.0], (1 - positive).cumsum()[last_of_ties]]) / (len(positive) - positive.sum())
    return RocCurve(alarms, hits, float((hits[1:] + hits[:-1]) @ np.diff(alarms)) / 2)


def reliability(y: np.ndarray, probability: np.ndarray) -> Reliability:
    """Ten bins of as many rows, by what was predicted.

    Source: reliability diagrams, Niculescu-Mizil and Caruana, "Predicting Good Probabilities" (2005).

    Args:
        y: ``[n]``, whether it came true.
        probability: ``[n]``, with n at least 1.
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    truth = np.asarray(y, dtype=np.float64)
    return Reliability(
        np.array([probability[rows].mean() for rows in bins]),
        np.array([truth[rows].mean() for rows in bins]),
        np.array([len(rows) for rows in bins]),
    )


def ends(*values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest of some values, as the ends of an axis."""
    low, high = float(min(one.min() for one in values)), float(max(one.max() for one in values))
    return low, high if high > low else low + 1


def worst_first(slices: Mapping[str, Mapping[str, float]], metric: str) -> list[str]:
    """The values of a slice column for which a metric is defined, the worst first, of equal ones the larger.

    Args:
        slices: value to metrics and ``rows``.
        metric: a metric's name.

    >>> worst_first({"JFK": {"roc_auc": 0.7, "rows": 9.0}, "LGA": {"roc_auc": 0.6, "rows": 3.0}}, "roc_auc")
    ['LGA', 'JFK']
    """
    better = 1 if metric_named(metric).higher_is_better else -1
    values = [value for value, scores in slices.items() if metric in scores]
    return sorted(values, key=lambda value: (better * slices[value][metric], -slices[value]["rows"], value))


def places(across: np.ndarray, up: np.ndarray, low: float, high: float, *, side: int, digits: int = 0) -> list[str]:
    """Points of a square with both axes from ``low`` to ``high``, as SVG writes them, each once: more cannot be seen."""
    x, y = ((values - low) / (high - low) * side for values in (across, up))
    # To add 0 makes -0, which an SVG would show in text, a 0.
    points = np.stack([x, side - y], axis=1).round(digits) + 0.0
    return list(dict.fromkeys(f"{a:.{digits}f} {b:.{digits}f}" for a, b in points.tolist()))


def line(points: Sequence[str], style: str = "") -> str:
    """The points, joined."""
    return f"<path d='M{'L'.join(points)}' fill='none' stroke='#43d'{style}/>"


def dots(points: Sequence[str], width: int, style: str = "") -> str:
    """Paths of no length with round ends, the shortest way to write dots."""
    path = "".join(f"M{point}h0" for point in points)
    return f"<path d='{path}' stroke='#43d'{style} stroke-width='{width}' stroke-linecap='round'/>"


def xml_text(text: str, most: int | None = None) -> str:
    """Text that XML takes, cut to so many characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    is_long = most is not None and len(printable) > most
    return escape(f"{printable[: most - 1]}…" if is_long and most else printable, quote=False)
