"""What loaders are made of, here or in other processes: a part's encoded rows in memory, mapped from files, or a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fti_assets.stores.files import guard_writes
from fti_assets.training.trainer import loop
from fti_assets.training.trainer.batches import Share
from fti_assets.training.trainer.stream import Source, Stream


class Feed(Protocol):
    """The rows that a loader gives."""

    @property
    def rows(self) -> int:
        """How many there are."""

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        """A torch DataLoader of batches ``(x, y)`` or ``(x, y, weight)``, in an order that the seed fixes, or in the rows' own."""

    def spilled(self, folder: Path, name: str) -> Feed:
        """The same as another process can open it, with what is large in files of the folder."""


@dataclass(frozen=True, eq=False)
class ArrayFeed:
    """Encoded rows as arrays; ``labels`` are ``y``, and ``weight`` where rows do not count alike."""

    inputs: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    @property
    def rows(self) -> int:
        return len(self.labels["y"])

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        return loop.loader(self.inputs, **self.labels, batch_size=batch_size, seed=seed, share=share)

    def spilled(self, folder: Path, name: str) -> Feed:
        def spill(arrays: Mapping[str, np.ndarray], kind: str) -> dict[str, Path]:
            paths = {key: folder / f"{name}.{kind}.{at}.npy" for at, key in enumerate(arrays)}
            for key, path in paths.items():
                with guard_writes(path):
                    np.save(path, arrays[key])
            return paths

        return MappedFeed(spill(self.inputs, "x"), spill(self.labels, "y"), self.rows)


@dataclass(frozen=True)
class MappedFeed:
    """Encoded rows in files, which several processes share."""

    inputs: Mapping[str, Path]
    labels: Mapping[str, Path]
    rows: int

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        # Mapped so that a process may write into its own copy, as torch wants it; nobody does.
        inputs, labels = (
            {name: np.load(path, mmap_mode="c") for name, path in paths.items()} for paths in (self.inputs, self.labels)
        )
        return loop.loader(inputs, **labels, batch_size=batch_size, seed=seed, share=share)

    def spilled(self, folder: Path, name: str) -> Feed:
        return self


@dataclass(frozen=True)
class StreamFeed:
    """Rows that are read and encoded as they come."""

    source: Source
    tensor_y: str
    shuffle_blocks: int = field(default=16)

    @property
    def rows(self) -> int:
        return sum(self.source.rows.blocks)

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        stream = Stream(
            self.source,
            batch_size,
            seed=seed,
            shuffle_blocks=self.shuffle_blocks,
            share=share,
            tensor_y=self.tensor_y,
        )
        return stream.tensors()

    def spilled(self, folder: Path, name: str) -> Feed:
        return self
