"""What is computed over the rows of a window."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

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

    Whole numbers add up exactly; a sum of them beyond 64 bits is an error. Floats, and decimals taken as the nearest ``DOUBLE``
    each, give the ``DOUBLE`` nearest to their true sum, as ``math.fsum`` does, whatever cancels; beyond the largest float it is
    infinite.

    Args:
        column: numbers or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Mean:
    """The mean of a column's values in the window, nulls skipped; null when there is none.

    The mean of a boolean is the share of rows for which it holds. It is the true sum, rounded once, divided by the number, which
    rounds once more: at most one step of a float from the true mean, also where the ``Sum`` itself is beyond the largest float.

    Args:
        column: numbers or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class Rate:
    """Rows, or the sum of a column's values, per unit of time: divided by the window's length in ``per``.

    Over rows it is 0 when there is none; over a column it skips nulls and is null when there is none. A share of rows is
    no rate in time: it is the ``Mean`` of a boolean. A sum is exact as that of ``Sum``, also where that is beyond the
    largest float; the division rounds twice more.

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

    It comes from exact sums of the values and of their squares, so that nothing cancels: it is within a relative 4 * 2^-53 of
    the true one. It is NaN with an infinite value,
    a NaN or one beyond 1e134 in the window; values within 1e-143 of zero count as zero.

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

    Ties go to the latest available-at, then to the greatest value, a null being the least.

    Args:
        column: numbers, times, text or booleans.
    """

    column: str


@checked_arguments()
@dataclass(frozen=True)
class DistinctCount:
    """How many different values a column has in the window, exactly; nulls are not counted.

    Args:
        column: numbers, times, text or booleans.
    """

    column: str


Aggregate = Count | Sum | Mean | Rate | Std | Min | Max | Last | DistinctCount
