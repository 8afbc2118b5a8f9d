"""Frozen dataclasses to JSON and back, checked on the way in."""

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar

from fti_assets.errors import DamagedError, StoreError

T = TypeVar("T")


def to_json(record: object) -> str:
    """Write a dataclass as indented JSON with stable order."""
    return json.dumps(dataclasses.asdict(record), indent=2, allow_nan=False) + "\n"  # type: ignore[call-overload]


def from_json(record: type[T], text: str | bytes, *, what: str) -> T:
    """Read a dataclass that ``to_json`` wrote.

    Raises:
        StoreError: the text was written in another format than this release reads.
        DamagedError: the text is not JSON, or a field is missing, unknown or of another type.
    """
    try:
        value = json.loads(text)
        _check_format(record, value, what)
        return typing.cast(T, _read(record, value, "$"))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{what} cannot be read as {record.__name__}: {error}") from error


def _check_format(record: Any, value: Any, what: str) -> None:
    """Before the fields, since another format may have others."""
    current = next((field.default for field in dataclasses.fields(record) if field.name == "format"), None)
    written = value.get("format", current) if isinstance(value, dict) else current
    if written != current and isinstance(written, int):
        raise StoreError(
            f"{what} was written in format {written}, this release of fti-assets reads format {current}: "
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


def _read_record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), value, path, "an object")
    hints = typing.get_type_hints(kind)
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    missing, unknown = required - value.keys(), value.keys() - hints.keys()
    if missing or unknown:
        raise ValueError(f"{path}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}")
    return kind(**{name: _read(hints[name], item, f"{path}.{name}") for name, item in value.items()})


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    problems = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return _read(kind, value, path)
            except ValueError as problem:
                problems.append(str(problem))
    raise ValueError("; ".join(problems))


def _expect(true: bool, value: Any, path: str, what: str) -> Any:
    if not true:
        raise ValueError(f"{path} is {value!r:.80}, not {what}")
    return value
