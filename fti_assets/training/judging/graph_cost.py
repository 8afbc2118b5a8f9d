"""What the graph of a build costs: its bytes, and how long it takes to answer one row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

TIMED_ROWS = 50
_RUNS = 7


@dataclass(frozen=True)
class Latency:
    """Seconds that one row takes: the median and the 95th percentile over rows, and the median of CPU time."""

    median: float
    p95: float
    cpu: float


class GraphCost:
    """A graph's bytes, and its latency once somebody asks.

    Args:
        size: the bytes of the graph.
        run: answers the row of that position, of ``rows``.
        rows: how many there are.

    >>> GraphCost(1_000, lambda row: None, 3).latency.median < 1
    True
    """

    def __init__(self, size: int, run: Callable[[int], object], rows: int) -> None:
        self.bytes, self._run, self._rows = size, run, rows

    @cached_property
    def latency(self) -> Latency:
        """Of up to 50 rows, evenly taken, each answered alone seven times: the fastest counts, so what else runs here hardly does."""
        times = []
        for row in np.unique(
            np.linspace(0, self._rows - 1, min(self._rows, TIMED_ROWS)).round().astype(np.int64)
        ).tolist():
            runs = [self._once(row) for _ in range(_RUNS)]
            times.append((min(wall for wall, _ in runs), min(cpu for _, cpu in runs)))
        wall, cpu = np.array(times).T
        return Latency(float(np.median(wall)), float(np.quantile(wall, 0.95)), float(np.median(cpu)))

    def _once(self, row: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.thread_time()
        self._run(row)
        return time.perf_counter() - wall, time.thread_time() - cpu
