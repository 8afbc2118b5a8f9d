"""Torch's loader over whole tensors in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.training.trainer.parts.batches import ALONE, Batches, QueryBatches, Share


class _Rows:
    """A data set that gives a whole batch for the rows asked: one index per tensor, where one row at a time is slow."""

    def __init__(self, x: Mapping[str, Any], y: Any, *weight: Any) -> None:
        self.x, self.y, self.weight = x, y, weight

    def __getitem__(self, rows: Any) -> tuple[dict[str, Any], *tuple[Any, ...]]:
        x = {name: values[rows] for name, values in self.x.items()}
        return x, self.y[rows], *(one[rows] for one in self.weight)

    def __len__(self) -> int:
        return len(self.y)


def tensor_loader(
    inputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    batch_size: int,
    *,
    seed: int | None,
    share: Share = ALONE,
    weight: np.ndarray | None = None,
    qid: np.ndarray | None = None,
) -> Any:
    """A torch DataLoader of batches ``(x, y)``, ``(x, y, weight)`` or ``(x, y, qid)``, shuffled again each epoch where a seed is given.

    Args:
        inputs: name to array ``[n, ...]``, given as a dict of tensors.
        y: ``[n]``.
        batch_size: rows a batch.
        seed: the same seed gives the same batches; None keeps the rows' order.
        share: which rows of each batch this process gets.
        weight: what each row counts ``[n]``, if they do not count alike.
        qid: the number of each row's query ``[n]``, ascending, if batches are to hold whole queries.

    Raises:
        ModelError: the batch size is not a whole number above 0.
    """
    torch = require("torch")
    labels = [torch.from_numpy(one) for one in (y, weight, qid) if one is not None]
    sampler = Batches(len(y), batch_size, seed, share) if qid is None else QueryBatches(qid, batch_size, seed)
    rows = _Rows({name: torch.from_numpy(values) for name, values in inputs.items()}, *labels)
    # A generator of its own: a DataLoader draws from the global one otherwise, which changes a module's dropout.
    return torch.utils.data.DataLoader(rows, sampler=sampler, batch_size=None, generator=torch.Generator())
