"""What is computed over the rows of a window."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Literal

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError


@checked_arguments()
@dataclass(frozen=True)
class Count:
    """The number of rows in the window."""


@checked_arguments()
@dataclass(frozen=True)
class Sum:
    """The sum of a column's values in the window, nulls skipped; null when there is none.

    Whole numbers add up exactly; a sum of them beyond 64 bits is an error. Floats, and decimals (each taken as the nearest
    ``DOUBLE``), give the ``DOUBLE`` nearest to their true sum, as ``math.fsum`` does, whatever cancels. A sum beyond the largest
    float is infinite.

    Args:
        column: numbers or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Mean:
    """The mean of a column's values in the window, nulls skipped; null when there is none.

    The mean of a boolean is the share of rows for which it holds. It is the true sum, rounded once, divided by the count, which
    rounds once more. It is at most one float step from the true mean, even if the ``Sum`` itself exceeds the largest float.

    Args:
        column: numbers or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Rate:
    """Rows, or the sum of a column's values, per unit of time: divided by the window's length in ``per``.

    Over rows it is 0 when there is none; over a column it skips nulls and is null when there is none. A share of rows is not a rate
    over time: use the ``Mean`` of a boolean. The sum is exact like that of ``Sum``, even if that exceeds the largest float; the
    division rounds twice more.

    Args:
        column: numbers or booleans, or None for the rows themselves.
        per: the unit of time.

    >>> Rate("amount", per="1d")
    Rate(column='amount', per='1d')
    """

    column: str | None = None
    per: str | timedelta = field(kw_only=True)

    def __post_init__(self) -> None:
        if not duration(self.per, what="per"):
            raise DeclarationError(f"per {self.per!r} is no time: write the unit that the rate is in, such as '1h'")


@checked_arguments()
@dataclass(frozen=True)
class Std:
    """The sample standard deviation of a column's values in the window, nulls skipped; null with fewer than two.

    It is computed from exact sums of the values and of their squares, so nothing cancels. Its relative error is at most 4 * 2^-53.
    It is NaN if the window contains an infinite value, a NaN or a value beyond 1e134. Values within 1e-143 of zero count as zero.

    Args:
        column: numbers or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Min:
    """The least of a column's values in the window, nulls skipped; null when there is none.

    Args:
        column: numbers, times, text (by code point) or booleans; NaN is greater than any number.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Max:
    """The greatest of a column's values in the window, nulls skipped; null when there is none.

    Args:
        column: numbers, times, text (by code point) or booleans; NaN is greater than any number.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Last:
    """A column's value in the window's row with the latest event time; a null there stays null.

    Ties go to the latest available-at, then to the greatest value; null is the least.

    With ``n`` above 1 there are that many columns: ``statuses_1_7d`` has the last value, ``statuses_2_7d`` the one before; they are
    null if the window has fewer. With ``distinct`` they are the last distinct values without nulls, each at the position of the
    last row that has it.

    Args:
        column: numbers, times, text or booleans.
        n: how many, at most 1,000.
        distinct: whether each value counts only once.

    Raises:
        DeclarationError: ``n`` is out of range.
    """

    column: str
    n: int = 1
    distinct: bool = False

    def __post_init__(self) -> None:
        _check_number(self)


@checked_arguments()
@dataclass(frozen=True)
class First:
    """A column's value in the window's row with the earliest event time; a null there stays null.

    Ties go to the earliest available-at, then to the least value; null is the least.

    With ``n`` above 1 there are that many columns, as in ``Last``: ``statuses_1_7d`` has the first value. With ``distinct`` they
    are the first distinct values without nulls, each at the position of the window's first row that has it.

    Args:
        column: numbers, times, text or booleans.
        n: how many, at most 1,000.
        distinct: whether each value counts only once.

    Raises:
        DeclarationError: ``n`` is out of range.
    """

    column: str
    n: int = 1
    distinct: bool = False

    def __post_init__(self) -> None:
        _check_number(self)


@checked_arguments()
@dataclass(frozen=True)
class Percentile:
    """The percentile of a column's values in the window, nulls skipped; null when there is none.

    It is exact, as in numpy and pandas. Among ``n`` sorted values it is the one at position ``(n - 1) * share``, counted from 0.
    Between two positions it is interpolated linearly, ``low * (1 - part) + high * part`` in ``DOUBLE``, and never lies beyond the
    two. With a share of 0.5 it is the median. Each whole number or decimal is taken as the nearest ``DOUBLE``.

    Args:
        column: numbers or booleans; NaN is greater than any number, and gives NaN if it takes part.
        share: from 0 to 1, with at most 9 digits after the point.

    Raises:
        DeclarationError: ``share`` is out of range.

    >>> Percentile("amount", 0.95)
    Percentile(column='amount', share=0.95)
    """

    column: str
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            hint = f": write {self.share / 100}" if 1 < self.share <= 100 else ""
            raise DeclarationError(f"share {self.share!r} of a percentile is not between 0 and 1{hint}")
        if 10**9 % self.ratio.denominator:
            raise DeclarationError(
                f"share {self.share!r} of a percentile has more than 9 digits after the point: write {round(self.share, 9)}"
            )

    @property
    def ratio(self) -> Fraction:
        """The share as it is written."""
        return Fraction(repr(float(self.share)))


@checked_arguments()
@dataclass(frozen=True)
class Sessions:
    """The sessions in the window: by event time, a row more than ``gap`` after the previous one begins another.

    A session that began before the window has only its rows that are in it.

    Args:
        gap: the longest time between two rows of a session.
        of: ``number`` is how many sessions there are, 0 when there is no row; ``rows`` how many rows the last one has, 0 when there is
            none; ``seconds`` how long the last one is from its first event time to its last, null when there is none.

    Raises:
        DeclarationError: ``gap`` is not a duration.

    >>> Sessions(gap="30min")
    Sessions(gap='30min', of='number')
    """

    gap: str | timedelta = field(kw_only=True)
    of: Literal["number", "rows", "seconds"] = field(default="number", kw_only=True)

    def __post_init__(self) -> None:
        if not duration(self.gap, what="gap"):
            raise DeclarationError(
                f"gap {self.gap!r} is no time: write the longest time between two rows of a session, such as '30min'"
            )
        if self.of not in ("number", "rows", "seconds"):
            raise DeclarationError(f"of {self.of!r} is not known: write 'number', 'rows' or 'seconds'")


@checked_arguments()
@dataclass(frozen=True)
class DistinctCount:
    """The exact number of distinct values of a column in the window; nulls are not counted.

    Args:
        column: numbers, times, text or booleans.
    """

    column: str


Aggregate = Count | Sum | Mean | Rate | Std | Min | Max | First | Last | DistinctCount | Percentile | Sessions

_MOST_VALUES = 1000


def _check_number(aggregate: First | Last) -> None:
    if not 1 <= aggregate.n <= _MOST_VALUES:
        raise DeclarationError(
            f"n {aggregate.n!r} of {type(aggregate).__name__}({aggregate.column!r}) is not from 1 to {_MOST_VALUES:,}"
        )


def is_ordered(aggregate: Aggregate) -> bool:
    """Whether an aggregate needs a window's rows in an order, and comes from no totals or extremes."""
    return isinstance(aggregate, Percentile | Sessions) or (
        isinstance(aggregate, First | Last) and (aggregate.n > 1 or aggregate.distinct)
    )


def names_of(name: str, aggregate: Aggregate) -> list[str]:
    """What the columns of an aggregate are called, less their window.

    >>> names_of("status", Last("status")), names_of("status", Last("status", n=2))
    (['status'], ['status_1', 'status_2'])
    """
    number = aggregate.n if isinstance(aggregate, First | Last) else 1
    return [name] if number == 1 else [f"{name}_{place}" for place in range(1, number + 1)]
