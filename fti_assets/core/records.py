"""Frozen dataclasses that are made fast, to JSON and back, checked on the way in."""

import dataclasses
import json
import threading
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fti_assets.errors import DamagedError, StoreError

__all__ = ["from_json", "from_plain", "record", "to_json", "to_sparse_json"]

T = TypeVar("T")


if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool) -> Callable[[type[T]], type[T]]:
        """``dataclass(frozen=True)`` without the compiling of six methods a class, which an app waits for at its start.

        >>> @record(frozen=True)
        ... class Point:
        ...     "A point."
        ...     x: int
        ...     y: int = 0
        >>> Point(1), Point(1) == Point(x=1, y=0), dataclasses.replace(Point(1), y=2)
        (Point(x=1, y=0), True, Point(x=1, y=2))
        """
        if not frozen:
            raise ValueError("a record is frozen")

        def make(kind: type[T]) -> type[T]:
            for name in _OF_DATACLASSES:
                setattr(kind, name, _Late(kind, name))
            for name, method in _methods(kind).items():
                if name not in kind.__dict__:
                    setattr(kind, name, method)
            return kind

        return make


_OF_DATACLASSES = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
_looking = threading.RLock()


class _Late:
    """What a dataclass has as a class, made when somebody first looks: of most records that are imported nobody does."""

    def __init__(self, kind: Any, name: str) -> None:
        self._kind, self._name = kind, name

    def __get__(self, instance: object, owner: Any) -> Any:
        with _looking:  # a second look at the defaults would find none
            if self._kind.__dict__.get(self._name) is self:
                for name in _OF_DATACLASSES:
                    delattr(self._kind, name)
                dataclasses.dataclass(init=False, repr=False, eq=False)(self._kind)
        return self._kind.__dict__[self._name]


class _Fields(NamedTuple):
    """The fields of a record, their names, and what takes the values out of one."""

    fields: dict[str, Any]
    names: tuple[str, ...]
    of: Callable[[Any], Any]


def _methods(kind: Any) -> dict[str, Any]:
    """The methods of a record, which look at the fields when they are first called."""
    post = getattr(kind, "__post_init__", None)
    own: _Fields | None = None

    def look() -> _Fields:
        nonlocal own
        if own is None:
            fields = {field.name: field for field in dataclasses.fields(kind)}
            own = _Fields(fields, tuple(fields), attrgetter(*fields))
        return own

    def init(self: Any, /, *values: Any, **keywords: Any) -> None:
        fields, names, _ = own or look()
        if len(values) > len(names):
            raise TypeError(f"{kind.__name__} takes {len(names)} values, not {len(values)}")
        content = dict(zip(names, values, strict=False))
        for name in keywords:
            if name not in fields:
                raise TypeError(f"{kind.__name__}.__init__() got an unexpected keyword argument {name!r}")
            if name in content:
                raise TypeError(f"{kind.__name__}.__init__() got multiple values for argument {name!r}")
        if len(content) < len(names):
            for name in names[len(content) :]:
                if name in keywords:
                    content[name] = keywords[name]
                elif (field := fields[name]).default is not dataclasses.MISSING:
                    content[name] = field.default
                elif field.default_factory is not dataclasses.MISSING:
                    content[name] = field.default_factory()
                else:
                    raise TypeError(f"{kind.__name__}.__init__() missing 1 required positional argument: {name!r}")
        self.__dict__.update(content)
        if post is not None:
            post(self)

    def text(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in look().names)})"

    def equal(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        of = look().of
        return of(self) == of(other)

    def hash_of_record(self: Any) -> int:
        return hash(look().of(self))

    def refuse_set(self: Any, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def refuse_delete(self: Any, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    return {
        "__init__": init,
        "__repr__": text,
        "__eq__": equal,
        "__hash__": hash_of_record,
        "__setattr__": refuse_set,
        "__delattr__": refuse_delete,
        "__signature__": _Signature(),
    }


class _Signature:
    """What ``inspect`` and the documentation see of how a record is made."""

    def __get__(self, instance: object, owner: Any) -> Any:
        import inspect

        parameters = []
        for field in dataclasses.fields(owner):
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory
            default = inspect.Parameter.empty if default is dataclasses.MISSING else default
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=field.type
                )
            )
        return inspect.Signature(parameters, return_annotation=None)


def to_json(record: object) -> str:
    """Write a dataclass as indented JSON with stable order."""
    return json.dumps(dataclasses.asdict(record), indent=2, allow_nan=False) + "\n"  # type: ignore[call-overload]


def to_sparse_json(record: object) -> str:
    """Write a dataclass as JSON without the fields that have their defaults.

    So an earlier release reads what a later one wrote, as long as that says nothing that the earlier one does not know.
    """
    return json.dumps(_without_defaults(record), allow_nan=False)


def _without_defaults(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_without_defaults(one) for one in value]
    if isinstance(value, dict):
        return {key: _without_defaults(one) for key, one in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    content = {}
    for field in dataclasses.fields(value):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if (own := getattr(value, field.name)) != default or field.name == "format":
            content[field.name] = _without_defaults(own)
    return content


def from_json(record: type[T], text: str | bytes, *, what: str, remedy: str = "restore it from a copy") -> T:
    """Read a dataclass that ``to_json`` wrote; ``remedy`` is what to do if it is damaged.

    Raises:
        StoreError: the text was written in another format than this release reads, or by a later release that says more.
        DamagedError: the text is not JSON, or a field is missing, unknown or of another type.
    """
    try:
        value = json.loads(text, object_pairs_hook=_named_once)
        _check_format(record, value, what)
        return typing.cast(T, _read(record, value, "$"))
    except _UnknownFields as error:
        if not _has_format(record):
            raise DamagedError(
                f"{what} cannot be read as {record.__name__}: {error}. It is damaged: {remedy}"
            ) from error
        raise StoreError(
            f"{what} says {error.names}, which this release of fti-assets does not know: a later release wrote it. Upgrade fti-assets "
            f"here; if it is damaged, {remedy}"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{what} cannot be read as {record.__name__}: {error}. It is damaged: {remedy}") from error


class _UnknownFields(ValueError):
    """A record has all that it needs, and fields besides that nobody here knows."""

    def __init__(self, path: str, names: list[str]) -> None:
        self.names = ", ".join(f"{path}.{name}".removeprefix("$.") for name in names)
        super().__init__(f"{path}: missing fields [], unknown fields {names}")


def _has_format(record: Any) -> bool:
    return any(field.name == "format" for field in dataclasses.fields(record))


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, in which no name may stand twice: the last would count, and nobody would know of the first."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return values


def from_plain(record: type[T], value: object) -> T:
    """A dataclass from what ``dataclasses.asdict`` made of it, with lists for tuples.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    return typing.cast(T, _read(record, value, "$"))


def _check_format(record: Any, value: Any, what: str) -> None:
    """Before the fields, since another format may have others."""
    current = next((field.default for field in dataclasses.fields(record) if field.name == "format"), None)
    version = value.get("format", current) if isinstance(value, dict) else current
    if version != current and isinstance(version, int):
        raise StoreError(
            f"{what} was written in format {version}, this release of fti-assets reads format {current}: "
            "install the release that wrote it"
        )


def _read(kind: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, path)
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, path)
    if origin is typing.Literal:
        return _expect(value in arguments, value, path, f"one of {arguments}")
    if origin is tuple:
        _expect(isinstance(value, list), value, path, "a list")
        if arguments[-1] is Ellipsis:
            return tuple(_read(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
        _expect(len(value) == len(arguments), value, path, f"{len(arguments)} items")
        return tuple(
            _read(kind, item, f"{path}[{i}]") for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is dict:
        _expect(isinstance(value, dict), value, path, "an object")
        return {key: _read(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if kind is float:
        return float(_expect(isinstance(value, int | float) and not isinstance(value, bool), value, path, "a number"))
    if kind is int:
        return _expect(isinstance(value, int) and not isinstance(value, bool), value, path, "a whole number")
    return _expect(isinstance(value, kind), value, path, kind.__name__)


class _Shape(NamedTuple):
    """What a record's class says of its fields: their types, and which must be there."""

    hints: dict[str, Any]
    required: frozenset[str]


@lru_cache(256)
def _shape(kind: Any) -> _Shape:
    required_names = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return _Shape(typing.get_type_hints(kind), frozenset(required_names))


def _read_record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), value, path, "an object")
    hints, required_names = _shape(kind)
    missing, unknown = required_names - value.keys(), value.keys() - hints.keys()
    if unknown and not missing:
        raise _UnknownFields(path, sorted(unknown))
    if missing or unknown:
        raise ValueError(f"{path}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}")
    return kind(**{name: _read(hints[name], item, f"{path}.{name}") for name, item in value.items()})


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    some = [kind for kind in kinds if kind is not type(None)]
    if len(some) == 1:
        return _read(some[0], value, path)
    problems = []
    for kind in some:
        try:
            return _read(kind, value, path)
        except ValueError as problem:
            problems.append(str(problem))
    raise ValueError("; ".join(problems))


def _expect(true: bool, value: Any, path: str, what: str) -> Any:
    if not true:
        raise ValueError(f"{path} is {value!r:.80}, not {what}")
    return value
