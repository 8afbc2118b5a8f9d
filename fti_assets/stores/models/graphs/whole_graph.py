"""A serialized ONNX model as nodes with all their attributes, without ``onnx``, and the same model with further outputs.

``onnx_parts`` reads what bounds a graph, and passes over weights; this reads the weights of the few nodes that are asked for them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from fti_assets.stores.models.graphs.onnx_fields import (
    TAGGED,
    TAGGED_FLOATS,
    Span,
    read_fields,
    read_ints,
    read_numbers,
    read_text,
    read_varints,
    span_of,
    to_signed,
)

_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 11: "<f8"}
"""Of a tensor's data type, the dtype of its bytes."""


class WholeNode:
    """An operator's call."""

    def __init__(self, data: bytes, span: Span) -> None:
        self._data = data
        self._attributes: list[Span] = []
        self.op = self.domain = ""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        for number, value in read_fields(data, [span]):
            if number == 1:
                self.inputs.append(read_text(data, value))
            elif number == 2:
                self.outputs.append(read_text(data, value))
            elif number == 4:
                self.op = read_text(data, value)
            elif number == 5:
                self._attributes.append(span_of(value))
            elif number == 7:
                self.domain = read_text(data, value)

    def attributes(self) -> dict[str, Any]:
        """All by name: a number, a text, an array of numbers or a list of texts; None for any other."""
        return dict(_attribute(self._data, one) for one in self._attributes)


class WholeGraph:
    """A model's graph: its nodes in order, and its constants.

    Raises:
        ValueError: the bytes are no ONNX model.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.nodes: list[WholeNode] = []
        self._constants: dict[str, Span] = {}
        self.outputs: list[str] = []
        inputs: list[str] = []
        try:
            spans = [span_of(value) for number, value in read_fields(data, [(0, len(data))]) if number == 7]
            for number, value in read_fields(data, spans):
                if number == 1:
                    self.nodes.append(WholeNode(data, span_of(value)))
                elif number == 5:
                    self._constants[_name(data, span_of(value), 8)] = span_of(value)
                elif number == 11:
                    inputs.append(_name(data, span_of(value), 1))
                elif number == 12:
                    self.outputs.append(_name(data, span_of(value), 1))
        except (IndexError, struct.error) as error:
            raise ValueError("it is cut short or no ONNX model") from error
        self.inputs = [name for name in inputs if name not in self._constants]

    def constant(self, name: str) -> np.ndarray | None:
        """An initializer of numbers; None for what is none."""
        return _array(self._data, self._constants[name]) if name in self._constants else None


def with_outputs(data: bytes, names: Sequence[str]) -> bytes:
    """The model with further values of its graph as outputs.

    A message that comes twice in a protocol buffer is one message, so the outputs can stand behind the model's bytes.
    """
    return data + _message(7, b"".join(_message(12, _message(1, name.encode())) for name in names))


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*result, number])


def _name(data: bytes, span: Span, field: int) -> str:
    return next((read_text(data, value) for number, value in read_fields(data, [span]) if number == field), "")


def _attribute(data: bytes, span: Span) -> tuple[str, Any]:
    name, single = "", None
    floats: list[np.ndarray] = []
    ints: list[int] = []
    texts: list[str] = []
    for number, value in read_fields(data, [span], whole=True):
        if number == 1:
            name = read_text(data, value)
        elif number == 2:
            single = struct.unpack_from("<f", data, value)[0]
        elif number == 3:
            single = to_signed(value)
        elif number == 4:
            single = read_text(data, value)
        elif number == TAGGED_FLOATS:
            tagged = np.frombuffer(
                data, dtype=[("tag", "u1"), ("value", "<f4")], offset=value[0], count=_count(value, 5)
            )
            floats.append(tagged["value"])
        elif number == 7:
            floats.append(np.frombuffer(data, dtype="<f4", offset=value[0], count=_count(value, 4)))
        elif number in (8, TAGGED):
            ints += read_ints(data, *span_of(value), has_tags=number == TAGGED)
        elif number == 9:
            texts.append(read_text(data, value))
    if floats:
        return name, np.concatenate(floats)
    if ints:
        return name, np.array(ints, dtype=np.int64)
    return name, texts or single


def _count(span: Any, width: int) -> int:
    start, end = span_of(span)
    return (end - start) // width


def _array(data: bytes, span: Span) -> np.ndarray | None:
    dims: list[int] = []
    kind, raw = 0, None
    numbers: list[int | float] = []
    for number, value in read_fields(data, [span]):
        if number == 1:
            dims += [to_signed(one) for one in read_varints(data, value)]
        elif number == 2:
            kind = value
        elif number == 9:
            raw = span_of(value)
        elif number in (4, 5, 7, 10):
            numbers += read_numbers(data, number, value)
    if kind not in _TYPES:
        return None
    dtype = np.dtype(_TYPES[kind])
    if raw is not None:
        values = np.frombuffer(data, dtype=dtype, offset=raw[0], count=_count(raw, dtype.itemsize))
    else:
        values = np.array(numbers, dtype=dtype)
    return values.reshape(dims) if values.size == np.prod(dims, dtype=np.int64) else None
