"""Pandera's own checks in SQL, where SQL provably says the same.

A check that is not here, or whose argument is of a type that SQL and pandas compare in different ways, is left to Pandera.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.api.function_dispatch import Dispatcher

from fti_assets.core.sql import literal, quoted, timestamp
from fti_assets.core.types import ColumnType
from fti_assets.features.validation.patterns import PRINTABLE, shared_pattern

_LARGEST = 2**63
_EXACT = 2**53


@dataclass(frozen=True)
class SqlColumn:
    """A column as SQL stores it and as pandas would hold it.

    Args:
        name: its name.
        kind: what its values are, or None for a type whose values are compared by Pandera alone.
        single: pandas holds it in 32-bit floats.
        aware: pandas holds it as times with a zone.
    """

    name: str
    kind: ColumnType | None
    single: bool = False
    aware: bool = False

    @property
    def sql(self) -> str:
        return quoted(self.name)


@dataclass(frozen=True)
class SqlCheck:
    """A check in SQL.

    Args:
        fails: of a row: whether it breaks the check; null where the value is null.
        unsure: of a row: whether SQL and Pandera may differ about it; None where they never do.
        of_column: ``fails`` is of all rows at once, an aggregate.
    """

    fails: str
    unsure: str | None = None
    of_column: bool = False


def is_own(check: Any) -> bool:
    """Whether a check is one of Pandera's own, of single values: any part of the rows can be checked by itself."""
    return _name_of(check) in _CHECKS and _name_of(check) != "unique_values_eq"


def in_sql(check: Any, column: SqlColumn) -> SqlCheck | None:
    """A check of a column in SQL, or None if it is Pandera's to answer."""
    name = _name_of(check)
    if (
        name not in _CHECKS
        or column.kind is None
        or not check.ignore_na
        or check.element_wise
        or check.groupby is not None
    ):
        return None
    try:
        return _CHECKS[name](column, **check._check_kwargs)
    except _NotTheSame:
        return None


def _name_of(check: Any) -> str:
    """The name of Pandera's own function behind a check, whatever the user calls the check."""
    return str(check._check_fn.__name__) if type(check) is pa.Check and isinstance(check._check_fn, Dispatcher) else ""


class _NotTheSame(Exception):
    """SQL and Pandera would not say the same."""


def _value(column: SqlColumn, value: Any) -> str:
    """A value as SQL, where comparing it with the column is the same to pandas and SQL."""
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if column.kind == "text" and type(value) is str and "\0" not in value and value.isprintable():
        return literal(value)
    if column.kind == "boolean" and type(value) is bool:
        return str(value).lower()
    if column.kind in ("integer", "number") and type(value) in (int, float):
        return _number(column, value)
    if column.kind == "timestamp" and isinstance(value, datetime) and value is not pd.NaT:
        return _instant(column, pd.Timestamp(value))
    raise _NotTheSame


def _number(column: SqlColumn, value: int | float) -> str:
    if column.kind == "integer" and type(value) is int:
        if not -_LARGEST <= value < _LARGEST:
            raise _NotTheSame
        return f"CAST({value} AS BIGINT)"
    rounded = isinstance(value, int) or column.kind == "integer"  # the one or the other becomes a float first
    if math.isnan(value) or (rounded and abs(value) > _EXACT and abs(value) != math.inf):
        raise _NotTheSame
    if column.single and not _is_single(float(value)):
        raise _NotTheSame
    return f"CAST({literal(repr(float(value)))} AS DOUBLE)"


def _is_single(value: float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
    except OverflowError:
        return False


def _instant(column: SqlColumn, value: pd.Timestamp) -> str:
    if (value.tzinfo is not None) != column.aware or value.nanosecond:
        raise _NotTheSame
    utc = value.tz_convert("UTC").tz_localize(None) if value.tzinfo is not None else value
    return timestamp(utc.to_pydatetime())


def _values(column: SqlColumn, values: Iterable[Any]) -> list[str]:
    if isinstance(values, str) or column.kind == "timestamp":
        raise _NotTheSame
    given = [value for value in values if value is not None]
    if column.kind == "integer" and not all(isinstance(value, int | np.integer) for value in given):
        raise _NotTheSame
    return [_value(column, value) for value in given]


def _any_of(column: SqlColumn, values: Iterable[Any]) -> str:
    listed = ", ".join(_values(column, values))
    return f"{column.sql} IN ({listed})" if listed else f"({column.sql} IS NULL AND NULL)"


def _comparison(fails: str) -> Callable[..., SqlCheck]:
    def said(column: SqlColumn, **argument: Any) -> SqlCheck:
        ((_, value),) = argument.items()
        if column.kind == "boolean" and fails not in ("<>", "="):
            raise _NotTheSame
        return SqlCheck(f"{column.sql} {fails} {_value(column, value)}")

    return said


def _in_range(
    column: SqlColumn, min_value: Any, max_value: Any, include_min: bool = True, include_max: bool = True
) -> SqlCheck:
    if column.kind == "boolean":
        raise _NotTheSame
    below, above = "<" if include_min else "<=", ">" if include_max else ">="
    low, high = _value(column, min_value), _value(column, max_value)
    return SqlCheck(f"({column.sql} {below} {low} OR {column.sql} {above} {high})")


def _isin(column: SqlColumn, allowed_values: Any) -> SqlCheck:
    return SqlCheck(f"NOT {_any_of(column, allowed_values)}")


def _notin(column: SqlColumn, forbidden_values: Any) -> SqlCheck:
    return SqlCheck(_any_of(column, forbidden_values))


def _unique_values_eq(column: SqlColumn, values: Any) -> SqlCheck:
    if None in values:
        raise _NotTheSame
    given = _values(column, values)
    seen = [f"NOT coalesce(bool_or({column.sql} = {value}), false)" for value in given]
    strange = f"{column.sql} NOT IN ({', '.join(given)})" if given else f"{column.sql} IS NOT NULL"
    return SqlCheck(" OR ".join([f"count_if({strange}) > 0", *seen]), of_column=True)


def _text_only(column: SqlColumn, *arguments: Any) -> None:
    if column.kind != "text" or any(type(argument) is not str or not argument.isprintable() for argument in arguments):
        raise _NotTheSame


def _searched(before: str) -> Callable[..., SqlCheck]:
    """A pattern that is found, or found at the start.

    DuckDB turns a pattern into LIKE where it can, and takes an anchor within it (``a^b``) or nothing at all for one at an end:
    a group of its own keeps such a pattern one.
    """

    def said(column: SqlColumn, pattern: Any) -> SqlCheck:
        _text_only(column)
        shared = shared_pattern(pattern)
        if shared is None:
            raise _NotTheSame
        unsure = f"NOT regexp_full_match({column.sql}, {literal(PRINTABLE)})" if shared.printable_only else None
        group = "({})" if not shared.text or set(shared.text) & set("^$({") else "(?:{})" if before else "{}"
        result = f"regexp_matches({column.sql}, {literal(before + group.format(shared.text))})"
        return SqlCheck(f"NOT {result}", unsure)

    return said


def _affixed(function: str) -> Callable[..., SqlCheck]:
    def said(column: SqlColumn, string: Any) -> SqlCheck:
        _text_only(column, string)
        return SqlCheck(f"NOT {function}({column.sql}, {literal(string)})")

    return said


def _str_length(column: SqlColumn, min_value: Any = None, max_value: Any = None, exact_value: Any = None) -> SqlCheck:
    _text_only(column)
    bounds = (min_value, max_value, exact_value)
    if all(bound is None for bound in bounds) or any(bound is not None and type(bound) is not int for bound in bounds):
        raise _NotTheSame
    if any(bound is not None and abs(bound) >= _LARGEST for bound in bounds):
        raise _NotTheSame
    length = f"length({column.sql})"
    if exact_value is not None:
        return SqlCheck(f"{length} <> {exact_value}")
    outside = [f"{length} < {min_value}"] if min_value is not None else []
    outside += [f"{length} > {max_value}"] if max_value is not None else []
    return SqlCheck(f"({' OR '.join(outside)})")


_CHECKS: dict[str, Callable[..., SqlCheck]] = {
    "equal_to": _comparison("<>"),
    "not_equal_to": _comparison("="),
    "greater_than": _comparison("<="),
    "greater_than_or_equal_to": _comparison("<"),
    "less_than": _comparison(">="),
    "less_than_or_equal_to": _comparison(">"),
    "in_range": _in_range,
    "isin": _isin,
    "notin": _notin,
    "str_matches": _searched("^"),
    "str_contains": _searched(""),
    "str_startswith": _affixed("starts_with"),
    "str_endswith": _affixed("ends_with"),
    "str_length": _str_length,
    "unique_values_eq": _unique_values_eq,
}
