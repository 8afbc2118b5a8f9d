"""The fields of a protocol buffer, read without its library, which an app that serves does not have."""

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

Span = tuple[int, int]

MOST_READ = 1_000
"""Only constants of so few values are read: longer ones are weights, not sizes."""
# Long attributes are passed over whole: ``floats``, and ``ints``, each value of which has a tag of its own.
_FLOATS = re.compile(rb"(?:\x3d.{4})++", re.DOTALL)
_INTS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")
TAGGED = -8
TAGGED_FLOATS = -7


def read_fields(
    data: bytes, spans: Sequence[Span], *, of_attribute: bool = False, whole: bool = False
) -> Iterator[tuple[int, Any]]:
    """The number and value of each field: a varint's number, where a fixed one stands, the span of any other.

    Long ``floats`` and all ``strings`` of attributes are left out, unless they are to be read ``whole``; a run of their ``ints`` is one
    span, called ``TAGGED``; of ``floats``, ``TAGGED_FLOATS``.
    """
    for start, end in spans:
        at = start
        while at < end:
            if data[at] == 0x3D and (run := _FLOATS.match(data, at, end)):
                if whole or run.end() - at <= MOST_READ:
                    yield TAGGED_FLOATS, run.span()
                at = run.end()
                continue
            if data[at] == 0x40 and (run := _INTS.match(data, at, end)):
                yield TAGGED, run.span()
                at = run.end()
                continue
            if of_attribute and data[at] == 0x4A and data[at + 1] < 0x80:
                at += 2 + data[at + 1]
                while at + 1 < end and data[at] == 0x4A and data[at + 1] < 0x80:
                    at += 2 + data[at + 1]
                _check_end(at, end)
                continue
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            value: Any
            if wire == 0:
                value, at = _varint(data, at)
            elif wire == 2:
                size, at = _varint(data, at)
                value, at = (at, at + size), at + size
            elif wire in (1, 5):
                value, at = at, at + (8 if wire == 1 else 4)
            else:
                raise ValueError(f"it has a field of the kind {wire}, which no ONNX model has")
            _check_end(at, end)
            yield number, value


def _check_end(at: int, end: int) -> None:
    if at > end:
        raise ValueError("it is cut short")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    one = data[at]
    if one < 0x80:
        return one, at + 1
    result, shift = one & 0x7F, 7
    while one >= 0x80:
        at += 1
        one = data[at]
        result |= (one & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("it has a number of more than ten bytes")
    return result & 0xFFFFFFFFFFFFFFFF, at + 1


def read_varints(data: bytes, value: Any) -> Iterator[int]:
    """The numbers of a repeated field: of one value, or of a packed span."""
    if not isinstance(value, tuple):
        yield value
        return
    at, end = value
    while at < end:
        one, at = _varint(data, at)
        yield one


def read_ints(data: bytes, at: int, end: int, *, has_tags: bool) -> Iterator[int]:
    """The numbers of ``ints``: with a tag each, or packed."""
    while at < end:
        one, at = _varint(data, at + 1 if has_tags else at)
        yield to_signed(one)


def span_of(value: Any) -> Span:
    if not isinstance(value, tuple):
        raise ValueError("it has a number where an ONNX model has a message")
    return value


def read_text(data: bytes, value: Any) -> str:
    start, end = span_of(value)
    return data[start:end].decode(errors="surrogateescape")


def to_signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def read_numbers(data: bytes, number: int, value: Any) -> list[int | float]:
    if number in (5, 7):
        return [to_signed(one) for one in read_varints(data, value)]
    kind, width = ("f", 4) if number == 4 else ("d", 8)
    start, end = value if isinstance(value, tuple) else (value, value + width)
    return list(struct.unpack(f"<{(end - start) // width}{kind}", data[start:end]))
