"""The raw rows of a part, by column and by block: in memory, or in an Arrow file beside DuckDB's own spilled files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.types import SIDES
from fti_assets.core.types.vectors import vectors
from fti_assets.stores.files import guard_writes, readable
from fti_assets.training.trainer.parts.block_encoder import Block, Words

if TYPE_CHECKING:
    import duckdb

BLOCK_ROWS = 16_384
"""How many rows are read, and moved by a shuffle, together."""


class Rows(Protocol):
    """The rows of a part, in their order."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Each column, name to canonical array ``[n]``."""

    @property
    def blocks(self) -> Sequence[int]:
        """How many rows each block has."""

    def open(self) -> AbstractContextManager[Callable[[int], Block]]:
        """What reads a block by its number, as long as the rows are open."""


Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class RowsInMemory:
    """Rows that are arrays already."""

    def __init__(self, columns: Mapping[str, np.ndarray], rows: int) -> None:
        self.columns = columns
        self.blocks = tuple(min(BLOCK_ROWS, rows - start) for start in range(0, rows, BLOCK_ROWS))

    @contextmanager
    def open(self) -> Iterator[Callable[[int], Block]]:
        starts = [0, *accumulate(self.blocks)]

        def read(at: int) -> Block:
            return {name: values[starts[at] : starts[at + 1]] for name, values in self.columns.items()}

        yield read


class CopiedRows:
    """The rows of another, whose columns are copied whenever they are asked for: nobody else has those arrays."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.blocks, self.open = rows, rows.blocks, rows.open

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Each column, name to a new array ``[n]``."""
        return _Columns(list(self._rows.columns), lambda name: self._rows.columns[name].copy())


class RowsOnDisk:
    """Rows in an Arrow file of blocks, of which one block or one column is in memory at a time.

    Args:
        path: the file, as ``write_rows`` makes it.
        columns: those of it that are read.
        blocks: how many rows each block has.
    """

    def __init__(self, path: Path, columns: Sequence[Column], blocks: Sequence[int]) -> None:
        self.path, self.blocks = path, tuple(blocks)
        self._types = {column.name: column for column in columns}

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Each column, read from the file whenever it is asked for."""
        return _Columns(list(self._types), self.column)

    def part(self, names: Sequence[str]) -> RowsOnDisk:
        """The same rows with some of the columns."""
        return RowsOnDisk(self.path, [self._types[name] for name in names], self.blocks)

    @contextmanager
    def open(self) -> Iterator[Callable[[int], Block]]:
        """What reads a block by its number, as long as the rows are open."""

        def read(at: int) -> Block:
            batch = reader.get_batch(at)
            return {name: _values(batch.column(name), column) for name, column in self._types.items()}

        with self._open(list(self._types)) as reader:
            yield read

    def column(self, name: str) -> np.ndarray:
        """One column of all rows."""
        column, start = self._types[name], 0
        values = np.empty(sum(self.blocks), dtype=SIDES[column.type].array)
        texts: dict[str, str] = {}
        with self._open([name]) as reader:
            for at in range(reader.num_record_batches):
                part = _values(reader.get_batch(at).column(0), column)
                if isinstance(part, Words):  # equal texts are one object
                    part = Words(objects([texts.setdefault(text, text) for text in part.distinct]), part.codes).values
                values[start : start + len(part)] = part
                start += len(part)
        return values

    @contextmanager
    def _open(self, names: Sequence[str]) -> Iterator[Any]:
        """The file, read and not mapped, so that memory is what is held and no more."""
        import pyarrow as pa

        with readable(self.path), pa.OSFile(str(self.path)) as file:
            fields = pa.ipc.open_file(file).schema.names
            options = pa.ipc.IpcReadOptions(included_fields=[fields.index(name) for name in names])
            yield pa.ipc.open_file(file, options=options)


class _Columns(Mapping[str, np.ndarray]):
    """Columns that are made whenever they are asked for."""

    def __init__(self, names: list[str], column: Callable[[str], np.ndarray]) -> None:
        self._names, self._column = names, column

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._column(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without making it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def by_block(rows: Rows) -> Iterator[dict[str, np.ndarray]]:
    """The columns of a block after another, as canonical arrays."""
    with rows.open() as read:
        for at in range(len(rows.blocks)):
            yield {name: one.values if isinstance(one, Words) else one for name, one in read(at).items()}


def rows_at(rows: Rows, places: np.ndarray) -> dict[str, np.ndarray]:
    """Some rows, by their ascending places; of the others a block at a time is in memory.

    >>> rows_at(RowsInMemory({"x": np.array([5.0, 6.0, 7.0])}, 3), np.array([0, 2]))["x"].tolist()
    [5.0, 7.0]
    """
    parts, start = list[dict[str, np.ndarray]](), 0
    for block, size in zip(by_block(rows), rows.blocks, strict=True):
        own = places[slice(*np.searchsorted(places, [start, start + size]))] - start
        if len(own):
            parts.append({name: values[own] for name, values in block.items()})
        start += size
    if not parts:
        return {name: values[:0] for name, values in rows.columns.items()}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_rows(run: Run, rows: Rows, chosen: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What a graph gives for rows, a block at a time, by the name of the output.

    Args:
        run: the graph's ``run``, from columns to outputs ``[n, ...]``.
        rows: that it is run on.
        chosen: ``[n]``, which of them, at least one; all by default.
    """
    parts, start = list[Mapping[str, np.ndarray]](), 0
    for block, size in zip(by_block(rows), rows.blocks, strict=True):
        own = None if chosen is None else np.flatnonzero(chosen[start : start + size])
        start += size
        if own is None or len(own):
            parts.append(run(block if own is None else {name: values[own] for name, values in block.items()}))
    if not parts:
        return dict(run(dict(rows.columns)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_rows(path: Path, relation: duckdb.DuckDBPyRelation, columns: Sequence[Column]) -> RowsOnDisk:
    """Write rows, in their order, block by block.

    Args:
        path: of the file that is made.
        relation: of canonical values, as ``canonical_sql`` makes them.
        columns: their names and types.

    Raises:
        StoreError: there is no room.
    """
    import pyarrow as pa

    blocks = []
    with (
        guard_writes(path),
        pa.OSFile(str(path), "wb") as file,
        relation.to_arrow_reader(BLOCK_ROWS) as batches,
        pa.ipc.new_file(file, batches.schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
            blocks.append(batch.num_rows)
    return RowsOnDisk(path, columns, blocks)


def _values(values: Any, column: Column) -> np.ndarray | Words:
    if column.type == "vector":
        return vectors(values.to_numpy(zero_copy_only=False))
    if column.type != "text":
        return np.asarray(values.to_numpy(zero_copy_only=False)).astype(SIDES[column.type].array, copy=False)
    encoded = values.dictionary_encode()
    return Words(objects(encoded.dictionary.to_pylist()), encoded.indices.to_numpy())


def objects(texts: Sequence[str]) -> np.ndarray:
    """Texts as an array of objects, ``[n]``."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
