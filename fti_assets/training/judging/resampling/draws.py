"""What draws of the rows say of a metric: its interval, and that of the difference of two.

The interval of most metrics is that of the percentiles of the draws. A metric that is a mean of absolute values of parts, as the expected
calibration error is of its bins, is too large on few rows, since noise counts as error whichever way it goes, and its draws, which have the
noise twice, are too large once more: their percentiles would lie above it. So the draws are moved to two estimates without that excess:

- twice the metric less the mean of its draws, which errs upwards, least where parts are far from 0. Source: the bootstrap estimate of bias,
  Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 10.
- the parts in the directions that they have on a draw, with their size on what is left, twice the part less that of the draw: right where
  parts are 0, too low where they are about as large as their noise. A draw and what is left of it have independent noise. Source: Leiner,
  Duan, Wasserman and Ramdas, "Data Fission: Splitting a Single Data Point" (2023).

The interval goes from the lower end of the one to the upper end of the other, and holds the metric itself. Of a difference each of the two
errs in its own way: of models that are alike they err alike, of others one may err upwards and the other downwards. The square of the
correlation of their draws says how far they are alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import AnyMetric, parts_of
from fti_assets.training.judging.resampling.bootstrap import Statistic, percentile_interval, resample


@dataclass(frozen=True)
class Draws:
    """A metric on draws of the rows.

    Attributes:
        values: ``[draws]``, NaN where it is undefined.
        value: on the rows themselves.
        shared: ``[draws]`` of a mean of absolute parts: the parts of the rows in the directions that they have on the draw; None of another
            metric.
    """

    values: np.ndarray
    value: float = np.nan
    shared: np.ndarray | None = None

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Where the metric lies; None if fewer than 95% of the draws have it."""
        if self.shared is None:
            return percentile_interval(self.values, confidence)
        return _moved(self.values, self._estimates, self.value, confidence, floor=0.0)

    def difference(self, other: Draws, confidence: float = 0.95) -> Interval | None:
        """Where this metric less the other's lies, on the same draws; None if fewer than 95% of them have both."""
        values = self.values - other.values
        if self.shared is None or other.shared is None:
            return percentile_interval(values, confidence)
        (least, most), (least_other, most_other) = self._estimates, other._estimates
        alike = _alike(self.values, other.values)
        both_err_alike = np.sort([least - least_other, most - most_other])
        each_errs_alone = np.array([least - most_other, most - least_other])
        low, high = alike * both_err_alike + (1 - alike) * each_errs_alone
        return _moved(values, (low, high), self.value - other.value, confidence)

    @property
    def _estimates(self) -> tuple[float, float]:
        """The estimate that errs downwards, and the one that errs upwards."""
        assert self.shared is not None
        mean = float(np.nanmean(self.values))
        both = (2 * float(np.nanmean(self.shared)) - mean, 2 * self.value - mean)
        return min(both), max(both)


def draws_of(
    measured: Mapping[str, tuple[AnyMetric, Answers]], *, number: int, clusters: np.ndarray | None = None
) -> dict[str, Draws]:
    """Metrics of answers to the same rows on the same draws, by name.

    Args:
        measured: by any name a metric, and the answers of which it is taken, at least one row.
        number: of draws.
        clusters: as for ``resample_counts``.

    >>> from fti_assets.training.judging.metrics.registry import metric_named
    >>> y, tenth = np.array([0.0] * 90 + [1.0] * 10), np.full(100, 0.1)
    >>> draws = draws_of({"ece": (metric_named("ece"), Answers(y, tenth))}, number=200)["ece"]
    >>> draws.interval().low
    0.0
    """
    statistics: dict[str, Statistic] = {}
    for name, (metric, answers) in measured.items():
        statistics[f"values/{name}"] = metric.statistic(answers)
        if (parts := parts_of(metric, answers)) is not None:
            statistics[f"shared/{name}"] = _shared(parts, len(answers.y))
    rows = len(next(iter(measured.values()))[1].y)
    values = resample(statistics, rows, number=number, clusters=clusters)
    once = np.ones((1, rows))
    return {
        name: Draws(values[f"values/{name}"], float(statistics[f"values/{name}"](once)[0]), values[f"shared/{name}"])
        if f"shared/{name}" in values
        else Draws(values[f"values/{name}"])
        for name in measured
    }


def _shared(parts: Statistic, rows: int) -> Statistic:
    whole = parts(np.ones((1, rows)))[0]
    return lambda weights: np.sign(parts(weights)) @ whole


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """The square of a positive correlation, 0 of another."""
    is_defined = np.isfinite(one) & np.isfinite(other)
    first, second = (values[is_defined] - values[is_defined].mean() for values in (one, other))
    size = float(np.sqrt((first @ first) * (second @ second)))
    return max(0.0, float(first @ second) / size) ** 2 if size else 0.0


def _moved(
    values: np.ndarray, estimates: tuple[float, float], value: float, confidence: float, floor: float = -np.inf
) -> Interval | None:
    """The percentiles of the draws about two estimates in place of about their own mean, and as far as the value itself."""
    percentiles = percentile_interval(values, confidence)
    if percentiles is None:
        return None
    mean = float(np.nanmean(values))
    low, high = estimates[0] + percentiles.low - mean, estimates[1] + percentiles.high - mean
    return Interval(float(max(floor, min(low, value))), float(max(high, value)), confidence)
