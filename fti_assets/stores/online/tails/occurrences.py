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

    def by_time(self) -> Self:
        """The entries sorted by key and time."""
        order = order_of(self.keys, self.times)
        return self if order is None else self.take(order)

    def alone(self) -> np.ndarray:
        """Of sorted entries, which have a time of their own."""
        begins = np.append(is_begin(self.keys, self.times), True)
        result: np.ndarray = begins[:-1] & begins[1:]
        return result


def order_of(keys: np.ndarray, times: np.ndarray) -> np.ndarray | None:
    """A stable order by key, then by time; None where they are in it."""
    if len(keys) < 2:
        return None
    first = int(times.min())
    length = int(times.max()) - first + 1
    if (int(keys.max()) + 1) * length >= 2**63:
        return np.lexsort((times, keys))
    # As one number, so that a few new ones among many sorted ones cost one pass.
    both = keys * length + (times - first)
    return None if bool((both[1:] >= both[:-1]).all()) else np.argsort(both, kind="stable")


def is_begin(*columns: np.ndarray) -> np.ndarray:
    """Whether an entry differs from the one before it in one of some columns."""
    result = np.ones(len(columns[0]), dtype=bool)
    result[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return result


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
        """Each value of a key and time once."""
        entries = entries.by_time()
        is_alone = entries.alone()
        if is_alone.all():
            return entries
        several = np.flatnonzero(~is_alone)
        cells = np.cumsum(is_begin(entries.keys[several], entries.times[several]))
        ranks = typed.ranks(entries.values[several])
        is_alone[several[np.unique(cells * (int(ranks.max()) + 1) + ranks, return_index=True)[1]]] = True
        return entries.take(np.flatnonzero(is_alone))

    def pack(self, entries: ValueOccurrences, keys: int) -> list[bytes]:
        ranks = typed.ranks(entries.values)
        of_key = entries.keys * (int(ranks.max(initial=0)) + 1) + ranks
        _, firsts, codes = np.unique(of_key, return_index=True, return_inverse=True)
        bounds = np.searchsorted(entries.keys[firsts], np.arange(keys + 1))
        packed = (codes.reshape(-1) - bounds[entries.keys]).astype("<u4")
        times, different = entries.times.astype("<i8"), entries.values[firsts]
        return [
            b"".join(
                [
                    _HEAD.pack(end - first, behind - begin),
                    times[first:end].tobytes(),
                    packed[first:end].tobytes(),
                    typed.pack(different[begin:behind], self.kind),
                ]
            )
            for (first, end), (begin, behind) in zip(bounds_of(entries, keys), pairwise(bounds.tolist()), strict=True)
        ]

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
