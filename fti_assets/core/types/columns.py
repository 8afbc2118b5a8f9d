"""Column types, and the one array form in which a column reaches on-demand functions and graphs.

Offline and online hand the same arrays to the same functions, so the forms are few: numbers (integers and booleans
included) are float64 with NaN for what is missing, text is an object array of ``str`` with ``""`` for what is missing,
timestamps are ``datetime64[us]`` with NaT, and vectors an object array of float32 arrays with None (``vectors.py``).
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fti_assets.core.types.column_types import MISSING_INTEGER, SIDES, ColumnType
from fti_assets.core.types.vectors import vectors

if TYPE_CHECKING:
    from decimal import Decimal


def canonical(values: Sequence[Any] | np.ndarray, column_type: ColumnType) -> np.ndarray:
    """Turn ``n`` values of one column, ``None`` where missing, into their canonical array of shape ``[n]``."""
    if column_type == "text":
        text = np.empty(len(values), dtype=object)
        text[:] = ["" if value is None else value for value in values]
        return text
    if column_type == "vector":
        return vectors(values)
    if column_type == "timestamp":
        return np.asarray(values, dtype=SIDES["timestamp"].array)
    return np.array([np.nan if value is None else value for value in values], dtype=SIDES[column_type].array)


def is_rounded(number: int) -> bool:
    """Whether float64, in which a graph gets a whole number of 64 bits, holds another number in its place.

    >>> is_rounded(2**53), is_rounded(2**53 + 1), is_rounded(2**60 + 2**50)
    (False, True, False)
    """
    return int(float(number)) != number


def float64_rounds(value: "float | Decimal", number: float) -> bool:
    """Whether a whole number that was written is another one as float64; its own digits are the same, as JSON of other languages
    has them without an exponent.

    >>> float64_rounds(2**53 + 1, float(2**53 + 1)), float64_rounds(1152921504606847000, 2.0**60)
    (True, False)
    """
    if value == number or isinstance(value, float) or (is_decimal(value) and value != value.to_integral_value()):
        return False
    from decimal import Decimal

    return Decimal(repr(number)) != value


def is_decimal(value: object) -> "TypeGuard[Decimal]":
    """Whether a value is a ``Decimal``, told without an import of what makes them: before somebody has imported it there is none."""
    decimal = sys.modules.get("decimal")
    return decimal is not None and isinstance(value, decimal.Decimal)


def is_missing_of_pandas(kind: type) -> bool:
    """Whether a class is that of ``pd.NA`` or ``pd.NaT``, told without an import of pandas."""
    return kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas")


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Turn a canonical number array ``[n]`` into int64 ``[n]``, ``MISSING_INTEGER`` where there is no whole number.

    >>> whole_numbers(np.array([3.0, np.nan, 0.5])).tolist()
    [3, -9223372036854775808, -9223372036854775808]
    """
    # What int64 cannot hold is cast to a number that differs between processors, so it is taken out first.
    is_exact = (values == np.floor(values)) & (np.abs(values) < 2.0**63)
    return np.where(is_exact, np.where(is_exact, values, 0.0).astype(np.int64), MISSING_INTEGER)
