"""The different values of a column, with an entry of its own for each value of a cell.

    entries uint32, values uint32 | times int64 | codes uint32 | values

A code is the place of an entry's value.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.stores.online.tails import values as typed
from fti_assets.stores.online.tails.times import times_at

_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Occurrences:
    """``n`` values, each with the place of its key and its time, sorted by these."""

    keys: np.ndarray
    times: np.ndarray
    values: np.ndarray

    def take(self, order: np.ndarray) -> Occurrences:
        return Occurrences(self.keys[order], self.times[order], self.values[order])


class DistinctPart:
    """The different values of one column."""

    def __init__(self, column: str, kind: ColumnType) -> None:
        self.column, self.kind = column, kind

    def of_rows(self, keys: np.ndarray, times: np.ndarray, values: np.ndarray, nulls: np.ndarray) -> Occurrences:
        return Occurrences(keys, times, values).take(np.flatnonzero(~nulls))

    def concat(self, parts: Sequence[Occurrences]) -> Occurrences:
        return Occurrences(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "times", "values"))
        )

    def once(self, entries: Occurrences) -> Occurrences:
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

    def pack(self, entries: Occurrences, keys: int) -> list[bytes]:
        """The section of each of ``keys`` keys."""
        bounds = np.searchsorted(entries.keys, np.arange(keys + 1)).tolist()
        results = []
        for first, end in pairwise(bounds):
            different, codes = _coded(entries.values[first:end])
            pieces = [
                _HEAD.pack(end - first, len(different)),
                entries.times[first:end].astype("<i8").tobytes(),
                codes.astype("<u4").tobytes(),
                typed.pack(different, self.kind),
            ]
            results.append(b"".join(pieces))
        return results

    def unpack(self, places: Sequence[tuple[bytes, int]]) -> Occurrences:
        """The entries of some sections, of which each is a blob and where the section begins."""
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
        return Occurrences(keys, np.frombuffer(b"".join(times), "<i8"), values[of_entries])

    def read(self, blob: bytes, at: int, after_us: int, until_us: int) -> int:
        """How many different values there are after one instant until another."""
        number, _ = _HEAD.unpack_from(blob, at)
        at += _HEAD.size
        times = times_at(blob, at, number)
        end = bisect_right(times, until_us)
        first = bisect_right(times, after_us, 0, end)
        codes = np.frombuffer(blob, "<u4", end - first, at + 8 * number + 4 * first)
        return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def _coded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values, and the place of each value among them."""
    if values.dtype != object:
        return np.unique(values, return_inverse=True)
    place_of: dict[str, int] = {}
    codes = [place_of.setdefault(text, len(place_of)) for text in values.tolist()]
    return typed.array_of(list(place_of), "text"), np.array(codes, dtype="<u4")
