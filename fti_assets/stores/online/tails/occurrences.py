"""Parts with entries of their own, of which a cell may have many; here the different values of a column.

    entries uint32, values uint32 | times int64 | codes uint32 | values

A code is the place of an entry's value.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.stores.online.tails import values as typed
from fti_assets.stores.online.tails.times import times_at

NUMBER = struct.Struct("<I")
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Rows:
    """``n`` rows of ``k`` keys, in the order of the keys.

    Args:
        keys: the encoded keys.
        starts: where the rows of each begin, int64 ``[k]``.
        visible, event, available: microseconds since 1970, int64 ``[n]``.
        columns: the values of each column as ``values.array_of`` gives them, and where it is null, bool ``[n]``.
    """

    keys: Sequence[bytes]
    starts: np.ndarray
    visible: np.ndarray
    event: np.ndarray
    available: np.ndarray
    columns: Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Occurrences:
    """``n`` entries, each with the place of its key and its time, sorted by these once they are in cells."""

    keys: np.ndarray
    times: np.ndarray

    def take(self, order: np.ndarray) -> Self:
        return type(self)(*(getattr(self, one.name)[order] for one in fields(self)))


class OwnEntries(ABC):
    """A part whose entries are not those of the key."""

    column: str | None

    @abstractmethod
    def of_rows(self, keys: np.ndarray, rows: Rows) -> Any:
        """The entries of rows, of which ``keys`` says whose each is."""

    def concat(self, parts: Sequence[Any]) -> Any:
        return type(parts[0])(
            *(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(parts[0]))
        )

    @abstractmethod
    def in_cells(self, entries: Any) -> Any:
        """The entries whose times are those of cells now, sorted, without what no window can need."""

    @abstractmethod
    def pack(self, entries: Any, keys: int) -> list[bytes]:
        """The section of each of ``keys`` keys."""

    @abstractmethod
    def unpack(self, places: Sequence[tuple[bytes, int]]) -> Any:
        """The entries of some sections, of which each is a blob and where the section begins."""


def bounds_of(entries: Occurrences, keys: int) -> list[tuple[int, int]]:
    """Where the entries of each key begin and end."""
    return list(pairwise(np.searchsorted(entries.keys, np.arange(keys + 1)).tolist()))


def within(blob: bytes, at: int, number: int, after_us: int, until_us: int) -> tuple[int, int]:
    """The first entry after one instant, and the one behind the last until another, by sorted times from some byte on."""
    times = times_at(blob, at, number)
    end = bisect_right(times, until_us)
    return bisect_right(times, after_us, 0, end), end


def sections_of(entries: Occurrences, keys: int, columns: Sequence[np.ndarray]) -> list[bytes]:
    """The number of entries of each key, their times and some columns, each as it lies in memory."""
    arrays = [entries.times.astype("<i8"), *columns]
    return [
        b"".join([NUMBER.pack(end - first), *(array[first:end].tobytes() for array in arrays)])
        for first, end in bounds_of(entries, keys)
    ]


def columns_of(places: Sequence[tuple[bytes, int]], types: Sequence[str]) -> list[np.ndarray]:
    """Of sections that ``sections_of`` wrote the places of the keys, the times and the columns."""
    numbers = [NUMBER.unpack_from(blob, at)[0] for blob, at in places]
    results, before = [np.repeat(np.arange(len(places)), numbers)], 0
    for kind in ("<i8", *types):
        size = np.dtype(kind).itemsize
        content = [
            blob[at + NUMBER.size + before * number : at + NUMBER.size + (before + size) * number]
            for (blob, at), number in zip(places, numbers, strict=True)
        ]
        results.append(np.frombuffer(b"".join(content), kind))
        before += size
    return results


@dataclass(frozen=True)
class ValueOccurrences(Occurrences):
    """Values, each in an entry."""

    values: np.ndarray


class DistinctPart(OwnEntries):
    """The different values of one column."""

    def __init__(self, column: str, kind: ColumnType) -> None:
        self.column: str = column
        self.kind = kind

    def of_rows(self, keys: np.ndarray, rows: Rows) -> ValueOccurrences:
        values, nulls = rows.columns[self.column]
        return ValueOccurrences(keys, rows.visible, values).take(np.flatnonzero(~nulls))

    def in_cells(self, entries: ValueOccurrences) -> ValueOccurrences:
        """Each value of a key and time once, sorted by key and time."""
        if not len(entries.keys):
            return entries
        ranks = typed.ranks(entries.values)
        order = np.lexsort((ranks, entries.times, entries.keys))
        entries, ranks = entries.take(order), ranks[order]
        is_same = (
            (entries.keys[1:] == entries.keys[:-1])
            & (entries.times[1:] == entries.times[:-1])
            & (ranks[1:] == ranks[:-1])
        )
        return entries.take(np.flatnonzero(np.concatenate([[True], ~is_same])))

    def pack(self, entries: ValueOccurrences, keys: int) -> list[bytes]:
        results = []
        for first, end in bounds_of(entries, keys):
            different, codes = _coded(entries.values[first:end])
            pieces = [
                _HEAD.pack(end - first, len(different)),
                entries.times[first:end].astype("<i8").tobytes(),
                codes.astype("<u4").tobytes(),
                typed.pack(different, self.kind),
            ]
            results.append(b"".join(pieces))
        return results

    def unpack(self, places: Sequence[tuple[bytes, int]]) -> ValueOccurrences:
        heads = [_HEAD.unpack_from(blob, at) for blob, at in places]
        numbers = np.array([number for number, _ in heads], dtype=np.int64)
        times, codes, dictionaries = [], [], []
        for (blob, at), (number, different) in zip(places, heads, strict=True):
            at += _HEAD.size
            times.append(blob[at : at + 8 * number])
            codes.append(blob[at + 8 * number : at + 12 * number])
            dictionaries.append((blob, at + 12 * number, different))
        values = typed.unpack(dictionaries, self.kind)
        sizes = np.array([different for _, different in heads], dtype=np.int64)
        firsts = np.repeat(np.cumsum(sizes) - sizes, numbers)
        of_entries = np.frombuffer(b"".join(codes), "<u4") + firsts
        keys = np.repeat(np.arange(len(heads)), numbers)
        return ValueOccurrences(keys, np.frombuffer(b"".join(times), "<i8"), values[of_entries])

    def read(self, blob: bytes, at: int, after_us: int, until_us: int) -> int:
        """How many different values there are after one instant until another."""
        number, _ = _HEAD.unpack_from(blob, at)
        at += _HEAD.size
        first, end = within(blob, at, number, after_us, until_us)
        codes = np.frombuffer(blob, "<u4", end - first, at + 8 * number + 4 * first)
        return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def _coded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values, and the place of each value among them."""
    if values.dtype != object:
        return np.unique(values, return_inverse=True)
    place_of: dict[str, int] = {}
    codes = [place_of.setdefault(text, len(place_of)) for text in values.tolist()]
    return typed.array_of(list(place_of), "text"), np.array(codes, dtype="<u4")
