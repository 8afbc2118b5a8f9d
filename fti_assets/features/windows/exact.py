"""Sums of floats and of their squares as totals of whole numbers, which add up to the same in any order.

A float is sorted by its exponent into bins, where it is a whole number of the bin's unit, and a sum is put together again
from the bins' totals: the superaccumulator of Neal, "Fast exact summation using small and large superaccumulators" (2015).
Carries are taken between the totals as whole numbers and only the result is rounded, once, so that nothing cancels: a sum is
the DOUBLE nearest to the true one, as ``math.fsum`` gives it. For squares it is cut into digits of 28 bits, whose products fit 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_BIN_BITS = 32
"""Powers of two in one bin of floats: the total of 2^42 rows of a bin fits 126 bits."""
_LOWEST_BIN = -32
"""Its unit, 2^-1076, divides the least subnormal."""
_ROOM_BITS = 93
"""A whole number within 2^93 has room for one more digit of a bin."""
_LOW_BITS, _SMALL_BITS = 34, 86
_CUT_BITS, _HIGH_BITS = 32, 74
"""Where a whole number within 2^86, and a larger one, is cut in two that are floats."""
_LARGE_POWER, _MOST_POWER, _DOWN_POWER = 896, 959, 128
"""Sums of values below 2^896 are below 2^959 and so floats times any 2^64; by how much larger ones are taken down."""
_DIGIT_BITS = 28
_LOWEST_DIGIT, _HIGHEST_DIGIT = -17, 15
"""Digits of values within 2^-476 and 2^448, whose squares are floats."""
_CARRIED_DIGITS = 5
"""Digits above the highest that a whole number of 128 bits carries into."""
WHOLE_DIGITS = {"boolean": 1, "bigint": 3, "hugeint": 5, "ubigint": 3, "uhugeint": 5}
"""Digits of whole numbers; those of 32 bits and less have two."""

_FLOAT_DIGITS = 3
"""Digits next to each other that hold the 53 bits of a float; the others are 0."""

Total = Callable[[str], str]
"""Gives the column that holds the total of a whole number, which a row's SQL gives."""
Prepare = Callable[[str], str]
"""Gives the column that holds what SQL over totals gives."""


@dataclass(frozen=True)
class Spread:
    """Between which absolute values a column's finite values other than 0 lie, and whether some are infinite or NaN."""

    least: float | None = None
    greatest: float | None = None
    odd: bool = False

    def __or__(self, other: Spread) -> Spread:
        bounds = [x for x in (self.least, self.greatest, other.least, other.greatest) if x is not None]
        return Spread(min(bounds, default=None), max(bounds, default=None), self.odd or other.odd)


def spread_sql(value: str, source: str) -> str:
    """The SQL of one row with ``least``, ``greatest`` and ``odd`` of a value."""
    finite = f"FILTER ({value} <> 0 AND isfinite({value}))"
    odd = f"coalesce(bool_or(NOT isfinite({value})), false)"
    return f"SELECT min(abs({value})) {finite}, max(abs({value})) {finite}, {odd} FROM {source}"


def float_sum(value: str, spread: Spread, total: Total, prepare: Prepare, *, down: int = 0) -> str:
    """The SQL of the DOUBLE nearest to the sum of a DOUBLE, from its bins' totals; beyond the largest one it is infinite.

    Args:
        down: give the sum times 2^-down, of a sum that may be beyond the largest DOUBLE before it is divided.
    """
    bins = [] if spread.least is None else list(range(_bin(spread.least), _bin(spread.greatest or 0) + 1))
    # One total for each bin of exponents that occurs: the carries between bins come after all additions, so their order
    # is free.
    totals = []
    for number in bins:
        lower = f"abs({value}) >= {_power(_BIN_BITS * number)} AND " if number > _LOWEST_BIN else ""
        upper = f"abs({value}) < {_power(_BIN_BITS * (number + 1))}" if number < 31 else f"isfinite({value})"
        whole = f"CASE WHEN {lower}{upper} THEN ({_scale(value, -_unit(number))})::HUGEINT ELSE 0 END"
        totals.append(total(whole))
    finite = _round(totals, _unit(bins[0]) - down, prepare) if bins else "0::DOUBLE"
    if not spread.odd:
        return finite
    nan, above, below = (
        f"{total(f'CASE WHEN {value} = {of}::DOUBLE THEN 1 ELSE 0 END')} > 0" for of in ("'nan'", "'inf'", "'-inf'")
    )
    return (
        f"CASE WHEN {nan} OR ({above} AND {below}) THEN 'nan'::DOUBLE WHEN {above} THEN 'inf'::DOUBLE "
        f"WHEN {below} THEN '-inf'::DOUBLE ELSE {finite} END"
    )


def _round(totals: Sequence[str], unit: int, prepare: Prepare) -> str:
    """The SQL of the DOUBLE nearest to totals that are 2^unit, 2^(unit + 32), ... worth each.

    After the carries every total but the highest is a digit of 32 bits, never negative. Digits are appended to the highest
    while there is room in 128 bits; of those left over only counts whether all are 0.
    """
    carries = [
        totals[0]
    ]  # a shift to the right of a negative number rounds down, so that what it leaves is never negative
    for total in totals[1:]:
        carries.append(prepare(f"{total} + ({carries[-1]} >> {_BIN_BITS})"))
    whole, more, left = carries.pop(), "false", f"{len(carries)}"
    while carries:
        digit = f"({carries.pop()} & {2**_BIN_BITS - 1})"
        room = f"{whole} BETWEEN -{2**_ROOM_BITS} AND {2**_ROOM_BITS}"
        more = prepare(f"{more} OR (NOT ({room}) AND {digit} <> 0)")
        left = prepare(f"{left} - ({room})::INTEGER")
        whole = prepare(f"CASE WHEN {room} THEN {whole} * {2**_BIN_BITS}::HUGEINT + {digit} ELSE {whole} END")
    nearest = nearest_double(whole, more)
    if len(totals) == 1:
        return _scale(nearest, unit)
    nearest = prepare(nearest)
    cases = " ".join(
        f"WHEN {number} THEN {_scale(nearest, unit + _BIN_BITS * number)}" for number in range(len(totals))
    )
    return f"(CASE {left} {cases} END)"


def ratio(value: str, spread: Spread, total: Total, prepare: Prepare, *, times: int, over: str) -> str:
    """The SQL of a DOUBLE's sum, rounded once, times a whole number and divided by another: infinite only where that is too large.

    Args:
        times: below 2^64.
        over: the SQL of the other, at least 1 and below 2^64.
    """
    whole = float_sum(value, spread, total, prepare)
    quotient = f"* {times}::DOUBLE / {over}::DOUBLE"
    if (spread.greatest or 0) < 2.0**_LARGE_POWER:
        return f"({whole}) {quotient}"
    # A large sum is taken 2^128 times smaller until it is divided, so that nothing in between is beyond the largest DOUBLE.
    smaller = float_sum(value, spread, total, prepare, down=_DOWN_POWER)
    limit, whole = _power(_MOST_POWER), prepare(whole)
    return f"CASE WHEN abs({whole}) < {limit} THEN {whole} {quotient} ELSE ({smaller}) {quotient} * {_power(_DOWN_POWER)} END"


def nearest_double(whole: str, more: str = "false") -> str:
    """The SQL of the DOUBLE nearest to a whole number of 128 bits, ties to even, which DuckDB's own cast does not give.

    ``more`` says whether a fraction was cut off, which only large numbers may have. Cut in two parts that are floats, the
    number is rounded by their addition alone; what the lower part of a large one has no room for is kept in its last bit.
    """
    low, cut = 2**_LOW_BITS - 1, f"({whole} & {2**_CUT_BITS - 1})"
    last = f"(({more}) OR {cut} <> 0)::INTEGER::HUGEINT"
    return (
        f"(CASE WHEN {whole} BETWEEN -{2**_SMALL_BITS} AND {2**_SMALL_BITS} "
        f"THEN ({whole} >> {_LOW_BITS})::DOUBLE * {_power(_LOW_BITS)} + ({whole} & {low})::DOUBLE "
        f"ELSE ({whole} >> {_HIGH_BITS})::DOUBLE * {_power(_HIGH_BITS)} "
        f"+ ((({whole} & {2**_HIGH_BITS - 1}) >> {_CUT_BITS}) | {last})::DOUBLE * {_power(_CUT_BITS)} END)"
    )


def float_deviation(value: str, spread: Spread, values: str, total: Total, prepare: Prepare) -> str:
    """The SQL of the sample standard deviation of a DOUBLE; ``values`` is the column with their number."""
    limit = 2.0 ** (_DIGIT_BITS * (_HIGHEST_DIGIT + 1))
    places = range(0)  # larger values have squares that are no floats: a deviation with one of them is NaN
    if spread.least is not None and spread.least < limit:
        lowest = max(_LOWEST_DIGIT, (math.frexp(spread.least)[1] - 53) // _DIGIT_BITS)
        places = range(lowest, min(_HIGHEST_DIGIT, (math.frexp(spread.greatest or 0)[1] - 1) // _DIGIT_BITS) + 1)
    finite = f"CASE WHEN abs({value}) < {limit!r}::DOUBLE THEN {value} ELSE 0 END"

    def digit(place: int) -> str:
        above = f"trunc({finite} * {_power(-_DIGIT_BITS * (place + 1))})"
        return (
            f"coalesce((trunc({finite} * {_power(-_DIGIT_BITS * place)}) - {above} * {_power(_DIGIT_BITS)})::BIGINT, 0)"
        )

    result = _deviation(
        places, range(_LOWEST_DIGIT, _HIGHEST_DIGIT + 1), digit, values, total, prepare, together=_FLOAT_DIGITS
    )
    if not spread.odd and (spread.greatest or 0) < limit:
        return result
    beyond = f"CASE WHEN NOT isfinite({value}) OR abs({value}) >= {limit!r}::DOUBLE THEN 1 ELSE 0 END"
    return f"CASE WHEN {total(beyond)} > 0 THEN 'nan'::DOUBLE ELSE {result} END"


def whole_deviation(value: str, digits: int, values: str, total: Total, prepare: Prepare) -> str:
    """The SQL of the sample standard deviation of a whole number that ``digits`` digits hold."""

    def cut(place: int) -> str:
        return f"({value})::HUGEINT // {2 ** (_DIGIT_BITS * place)}::HUGEINT" if place < digits else "0"

    def digit(place: int) -> str:
        return f"coalesce(({cut(place)} - ({cut(place + 1)}) * {2**_DIGIT_BITS})::BIGINT, 0)"

    return _deviation(range(digits), range(digits), digit, values, total, prepare, together=digits)


def _deviation(
    places: range,
    possible: range,
    digit: Callable[[int], str],
    values: str,
    total: Total,
    prepare: Prepare,
    *,
    together: int,
) -> str:
    """The square root of (n * sum(x^2) - sum(x)^2) / (n * (n - 1)), whose numerator is whole and has no rounding.

    With carries taken, the numerator's digits are all positive, so that adding them up as floats cancels nothing. Of one
    value at most ``together`` digits next to each other are not 0.
    """
    sums = {place: total(digit(place)) for place in places}
    carry, terms = "", []
    squares_range = range(2 * places.start, 2 * places.stop - 1) if places else range(0)
    for place in range(squares_range.start, squares_range.stop + _CARRIED_DIGITS if places else 0):
        whole = "0::HUGEINT"
        if place in squares_range:
            # The same SQL whatever the places are, so that a total of it can be kept.
            near = [one for one in possible if place - one in possible and abs(2 * one - place) < together]
            squares = total(" + ".join(f"{digit(one)} * {digit(place - one)}" for one in near))
            cross_terms = "".join(f" - {sums[one]} * {sums[place - one]}" for one in places if place - one in places)
            whole = prepare(f"{values} * {squares}{cross_terms}")
        whole = f"({whole}{carry})"
        terms.append(f"({whole} & {2**_DIGIT_BITS - 1})::DOUBLE * {_power(_DIGIT_BITS * place)}")
        carry = f" + ({whole} >> {_DIGIT_BITS})"
    numerator = " + ".join(reversed(terms)) or "0::DOUBLE"
    return f"sqrt(({numerator}) / ({values}::DOUBLE * ({values} - 1)::DOUBLE))"


def _bin(value: float) -> int:
    return max(_LOWEST_BIN, (math.frexp(value)[1] - 1) // _BIN_BITS)


def _unit(number: int) -> int:
    """The exponent of a bin's unit, of which its floats are whole numbers."""
    return _BIN_BITS * number - 52


def _scale(value: str, by: int) -> str:
    """A value times a power of two, which may itself be no float."""
    half = by // 2
    return f"{value} * {_power(by)}" if abs(by) <= 1022 else f"{value} * {_power(half)} * {_power(by - half)}"


def _power(of_two: int) -> str:
    return f"'{2.0**of_two!r}'::DOUBLE"
