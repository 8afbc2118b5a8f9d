"""A part's rows as a stream of encoded batches, for parts that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.mixing import shuffled
from fti_assets.errors import ModelError
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.trainer.parts.batches import ALONE, Share, bounds
from fti_assets.training.trainer.parts.block_encoder import Block, BlockEncoder
from fti_assets.training.trainer.parts.rows import Rows

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Source:
    """Where a stream comes from.

    Args:
        rows: the raw rows.
        encoder: makes encoded rows of raw ones.
        labels: ``[n]`` by name, what comes beside the encoded rows.
        dense: what stands in ``dense`` in place of what the encoder gives, ``[n]`` by column.
    """

    rows: Rows
    encoder: BlockEncoder
    labels: Mapping[str, np.ndarray]
    dense: Mapping[int, np.ndarray]


class Stream:
    """Batches ``(x, y)`` of a part, read from disk, shuffled and encoded on the way; each pass over it is the next epoch.

    Where the part is weighted they are ``(x, y, weight)``.

    Of the blocks in which the rows lie, in an order of their own, some are read together and their rows shuffled, so that memory holds
    those blocks and no more. The order is fixed by the seed and the epoch.

    Attributes:
        epoch: that of the next pass.

    Iterating gives numpy arrays, as ``inputs`` and ``y`` of a part; ``tensors()`` gives torch's, ``frames()`` pandas frames.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int | None,
        shuffle_blocks: int,
        share: Share = ALONE,
        frame: Callable[[Arrays], Any] | None = None,
        raw: Callable[[], Source] | None = None,
        tensor_y: str = "float32",
    ) -> None:
        if isinstance(shuffle_blocks, bool) or not isinstance(shuffle_blocks, int) or shuffle_blocks < 1:
            raise ModelError(f"stream(shuffle_blocks={shuffle_blocks!r}): give a whole number of blocks above 0")
        self.source, self.seed, self.shuffle_blocks, self.epoch, self.share = source, seed, shuffle_blocks, 0, share
        self._bounds = bounds(sum(source.rows.blocks), batch_size, share.processes)
        self._frame, self._raw, self._tensor_y = frame, raw, tensor_y

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[tuple[Arrays, *tuple[np.ndarray, ...]]]:
        for arrays, labels in self._next_epoch(self.source):
            yield arrays, *labels.values()

    def tensors(self) -> Any:
        """A torch DataLoader over an ``IterableDataset`` of the batches; ``y`` is as in ``data.loaders``.

        Raises:
            MissingExtraError: torch is not installed.
        """
        torch = require("torch")
        stream = self

        class Tensors(torch.utils.data.IterableDataset):  # type: ignore[misc,name-defined]
            def __iter__(self) -> Iterator[Any]:
                worker = torch.utils.data.get_worker_info()
                for at, (arrays, *labels) in enumerate(stream):
                    if worker is not None and at % worker.num_workers != worker.id:
                        continue
                    labels[0] = labels[0].astype(stream._tensor_y, copy=False)
                    x = {name: torch.from_numpy(values) for name, values in arrays.items()}
                    yield x, *map(torch.from_numpy, labels)

            def __len__(self) -> int:
                return len(stream)

            def set_epoch(self, epoch: int) -> None:
                stream.epoch = epoch

        # A generator of its own: a DataLoader draws from the global one otherwise, which changes a module's dropout.
        return torch.utils.data.DataLoader(Tensors(), batch_size=None, generator=torch.Generator())

    def frames(self) -> Iterator[tuple[Any, *tuple[np.ndarray, ...]]]:
        """The batches of the next epoch as ``(frame, y)``, or ``(frame, y, weight)``, with the frame of ``data.train.frame``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        assert self._raw is not None
        assert self._frame is not None
        for arrays, labels in self._next_epoch(self._raw()):
            yield self._frame(arrays), *labels.values()

    def _next_epoch(self, source: Source) -> Iterator[tuple[Arrays, Arrays]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(source, epoch)

    def _batches(self, source: Source, epoch: int) -> Iterator[tuple[Arrays, Arrays]]:
        """The own share of each batch: encoded rows, and labels."""
        rest, batch, position = list[tuple[Arrays, Arrays]](), 0, 0
        with source.rows.open() as read:
            for blocks, order in self._groups(source.rows.blocks, epoch):
                is_own = self._own(position, len(order))
                ends = None if is_own is None else np.cumsum(is_own)
                group, first = _Group(source, read, blocks, order if is_own is None else order[is_own]), 0
                while batch < len(self) and self._bounds[batch + 1] <= position + len(order):
                    last = int(self._bounds[batch + 1] - position)
                    last = last if ends is None else int(ends[last - 1])
                    yield _joined([*rest, group.rows(first, last)])
                    first, batch, rest = last, batch + 1, []
                if first < group.size:
                    rest.append(group.rows(first, group.size))
                position += len(order)

    def _own(self, position: int, rows: int) -> np.ndarray | None:
        """Which of the rows from a position on this process gets; None for all."""
        if self.share.processes == 1:
            return None
        places = np.arange(position, position + rows)
        of_batch = places - self._bounds[np.searchsorted(self._bounds, places, side="right") - 1]
        return np.asarray((of_batch % self.share.processes == self.share.rank) & (places < self._bounds[-1]))

    def _groups(self, sizes: Sequence[int], epoch: int) -> Iterator[tuple[list[int], np.ndarray]]:
        """The blocks that are shuffled together, and the order in which their rows come."""
        if self.seed is None:
            yield from (([at], np.arange(size)) for at, size in enumerate(sizes))
            return
        in_order = shuffled(len(sizes), "blocks", self.seed, epoch).tolist()
        for start in range(0, len(sizes), self.shuffle_blocks):
            blocks = in_order[start : start + self.shuffle_blocks]
            yield blocks, shuffled(sum(sizes[at] for at in blocks), "rows", self.seed, epoch, start)


class _Group:
    """The rows of some blocks that a process gets, encoded, in the order in which they come.

    Args:
        source: what reads, encodes and labels them.
        read: gives a block by its number.
        blocks: the numbers.
        order: the places of the rows among those of all these blocks.
    """

    def __init__(self, source: Source, read: Callable[[int], Block], blocks: Sequence[int], order: np.ndarray) -> None:
        sizes = [source.rows.blocks[at] for at in blocks]
        is_whole = len(order) == sum(sizes)
        rows = np.arange(len(order)) if is_whole else np.sort(order)
        self.size = len(order)
        self._order = order if is_whole else np.searchsorted(rows, order)
        self._encoded, self._labels = source.encoder.empty(len(order)), {}
        starts, end, begin = [0, *accumulate(source.rows.blocks)], 0, 0
        numbers = np.empty(len(order), dtype=np.int64)
        for at, size in zip(blocks, sizes, strict=True):
            own = None if is_whole else rows[slice(*np.searchsorted(rows, [begin, begin + size]))] - begin
            first, begin = end, begin + size
            if own is None or len(own):
                end = source.encoder.fill(self._encoded, first, read(at), own)
                numbers[first:end] = starts[at] + (np.arange(size) if own is None else own)
        for column, values in source.dense.items():
            self._encoded[DENSE][:, column] = values[numbers]
        self._labels = {name: values[numbers] for name, values in source.labels.items()}

    def rows(self, first: int, last: int) -> tuple[Arrays, Arrays]:
        """Some of them, as arrays of their own."""
        places = self._order[first:last]
        encoded = {name: values.take(places, axis=0) for name, values in self._encoded.items()}
        return encoded, {name: values.take(places, axis=0) for name, values in self._labels.items()}


def _joined(parts: Sequence[tuple[Arrays, Arrays]]) -> tuple[Arrays, Arrays]:
    """A batch that begins in one group of blocks and ends in another."""
    if len(parts) == 1:
        return parts[0]
    encoded, labels = zip(*parts, strict=True)
    return (
        {name: np.concatenate([one[name] for one in encoded]) for name in encoded[0]},
        {name: np.concatenate([one[name] for one in labels]) for name in labels[0]},
    )
