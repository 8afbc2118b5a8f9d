"""What a function is as text: its source, and what it holds besides that."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from fti_assets.core.decorators import without_words

_PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    date,
    time,
    timedelta,
    tzinfo,
    Decimal,
    Fraction,
    PurePath,
    UUID,
    range,
    enum.Enum,
)
_HEAP = 1 << 9
"""The flag of a class that was made by a ``class`` statement, and not in C."""
_LIBRARIES = {"fti_assets", "dagster", "duckdb", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "torch"}
_MOST = 10_000
"""So many values are looked at; what holds more is not told apart from what holds others."""


def source_text(function: Any, words: Collection[str] = ()) -> str:
    """The source of a function and what it holds besides; where there is no source, as of a console, its place.

    It is the same in each process. Of a value that cannot be put into words it has the type alone. Arguments of decorators that are
    called as ``words`` are left out.

    >>> def scaled(factor):
    ...     return lambda value: factor * value
    >>> source_text(scaled(2)) == source_text(scaled(3))
    False
    """
    capture = capture_text(function, type_name)
    source = without_words(_source_of(function), words) if words else _source_of(function)
    return f"{source}\n{capture}" if capture else source


def capture_text(function: Any, unknown: Callable[[Any], str]) -> str:
    """What a function holds besides its source: values that it closes over, defaults, arguments of a partial, the object that it is
    bound to. Empty if it holds nothing.

    Args:
        function: a function, a method, a partial, or an object that is called.
        unknown: says of a value that cannot be put into words what it is.
    """
    return "\n".join(_Held(unknown).of_function(function))


def value_text(value: Any, unknown: Callable[[Any], str]) -> str:
    """A value in words that are the same in each process, with what is in it; ``unknown`` as in ``capture_text``."""
    return _Held(unknown).of_value(value)


def type_name(value: Any) -> str:
    """The name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _source_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        pass
    try:
        return inspect.getsource(type(function)) if not isinstance(function, type) else _place(function)
    except (OSError, TypeError):
        return _place(function)


def _place(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', '')}.{name}"


class _Held:
    def __init__(self, unknown: Callable[[Any], str]) -> None:
        self._unknown = unknown
        self._around: list[int] = []
        self._number = 0

    def of_function(self, function: Any) -> Iterator[str]:
        if isinstance(function, functools.partial):
            yield from self.of_function(function.func)
            yield f"partial {self.of_value([list(function.args), function.keywords])}"
        elif isinstance(function, types.MethodType):
            yield from self.of_function(function.__func__)
            yield f"self {self.of_value(function.__self__)}"
        elif isinstance(function, types.FunctionType):
            if function.__defaults__:
                yield f"defaults {self.of_value(list(function.__defaults__))}"
            if function.__kwdefaults__:
                yield f"keyword defaults {self.of_value(function.__kwdefaults__)}"
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                yield f"{name} {self._of_cell(cell)}"
        elif not isinstance(function, type | types.BuiltinFunctionType | types.BuiltinMethodType | np.ufunc):
            yield f"object {self.of_value(function)}"

    def _of_cell(self, cell: Any) -> str:
        try:
            return self.of_value(cell.cell_contents)
        except ValueError:  # it is not assigned yet
            return "nothing"

    def of_value(self, value: Any) -> str:
        self._number += 1
        if value is None or isinstance(value, _PLAIN):
            return f"{type_name(value)} {value!r}"
        if id(value) in self._around:
            return "itself"
        if self._number > _MOST:
            return self._unknown(value)
        self._around.append(id(value))
        try:
            return self._of_structure(value)
        finally:
            self._around.pop()

    def _of_structure(self, value: Any) -> str:
        if isinstance(value, np.ndarray | np.generic):
            return self._of_array(np.asarray(value))
        if type(value) in (list, tuple):
            return f"{type_name(value)} [{', '.join(map(self.of_value, value))}]"
        if type(value) in (set, frozenset):
            return f"{type_name(value)} [{', '.join(sorted(map(self.of_value, value)))}]"
        if type(value) in (dict, types.MappingProxyType):
            return self._of_mapping(value)
        if isinstance(value, type):
            return f"class {_source_of(value) if value.__flags__ & _HEAP else _place(value)}"
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        if callable(value) and isinstance(
            value, types.FunctionType | types.MethodType | types.BuiltinFunctionType | functools.partial | np.ufunc
        ):
            return f"function {_source_of(value)} {' '.join(self.of_function(value))}"
        if _is_of_own_class(value):
            return f"{type_name(value)} {self._of_mapping(_fields_of(value))}"
        return self._unknown(value)

    def _of_mapping(self, value: Mapping[Any, Any]) -> str:
        items = [f"{self.of_value(key)}: {self.of_value(one)}" for key, one in value.items()]
        return f"{{{', '.join(sorted(items))}}}"

    def _of_array(self, array: np.ndarray) -> str:
        if array.dtype.hasobject:
            return f"array {array.shape} {self.of_value(array.tolist())}"
        return (
            f"array {array.dtype.str} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
        )


def _is_of_own_class(value: Any) -> bool:
    """Whether all that an object holds is in its fields, and nothing that its library computes and keeps there meanwhile."""
    bases = type(value).__mro__
    return type(value).__module__.partition(".")[0] not in _LIBRARIES and all(
        base is object or base.__flags__ & _HEAP for base in bases
    )


def _fields_of(value: Any) -> dict[str, Any]:
    slots = [name for base in type(value).__mro__ for name in _names_of(getattr(base, "__slots__", ()))]
    in_slots = {name: getattr(value, name) for name in slots if name[:2] != "__" and hasattr(value, name)}
    return {**getattr(value, "__dict__", {}), **in_slots}


def _names_of(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
