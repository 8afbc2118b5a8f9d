"""What a key's blob says of windows at an instant."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any
from zlib import crc32

from fti_assets.core.manifest.windows import BEYOND_64_BITS, WindowAggregate, WindowLength, far_end, sum_over
from fti_assets.errors import DataError
from fti_assets.stores.online.checksums import CRC_OF_CHECKED
from fti_assets.stores.online.tails.extremes import ExtremePart
from fti_assets.stores.online.tails.layout import Part, TailLayout
from fti_assets.stores.online.tails.percentiles import PercentilePart
from fti_assets.stores.online.tails.placed import PlacedPart
from fti_assets.stores.online.tails.sessions import SessionsPart
from fti_assets.stores.online.tails.tails import TailFormat
from fti_assets.stores.online.tails.times import times_at
from fti_assets.stores.online.tails.totals import TotalsPart, between
from fti_assets.stores.online.versions import RawWinner

Read = Callable[[bytes, int, int, int, int, int, int], Any]
"""A value from a blob, where its part begins, the number of entries, the first that counts, the one behind the last, and the
instants between which they lie."""

_LARGE, _DOWN = 2.0**959, 128
_DIGIT_BITS, _DIGITS_BELOW = 28, 34


class WindowsFormat:
    """How windows are read from the blobs of a namespace.

    Args:
        layout: what the blobs hold.
        selection: the columns to give, in order.
    """

    def __init__(self, layout: TailLayout, selection: Sequence[str]) -> None:
        columns, windows = layout.windows.columns, layout.windows
        self._format = TailFormat(layout)
        selected = [columns[name] for name in selection]
        self._lengths = list(dict.fromkeys([windows.longest, *(length for _, length, _ in selected)]))
        self._us = [length.us for length in self._lengths]
        self._every, self._raw = windows.every_us, windows.raw_us
        self._has_several = [isinstance(part, PlacedPart) for part in layout.parts]
        self._plans = [(*self._plan(layout, aggregate, length), place) for aggregate, length, place in selected]

    def _plan(
        self, layout: TailLayout, aggregate: WindowAggregate, length: WindowLength
    ) -> tuple[Read | None, int, int]:
        """How a column is read, in which part's head, and over which of the lengths; no reader for a count of rows."""
        window, place = self._lengths.index(length), layout.place_of(aggregate)
        if place is None:
            if aggregate.kind == "count":
                return None, -1, window
            per, over = float(aggregate.per_us or 0), float(length.us)
            return (lambda blob, at, entries, *between: float(at) * per / over), -1, window
        return _reader(layout.parts[place], aggregate, length), 2 + place, window

    def find(self, key: bytes, blob: bytes, at_us: int) -> RawWinner | None:
        """The instant, when the newest row that counts became visible, and the values; None without a row in the longest window.

        Raises:
            ValueError: the blob is not what was written under the key.
            DataError: a sum of whole numbers is beyond 64 bits.
        """
        if crc32(blob, crc32(key)) != CRC_OF_CHECKED:
            raise ValueError("the checksum does not fit")
        return self.find_whole(blob, at_us)

    def find_whole(self, blob: bytes, at_us: int) -> RawWinner | None:
        """``find`` for a blob that is known to be what was written."""
        head = self._format.head.unpack_from(blob)
        entries, size = head[1], self._format.head.size
        if at_us - self._raw < head[0]:
            raise ValueError("it holds no rows of that time, only what they come to by cells")
        times = times_at(blob, size, entries)
        end = bisect_right(times, at_us)
        begins = [far_end(at_us, us, self._every) for us in self._us]
        firsts = [bisect_right(times, begin, 0, end) for begin in begins]
        if firsts[0] == end:
            return None
        counts_at, values = size + 8 * entries, []
        several: dict[tuple[int, int], Any] = {}
        for read, part, window, place in self._plans:
            first = firsts[window]
            if part < 0:
                rows = between(blob, counts_at, first, end)
                values.append(rows if read is None else read(blob, rows, 0, 0, 0, 0, 0))
                continue
            assert read is not None
            if not self._has_several[part - 2]:
                values.append(read(blob, head[part], entries, first, end, begins[window], at_us))
                continue
            if (part, window) not in several:
                several[part, window] = read(blob, head[part], entries, first, end, begins[window], at_us)
            values.append(several[part, window][place])
        return at_us, times[end - 1], tuple(values)


def _reader(part: Part, aggregate: WindowAggregate, length: WindowLength) -> Read:
    if isinstance(part, TotalsPart):
        return _totals_reader(part, aggregate, length)
    if isinstance(part, ExtremePart):
        return lambda blob, at, entries, first, end, *_: part.read(blob, at, entries, first, end)
    if isinstance(part, PercentilePart):
        share = Fraction(repr(aggregate.share))
        return lambda blob, at, entries, first, end, after, until: part.read(blob, at, after, until, share)
    if isinstance(part, SessionsPart):
        of = str(aggregate.of)
        return lambda blob, at, entries, first, end, after, until: part.read(blob, at, after, until, of)
    return lambda blob, at, entries, first, end, after, until: part.read(blob, at, after, until)


def _totals_reader(part: TotalsPart, aggregate: WindowAggregate, length: WindowLength) -> Read:
    is_float = part.kind == "number"
    per, over = float(aggregate.per_us or 0), float(length.us)

    def read(blob: bytes, at: int, entries: int, first: int, end: int, *_: int) -> Any:
        heads, is_odd, counts = part.head(blob, at)
        number = between(blob, counts, first, end)
        least = 2 if part.squared else 1
        if number < least:
            return None
        sums_at = counts + 4 * (entries + 1) * (1 + (part.odd if is_odd else 0))
        odd: list[int] = [0] * part.odd
        if is_odd:
            odd = [between(blob, counts + 4 * (entries + 1) * (1 + place), first, end) for place in range(part.odd)]
        totals = []
        for power, digits in heads:
            width = 4 * digits
            later = int.from_bytes(blob[sums_at + width * end : sums_at + width * (end + 1)], "little", signed=True)
            earlier = int.from_bytes(
                blob[sums_at + width * first : sums_at + width * (first + 1)], "little", signed=True
            )
            totals.append((later - earlier, 32 * power))
            sums_at += width * (entries + 1)
        total, power = totals[0]
        if part.squared:
            return math.nan if odd and odd[0] else deviation(number, totals[0], totals[1])
        if not is_float:
            return _of_whole(aggregate, length, total << power if power > 0 else total, number, per)
        special = _special(odd)
        if aggregate.kind == "sum":
            return nearest(total, power) if special is None else special
        times, by = (1.0, float(number)) if aggregate.kind == "mean" else (per, over)
        if special is not None:
            return special * times / by
        whole = nearest(total, power)
        if abs(whole) < _LARGE:
            return whole * times / by
        return nearest(total, power - _DOWN) * times / by * 2.0**_DOWN

    return read


def _of_whole(aggregate: WindowAggregate, length: WindowLength, total: int, number: int, per: float) -> Any:
    if aggregate.kind == "sum":
        if not -(2**63) <= total < 2**63:
            raise DataError(f"{sum_over(str(aggregate.column), length.text)}{total}{BEYOND_64_BITS}")
        return total
    return float(total) / float(number) if aggregate.kind == "mean" else float(total) * per / float(length.us)


def _special(odd: Sequence[int]) -> float | None:
    """What a sum with values that are no finite numbers is: NaN, above and below are counted."""
    if not any(odd):
        return None
    nan, above, below = odd
    if nan or (above and below):
        return math.nan
    return math.inf if above else -math.inf


def nearest(total: int, power: int) -> float:
    """The float nearest to a whole number times a power of two; infinite beyond the largest.

    >>> nearest(3, -1), nearest(1, 1024), nearest(-1, 1024), nearest(-1 << 2000, -900)
    (1.5, inf, -inf, -inf)
    """
    try:
        return float(total << power) if power >= 0 else total / (1 << -power)
    except OverflowError:
        return math.inf if total > 0 else -math.inf  # a total may be too large to be made a float itself


def deviation(number: int, total: tuple[int, int], squares: tuple[int, int]) -> float:
    """The sample standard deviation of at least two values from their sum and that of their squares, each times a power of two.

    The numerator is exact and added up from digits of 28 bits, as ``features.windows.exact`` does, for the same float.
    """
    lowest = -_DIGITS_BELOW * _DIGIT_BITS
    of_sum, power = total
    whole = of_sum << power - lowest // 2 if power >= lowest // 2 else of_sum >> lowest // 2 - power
    of_squares, power = squares
    squared = of_squares << power - lowest if power >= lowest else of_squares >> lowest - power
    numerator = number * squared - whole * whole
    result = 0.0
    least = max(0, (numerator & -numerator).bit_length() - 1) // _DIGIT_BITS
    for place in range(max(0, numerator.bit_length() - 1) // _DIGIT_BITS, least - 1, -1):
        digit = (numerator >> _DIGIT_BITS * place) & (2**_DIGIT_BITS - 1)
        result += digit * 2.0 ** (_DIGIT_BITS * (place - _DIGITS_BELOW))
    return math.sqrt(result / (float(number) * float(number - 1)))
