"""The first or last rows of a column, several of them, or its first or last different values.

    entries uint32 | times int64 | ranks uint32 | codes uint32 | event times and available-ats int64 | nulls uint8 | values

The first of a key has the rank 0. Entries of equal values have equal codes. Of a cell, which is in a window as a whole or not at all,
no more are kept than are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.stores.online.tails import values as typed
from fti_assets.stores.online.tails.occurrences import (
    NUMBER,
    Occurrences,
    OwnEntries,
    Rows,
    bounds_of,
    columns_of,
    sections_of,
    within,
)

_TYPES = ("<u4", "<u4", "<i8", "<i8", "u1")
_VALUES_AT = 8 + 4 + 4 + 8 + 8 + 1
"""So many bytes an entry come before the values."""


@dataclass(frozen=True)
class PlacedOccurrences(Occurrences):
    """Values, each with when its row was true and available."""

    event: np.ndarray
    available: np.ndarray
    nulls: np.ndarray
    values: np.ndarray


class PlacedPart(OwnEntries):
    """The first or last rows of one column.

    Args:
        column: the source's column.
        kind: its type.
        last: whether the last ones are asked for.
        distinct: whether each value counts once, and nulls do not.
        n: how many are asked for at most.
    """

    def __init__(self, column: str, kind: ColumnType, *, last: bool, distinct: bool, n: int) -> None:
        self.column: str = column
        self.kind, self.last, self.distinct, self.n = kind, last, distinct, n

    def of_rows(self, keys: np.ndarray, rows: Rows) -> PlacedOccurrences:
        values, nulls = rows.columns[self.column]
        entries = PlacedOccurrences(keys, rows.visible, rows.event, rows.available, nulls, values)
        return entries.take(np.flatnonzero(~nulls)) if self.distinct else entries

    def in_cells(self, entries: PlacedOccurrences) -> PlacedOccurrences:
        if not len(entries.keys):
            return entries
        places, codes = self._order(entries)
        order = np.lexsort((places, entries.times, entries.keys))
        entries, codes = entries.take(order), codes[order]
        cells = np.cumsum(np.concatenate([[True], (np.diff(entries.keys) != 0) | (np.diff(entries.times) != 0)]))
        if self.distinct:  # of each value of a cell the first in the order
            by_value = np.lexsort((np.arange(len(codes)), codes, cells))
            is_first = np.ones(len(codes), dtype=bool)
            is_first[1:] = (np.diff(cells[by_value]) != 0) | (np.diff(codes[by_value]) != 0)
            kept = np.sort(by_value[is_first])
            entries, cells = entries.take(kept), cells[kept]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(cells) != 0]))
        in_cell = np.arange(len(cells)) - np.repeat(starts, np.diff(starts, append=len(cells)))
        return entries.take(np.flatnonzero(in_cell < self.n))

    def _order(self, entries: PlacedOccurrences) -> tuple[np.ndarray, np.ndarray]:
        """The place of each entry in the order that is asked for, and its value's rank, 0 for a null."""
        codes = np.where(entries.nulls, 0, typed.ranks(entries.values)) if len(entries.nulls) else np.zeros(0, np.int64)
        order = np.lexsort((codes, entries.available, entries.event))
        places = np.empty(len(order), dtype=np.int64)
        places[order[::-1] if self.last else order] = np.arange(len(order))
        return places, codes

    def pack(self, entries: PlacedOccurrences, keys: int) -> list[bytes]:
        places, codes = self._order(entries)
        bounds = bounds_of(entries, keys)
        order = np.lexsort((places, entries.keys))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(
            [first for first, _ in bounds], [end - first for first, end in bounds]
        )
        columns = [ranks, codes, entries.event, entries.available, entries.nulls]
        sections = sections_of(entries, keys, [one.astype(kind) for one, kind in zip(columns, _TYPES, strict=True)])
        return [
            section + typed.pack(entries.values[first:end], self.kind)
            for section, (first, end) in zip(sections, bounds, strict=True)
        ]

    def unpack(self, places: Sequence[tuple[bytes, int]]) -> PlacedOccurrences:
        keys, times, _, _, event, available, nulls = columns_of(places, _TYPES)
        numbers = [(blob, at, NUMBER.unpack_from(blob, at)[0]) for blob, at in places]
        values = typed.unpack(
            [(blob, at + NUMBER.size + _VALUES_AT * number, number) for blob, at, number in numbers], self.kind
        )
        return PlacedOccurrences(keys, times, event, available, nulls != 0, values)

    def read(self, blob: bytes, at: int, after_us: int, until_us: int) -> list[Any]:
        """The values after one instant until another, as many as are asked for; None for a null, and for each that there is not."""
        [number] = NUMBER.unpack_from(blob, at)
        at += NUMBER.size
        first, end = within(blob, at, number, after_us, until_us)
        ranks = np.frombuffer(blob, "<u4", end - first, at + 8 * number + 4 * first)
        order = np.argsort(ranks)
        if self.distinct:
            codes = np.frombuffer(blob, "<u4", end - first, at + 12 * number + 4 * first)[order]
            order = order[np.sort(np.unique(codes, return_index=True)[1])]
        nulls_at, values_at = at + (_VALUES_AT - 1) * number, at + _VALUES_AT * number
        values = [
            None if blob[nulls_at + place] else typed.one(blob, values_at, number, place, self.kind)
            for place in (order[: self.n] + first).tolist()
        ]
        return values + [None] * (self.n - len(values))
