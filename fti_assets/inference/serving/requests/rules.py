"""The checks of the spine's schema that a request can be held against, as the offline path holds rows against them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import NOT_NULLABLE, Column, ColumnRule
from fti_assets.core.times import instant, microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import PredictionError

if TYPE_CHECKING:
    from decimal import Decimal

Passes = Callable[[Any], bool]


class RequestRules:
    """The rules of a view over the values of a request.

    Args:
        rules: as the manifest has them; one of a kind that this release does not know is left out.
        columns: the fields of a request, in the order of its values.

    Raises:
        PredictionError: the arguments of a rule cannot be read.

    >>> column = Column("age", "integer")
    >>> rules = RequestRules([ColumnRule("age", "less_than_or_equal_to", {"max_value": 120})], [column])
    >>> rules.broken_by([10**12]), rules.broken_by([None])
    (('age',), ())
    """

    def __init__(self, rules: Sequence[ColumnRule], columns: Sequence[Column]) -> None:
        self.columns = tuple(dict.fromkeys(rule.column for rule in rules))
        """The fields that have rules, in the order of the rules."""
        slots = {column.name: (slot, column.type) for slot, column in enumerate(columns)}
        never_null = {rule.column for rule in rules if rule.check == NOT_NULLABLE}
        self._rules: list[tuple[str, int, tuple[Any, ...], Passes]] = []
        for rule in rules:
            if rule.column in slots and rule.check in _CHECKS:
                slot, kind = slots[rule.column]
                try:
                    passes = _comparable(_CHECKS[rule.check], rule, kind)
                except (LookupError, TypeError, ValueError, ArithmeticError, re.error) as error:
                    raise PredictionError(
                        f"the manifest's rule {rule.check!r} of {rule.column!r} cannot be read. It is damaged: restore it from a copy"
                    ) from error
                self._rules.append((rule.column, slot, _MISSING[rule.column in never_null], passes))
            elif rule.column in slots and rule.check == NOT_NULLABLE:
                self._rules.append((rule.column, slots[rule.column][0], (), lambda value: value is not None))

    def broken_by(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The fields whose values break a rule.

        A missing value breaks none but that there must be one. In a field that may be null the empty text is a missing value, too; in
        one that may not it is text, as it is to the schema.
        """
        violations = [
            name
            for name, slot, missing, passes in self._rules
            if (value := values[slot]) not in missing and not passes(value)
        ]
        return tuple(dict.fromkeys(violations))


_MISSING: dict[bool, tuple[Any, ...]] = {True: (None,), False: (None, "")}
"""What is no value to the checks of a field, by whether the field must have one."""


def _comparable(check: Callable[[Mapping[str, Any]], Passes], rule: ColumnRule, kind: ColumnType) -> Passes:
    """A check whose values and arguments are compared as pandas compares the column with them."""
    of_times, of_type = kind == "timestamp", _TYPES.get(rule.as_type)
    arguments = {name: _read(value, of_times) for name, value in rule.arguments.items()}
    listed = [one for value in arguments.values() for one in (value if isinstance(value, list) else [value])]
    if of_times:
        passes = check(arguments)
        return lambda value: passes(microseconds(value) * 1000)
    numeric = all(isinstance(one, int | float) for one in listed)
    if rule.check in ("isin", "notin"):
        passes = check(arguments)
        return (lambda value: passes(of_type(value))) if of_type else passes
    if kind == "number" or (kind == "integer" and numeric and any(isinstance(one, float) for one in listed)):
        # A whole number meets a float as one.
        passes = check({name: float(value) if type(value) is int else value for name, value in arguments.items()})
        return (lambda value: passes(of_type(value))) if of_type else (lambda value: passes(float(value)))
    return check(arguments)


def _read_decimal(text: str) -> "Decimal":
    from decimal import Decimal  # which few rules need

    return Decimal(text)


def _decimal(value: float) -> "Decimal":
    """The decimal that was written, not the float nearest to it."""
    return _read_decimal(repr(value))


def _rounding(type_name: str) -> Callable[[float], float]:
    to_width = np.dtype(type_name).type

    def nearest(value: float) -> float:
        with np.errstate(over="ignore"):
            return float(to_width(value))

    return nearest


_TYPES: dict[str, Callable[[float], Any]] = {
    "decimal": _decimal,
    **{name: _rounding(name) for name in ("float16", "float32")},
}
"""What a schema makes of a number before it compares it, by the name of the type."""


def _read(argument: Any, of_times: bool) -> Any:
    """An argument as the manifest has it, a time as nanoseconds since 1970."""
    if isinstance(argument, list):
        return [_read(one, of_times) for one in argument]
    if isinstance(argument, dict):
        [(form, text), *more] = argument.items()
        return _FORMS[form](text, *(value for _, value in more))
    if of_times and isinstance(argument, str):
        return microseconds(instant(argument)) * 1000
    return argument


_FORMS: dict[str, Callable[..., Any]] = {
    "float": float,
    "decimal": _read_decimal,
    "nanoseconds": int,
    "pattern": re.compile,
    "other": lambda _: object(),
}
"""What JSON has no form for, by the key of the object that stands for it."""


def _in_range(arguments: Mapping[str, Any]) -> Passes:
    least, most = arguments["min_value"], arguments["max_value"]
    with_least, with_most = arguments.get("include_min", True), arguments.get("include_max", True)
    return lambda value: (
        (least <= value if with_least else least < value) and (value <= most if with_most else value < most)
    )


def _str_length(arguments: Mapping[str, Any]) -> Passes:
    exact, least, most = (arguments.get(name) for name in ("exact_value", "min_value", "max_value"))
    if exact is not None:
        return lambda value: len(value) == exact
    return lambda value: (least is None or least <= len(value)) and (most is None or len(value) <= most)


def _exactness(arguments: Mapping[str, Any]) -> Passes:
    nearest = _TYPES[arguments["type"]]
    return lambda value: bool(nearest(value) == value)


def _comparison(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Mapping[str, Any]], Passes]:
    return lambda arguments: lambda value: compare(value, arguments[name])


def _pattern(method: str) -> Callable[[Mapping[str, Any]], Passes]:
    def make(arguments: Mapping[str, Any]) -> Passes:
        search = getattr(re.compile(arguments["pattern"]), method)
        return lambda value: search(value) is not None

    return make


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Passes]] = {
    "equal_to": _comparison("value", lambda value, other: value == other),
    "not_equal_to": _comparison("value", lambda value, other: value != other),
    "greater_than": _comparison("min_value", lambda value, least: value > least),
    "greater_than_or_equal_to": _comparison("min_value", lambda value, least: value >= least),
    "less_than": _comparison("max_value", lambda value, most: value < most),
    "less_than_or_equal_to": _comparison("max_value", lambda value, most: value <= most),
    "in_range": _in_range,
    "isin": _comparison("allowed_values", lambda value, allowed: value in allowed),
    "notin": _comparison("forbidden_values", lambda value, forbidden: value not in forbidden),
    "str_matches": _pattern("match"),
    "str_contains": _pattern("search"),
    "str_startswith": _comparison("string", lambda value, start: value.startswith(start)),
    "str_endswith": _comparison("string", lambda value, end: value.endswith(end)),
    "str_length": _str_length,
    "held_by": _exactness,
}
