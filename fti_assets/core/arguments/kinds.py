"""Which values are of the kind that an annotation names, what they are as Python's own, and what to say of those that are not.

A value may be an object of any class, whose methods may raise: whoever asks here says so, and names the argument.
"""

from __future__ import annotations

import collections.abc
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import numpy as np

from fti_assets.errors import class_name, excerpt, one_of, shorten

_UNIONS = (Union, types.UnionType)
_MAPPINGS = (collections.abc.Mapping, dict)
_SEQUENCES = (collections.abc.Sequence, list, tuple)
_OF_TEXT = tuple(name for name in vars(str) if name not in ("__doc__", "__new__", "__str__", "__getattribute__"))
_LISTS = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set, list, set)
_WORDS: dict[Any, str] = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    type(None): "None",
}
_LOOKS: tuple[Callable[[Any], Any], ...] = (
    repr, str, hash, bool, len, iter, callable, lambda one: isinstance(one, str), lambda one: one == one, lambda one: one == "",
    lambda one: one in ("",),
    lambda one: [*one] if isinstance(one, list | tuple) else None,
    lambda one: one < 0, lambda one: one > 0, lambda one: list(one.items()), lambda one: getattr(one, "key", None),
)  # fmt: skip
"""What is done with an argument, as far as its own class has a say in it."""


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind, as far as that can be told: of what is unclear it is."""
    if kind is Any or isinstance(kind, TypeVar | str):
        return True
    if kind is None or kind is type(None):
        return value is None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return any(isinstance(value, type(one)) for one in arguments)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is type:
        return isinstance(value, type)
    if origin is tuple or origin in _LISTS:
        return _is_list(value, origin) and (origin is tuple or all(fits(one, arguments[0]) for one in value))
    if origin in _MAPPINGS:
        return isinstance(value, Mapping) and all(
            fits(key, arguments[0]) and fits(one, arguments[1]) for key, one in (value.items() if arguments else ())
        )
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is str:
        return isinstance(value, str) and _is_whole(value)
    if kind in (int, float):  # numpy's numbers too
        if not isinstance(value, numbers.Integral if kind is int else numbers.Real) or isinstance(value, bool):
            return False
        return -(2**63) <= int(value) < 2**63 if isinstance(value, numbers.Integral) else math.isfinite(value)
    cls = origin or kind
    try:
        return not isinstance(cls, type) or isinstance(value, cls)
    except TypeError:  # a protocol, which an instance does not tell
        return True


def _is_whole(text: str) -> bool:
    """Whether a text can be written down: one with half a character, as ``surrogateescape`` makes, cannot."""
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def _is_list(value: Any, origin: Any = None) -> bool:
    """Whether a value is one thing after another; where their order counts, no set, which has another in each process."""
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | Iterator) or not isinstance(value, Iterable):
        return False
    if isinstance(value, set | frozenset) and origin in _SEQUENCES:
        return False
    return getattr(value, "ndim", 1) == 1  # neither a frame nor an array of one value


def plain(value: Any, kind: Any) -> Any:
    """A value that fits a kind, as Python's own text, number, list or dict where the kind is one of these.

    What is of a class of its own behaves as that class says, and numpy's numbers are no JSON.

    >>> import numpy as np
    >>> from collections.abc import Sequence
    >>> plain(np.int8(3), int), plain(np.array(["a"]), Sequence[str])
    (3, ['a'])
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        return plain(value, next((one for one in arguments if one is not Any and fits(value, one)), Any))
    if origin is Literal or kind is str:
        return str.__str__(value) if _is_changed_text(value) else value
    if kind is bool:
        return bool(value)
    if kind in (int, float) and type(value) not in (int, float):
        return kind(value)
    if origin in _LISTS:
        values = [plain(one, arguments[0]) for one in value]
        is_same = type(value) in (list, tuple) and all(one is other for one, other in zip(values, value, strict=True))
        return value if is_same else set(values) if isinstance(value, collections.abc.Set) else values
    if origin in _MAPPINGS:
        return {plain(key, arguments[0]): plain(one, arguments[1]) for key, one in value.items()}
    return value


def as_own(value: Any) -> Any:
    """A text or whole number of a class of its own as Python's own, and everything else as it is.

    >>> import enum
    >>> as_own(enum.IntEnum("Size", ["SMALL"]).SMALL), as_own(True), as_own(None)
    (1, True, None)
    """
    cls = type(value)
    if issubclass(cls, str):
        return plain(value, str)
    return int.__int__(value) if issubclass(cls, int) and cls not in (int, bool) else value


def _is_changed_text(value: Any) -> bool:
    """Whether a text is of a class with a method of its own in place of one of Python's text, which Dagster's ``EnvVar`` is not."""
    return (
        type(value) is not str
        and isinstance(value, str)
        and any(getattr(type(value), name) is not getattr(str, name) for name in _OF_TEXT)
    )


def emptiness(name: str, key: str, value: Any, kind: Any) -> str | None:
    """What is wrong with a text that names nothing, or a list with such a text, where a kind is a text or a path.

    >>> emptiness("fti.Stores", "lake", "", str | None)
    "fti.Stores: lake is '', an empty text, which names nothing: leave lake out, or write what it names"
    """
    texts = [value] if isinstance(value, str) else value if type(value) in (list, tuple) else []
    if "" in [one for one in texts if isinstance(one, str)]:
        what = "an empty text" if isinstance(value, str) else "with an empty text"
        return f"{name}: {key} is {brief(value)}, {what}, which names nothing: leave {key} out, or write what it names"
    is_path = Path in (kind, *typing.get_args(kind))
    if is_path and type(value) is str and (not value.strip() or "\0" in value):
        return f"{name}: {key} is {brief(value)}, which no file or folder can be called; it takes {words_of(kind)}"
    return None


def culprit(error: Exception, values: Iterable[tuple[str, Any]]) -> tuple[str, Any] | None:
    """Which of some values, or what lies in them, raises the same when it is looked at, and its name.

    >>> culprit(TypeError("unhashable type: 'list'"), [("a", 1), ("b", [2])])
    ('b', [2])
    """
    for name, value in values:
        inside: list[Any] = []
        if type(value) in (list, tuple, set):
            inside = [*value]
        elif type(value) is dict:
            inside = [*value, *value.values()]
        if any(_raises(error, one) for one in [value, *inside]):
            return name, value
    return None


def _raises(error: Exception, value: Any) -> bool:
    for look in _LOOKS:
        try:
            look(value)
        except Exception as raised:
            if type(raised) is type(error) and str(raised) == str(error):
                return True
    return False


def misfit(name: str, key: str, value: Any, kind: Any) -> str:
    """What is wrong with a value that does not fit, and what to write."""
    text, words = brief(value), words_of(kind)
    if isinstance(value, set | frozenset) and fits([*value], kind):
        return f"{name}: {key} is {text}, a set, whose order is another in each process; it takes {words}: write {key}=[...]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name}: {key} is {text}, which is no finite number; it takes {words}"
    if getattr(value, "ndim", 1) == 2 and not fits(value, kind):
        return f"{name}: {key} is a {class_name(value)}, a table; it takes {words}"
    if isinstance(value, str) and not fits(value, kind) and fits([value], kind):
        return f"{name}: {key}={text} is one text, and it takes {words}: write {key}=[{text}]"
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return f"{name}: {key} is the class {value.__name__} itself: give {words}, as in {key}={value.__name__}(...)"
    if not isinstance(value, str | Mapping) and not _is_list(value) and fits([value], kind):
        return f"{name}: {key}={text} stands alone, and it takes {words}: write {key}=[...]"
    if isinstance(value, str) and not _is_whole(value):
        return f"{name}: {key} is {value!a:.80}, which has half a character and cannot be written as UTF-8; it takes {words}"
    inside = _first_misfit(value, kind)
    where = "" if inside is None else f", in which {inside[0]} does not fit{inside[1]}"
    is_plain = isinstance(value, str | bool | int | float | list | tuple | dict | type(None))
    what = "" if is_plain or text != _repr(value) else f", a {type(value).__name__}"
    return f"{name}: {key} is {text}{what}{where}; it takes {words}"


def _first_misfit(value: Any, kind: Any) -> tuple[str, str] | None:
    """What of a list or dict does not fit, and what to say of it."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)
    for one in kinds:
        arguments = typing.get_args(one)
        inner = arguments[-1] if arguments else Any
        if isinstance(value, Mapping) and typing.get_origin(one) in _MAPPINGS:
            items: Iterable[tuple[str, Any]] = ((f"{_repr(key)}: {_repr(item)}", item) for key, item in value.items())
        elif _is_list(value) and arguments and typing.get_origin(one) is not tuple:
            items = ((_repr(item), item) for item in value)
        else:
            continue
        for text, item in items:
            if not fits(item, inner):
                return text, f" (write {item.__name__}(...))" if isinstance(item, type) else ""
    return None


def words_of(kind: Any) -> str:
    """A kind in words: ``text or None``, ``a list of text``."""
    if kind is None or kind in _WORDS:
        return _WORDS[type(None) if kind is None else kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        words = list(dict.fromkeys(words_of(one) for one in arguments))
        return " or ".join([*filter(None, [", ".join(words[:-1])]), words[-1]])
    if origin is Literal:
        return one_of(arguments)
    if origin is collections.abc.Callable:
        return "a function"
    if origin is type:
        return "a type"
    if origin in _MAPPINGS:
        return f"a dict of {words_of(arguments[0])} to {words_of(arguments[1])}" if arguments else "a dict"
    if origin is tuple:
        return f"a pair of {words_of(arguments[0])}" if len(arguments) == 2 else "a tuple"
    if origin in _LISTS:
        return f"a list of {words_of(arguments[0]).removeprefix('a ')}" if arguments else "a list"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def brief(value: Any) -> str:
    """A value in a line, or its class."""
    text = _repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"a {type(value).__name__}"


def _repr(value: Any) -> str:
    """A value as Python writes it, without secrets, whatever the value raises then."""
    try:
        text = repr(value)
    except Exception:
        text = excerpt(value)
    from fti_assets.core.addresses import scrub  # late, as in home.py

    return scrub(shorten(text))
