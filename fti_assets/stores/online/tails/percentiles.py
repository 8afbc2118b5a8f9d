"""All values of a column, of which percentiles are taken.

entries uint32 | times int64 | values float64
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fti_assets.stores.online.tails.occurrences import (
    NUMBER,
    OwnEntries,
    Rows,
    ValueOccurrences,
    columns_of,
    sections_of,
    within,
)


class PercentilePart(OwnEntries):
    """The values of one column, as floats."""

    def __init__(self, column: str) -> None:
        self.column: str = column

    def of_rows(self, keys: np.ndarray, rows: Rows) -> ValueOccurrences:
        values, nulls = rows.columns[self.column]
        return ValueOccurrences(keys, rows.visible, values.astype(np.float64)).take(np.flatnonzero(~nulls))

    def in_cells(self, entries: ValueOccurrences) -> ValueOccurrences:
        return entries.by_time()

    def pack(self, entries: ValueOccurrences, keys: int) -> list[bytes]:
        return sections_of(entries, keys, [entries.values.astype("<f8")])

    def unpack(self, places: Sequence[tuple[bytes, int]]) -> ValueOccurrences:
        return ValueOccurrences(*columns_of(places, ["<f8"]))

    def read(self, blob: bytes, at: int, after_us: int, until_us: int, share: Fraction) -> float | None:
        """The percentile of the values after one instant until another; None if there are none."""
        [number] = NUMBER.unpack_from(blob, at)
        first, end = within(blob, at + NUMBER.size, number, after_us, until_us)
        if first == end:
            return None
        place, part = divmod((end - first - 1) * share.numerator, share.denominator)
        places = [place, place + 1] if part else [place]
        values = np.frombuffer(blob, "<f8", end - first, at + NUMBER.size + 8 * (number + first))
        low, *more = np.partition(values, places)[places].tolist()
        return low if not more or low == more[0] else _between(low, more[0], part / share.denominator)


def _between(low: float, high: float, part: float) -> float:
    mixed = low * (1 - part) + high * part
    # Rounded, it may lie a step beyond the two.
    return mixed if math.isnan(mixed) else min(max(mixed, low), high)
