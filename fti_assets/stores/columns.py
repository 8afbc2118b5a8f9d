"""Column types, and the one array form in which a column reaches on-demand functions and graphs.

Offline and online hand the same arrays to the same functions, so the forms are few: numbers (integers and booleans
included) are float64 with NaN for what is missing, text is an object array of ``str`` with ``""`` for what is missing,
and timestamps are ``datetime64[us]`` with NaT.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

ColumnType = Literal["text", "integer", "number", "boolean", "timestamp"]


def canonical(values: Sequence[Any] | np.ndarray, column_type: ColumnType) -> np.ndarray:
    """Turn ``n`` values of one column, ``None`` where missing, into their canonical array of shape ``[n]``."""
    if column_type == "text":
        text = np.empty(len(values), dtype=object)
        text[:] = ["" if value is None else value for value in values]
        return text
    if column_type == "timestamp":
        return np.asarray(values, dtype="datetime64[us]")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
