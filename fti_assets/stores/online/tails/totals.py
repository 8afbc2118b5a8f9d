"""Counts and exact sums of a column, as running totals: what lies between two entries is a difference of two of them.

    for each sum: power int16, digits uint8 | is odd uint8 | running counts of values uint32 | running counts of odd values uint32,
    only if there are any | running sums, each of their digits of 32 bits

Running totals begin with 0, so there is one more than entries. Odd are NaN and infinite values, and for squares those that are too
large to have one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.stores.online.tails import limbs
from fti_assets.stores.online.tails.limbs import Limbs

_COUNT = struct.Struct("<I")
_SUM = struct.Struct("<hB")
_FLAG = struct.Struct("<B")


@dataclass(frozen=True)
class Totals:
    """What ``n`` entries add: how many values, how many odd ones of each kind ``[n, c]``, and the sums."""

    counts: np.ndarray
    odd: np.ndarray
    sums: tuple[Limbs, ...]

    def take(self, order: np.ndarray) -> Totals:
        return Totals(self.counts[order], self.odd[order], tuple(one.take(order) for one in self.sums))

    def added_by(self, starts: np.ndarray) -> Totals:
        return Totals(
            np.add.reduceat(self.counts, starts),
            np.add.reduceat(self.odd, starts, axis=0),
            tuple(one.added_by(starts) for one in self.sums),
        )


class TotalsPart:
    """The totals of one column.

    Args:
        column: the source's column.
        kind: its type: number, integer or boolean.
        squared: whether the sum of the squares is there, too; floats are then cut to multiples of 2^-476.
    """

    def __init__(self, column: str, kind: ColumnType, *, squared: bool) -> None:
        self.column, self.kind, self.squared = column, kind, squared
        is_float = kind == "number"
        self.odd = 0 if not is_float else 1 if squared else 3
        """How many kinds of odd values there are: beyond what has a square, or NaN, above and below every float."""
        self.sums = 2 if squared else 1

    def of_rows(self, values: np.ndarray, nulls: np.ndarray) -> Totals:
        """What each row adds."""
        counts = (~nulls).astype(np.int64)
        if self.kind != "number":
            whole = np.where(nulls, 0, values.astype(np.int64))
            sums = (limbs.of_integers(whole), *([limbs.of_integer_squares(whole)] if self.squared else []))
            return Totals(counts, np.zeros((len(values), 0), dtype=np.int64), sums)
        floats = np.where(nulls, 0.0, values)
        if self.squared:
            odd = ~(np.abs(floats) < limbs.SQUARED_LIMIT)
            cut = limbs.cut_for_squares(np.where(odd, 0.0, floats))
            return Totals(counts, odd[:, None].astype(np.int64), (limbs.of_floats(cut), limbs.of_squares(cut)))
        odd = np.stack([np.isnan(floats), floats == np.inf, floats == -np.inf], axis=1).astype(np.int64)
        return Totals(counts, odd, (limbs.of_floats(np.where(odd.any(axis=1), 0.0, floats)),))

    def concat(self, parts: Sequence[Totals]) -> Totals:
        return Totals(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.odd for part in parts]),
            tuple(limbs.concat([part.sums[place] for part in parts]) for place in range(self.sums)),
        )

    def pack(self, totals: Totals, starts: np.ndarray) -> list[bytes]:
        """The section of each key, whose entries begin at the starts."""
        sums = [limbs.packed(one, starts) for one in totals.sums]
        counts = running(totals.counts, starts)
        if not totals.odd.any():
            if self.sums == 1:
                return [
                    b"".join((_SUM.pack(power, digits), b"\0", of_counts, of_sum))
                    for of_counts, (power, digits, of_sum) in zip(counts, sums[0], strict=True)
                ]
            odd = []
        else:
            odd = [running(totals.odd[:, place], starts) for place in range(self.odd)]
        results = []
        for place, of_counts in enumerate(counts):
            of_odd = b"".join(one[place] for one in odd)
            is_odd = bool(of_odd.strip(b"\0"))
            heads = b"".join(_SUM.pack(power, digits) for power, digits, _ in (one[place] for one in sums))
            pieces = [heads, _FLAG.pack(is_odd), of_counts, of_odd if is_odd else b"", *(one[place][2] for one in sums)]
            results.append(b"".join(pieces))
        return results

    def unpack(self, places: Sequence[tuple[bytes, int]], entries: np.ndarray) -> Totals:
        """What the entries of some sections add; each is a blob and where the section begins, ``entries`` how many each has."""
        counts: list[bytes] = []
        odd: list[list[bytes]] = [[] for _ in range(self.odd)]
        sums: list[list[tuple[int, int, bytes]]] = [[] for _ in range(self.sums)]
        numbers = entries.tolist()
        has_odd = any(blob[at + _SUM.size * self.sums] for blob, at in places)
        for (blob, at), number in zip(places, numbers, strict=True):
            heads, is_odd, at = self.head(blob, at)
            size = 4 * (number + 1)
            counts.append(blob[at : at + size])
            at += size
            if has_odd:
                for of_kind in odd:
                    of_kind.append(blob[at : at + size] if is_odd else bytes(size))
                    at += size if is_odd else 0
            for of_sum, (power, digits) in zip(sums, heads, strict=True):
                of_sum.append((power, digits, blob[at : at + digits * size]))
                at += digits * size
        return Totals(
            added(counts, entries),
            np.stack([added(of_kind, entries) for of_kind in odd], axis=1)
            if has_odd
            else np.zeros((int(entries.sum()), self.odd), dtype=np.int64),
            tuple(limbs.unpacked(of_sum, entries) for of_sum in sums),
        )

    def head(self, blob: bytes, at: int) -> tuple[list[tuple[int, int]], bool, int]:
        """The power and the digits of each sum, whether there are odd values, and where the counts begin."""
        heads = [_SUM.unpack_from(blob, at + _SUM.size * place) for place in range(self.sums)]
        at += _SUM.size * self.sums
        return heads, blob[at] != 0, at + _FLAG.size


def running(numbers: np.ndarray, starts: np.ndarray) -> list[bytes]:
    """The running totals from each start to the next as ``uint32``, beginning with 0."""
    total = np.cumsum(numbers)
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(numbers)))
    before = np.where(starts > 0, total[np.maximum(starts, 1) - 1], 0)
    sums = np.zeros(len(numbers) + len(starts), dtype="<u4")
    sums[np.arange(len(numbers)) + group + 1] = total - before[group]
    content = sums.tobytes()
    firsts = (4 * (starts + np.arange(len(starts)))).tolist()
    return [content[first:end] for first, end in zip(firsts, [*firsts[1:], len(content)], strict=True)]


def between(blob: bytes, at: int, first: int, end: int) -> int:
    """How much running counts grow between two entries."""
    return int(_COUNT.unpack_from(blob, at + 4 * end)[0] - _COUNT.unpack_from(blob, at + 4 * first)[0])


def added(running_counts: Sequence[bytes], entries: np.ndarray) -> np.ndarray:
    """What the entries of some keys add to running counts."""
    return limbs.differences(np.frombuffer(b"".join(running_counts), "<u4").astype(np.int64), entries)
