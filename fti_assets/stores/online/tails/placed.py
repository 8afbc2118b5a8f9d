"""The first or last rows of a column, several of them, or its first or last different values.

    entries uint32 | times int64 | ranks uint32 | codes uint32 | event times and available-ats int64 | nulls uint8 | values

The first of a key has the rank 0. Where different values are asked for, equal ones have equal codes. Of a cell, which is
in a window as a whole or not at all, no more are kept than are asked for.
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
    is_begin,
    order_of,
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
        entries = entries.by_time()
        is_kept = entries.alone()
        if is_kept.all():
            return entries
        several = np.flatnonzero(~is_kept)
        chosen = entries.take(several)
        codes = self._codes(chosen)
        cells = np.cumsum(is_begin(chosen.keys, chosen.times))
        order = self._order(chosen, cells, codes)
        if self.distinct:  # of each value of a cell the first in the order
            by_value = order[np.lexsort((codes[order], cells[order]))]
            is_first = np.zeros(len(order), dtype=bool)
            is_first[by_value[is_begin(cells[by_value], codes[by_value])]] = True
            order = order[is_first[order]]
        begins = np.flatnonzero(is_begin(cells[order]))
        in_cell = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
        is_kept[several[order[in_cell < self.n]]] = True
        return entries.take(np.flatnonzero(is_kept))

    def _codes(self, entries: PlacedOccurrences) -> np.ndarray:
        """The rank of each value, 0 of a null."""
        if not len(entries.nulls):
            return np.zeros(0, np.int64)
        return np.where(entries.nulls, 0, typed.ranks(entries.values))

    def _order(self, entries: PlacedOccurrences, groups: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
        """The entries group by group, in each as they are asked for."""
        by_event = order_of(groups, entries.event)
        order = np.arange(len(groups)) if by_event is None else by_event
        if not is_begin(groups[order], entries.event[order]).all():  # what else decides is seldom asked for
            codes = self._codes(entries) if codes is None else codes
            order = np.lexsort((codes, entries.available, entries.event, groups))
        if not self.last:
            return order
        backwards = order[::-1]
        return backwards[np.argsort(groups[backwards], kind="stable")]

    def pack(self, entries: PlacedOccurrences, keys: int) -> list[bytes]:
        codes = self._codes(entries) if self.distinct else np.zeros(len(entries.keys), dtype=np.int64)
        bounds = bounds_of(entries, keys)
        ranks = np.empty(len(entries.keys), dtype=np.int64)
        ranks[self._order(entries, entries.keys, codes if self.distinct else None)] = np.arange(len(ranks))
        ranks -= np.repeat([first for first, _ in bounds], [end - first for first, end in bounds])
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
