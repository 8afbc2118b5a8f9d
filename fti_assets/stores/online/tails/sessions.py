"""Sessions: spans of event times without a gap, which are put together where they touch.

    entries uint32 | times int64 | first and last event times int64 | numbers of rows uint32

A row is a span of one instant; the rows of a cell are the sessions that they make up among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fti_assets.stores.online.tails.occurrences import (
    NUMBER,
    Occurrences,
    OwnEntries,
    Rows,
    columns_of,
    is_begin,
    sections_of,
    within,
)

_TYPES = ("<i8", "<i8", "<u4")


@dataclass(frozen=True)
class Spans(Occurrences):
    """From when until when there are rows without a gap, and how many."""

    first: np.ndarray
    last: np.ndarray
    rows: np.ndarray


class SessionsPart(OwnEntries):
    """The sessions of the rows.

    Args:
        gap_us: the longest time between two rows of one.
    """

    column = None

    def __init__(self, gap_us: int) -> None:
        self.gap_us = gap_us

    def of_rows(self, keys: np.ndarray, rows: Rows) -> Spans:
        return Spans(keys, rows.visible, rows.event, rows.event, np.ones(len(keys), dtype=np.int64))

    def in_cells(self, entries: Spans) -> Spans:
        entries, number = entries.by_time(), len(entries.keys)
        if entries.alone().all():
            return entries
        entries = entries.take(np.lexsort((entries.first, entries.times, entries.keys)))
        is_new = is_begin(entries.keys, entries.times)
        # The latest end so far within a cell, as a running maximum over all of them: each cell's numbers are above those before it.
        ends, ranks = np.unique(entries.last, return_inverse=True)
        latest = ends[np.maximum.accumulate(np.cumsum(is_new) * number + ranks.reshape(-1)) % number]
        is_new[1:] |= entries.first[1:] - latest[:-1] > self.gap_us
        starts = np.flatnonzero(is_new)
        behind = np.append(starts[1:], number) - 1
        kept = entries.take(starts)
        return Spans(kept.keys, kept.times, kept.first, latest[behind], np.add.reduceat(entries.rows, starts))

    def pack(self, entries: Spans, keys: int) -> list[bytes]:
        columns = [entries.first, entries.last, entries.rows]
        return sections_of(entries, keys, [one.astype(kind) for one, kind in zip(columns, _TYPES, strict=True)])

    def unpack(self, places: Sequence[tuple[bytes, int]]) -> Spans:
        keys, times, first, last, rows = columns_of(places, _TYPES)
        return Spans(keys, times, first, last, rows.astype(np.int64))

    def read(self, blob: bytes, at: int, after_us: int, until_us: int, of: str) -> float | None:
        """How many sessions there are after one instant until another, or how many rows or seconds the last one has."""
        [number] = NUMBER.unpack_from(blob, at)
        at += NUMBER.size
        begin, end = within(blob, at, number, after_us, until_us)
        if begin == end:
            return None if of == "seconds" else 0
        first, last, rows = (
            np.frombuffer(blob, kind, end - begin, at + before * number + np.dtype(kind).itemsize * begin)
            for kind, before in zip(_TYPES, (8, 16, 24), strict=True)
        )
        order = np.argsort(first)
        first, latest = first[order], np.maximum.accumulate(last[order])
        starts = np.flatnonzero(first[1:] - latest[:-1] > self.gap_us) + 1
        if of == "number":
            return len(starts) + 1
        start = int(starts[-1]) if len(starts) else 0
        return int(rows[order][start:].sum()) if of == "rows" else int(latest[-1] - first[start]) / 1e6
