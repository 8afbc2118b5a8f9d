"""What of a Pandera schema a request can be held against, without Pandera: rules of single values, with arguments as JSON holds them."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import NOT_NULLABLE, Column, ColumnRule
from fti_assets.core.types import ColumnType
from fti_assets.features.validation.checks import name_of
from fti_assets.features.validation.coercion import with_declared_types

if TYPE_CHECKING:
    import pandera.pandas as pa

_COMPARISONS = ("greater_than", "greater_than_or_equal_to", "less_than", "less_than_or_equal_to", "in_range")
_EQUALITIES = ("equal_to", "not_equal_to")
_LISTS = {"isin": "allowed_values", "notin": "forbidden_values"}
_PATTERNS = ("str_matches", "str_contains")
_TEXTS = ("str_startswith", "str_endswith", "str_length")
_NARROW = ("float16", "float32")


@dataclass(frozen=True)
class RequestRules:
    """The rules of some fields.

    Args:
        rules: what a request is held against.
        left_out: what of the schema it cannot be held against, in words.
    """

    rules: tuple[ColumnRule, ...] = ()
    left_out: tuple[str, ...] = ()


def request_rules(schema: pa.DataFrameSchema | None, columns: Iterable[Column]) -> RequestRules:
    """The rules that a schema has for the fields of a request.

    Types and nullability are among them, checks that only warn are not. Checks of the user's own, of whole columns or rows, and those of
    values that a parser has changed are left out.

    >>> import pandera.pandas as pa
    >>> schema = pa.DataFrameSchema({"age": pa.Column("uint8", [pa.Check.le(120), pa.Check(lambda ages: ages % 2 == 0)])})
    >>> found = request_rules(schema, [Column("age", "integer")])
    >>> [rule.check for rule in found.rules], found.left_out
    (['not_nullable', 'in_range', 'less_than_or_equal_to'], ("'age': <lambda>, a check of the schema's own",))
    """
    if schema is None:
        return RequestRules()
    rules: list[ColumnRule] = []
    left_out: list[str] = []
    for field in columns:
        for column in _columns_of(schema, field.name):
            blocking = [check for check in column.checks if not check.raise_warning]
            if schema.parsers or column.parsers:
                left_out += [
                    f"{field.name!r}: {_called(check)}, of values that a parser has changed" for check in blocking
                ]
                continue
            if field.type == "vector":  # whose length the model's own inputs say
                if not column.nullable:
                    rules.append(ColumnRule(field.name, NOT_NULLABLE, {}))
                left_out += [f"{field.name!r}: {_called(check)}, of a vector" for check in blocking]
                continue
            carried = _Field(field.name, field.type, column, schema)
            rules += carried.of_type()
            for check in blocking:
                of_check = carried.of_check(check)
                if of_check is None:
                    left_out.append(f"{field.name!r}: {_called(check)}, {_why(check)}")
                else:
                    rules += of_check
    left_out += [f"{_called(check)}, a check of whole rows" for check in schema.checks if not check.raise_warning]
    return RequestRules(tuple(rules), tuple(dict.fromkeys(left_out)))


def _columns_of(schema: pa.DataFrameSchema, name: str) -> list[pa.Column]:
    """What a schema says of a column: under its name, under patterns that match it, or of all columns."""
    import pandera.pandas as pa

    if not schema.columns and schema.dtype is not None:
        return [pa.Column(schema.dtype, coerce=schema.coerce)]
    return [
        column
        for declared, column in schema.columns.items()
        if (re.match(str(declared), name) if column.regex else declared == name)
    ]


def _called(check: Any) -> str:
    own = name_of(check)
    named = check.error or (own if own else check.name) or "a check"
    return str(named)


def _why(check: Any) -> str:
    if not name_of(check):
        return "a check of the schema's own"
    return "with an argument or on a type that no request is compared with"


class _NotCarried(Exception):
    """A request cannot be held against this."""


class _Field:
    """One column of a schema, and the field of a request that is held against it."""

    def __init__(self, name: str, kind: ColumnType, column: pa.Column, schema: pa.DataFrameSchema) -> None:
        import pandas as pd
        import pandera.pandas as pa

        self._name = name
        self._kind = kind
        self._column = column
        self._coerces = bool(schema.coerce or column.coerce)
        named = copy.copy(column)
        named.regex = False
        self._alone = pa.DataFrameSchema({name: named})
        self._declared = getattr(column.dtype, "type", None)
        self._text = str(self._declared).lower()
        categories = self._declared.categories if isinstance(self._declared, pd.CategoricalDtype) else None
        self._categories = None if categories is None else list(categories)
        texts = [one for one in self._categories or () if isinstance(one, str)]
        self._few = [True, False] if kind == "boolean" else texts if categories is not None and kind == "text" else None
        """All values that the column can have, where they are few: Pandera itself says which of them pass a check."""
        # Rows without a column that is not required have nulls there, and a default takes their place before they are looked at.
        self._always_there = column.required and column.default is None

    def of_type(self) -> list[ColumnRule]:
        """That a value is there, and that the declared type holds it."""
        rules = []
        if self._always_there and not (self._column.nullable and not self._has_no_null):
            rules.append(self._rule(NOT_NULLABLE))
        if self._categories is not None:
            # What is no text is a category of the lake's column only where the schema makes one of it.
            categories = self._few if self._kind == "text" else self._categories if self._coerces else []
            rules.append(self._rule("isin", allowed_values=[self._plain(one) for one in categories or ()]))
        elif self._kind == "integer" and self._text.strip("u").startswith("int") and self._text != "int64":
            limits = np.iinfo(self._text)
            rules.append(self._rule("in_range", min_value=int(limits.min), max_value=int(limits.max)))
        elif self._kind == "number" and self._text in _NARROW and not self._coerces:
            rules.append(self._rule("held_by", type=self._text))
        return rules

    @property
    def _has_no_null(self) -> bool:
        """Whether numpy's type has no null, unlike pandas' boolean and Int8; a column of int64 may have some in the lake."""
        of_numpy = self._kind in ("boolean", "integer") and str(self._declared) == self._text != "boolean"
        return of_numpy and self._text != "int64" and self._text.strip("u").startswith(("bool", "int"))

    def of_check(self, check: Any) -> list[ColumnRule] | None:
        """The rules that a check comes to, None for one that cannot be carried."""
        name = name_of(check)
        if not name or check.groupby is not None or check.element_wise:
            return None
        if name == "unique_values_eq":  # of the whole column; but a value that is none of them breaks it in any
            name, arguments = "isin", {"allowed_values": check._check_kwargs["values"]}
            check = type(check).isin(arguments["allowed_values"], ignore_na=check.ignore_na)
        if self._passes(check, self._some_value) is None:
            rules = [
                self._rule("isin", allowed_values=[])
            ]  # Pandera cannot compare the column with it: no value passes
            return rules if self._passes(check, None) else [*rules, self._rule(NOT_NULLABLE)]
        try:
            rules = [self._carried(check, name, dict(check._check_kwargs))]
        except _NotCarried:
            return None
        if not check.ignore_na and self._always_there and not self._passes(check, None):
            rules.append(self._rule(NOT_NULLABLE))
        return rules

    def _carried(self, check: Any, name: str, arguments: dict[str, Any]) -> ColumnRule:
        if self._few is not None:
            return self._rule("isin", allowed_values=[one for one in self._few if self._passes(check, one)])
        if name in _LISTS:
            values = list(arguments[_LISTS[name]])
            if self._kind == "timestamp":  # pandas reads some of these, and rounds others, by the column's unit
                same = {one for one in map(_microseconds, values) if one is not None}
                listed = sorted(one for one in same if self._passes(check, one) == (name == "isin"))
                return self._rule(name, **{_LISTS[name]: [one.isoformat() for one in listed]})
            if any(isinstance(one, np.float16 | np.float32) for one in values) and not all(
                isinstance(one, float | np.floating) for one in values
            ):
                raise _NotCarried  # in a mixed list numpy compares such a number by its own width
            numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
            if (
                numbers
                and any(isinstance(one, float) for one in values)
                and not str(self._declared).startswith("Float")
            ):
                values = [float(one) for one in values]  # pandas makes one array of them
            # Compared as they are: a list is no number to which a column's width would be applied.
            listed = [self._plain(one, is_bound=False) for one in values if one is not None]
            return self._rule(name, self._as_type, **{_LISTS[name]: sorted(listed, key=repr)})
        if name in _COMPARISONS or name in _EQUALITIES:
            flags = {key: arguments.pop(key) for key in ("include_min", "include_max") if key in arguments}
            bounds = {key: self._plain(value) for key, value in arguments.items()}
            return self._rule(name, self._as_type, **bounds, **{key: bool(flag) for key, flag in flags.items()})
        if name in _PATTERNS and self._kind == "text":
            return self._rule(name, pattern=_pattern(arguments["pattern"]))
        if name in _TEXTS and self._kind == "text":
            return self._rule(name, **{key: _text_argument(value) for key, value in arguments.items()})
        raise _NotCarried

    @property
    def _as_type(self) -> str:
        """As what values are compared, if not as they come."""
        from pandera import dtypes

        if isinstance(self._column.dtype, dtypes.Decimal):
            return "decimal"
        return self._text if self._coerces and self._text in _NARROW else ""

    @property
    def _some_value(self) -> Any:
        some: dict[ColumnType, Any] = {"integer": 0, "number": 0.0, "text": "a", "boolean": True}
        return self._few[0] if self._few else some.get(self._kind, datetime(2000, 1, 1))

    def _passes(self, check: Any, value: Any) -> bool | None:
        """What Pandera says of one stored value, None where it cannot say."""
        import pandas as pd

        dtypes = {"integer": "int64" if value is not None else "Int64", "number": "float64"}
        dtypes |= {"boolean": "bool" if value is not None else "boolean", "timestamp": "datetime64[us]"}
        frame = pd.DataFrame({self._name: pd.Series([value], dtype=dtypes.get(self._kind))})
        if self._as_type == "decimal" and value is not None:
            frame = pd.DataFrame({self._name: pd.Series([Decimal(repr(value))], dtype=object)})
        elif self._as_type:
            frame = frame.astype(self._as_type)
        try:
            with np.errstate(all="ignore"):
                return bool(check(with_declared_types(self._alone, frame)[self._name]).check_passed)
        except Exception:  # whatever a comparison raises: Pandera says that the check failed
            return None

    def _plain(self, value: Any, *, is_bound: bool = True) -> Any:
        """An argument as JSON holds it, in a form that keeps it exact."""
        if self._kind == "timestamp":
            return self._time(value)
        if isinstance(value, np.float64 | np.longdouble):
            is_bound = (
                False  # it keeps its width beside a column of 32 bits, where Python's float takes that of the column
            )
        if isinstance(value, np.floating):
            if float(value) != value and value == value:
                raise _NotCarried
            value = float(value)
        elif isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
            value = value.item()
        if self._kind == "number" and type(value) in (int, float) and is_bound and self._text in _NARROW:
            with np.errstate(over="ignore"):
                value = float(np.dtype(self._text).type(value))
        if isinstance(value, Decimal):
            return {"decimal": str(value)}
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value if not isinstance(value, str) else str.__str__(value)
        if isinstance(value, date | timedelta | np.datetime64 | np.timedelta64):
            return {"other": repr(value)}  # no number and no text is equal to it
        raise _NotCarried

    def _time(self, value: Any) -> Any:
        import pandas as pd

        if isinstance(value, str | datetime | np.datetime64):
            try:
                read = pd.Timestamp(value)
            except ValueError:
                return {"other": repr(value)}
            zone = getattr(self._declared, "tz", None)
            if isinstance(value, str) and read.tzinfo is None and zone is not None:
                read = read.tz_localize(zone)
            if read is pd.NaT or (read.tzinfo is None) != (zone is None):
                return {"other": repr(value)}
            utc = read if read.tzinfo is None else read.tz_convert("UTC").tz_localize(None)
            whole = utc.to_pydatetime(warn=False)
            if not utc.nanosecond:
                return whole.isoformat()
            return {"nanoseconds": (whole - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000 + utc.nanosecond}
        if value is None or isinstance(value, bool | int | float | date | timedelta | np.generic | Decimal):
            return {"other": repr(value)}
        raise _NotCarried

    def _rule(self, check: str, as_type: str = "", /, **arguments: Any) -> ColumnRule:
        return ColumnRule(self._name, check, arguments, as_type)


def _pattern(value: Any) -> Any:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        return {"pattern": value.pattern, "flags": value.flags & ~re.UNICODE.value}
    if isinstance(value, str):
        return str.__str__(value)
    raise _NotCarried


def _text_argument(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or (isinstance(value, int | float | str) and value == value):
        return value
    raise _NotCarried


def _microseconds(value: Any) -> datetime | None:
    """The instant of an argument as naive UTC, None if it is none."""
    import pandas as pd

    if not isinstance(value, str | date | np.datetime64):
        return None
    try:
        read = pd.Timestamp(value)
    except ValueError:
        return None
    if read is pd.NaT:
        return None
    utc = read if read.tzinfo is None else read.tz_convert("UTC").tz_localize(None)
    return utc.to_pydatetime(warn=False)  # type: ignore[no-any-return]
