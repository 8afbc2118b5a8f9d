"""At how many rows a champion is judged, and how sure one has to be each time.

Whoever looks at labels each day until a difference seems large enough finds one sooner or later. So looks are fixed beforehand, at numbers
of rows that double, each on the earliest so many rows: whatever day it is computed on, the same rows give the same verdict. All looks,
however many there are, share an error rate of five percent: look ``k`` has ``0.05 / (k (k + 1))`` of it, which sum to no more. Source:
Pocock, "Group sequential methods in the design and analysis of clinical trials" (1977), with the spending of Bonferroni's inequality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fti_assets.core.manifest.intervals import Interval
from fti_assets.stores.models.aliases import FreshComparison
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.paired import PairedAnswers

LEAST_ROWS = 500
MOST_LOOKS = 8
MOST_ROWS = LEAST_ROWS * 2 ** (MOST_LOOKS - 1)
"""The rows of the last look: 64,000."""

_ERROR_RATE = 0.05


@dataclass(frozen=True)
class Look:
    """A look: how many of the earliest rows it has, and the confidence of its interval."""

    rows: int
    confidence: float


def looks_at(rows: int) -> Iterator[Look]:
    """The looks that so many rows are enough for.

    >>> [(look.rows, round(look.confidence, 4)) for look in looks_at(2_500)]
    [(500, 0.975), (1000, 0.9917), (2000, 0.9958)]
    """
    for number in range(1, MOST_LOOKS + 1):
        least = LEAST_ROWS * 2 ** (number - 1)
        if rows < least:
            return
        yield Look(least, 1 - _ERROR_RATE / (number * (number + 1)))


def compared(
    champion: str,
    previous: str,
    metric: str,
    own: Answers,
    other: Answers,
    times: np.ndarray,
    clusters: np.ndarray | None = None,
) -> FreshComparison | None:
    """The first look at which the champion is worse, else the last one that there are rows for; None of too few rows.

    Args:
        champion, previous: the references of the two builds.
        metric: what they are compared by.
        own, other: the answers of the champion and of the build before it, to the same ``n`` rows in the order of time.
        times: the rows' prediction times, ``datetime64[us]`` ``[n]``.
        clusters: ``[n]``, what names each row's cluster: rows of one are drawn together.
    """
    result = None
    for look in looks_at(len(times)):
        result = _at(look, champion, previous, metric, own, other, times, clusters)
        if result is not None and result.is_worse:
            break
    return result


def _at(
    look: Look,
    champion: str,
    previous: str,
    metric: str,
    own: Answers,
    other: Answers,
    times: np.ndarray,
    clusters: np.ndarray | None,
) -> FreshComparison | None:
    rows = np.arange(look.rows)
    parts = own.part(rows), other.part(rows)
    every = np.ones((1, look.rows))
    definition = metric_named(metric)
    value, previous_value = (float(definition.statistic(part)(every)[0]) for part in parts)
    if not (np.isfinite(value) and np.isfinite(previous_value)):
        return None  # of one class alone, say: a later look has more
    pair = PairedAnswers(*parts, None if clusters is None else clusters[rows])
    sign = -1 if definition.higher_is_better else 1
    difference = pair.difference(metric, look.confidence)
    return FreshComparison(
        metric=metric,
        champion=champion,
        previous=previous,
        value=value,
        previous_value=previous_value,
        behind=sign * (value - previous_value),
        interval=None if difference is None else _signed(difference, sign),
        rows=look.rows,
        since=str(times[0].astype("datetime64[s]")),
        until=str(times[look.rows - 1].astype("datetime64[s]")),
    )


def _signed(interval: Interval, sign: int) -> Interval:
    low, high = sorted((sign * interval.low, sign * interval.high))
    return Interval(low, high, interval.confidence)
