"""Batches of rows: where each begins, in which order the rows come, and which of them a process gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.errors import ModelError


@dataclass(frozen=True)
class Share:
    """Which rows of each batch a process gets, of several that train together: every ``processes``-th one from ``rank`` on."""

    rank: int = 0
    processes: int = 1


ALONE = Share()
"""The whole of each batch."""


def bounds(rows: int, batch_size: int, processes: int = 1) -> np.ndarray:
    """Where batches begin and the last one ends, int64 ``[batches + 1]``.

    A last batch of one row joins the batch before it, as batch normalization cannot train on one row. Of several processes each gets as
    many rows of a batch as the others, so the few rows that the last batch has too many are left out.

    >>> bounds(7, 3).tolist(), bounds(8, 4, processes=2).tolist(), bounds(11, 4, processes=2).tolist()
    ([0, 3, 7], [0, 4, 8], [0, 4, 10])

    Raises:
        ModelError: the batch size is not a whole number above 0, or cannot be divided among the processes.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ModelError(f"a batch size of {batch_size!r} rows cannot be trained on: give a whole number above 0")
    if batch_size % processes:
        nearest = max(processes, batch_size - batch_size % processes)
        raise ModelError(
            f"a batch of {batch_size} rows cannot be shared evenly by {processes} processes: give batch_size={nearest}"
        )
    rows -= rows % processes
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] <= processes:
        starts.pop()
    return np.array([*starts, rows], dtype=np.int64)


class QueryBatches:
    """A sampler of whole batches of whole queries, in order, or with a seed in an order of its own each epoch.

    A batch has as many queries as have ``batch_size`` rows on average, so there are as many batches in each epoch.

    Args:
        qid: the number of each row's query ``[n]``, ascending from 0 on without a gap.
        batch_size: rows a batch, about.
        seed: of the order; None keeps it.

    Raises:
        ModelError: the batch size is not a whole number above 0.
    """

    def __init__(self, qid: np.ndarray, batch_size: int, seed: int | None) -> None:
        bounds(len(qid), batch_size)  # refuses what is no size
        self.seed, self.epoch, self._sizes = seed, 0, np.bincount(qid)
        queries = len(self._sizes)
        self._ends = bounds(queries, max(1, round(batch_size * queries / max(1, len(qid)))))

    def __iter__(self) -> Iterator[Any]:
        torch = require("torch")
        order = np.arange(len(self._sizes))
        if self.seed is not None:
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(self.seed + self.epoch)).numpy()
            self.epoch += 1
        starts, sizes = (np.cumsum(self._sizes) - self._sizes)[order], self._sizes[order]
        ends = np.concatenate([[0], np.cumsum(sizes)])
        rows = torch.from_numpy(np.arange(ends[-1]) + np.repeat(starts - ends[:-1], sizes))
        for first, last in pairwise(self._ends.tolist()):
            yield rows[ends[first] : ends[last]]

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass is, as Lightning says it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._ends) - 1


class Batches:
    """A sampler of whole batches: slices in order, or with a seed index tensors in an order of their own each epoch."""

    def __init__(self, rows: int, batch_size: int, seed: int | None, share: Share = ALONE) -> None:
        self.rows, self.seed, self.share, self.epoch = rows, seed, share, 0
        self.slices = [slice(*ends) for ends in pairwise(bounds(rows, batch_size, share.processes).tolist())]

    def __iter__(self) -> Iterator[Any]:
        own = slice(self.share.rank, None, self.share.processes)
        torch = require("torch")
        if self.seed is None:
            places = torch.arange(self.rows)
            yield from self.slices if self.share.processes == 1 else (places[batch][own] for batch in self.slices)
            return
        # By epoch, so that an epoch's order does not depend on what else has drawn from the generator.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        self.epoch += 1
        order = torch.randperm(self.rows, generator=generator)
        for batch in self.slices:
            yield order[batch][own]

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass is, as Lightning says it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.slices)
