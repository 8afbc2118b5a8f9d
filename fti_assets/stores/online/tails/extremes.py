"""The value that wins among some entries: the least or greatest, or that of the first or last row.

    ranks uint32 | event times and available-ats int64, of first and last | nulls uint8, of first and last | values

Whoever has the greatest rank wins; a rank of 0 is of an entry without a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.stores.online.tails import values as typed

Of = Literal["min", "max", "first", "last"]


@dataclass(frozen=True)
class Candidates:
    """A value of each of ``n`` entries, and when its row was true and available, int64 ``[n]``."""

    values: np.ndarray
    nulls: np.ndarray
    event: np.ndarray
    available: np.ndarray

    def take(self, order: np.ndarray) -> Candidates:
        return Candidates(self.values[order], self.nulls[order], self.event[order], self.available[order])


class ExtremePart:
    """The winner of one column.

    Args:
        column: the source's column.
        kind: its type.
        of: who wins.
    """

    def __init__(self, column: str, kind: ColumnType, of: Of) -> None:
        self.column, self.kind, self.of = column, kind, of
        self.by_time = of in ("first", "last")

    def of_rows(self, values: np.ndarray, nulls: np.ndarray, event: np.ndarray, available: np.ndarray) -> Candidates:
        return Candidates(values, nulls, event, available)

    def concat(self, parts: Sequence[Candidates]) -> Candidates:
        return Candidates(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("values", "nulls", "event", "available")
            )
        )

    def ranks(self, entries: Candidates) -> np.ndarray:
        """A number for each entry, the greatest for the one that wins; equal ones win alike."""
        of_values = (
            np.where(entries.nulls, 0, typed.ranks(entries.values)) if len(entries.nulls) else np.zeros(0, np.int64)
        )
        if self.of == "max":
            return of_values
        if self.of == "min":
            return np.where(entries.nulls, 0, of_values.max(initial=0) + 1 - of_values)
        order = np.lexsort((of_values, entries.available, entries.event))
        is_new = np.zeros(len(order), dtype=np.int64)
        for column in (entries.event, entries.available, of_values):
            of_column = column[order]
            is_new[1:] |= of_column[1:] != of_column[:-1]
        results = np.empty(len(order), dtype=np.int64)
        results[order] = np.cumsum(is_new) + 1
        return results if self.of == "last" else results.max(initial=0) + 1 - results

    def winners(self, entries: Candidates, starts: np.ndarray) -> Candidates:
        """The winner of the entries from each start to the next."""
        group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(entries.nulls)))
        order = np.lexsort((self.ranks(entries), group))
        return entries.take(order[np.append(starts[1:], len(order)) - 1])

    def pack(self, entries: Candidates, starts: np.ndarray) -> list[bytes]:
        ranks = self.ranks(entries).astype("<u4")
        ends = np.append(starts[1:], len(ranks)).tolist()
        if not self.by_time and self.kind != "text":  # all at once, then cut
            of_ranks, of_values, size = ranks.tobytes(), *typed.whole(entries.values, self.kind)
            return [
                of_ranks[4 * first : 4 * end] + of_values[size * first : size * end]
                for first, end in zip(starts.tolist(), ends, strict=True)
            ]
        results = []
        for first, end in zip(starts.tolist(), ends, strict=True):
            pieces = [ranks[first:end].tobytes()]
            if self.by_time:
                pieces += [
                    entries.event[first:end].astype("<i8").tobytes(),
                    entries.available[first:end].astype("<i8").tobytes(),
                ]
                pieces.append(entries.nulls[first:end].astype("u1").tobytes())
            results.append(b"".join([*pieces, typed.pack(entries.values[first:end], self.kind)]))
        return results

    def unpack(self, places: Sequence[tuple[bytes, int]], entries: np.ndarray) -> Candidates:
        """The entries of some sections; each is a blob and where the section begins, ``entries`` how many each has."""
        sections = [(blob, at, number) for (blob, at), number in zip(places, entries.tolist(), strict=True)]
        values = typed.unpack([(blob, self._values_at(at, number), number) for blob, at, number in sections], self.kind)
        if not self.by_time:
            nothing = np.zeros(len(values), dtype=np.int64)
            return Candidates(values, _together(sections, "<u4", 0) == 0, nothing, nothing)
        nulls = _together(sections, "u1", 20) != 0
        return Candidates(values, nulls, _together(sections, "<i8", 4), _together(sections, "<i8", 12))

    def read(self, blob: bytes, at: int, entries: int, first: int, end: int) -> Any:
        """The value that wins from one entry to before another, None for a null or if there is none."""
        if first == end:
            return None
        ranks = np.frombuffer(blob, "<u4", end - first, at + 4 * first)
        place = int(ranks.argmax())
        is_null = blob[at + 20 * entries + first + place] if self.by_time else not ranks[place]
        return None if is_null else typed.one(blob, self._values_at(at, entries), entries, first + place, self.kind)

    def _values_at(self, at: int, entries: int) -> int:
        return at + (21 if self.by_time else 4) * entries


def _together(sections: Sequence[tuple[bytes, int, int]], dtype: str, before: int) -> np.ndarray:
    """Arrays of some sections behind one another, which begin so many bytes an entry behind the section's begin."""
    size = np.dtype(dtype).itemsize
    parts = [blob[at + before * number : at + (before + size) * number] for blob, at, number in sections]
    return np.frombuffer(b"".join(parts), dtype)
