"""What an event says: the columns of its row, or in words why it says none. Whatever its bytes are, nothing is raised."""

from __future__ import annotations

import enum
import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Any

from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError, class_name, excerpt, list_some, one_of
from fti_assets.stores.streams.event import Event

PAYLOAD_BYTES = 1024 * 1024
"""The greatest event that is taken."""

Decode = Callable[[Event], "Mapping[str, Any] | str"]
"""From an event to its columns by name, or to why it has none."""

_END_OF_NAME = re.compile(rb'"\s*:')


def event_decoder(columns: Collection[str], kind: type[Any] | None = None) -> Decode:
    """The function from an event to its columns by name, or to why it has none. Of which types their values are is told elsewhere.

    Without a type an event is a JSON object whose names are columns; one that is absent is null. With a type the event is what the type
    takes, and a column is the attribute of its name.

    Args:
        columns: the columns that an event may have.
        kind: a ``msgspec.Struct`` or a Pydantic model.

    Raises:
        DeclarationError: the type has no attribute for a column.
        MissingExtraError: msgspec is not installed.

    >>> decode = event_decoder(["card", "amount"])
    >>> decode(Event(0, 1, 0, b'{"card": "c1", "amount": 12.5}'))
    {'card': 'c1', 'amount': 12.5}
    >>> decode(Event(0, 2, 0, b'{"card": "c1", "amout": 12.5}'))
    "it has 'amout', which is none of the columns 'card' and 'amount'"
    """
    with named_extras("a stream", "streaming"):
        from msgspec.json import Decoder
    parse = Decoder().decode
    names = frozenset(columns)
    read = None if kind is None else _typed(kind, tuple(columns))

    def decode(event: Event) -> Mapping[str, Any] | str:
        if event.problem is not None:
            return event.problem
        payload = event.payload
        if len(payload) > PAYLOAD_BYTES:
            return f"it has {len(payload):,} bytes, and at most {PAYLOAD_BYTES:,} are taken"
        try:
            content: Any = parse(payload)
            is_object = type(content) is dict
            # A name that stands twice would silently count as the last; where names may be hidden in texts or nested, by a slower look.
            if len(_END_OF_NAME.findall(payload)) != (len(content) if is_object else 0):
                json.loads(payload, object_pairs_hook=_named_once, parse_int=len, parse_float=len)
            if read is not None:
                return read(payload)
        except Exception as error:  # a type's own code may raise what it likes
            return _reason(error, payload)
        if not is_object:
            return f"it is {excerpt(content)}, and no JSON object"
        if not content.keys() <= names:
            unknown = [name for name in content if name not in names]
            return f"it has {list_some(unknown)}, which is none of the columns {list_some(columns, limit=20)}"[:1_000]
        row: Mapping[str, Any] = content
        return row

    return decode


def check_event_type(columns: Collection[str], kind: type[Any]) -> None:
    """Raise a DeclarationError if the type of events has no attribute for a column."""
    fields = set(kind.__struct_fields__ if hasattr(kind, "__struct_fields__") else kind.model_fields)
    absent = [name for name in columns if name not in fields and not _is_computed(kind, name)]
    if absent:
        raise DeclarationError(
            f"events are of type {kind.__qualname__}, which has no attribute for the columns {list_some(absent)}: it has "
            f"{one_of(sorted(fields))}. Add them, as fields or as properties"
        )


class _Twice(ValueError):
    """A name stands twice in one object."""


def _named_once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len({*names}) < len(names):
        raise _Twice(next(name for name in names if names.count(name) > 1))


def _typed(kind: type[Any], columns: tuple[str, ...]) -> Callable[[bytes], Mapping[str, Any]]:
    """From a payload to the attributes of what a type makes of it."""
    check_event_type(columns, kind)
    parse: Callable[[bytes], Any]
    if hasattr(kind, "__struct_fields__"):
        from msgspec.json import Decoder

        parse = Decoder(kind).decode
    else:
        parse = kind.model_validate_json

    def read(payload: bytes) -> Mapping[str, Any]:
        content = parse(payload)
        return {name: _plain(getattr(content, name)) for name in columns}

    return read


def _is_computed(kind: type[Any], name: str) -> bool:
    return isinstance(getattr(kind, name, None), property | cached_property)


def _plain(value: Any) -> Any:
    """A value of a type's attribute as one of a column."""
    if value is None or type(value) in (str, int, float, bool, datetime):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return None if class_name(value) == "UnsetType" else value


def _reason(error: Exception, payload: bytes) -> str:
    """Why an event says nothing, of at most 1,000 characters."""
    if isinstance(error, _Twice):
        return f"the name {excerpt(str(error))} stands twice in one object, and nobody knows which counts"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no UTF-8: byte {excerpt(bytes(error.object[error.start : error.start + 1]))} ({error.reason})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(error)
    module = type(error).__module__.partition(".")[0]
    if module == "msgspec":
        if "truncated" in text and b"\\u" in payload:
            text = "it ends too early, or has half of a character (a lone surrogate)"
        return f"it cannot be read: {text}"[:1_000]
    if module.startswith("pydantic") and hasattr(error, "errors"):
        reasons = [
            f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        return f"it cannot be read: {'; '.join(reasons)}"[:1_000]
    return f"it cannot be read: {class_name(error)}: {excerpt(text, 200)}"
