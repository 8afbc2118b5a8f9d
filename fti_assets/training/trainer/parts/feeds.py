"""What loaders are made of, here or in other processes: a part's encoded rows in memory, mapped from files, or a stream."""

from __future__ import annotations

import math
import mmap
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fti_assets.stores.files import guard_writes
from fti_assets.training.trainer.parts.batches import Share
from fti_assets.training.trainer.parts.loaders import tensor_loader
from fti_assets.training.trainer.parts.stream import Source, Stream

_ALIGNED = 64
SHARED_BYTES = 2**24
"""Arrays of no more bytes are copied for each who gets them: a file costs more."""


class SharedArrays:
    """Arrays that many get as their own, and that are there once: of large ones a page is copied when somebody writes into it.

    Args:
        arrays: by name.

    Raises:
        StoreError: there is no room for them among the temporary files.

    >>> shared = SharedArrays({"dense": np.zeros((2, 1))})
    >>> one, other = shared.copies(), shared.copies()
    >>> one["dense"][0] = 7.0
    >>> other["dense"].tolist()
    [[0.0], [0.0]]
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays, self._bytes = dict(arrays), sum(one.nbytes for one in arrays.values())
        self._kinds = {name: (one.dtype, one.shape) for name, one in arrays.items()}
        if self._bytes > SHARED_BYTES:
            self._arrays.clear()
            self._file = tempfile.TemporaryFile(prefix="fti_arrays_")  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            with guard_writes(Path(tempfile.gettempdir())):
                for one in arrays.values():
                    self._file.write(np.ascontiguousarray(one).data)
                    self._file.write(bytes(-one.nbytes % _ALIGNED))
                self._file.flush()

    def copies(self) -> dict[str, np.ndarray]:
        """Arrays that the caller may write into."""
        if self._bytes <= SHARED_BYTES:
            return {name: one.copy() for name, one in self._arrays.items()}
        content, start, arrays = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY), 0, {}
        for name, (dtype, shape) in self._kinds.items():
            size = math.prod(shape)
            arrays[name] = np.frombuffer(content, dtype, size, start).reshape(shape) if size else np.empty(shape, dtype)
            start += size * dtype.itemsize + -size * dtype.itemsize % _ALIGNED
        return arrays


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
        return tensor_loader(self.inputs, **self.labels, batch_size=batch_size, seed=seed, share=share)

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
        return tensor_loader(inputs, **labels, batch_size=batch_size, seed=seed, share=share)

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
