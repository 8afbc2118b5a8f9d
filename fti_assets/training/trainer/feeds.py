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
        """A torch DataLoader of batches ``(x, y)``, in an order that the seed fixes, or in the rows' own."""

    def spilled(self, folder: Path, name: str) -> Feed:
        """The same as another process can open it, with what is large in files of the folder."""


@dataclass(frozen=True, eq=False)
class ArrayFeed:
    """Encoded rows as arrays."""

    inputs: Mapping[str, np.ndarray]
    y: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.y)

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        return loop.loader(self.inputs, self.y, batch_size, seed=seed, share=share)

    def spilled(self, folder: Path, name: str) -> Feed:
        paths = {}
        for at, (key, values) in enumerate([*self.inputs.items(), ("", self.y)]):
            paths[key] = folder / f"{name}.{at}.npy"
            with guard_writes(paths[key]):
                np.save(paths[key], values)
        return MappedFeed(paths.pop(""), paths, len(self.y))


@dataclass(frozen=True)
class MappedFeed:
    """Encoded rows in files, which several processes share."""

    y: Path
    inputs: Mapping[str, Path]
    rows: int

    def loader(self, batch_size: int, seed: int | None, share: Share) -> Any:
        # Mapped so that a process may write into its own copy, as torch wants it; nobody does.
        inputs = {name: np.load(path, mmap_mode="c") for name, path in self.inputs.items()}
        return loop.loader(inputs, np.load(self.y, mmap_mode="c"), batch_size, seed=seed, share=share)

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
