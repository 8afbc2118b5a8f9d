"""The bootstrap: how far a metric, or the difference of two on the same rows, would move if other rows had been drawn.

Rows are drawn with replacement, as many as there are, by themselves or a whole cluster at a time. A draw is a count for each row, so
a metric is computed from weights, of many draws at once. All metrics are computed on the same draws: the difference of two of them is
that of a paired bootstrap. The draws are the same in every process and under every version of NumPy: they are made of the bits of
PCG64, whose stream NumPy promises to keep.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 13 and 16; clusters as in Davison and Hinkley,
"Bootstrap Methods and their Application" (1997), section 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from fti_assets.core.manifest.intervals import Interval
from fti_assets.errors import ModelError

RESAMPLES = 1_000
SEED = 0

ENOUGH = 0.95
"""The share of draws on which a metric must be defined: with fewer, nobody can say where it lies."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""A metric of weighted rows: from weights ``[draws, n]`` to values ``[draws]``, NaN where it is undefined."""

_FEWEST = 200
_MOST_ENTRIES = 10**8  # of all draws together, so that an interval of millions of rows takes seconds
_ENTRIES = 2**21  # of a block of draws, so that it takes 16 MiB


def draws_for(rows: int) -> int:
    """How many draws an interval of so many rows takes: 1,000, and fewer beyond 100,000 rows, but no fewer than 200.

    >>> draws_for(50_000), draws_for(400_000), draws_for(10_000_000)
    (1000, 250, 200)
    """
    return max(_FEWEST, min(RESAMPLES, _MOST_ENTRIES // rows))


def resample_counts(
    rows: int, *, number: int = RESAMPLES, seed: int = SEED, clusters: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """How often each row is drawn, in blocks of draws: float64 ``[draws, rows]``, ``number`` draws in all.

    Args:
        rows: at least 1.
        clusters: ``[rows]``, the position of each row's cluster, 0 to one less than there are clusters: rows of one are drawn together,
            and as many clusters as there are. By default every row is drawn by itself.

    >>> [block] = resample_counts(3, number=2)
    >>> block.sum(axis=1)
    array([3., 3.])
    """
    units = rows if clusters is None else int(clusters.max()) + 1
    if not 1 <= units < 2**32:
        raise ModelError(f"a bootstrap draws from 1 to {2**32 - 1:,} rows or clusters, not {units:,}")
    bits = np.random.PCG64(seed)
    words = -(-units // 2)  # whole words for each draw, so that a draw does not depend on the blocks
    block = max(1, min(number, _ENTRIES // rows))
    for start in range(0, number, block):
        counts = np.empty((min(block, number - start), units))
        for draw in counts:
            draw[:] = np.bincount(_positions(bits, words, units), minlength=units)
        yield counts if clusters is None else counts[:, clusters]


def resample(
    statistics: Mapping[str, Statistic],
    rows: int,
    *,
    number: int = RESAMPLES,
    clusters: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The values ``[number]`` of each statistic on the same draws, by name; the other arguments are those of ``resample_counts``.

    >>> y = np.array([1.0, 2.0, 6.0])
    >>> values = resample({"mean": lambda weights: weights @ y / weights.sum(axis=1)}, 3, number=200)["mean"]
    >>> len(values), float(values.min()), float(values.max())
    (200, 1.0, 6.0)
    """
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for weights in resample_counts(rows, number=number, clusters=clusters):
        for name, statistic in statistics.items():
            blocks[name].append(statistic(weights))
    return {name: np.concatenate(values) for name, values in blocks.items()}


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> Interval | None:
    """Where the middle ``confidence`` of the values lies; None if fewer than 95% of them are defined.

    Draws on which the statistic is undefined (NaN), as ROC-AUC is where only one class was drawn, are left out.

    Args:
        values: ``[draws]`` of a statistic, or of the difference of two on the same draws.

    >>> percentile_interval(np.arange(101.0), confidence=0.5)
    Interval(low=25.0, high=75.0, confidence=0.5)
    """
    defined = values[np.isfinite(values)]
    if not len(defined) or len(defined) < ENOUGH * len(values):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), confidence)


def _positions(bits: np.random.PCG64, words: int, units: int) -> np.ndarray:
    """As many positions below ``units`` as there are units, from 32 bits each: the high word of a product with ``units``."""
    halves = bits.random_raw(words).astype("<u8").view("<u4")[:units]
    return (halves * np.uint64(units) >> np.uint64(32)).astype(np.int64)
