"""Pandera's own checks as SQL over the types that the lake stores: one table, read by ``docs/how-to/what-a-check-means.md``.

A check, argument or pattern that SQL would judge otherwise is not in SQL: Pandera runs it on batches of rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.api.function_dispatch import Dispatcher

from fti_assets.core.sql import literal, timestamp
from fti_assets.core.types import ColumnType


class _NotInSql(Exception):
    """SQL would not judge this check, or this argument, as Pandera does."""


@dataclass(frozen=True)
class SqlColumn:
    """A column as checks see it.

    Args:
        sql: its value.
        kind: what its values are, or None for a type whose values Pandera alone compares.
        single: it is declared or stored in 32-bit floats.
        aware: its declared type has a time zone, so that its bounds must have one.
    """

    sql: str
    kind: ColumnType | None
    single: bool = False
    aware: bool = False

    def __str__(self) -> str:
        return self.sql

    def value(self, value: Any) -> str:
        """An argument as SQL of the column's type."""
        if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
            value = value.item()
        # Not all unprintable text survives as a literal, NUL for one: Pandera judges such an argument.
        if self.kind == "text" and type(value) is str and value.isprintable():
            return literal(value)
        if self.kind == "boolean" and type(value) is bool:
            return str(value).lower()
        if self.kind in ("integer", "number") and type(value) in (int, float):
            return self._number(value)
        if self.kind == "timestamp" and isinstance(value, datetime) and value is not pd.NaT:
            instant = pd.Timestamp(value)
            if (instant.tzinfo is not None) == self.aware and not instant.nanosecond:
                return timestamp(instant.tz_convert("UTC").tz_localize(None) if self.aware else instant)
        raise _NotInSql

    def bound(self, value: Any) -> str:
        """An argument that values are less or more than."""
        if self.kind == "boolean":
            raise _NotInSql
        return self.value(value)

    def one_of(self, values: Iterable[Any]) -> str:
        """Whether the value is among some; null of a null."""
        value_list = ", ".join(self.values(values))
        return f"{self} IN ({value_list})" if value_list else f"({self} IS NULL AND NULL)"

    def values(self, values: Iterable[Any]) -> list[str]:
        """Arguments as SQL, without None, which is no value."""
        present = [value for value in values if value is not None]
        whole = all(isinstance(value, int | np.integer) for value in present)
        # pandas compares a list of times with a column in ways of its own, which depend on units and zones.
        if isinstance(values, str) or self.kind == "timestamp" or (self.kind == "integer" and not whole):
            raise _NotInSql
        return [self.value(value) for value in present]

    @property
    def text(self) -> str:
        if self.kind != "text":
            raise _NotInSql
        return self.sql

    def _number(self, value: int | float) -> str:
        if self.kind == "integer" and type(value) is int and -(2**63) <= value < 2**63:
            return f"CAST({value} AS BIGINT)"
        # Beyond 2**53 a double stands for several whole numbers: one side would be rounded to meet the other.
        if (type(value) is int or self.kind == "integer") and 2**53 < abs(value) < math.inf:
            raise _NotInSql
        with np.errstate(over="ignore"):
            is_rounded = (
                self.single and float(np.float32(value)) != value
            )  # to which numpy rounds a bound of 32-bit floats
        if math.isnan(value) or is_rounded:
            raise _NotInSql
        return f"CAST({literal(repr(float(value)))} AS DOUBLE)"


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

    @property
    def count(self) -> str:
        return f"({self.fails})::INT" if self.of_column else f"count_if({self.fails})"


def in_sql(check: Any, column: SqlColumn) -> SqlCheck | None:
    """A check of a column in SQL, or None if it is Pandera's to run."""
    name = name_of(check)
    # A null breaks no rule in SQL, as with ignore_na; any other setting is left to Pandera.
    if name not in _CHECKS or column.kind is None or not check.ignore_na or check.element_wise or check.groupby:
        return None
    try:
        fails = _CHECKS[name](column, **check._check_kwargs)
    except _NotInSql:
        return None
    return fails if isinstance(fails, SqlCheck) else SqlCheck(fails)


def is_of_single_values(check: Any) -> bool:
    """Whether any part of the rows can be checked by itself: one of Pandera's own, or one that is called for each value."""
    return bool(check.element_wise) or (name_of(check) in _CHECKS and name_of(check) != "unique_values_eq")


def name_of(check: Any) -> str:
    """The name of Pandera's own function behind a check, whatever the user calls the check."""
    return str(check._check_fn.__name__) if type(check) is pa.Check and isinstance(check._check_fn, Dispatcher) else ""


def _in_range(x: SqlColumn, min_value: Any, max_value: Any, include_min: bool = True, include_max: bool = True) -> str:
    below, above = "<" if include_min else "<=", ">" if include_max else ">="
    return f"({x} {below} {x.bound(min_value)} OR {x} {above} {x.bound(max_value)})"


def _length(x: SqlColumn, min_value: Any = None, max_value: Any = None, exact_value: Any = None) -> str:
    lengths = {"<>": exact_value} if exact_value is not None else {"<": min_value, ">": max_value}
    bounds = {sign: value for sign, value in lengths.items() if value is not None}
    if not bounds or any(type(value) is not int or abs(value) >= 2**63 for value in bounds.values()):
        raise _NotInSql
    return f"({' OR '.join(f'length({x.text}) {sign} {value}' for sign, value in bounds.items())})"


def _search(x: SqlColumn, pattern: Any, before: str = "") -> SqlCheck:
    alike = read_alike(pattern)
    if alike is None:
        raise _NotInSql
    unsure = f"NOT regexp_full_match({x.text}, {literal(PRINTABLE)})" if alike == "printable" else None
    # DuckDB turns a pattern into LIKE where it can, and takes an anchor within it (``a^b``) or nothing at all for one at an
    # end: a group of its own keeps such a pattern one.
    group = "({})" if not pattern or set(pattern) & set("^$({") else "(?:{})" if before else "{}"
    return SqlCheck(f"NOT regexp_matches({x.text}, {literal(before + group.format(pattern))})", unsure)


def _all_occur(x: SqlColumn, values: Any) -> SqlCheck:
    items = x.values(values)
    missing = [f"NOT coalesce(bool_or({x} = {value}), false)" for value in items]
    strange = f"NOT {x.one_of(values)}" if items else f"{x} IS NOT NULL"
    return SqlCheck(" OR ".join([f"count_if({strange}) > 0", *missing]), of_column=True)


_CHECKS: dict[str, Callable[..., str | SqlCheck]] = {
    "equal_to": lambda x, value: f"{x} <> {x.value(value)}",
    "not_equal_to": lambda x, value: f"{x} = {x.value(value)}",
    "greater_than": lambda x, min_value: f"{x} <= {x.bound(min_value)}",
    "greater_than_or_equal_to": lambda x, min_value: f"{x} < {x.bound(min_value)}",
    "less_than": lambda x, max_value: f"{x} >= {x.bound(max_value)}",
    "less_than_or_equal_to": lambda x, max_value: f"{x} > {x.bound(max_value)}",
    "in_range": _in_range,
    "isin": lambda x, allowed_values: f"NOT {x.one_of(allowed_values)}",
    "notin": lambda x, forbidden_values: x.one_of(forbidden_values),
    "str_startswith": lambda x, string: f"NOT starts_with({x.text}, {x.value(string)})",
    "str_endswith": lambda x, string: f"NOT ends_with({x.text}, {x.value(string)})",
    "str_contains": _search,
    "str_matches": lambda x, pattern: _search(x, pattern, before="^"),
    "str_length": _length,
    "unique_values_eq": _all_occur,
}
"""Of each check of Pandera's own: the rows that break it."""

BOUNDS = frozenset({"greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to", "in_range"})
"""Those that accept whatever lies between two values that they accept."""

_LITERAL = r"[A-Za-z0-9 _\-:;,@#%&~=<>!\"'/]|\\[.^$*+?{}()|\[\]\\/\-]"
_CLASS = r"\[\^?(?:[A-Za-z0-9](?:-[A-Za-z0-9])?|[ _.,:;@#%=<>!\"'/+*?(){}$]|\\[.^$*+?{}()|\[\]\\/\-]|(?P<class_of_words>\\[dw]))+-?\]"
_TOKEN = re.compile(
    rf"(?P<atom>{_LITERAL}|{_CLASS}|(?P<any>\.|\\[dw]))|(?P<anchor>\^|(?P<end>\$))|(?P<group>\((?:\?:)?|\||\))"
)
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,3})(?:,(\d{0,3}))?\})\??(?![*+?{])")
_MOST_REPEATS = 200

PRINTABLE = "[ -~]*"
"""Text in which ``.``, ``\\d``, ``\\w`` and ``$`` mean the same to Python and RE2: no line ends, no letters beyond ASCII."""


def read_alike(pattern: object) -> Literal["any", "printable"] | None:
    """The text on which Python and RE2 read a pattern alike, None if it is not of the part that is known to be the same:
    lookarounds, back-references, flags and repeated groups are not.

    >>> read_alike("[A-Z]{3}-[0-9]+"), read_alike("^[A-Z]{3}$"), read_alike("(?=a)b")
    ('any', 'printable', None)
    """
    if not isinstance(pattern, str):
        return None
    try:
        # What Python itself refuses is Pandera's to report.
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    position, printable_only = 0, False
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return None
        position = token.end()
        printable_only |= any(token[name] is not None for name in ("any", "end", "class_of_words"))
        quantifier = _QUANTIFIER.match(pattern, position)
        if quantifier is None:
            continue
        repeats = max((int(count) for count in quantifier.groups() if count), default=0)
        if token["atom"] is None or repeats > _MOST_REPEATS:
            return None
        position = quantifier.end()
    return "printable" if printable_only else "any"
