"""The parts of a serialized ONNX model that say whether it ends and what it holds. An app that serves has no ``onnx``."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Span = tuple[int, int]

_DEEPEST = 50
"""Protocol buffers themselves stop at a hundred messages within each other, and a subgraph is three of them."""
_READ = 1_000
"""Only constants of so few values are read: longer ones are weights, not sizes."""
_INDEXES = "ngram_indexes"
"""The largest says how wide an output is, however many they are."""
# Long attributes are passed over whole: ``floats``, and ``ints``, each value of which has a tag of its own.
_FLOATS = re.compile(rb"(?:\x3d.{4})++", re.DOTALL)
_INTS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++")
_TAGGED = -8
_TAGGED_FLOATS = -7
_FORMATS = {1: ("f", 4), 6: ("i", 4), 7: ("q", 8), 11: ("d", 8)}
"""Of a tensor's data type, how ``struct`` calls it and how many bytes one value takes."""


@dataclass(repr=False, eq=False)  # methods that an app would wait for at its start
class Tensor:
    """A constant: what it declares and how many bytes it takes."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: bytes | None = None
    typed: list[int | float] = field(default_factory=list)
    is_external: bool = False
    is_sparse: bool = False
    """Whether it holds only some of the values that it declares, beside other tensors that hold these."""
    bytes: int = 0

    def values(self) -> list[int | float] | None:
        """Its values, if they are a few numbers."""
        if self.raw is None:
            return self.typed or None
        kind, width = _FORMATS.get(self.type, ("", 1))
        if not kind or len(self.raw) % width:
            return None
        return list(struct.unpack(f"<{len(self.raw) // width}{kind}", self.raw)) or None


class Shape(NamedTuple):
    """The type of a tensor's values, as ONNX numbers it, and its sizes; None for one that has a name or nothing."""

    type: int
    sizes: tuple[int | None, ...] | None


@dataclass(repr=False, eq=False)  # methods that an app would wait for at its start
class Node:
    """An operator's call, with the attributes that hold graphs or constants."""

    op: str = ""
    domain: str = ""
    overload: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    graphs: dict[str, Graph] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    numbers: dict[str, list[int | float]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    """Attributes that are given to the function in which it lies, or are too long to be read."""
    texts: dict[str, str] = field(default_factory=dict)
    longest: int = 127
    """The bytes of the longest of several texts; those that are shorter are not looked at."""

    @property
    def function(self) -> tuple[str, str, str]:
        """What a function is called that it may call."""
        return "" if self.domain == "ai.onnx" else self.domain, self.op, self.overload

    @property
    def is_standard(self) -> bool:
        return self.domain in ("", "ai.onnx")


@dataclass(repr=False, eq=False)  # methods that an app would wait for at its start
class Graph:
    """A graph, a subgraph or the body of a function."""

    inputs: list[str] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    """What is declared of an input that is a tensor."""
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)


@dataclass(repr=False, eq=False)  # methods that an app would wait for at its start
class Model:
    """A model: its graph and its functions by domain, name and overload."""

    graph: Graph
    functions: dict[tuple[str, str, str], Graph]

    @classmethod
    def of(cls, data: bytes) -> Model:
        """Read a model.

        Raises:
            ValueError: the bytes are no protocol buffer of a model.
        """
        try:
            return _model(data)
        except (IndexError, TypeError, struct.error) as error:
            raise ValueError("it is cut short or no ONNX model") from error


def _model(data: bytes) -> Model:
    graphs: list[Span] = []
    functions: dict[tuple[str, str, str], Graph] = {}
    for number, value in _fields(data, [(0, len(data))]):
        if number == 7:
            graphs.append(_span(value))  # those of a message that comes twice are one message
        elif number == 25:
            head = Node()
            body = _graph(data, [_span(value)], 1, _FUNCTION, head)
            functions[head.function] = body
    return Model(_graph(data, graphs, 1, _GRAPH), functions)


_GRAPH = {1: "node", 5: "initializer", 11: "input", 12: "output", 15: "sparse"}
_FUNCTION = {1: "name", 4: "parameter", 5: "result", 7: "node", 10: "domain", 13: "overload", 11: "default"}


def _graph(data: bytes, spans: Sequence[Span], depth: int, parts: dict[int, str], head: Node | None = None) -> Graph:
    if depth > _DEEPEST:
        raise ValueError(f"its graphs lie more than {_DEEPEST} deep in each other")
    graph = Graph()
    for number, value in _fields(data, spans):
        part = parts.get(number)
        if part == "node":
            graph.nodes.append(_node(data, _span(value), depth))
        elif part == "initializer":
            tensor = _tensor(data, [_span(value)])
            graph.constants[tensor.name] = tensor
            graph.tensors.append(tensor)
        elif part == "sparse":
            graph.tensors += _sparse(data, _span(value))
        elif part == "input":
            _add_input(data, _span(value), graph)
        elif part == "output":
            graph.outputs += [_text(data, name) for number, name in _fields(data, [_span(value)]) if number == 1]
        elif part == "result":
            graph.outputs.append(_text(data, value))
        elif part == "parameter":
            graph.inputs.append(_text(data, value))
        elif part == "default":
            defaults = Node()
            _add_attribute(data, _span(value), defaults, depth)
            graph.tensors += defaults.tensors
            if defaults.graphs:
                raise ValueError("a function of it has a graph for an attribute")
        elif head is not None and part == "name":
            head.op = _text(data, value)
        elif head is not None and part == "domain":
            head.domain = _text(data, value)
        elif head is not None and part == "overload":
            head.overload = _text(data, value)
    return graph


def _add_input(data: bytes, span: Span, graph: Graph) -> None:
    name, shape = "", None
    for number, value in _fields(data, [span]):
        if number == 1:
            name = _text(data, value)
            graph.inputs.append(name)
        elif number == 2:
            for kind, content in _fields(data, [_span(value)]):
                shape = _shape(data, _span(content)) if kind == 1 else None
    if shape is not None:
        graph.shapes[name] = shape


def _shape(data: bytes, span: Span) -> Shape:
    kind, sizes = 0, None
    for number, value in _fields(data, [span]):
        if number == 1:
            kind = value
        elif number == 2:
            sizes = tuple(_size(data, _span(one)) for part, one in _fields(data, [_span(value)]) if part == 1)
    return Shape(kind, sizes)


def _size(data: bytes, span: Span) -> int | None:
    return next((_to_signed(value) for number, value in _fields(data, [span]) if number == 1), None)


def _node(data: bytes, span: Span, depth: int) -> Node:
    node = Node()
    for number, value in _fields(data, [span]):
        if number == 1:
            node.inputs.append(_text(data, value))
        elif number == 2:
            node.outputs.append(_text(data, value))
        elif number == 3:
            node.name = _text(data, value)
        elif number == 4:
            node.op = _text(data, value)
        elif number == 5:
            _add_attribute(data, _span(value), node, depth)
        elif number == 7:
            node.domain = _text(data, value)
        elif number == 8:
            node.overload = _text(data, value)
    return node


def _add_attribute(data: bytes, span: Span, node: Node, depth: int) -> None:
    name = ""
    graphs: list[Span] = []
    tensors: list[Span] = []
    numbers: list[int | float] = []
    several: list[Span] = []
    text: Any = None
    is_passed = False
    for number, value in _fields(data, [span], of_attribute=True):
        if number == 1:
            name = _text(data, value)
        elif number == 2:
            numbers = [struct.unpack_from("<f", data, value)[0]]
        elif number == 3:
            numbers = [_to_signed(value)]
        elif number == 4:
            text = value
        elif number == 21:
            is_passed = True
        elif number == 5:
            tensors.append(_span(value))
        elif number == 6:
            graphs.append(_span(value))
        elif number in (8, _TAGGED):
            start, end = _span(value)
            if end - start > _READ and name != _INDEXES:
                is_passed = True
            else:
                numbers += _run(data, start, end, tagged=number == _TAGGED)
        elif number == 7:
            numbers += _numbers(data, 4, value) if value[1] - value[0] <= _READ else []
        elif number == _TAGGED_FLOATS:
            numbers += [one for (one,) in struct.iter_unpack("<xf", data[slice(*value)])]
        elif number == 9:
            start, end = _span(value)
            node.longest = max(node.longest, end - start)
        elif number == 10:
            node.tensors.append(_tensor(data, [_span(value)]))
        elif number == 11:
            several.append(_span(value))
        elif number in (22, 23):
            node.tensors += _sparse(data, _span(value))
    if tensors:
        node.tensors.append(_tensor(data, tensors))
        numbers = node.tensors[-1].values() or []
    node.numbers[name] = numbers
    if text is not None:
        node.texts[name] = _text(data, text)
    if is_passed:
        node.passed.add(name)
    if graphs:
        node.graphs[name] = _graph(data, graphs, depth + 1, _GRAPH)
    node.graphs |= {f"{name}[{at}]": _graph(data, [one], depth + 1, _GRAPH) for at, one in enumerate(several)}


def _tensor(data: bytes, spans: Sequence[Span]) -> Tensor:
    tensor = Tensor(bytes=sum(end - start for start, end in spans))
    for number, value in _fields(data, spans):
        if number == 1:
            tensor.dims += [_to_signed(one) for one in _varints(data, value)]
        elif number == 2:
            tensor.type = value
        elif number in (4, 5, 7, 10) and tensor.bytes <= _READ:
            tensor.typed += _numbers(data, number, value)
        elif number == 8:
            tensor.name = _text(data, value)
        elif number == 9:
            start, end = _span(value)
            tensor.raw = data[start:end] if end - start <= _READ else b""
        elif number == 13 or (number == 14 and value):
            tensor.is_external = True
    return tensor


def _numbers(data: bytes, number: int, value: Any) -> list[int | float]:
    if number in (5, 7):
        return [_to_signed(one) for one in _varints(data, value)]
    kind, width = ("f", 4) if number == 4 else ("d", 8)
    start, end = value if isinstance(value, tuple) else (value, value + width)
    return list(struct.unpack(f"<{(end - start) // width}{kind}", data[start:end]))


def _sparse(data: bytes, span: Span) -> Iterator[Tensor]:
    """The two tensors of a sparse one, and itself."""
    whole = Tensor(bytes=span[1] - span[0], is_sparse=True)
    for number, value in _fields(data, [span]):
        if number in (1, 2):
            tensor = _tensor(data, [_span(value)])
            whole.name = whole.name or tensor.name
            yield tensor
        elif number == 3:
            whole.dims += [_to_signed(one) for one in _varints(data, value)]
    yield whole


def _fields(data: bytes, spans: Sequence[Span], *, of_attribute: bool = False) -> Iterator[tuple[int, Any]]:
    """The number and value of each field: a varint's number, where a fixed one stands, the span of any other.

    Long ``floats`` and all ``strings`` of attributes are left out, and a run of their ``ints`` is one span, called ``_TAGGED``; of short
    ``floats``, ``_TAGGED_FLOATS``.
    """
    for start, end in spans:
        at = start
        while at < end:
            if data[at] == 0x3D and (run := _FLOATS.match(data, at, end)):
                if run.end() - at <= _READ:
                    yield _TAGGED_FLOATS, run.span()
                at = run.end()
                continue
            if data[at] == 0x40 and (run := _INTS.match(data, at, end)):
                yield _TAGGED, run.span()
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


def _varints(data: bytes, value: Any) -> Iterator[int]:
    """The numbers of a repeated field: of one value, or of a packed span."""
    if not isinstance(value, tuple):
        yield value
        return
    at, end = value
    while at < end:
        one, at = _varint(data, at)
        yield one


def _run(data: bytes, at: int, end: int, *, tagged: bool) -> Iterator[int]:
    """The numbers of ``ints``: with a tag each, or packed."""
    while at < end:
        one, at = _varint(data, at + 1 if tagged else at)
        yield _to_signed(one)


def _span(value: Any) -> Span:
    if not isinstance(value, tuple):
        raise ValueError("it has a number where an ONNX model has a message")
    return value


def _text(data: bytes, value: Any) -> str:
    start, end = _span(value)
    return data[start:end].decode(errors="surrogateescape")


def _to_signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
