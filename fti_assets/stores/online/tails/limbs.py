"""Sums of any floats and whole numbers, exact: fixed-point numbers of many digits of 32 bits, column by column.

A float is a whole number times a power of two. Cut into digits at fixed powers of 2^32 it adds up with others as whole numbers do,
in any order; what is rounded is the result, once. A number whose digits are in ``int64`` columns takes 2^30 additions before carries
have to be taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BITS, _MASK = 32, 0xFFFFFFFF
_WORD = np.dtype("<u4")
SQUARED_BITS = 476
"""Floats are squared as whole multiples of 2^-476: what lies below counts as zero, as in ``features.windows.exact``."""
SQUARED_LIMIT = 2.0**448
"""From here on a float has no square that is one."""
_PARTS_OF_INT64 = ((0, 22), (22, 22), (44, 20))


@dataclass(frozen=True)
class Limbs:
    """``n`` numbers: the sum of column ``i`` times 2^(32 * (low + i)), int64 ``[n, m]``."""

    low: int
    digits: np.ndarray

    def take(self, order: np.ndarray) -> Limbs:
        return Limbs(self.low, self.digits[order])

    def added_by(self, starts: np.ndarray) -> Limbs:
        """The sums of the numbers from each start to the next."""
        return Limbs(self.low, np.add.reduceat(self.digits, starts, axis=0))


def concat(parts: Sequence[Limbs]) -> Limbs:
    """The numbers of all parts, in order."""
    low = min(part.low for part in parts)
    width = max(part.low + part.digits.shape[1] for part in parts) - low
    digits = np.zeros((sum(len(part.digits) for part in parts), width), dtype=np.int64)
    row = 0
    for part in parts:
        at = part.low - low
        digits[row : row + len(part.digits), at : at + part.digits.shape[1]] = part.digits
        row += len(part.digits)
    return Limbs(low, digits)


def of_floats(values: np.ndarray) -> Limbs:
    """Finite floats ``[n]``."""
    mantissas, exponents = _whole(values)
    return _placed([(mantissas, exponents)], np.where(values < 0, -1, 1))


def of_squares(values: np.ndarray) -> Limbs:
    """The squares of floats ``[n]`` that are below ``SQUARED_LIMIT``."""
    mantissas, exponents = _whole(values)
    high, low = mantissas >> 27, mantissas & (2**27 - 1)
    return _placed(
        [(low * low, 2 * exponents), (2 * high * low, 2 * exponents + 27), (high * high, 2 * exponents + 54)], None
    )


def of_integers(values: np.ndarray) -> Limbs:
    """Whole numbers, int64 ``[n]``."""
    return Limbs(0, np.stack([values & _MASK, values >> _BITS], axis=1))


def of_integer_squares(values: np.ndarray) -> Limbs:
    """The squares of whole numbers, int64 ``[n]``."""
    magnitudes = np.where(values < 0, ~values, values).astype(np.uint64) + (values < 0).astype(np.uint64)
    parts = [((magnitudes >> np.uint64(at)) & np.uint64(2**bits - 1)).astype(np.int64) for at, bits in _PARTS_OF_INT64]
    zeros = np.zeros(len(values), dtype=np.int64)
    return _placed(
        [
            (one * other, zeros + (_PARTS_OF_INT64[i][0] + _PARTS_OF_INT64[j][0]))
            for i, one in enumerate(parts)
            for j, other in enumerate(parts)
        ],
        None,
    )


def cut_for_squares(values: np.ndarray) -> np.ndarray:
    """Floats as multiples of 2^-476, cut towards zero; 0 for those that have no square."""
    usable = np.where(np.abs(values) < SQUARED_LIMIT, values, 0.0)
    return np.trunc(usable * 2.0**SQUARED_BITS) * 2.0**-SQUARED_BITS


def _whole(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The absolute values of floats as odd whole numbers times powers of two; 0 is 0 times 1."""
    fractions, exponents = np.frexp(values)
    mantissas = (np.abs(fractions) * 2.0**53).astype(np.int64)
    exponents = np.where(mantissas == 0, 0, exponents.astype(np.int64) - 53)
    zeros = np.frexp((mantissas & -mantissas).astype(np.float64))[1].astype(np.int64) - 1
    zeros = np.where(mantissas == 0, 0, zeros)
    return mantissas >> zeros, exponents + zeros


def _placed(terms: Sequence[tuple[np.ndarray, np.ndarray]], signs: np.ndarray | None) -> Limbs:
    """The sums of numbers from 0 to 2^55, each times a power of two."""
    rows = np.arange(len(terms[0][0]))
    places = [(np.where(number == 0, 0, power // _BITS), number) for number, power in terms]
    in_use = [place[number != 0] for place, number in places]
    low = min((int(one.min()) for one in in_use if len(one)), default=0)
    high = max((int(one.max()) for one in in_use if len(one)), default=0)
    digits = np.zeros((len(rows), high - low + 3), dtype=np.int64)
    for (number, power), (place, _) in zip(terms, places, strict=True):
        column, shift = np.where(number == 0, 0, place - low), np.where(number == 0, 0, power % _BITS)
        lower, upper = (number & _MASK) << shift, (number >> _BITS) << shift
        digits[rows, column] += lower & _MASK
        digits[rows, column + 1] += (lower >> _BITS) + (upper & _MASK)
        digits[rows, column + 2] += upper >> _BITS
    return Limbs(low, digits if signs is None else digits * signs[:, None])


def packed(limbs: Limbs, starts: np.ndarray) -> list[tuple[int, int, bytes]]:
    """The running sums from each start on to the next, beginning with 0, in as few digits as they need.

    Args:
        limbs: ``n`` numbers.
        starts: int64 ``[k]``, rising; each start has at least one number.

    Returns:
        For each start the power of its lowest digit, how many digits there are, and the sums behind one another, little-endian
        in two's complement: one more than there are numbers.
    """
    count, number = len(limbs.digits), len(starts)
    total = np.cumsum(limbs.digits, axis=0)
    group = np.repeat(np.arange(number), np.diff(starts, append=count))
    before = np.where((starts > 0)[:, None], total[np.maximum(starts, 1) - 1], 0)
    sums = np.zeros((count + number, limbs.digits.shape[1] + 1), dtype=np.int64)
    sums[np.arange(count) + group + 1, :-1] = total - before[group]
    for column in range(sums.shape[1] - 1):
        sums[:, column + 1] += sums[:, column] >> _BITS
        sums[:, column] &= _MASK
    is_negative = sums[:, -1] < 0
    words = (sums & _MASK).astype(_WORD)
    firsts = starts + np.arange(number)
    highs, lows = _extents(words, is_negative, firsts)
    ends = np.append(firsts[1:], len(words))
    return [
        (limbs.low + low, high - low, words[first:end, low:high].tobytes())
        for first, end, low, high in zip(firsts.tolist(), ends.tolist(), lows.tolist(), highs.tolist(), strict=True)
    ]


def _extents(words: np.ndarray, is_negative: np.ndarray, firsts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For the rows from each first to the next, behind which digit there are none but the sign's, and the first that is not 0."""
    width = words.shape[1]
    sign = np.where(is_negative, _MASK, 0).astype(_WORD)[:, None]
    differs = words != sign
    needed = width - np.argmax(differs[:, ::-1], axis=1)
    needed[~differs.any(axis=1)] = 0
    top = words[np.arange(len(words)), np.maximum(needed, 1) - 1] >> 31
    needed += (top != is_negative) | (needed == 0)
    filled = words != 0
    first = np.where(filled.any(axis=1), np.argmax(filled, axis=1), width)
    highs = np.maximum.reduceat(needed, firsts)
    return highs, np.minimum(np.minimum.reduceat(first, firsts), highs - 1)


def unpacked(sums: Sequence[tuple[int, int, bytes]], entries: np.ndarray) -> Limbs:
    """The numbers whose running sums ``packed`` wrote.

    Args:
        sums: for each of ``k`` keys the power of the lowest digit, how many digits there are, and the running sums.
        entries: how many numbers each has, int64 ``[k]``.
    """
    low = min((power for power, _, _ in sums), default=0)
    digits = np.zeros(
        (int(entries.sum()), max((power + width for power, width, _ in sums), default=1) - low), dtype=np.int64
    )
    alike: dict[tuple[int, int], list[int]] = {}
    for key, (power, width, _) in enumerate(sums):
        alike.setdefault((power, width), []).append(key)
    firsts = np.cumsum(entries) - entries
    for (power, width), keys in alike.items():
        words = np.frombuffer(b"".join([sums[key][2] for key in keys]), _WORD).reshape(-1, width).astype(np.int64)
        words[:, -1] = np.where(words[:, -1] >= 2**31, words[:, -1] - 2**32, words[:, -1])
        numbers = entries[keys]
        rows = np.repeat(firsts[keys] - (np.cumsum(numbers) - numbers), numbers) + np.arange(int(numbers.sum()))
        digits[rows, power - low : power - low + width] = differences(words, numbers)
    return Limbs(low, digits)


def differences(running: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """What each entry adds to running totals, of which every key has one more than entries."""
    between_keys = np.cumsum(entries[:-1] + 1) - 1
    return np.delete(np.diff(running, axis=0), between_keys, axis=0) if len(entries) > 1 else np.diff(running, axis=0)
