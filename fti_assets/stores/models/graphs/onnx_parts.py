"""The parts of a serialized ONNX model that say whether it ends and what it holds. An app that serves has no ``onnx``.

Its classes are no dataclasses, whose methods an app would wait for at its start.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fti_assets.stores.models.graphs.onnx_fields import (
    MOST_READ,
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

_DEEPEST = 50
"""Protocol buffers themselves stop at a hundred messages within each other, and a subgraph is three of them."""
_INDEXES = "ngram_indexes"
"""The largest says how wide an output is, however many they are."""
_FORMATS = {1: ("f", 4), 6: ("i", 4), 7: ("q", 8), 11: ("d", 8)}
"""Of a tensor's data type, how ``struct`` calls it and how many bytes one value takes."""


class Tensor:
    """A constant: what it declares and how many bytes it takes.

    Args:
        is_sparse: whether it holds only some of the values that it declares, beside other tensors that hold these.
    """

    def __init__(self, bytes: int = 0, *, is_sparse: bool = False) -> None:
        self.name = ""
        self.dims: list[int] = []
        self.type = 0
        self.raw: builtins.bytes | None = None
        self.numbers: list[int | float] = []
        self.is_external = False
        self.is_sparse = is_sparse
        self.bytes = bytes

    def values(self) -> list[int | float] | None:
        """Its values, if they are a few numbers."""
        if self.raw is None:
            return self.numbers or None
        kind, width = _FORMATS.get(self.type, ("", 1))
        if not kind or len(self.raw) % width:
            return None
        return list(struct.unpack(f"<{len(self.raw) // width}{kind}", self.raw)) or None


class Shape(NamedTuple):
    """The type of a tensor's values, as ONNX numbers it, and its sizes; None for one that has a name or nothing."""

    type: int
    sizes: tuple[int | None, ...] | None


class Node:
    """An operator's call, with the attributes that hold graphs or constants."""

    def __init__(self) -> None:
        self.op = ""
        self.domain = ""
        self.overload = ""
        self.name = ""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.graphs: dict[str, Graph] = {}
        self.tensors: list[Tensor] = []
        self.numbers: dict[str, list[int | float]] = {}
        self.opaque: set[str] = set()
        """Attributes that are given to the function in which it lies, or are too long to be read."""
        self.texts: dict[str, str] = {}
        self.longest = 127
        """The bytes of the longest of several texts; those that are shorter are not looked at."""

    @property
    def function(self) -> tuple[str, str, str]:
        """What a function is called that it may call."""
        return "" if self.domain == "ai.onnx" else self.domain, self.op, self.overload

    @property
    def is_standard(self) -> bool:
        return self.domain in ("", "ai.onnx")


class Graph:
    """A graph, a subgraph or the body of a function."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.shapes: dict[str, Shape] = {}
        """What is declared of an input that is a tensor."""
        self.outputs: list[str] = []
        self.nodes: list[Node] = []
        self.constants: dict[str, Tensor] = {}
        self.tensors: list[Tensor] = []


class Model:
    """A model: its graph and its functions by domain, name and overload."""

    def __init__(self, graph: Graph, functions: dict[tuple[str, str, str], Graph]) -> None:
        self.graph = graph
        self.functions = functions

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
    for number, value in read_fields(data, [(0, len(data))]):
        if number == 7:
            graphs.append(span_of(value))  # those of a message that comes twice are one message
        elif number == 25:
            head = Node()
            body = _graph(data, [span_of(value)], 1, _FUNCTION, head)
            functions[head.function] = body
    return Model(_graph(data, graphs, 1, _GRAPH), functions)


_GRAPH = {1: "node", 5: "initializer", 11: "input", 12: "output", 15: "sparse"}
_FUNCTION = {1: "name", 4: "parameter", 5: "result", 7: "node", 10: "domain", 13: "overload", 11: "default"}


def _graph(data: bytes, spans: Sequence[Span], depth: int, parts: dict[int, str], head: Node | None = None) -> Graph:
    if depth > _DEEPEST:
        raise ValueError(f"its graphs lie more than {_DEEPEST} deep in each other")
    graph = Graph()
    for number, value in read_fields(data, spans):
        part = parts.get(number)
        if part == "node":
            graph.nodes.append(_node(data, span_of(value), depth))
        elif part == "initializer":
            tensor = _tensor(data, [span_of(value)])
            graph.constants[tensor.name] = tensor
            graph.tensors.append(tensor)
        elif part == "sparse":
            graph.tensors += _sparse(data, span_of(value))
        elif part == "input":
            _add_input(data, span_of(value), graph)
        elif part == "output":
            graph.outputs += [
                read_text(data, name) for number, name in read_fields(data, [span_of(value)]) if number == 1
            ]
        elif part == "result":
            graph.outputs.append(read_text(data, value))
        elif part == "parameter":
            graph.inputs.append(read_text(data, value))
        elif part == "default":
            defaults = Node()
            _add_attribute(data, span_of(value), defaults, depth)
            graph.tensors += defaults.tensors
            if defaults.graphs:
                raise ValueError("a function of it has a graph for an attribute")
        elif head is not None and part == "name":
            head.op = read_text(data, value)
        elif head is not None and part == "domain":
            head.domain = read_text(data, value)
        elif head is not None and part == "overload":
            head.overload = read_text(data, value)
    return graph


def _add_input(data: bytes, span: Span, graph: Graph) -> None:
    name, shape = "", None
    for number, value in read_fields(data, [span]):
        if number == 1:
            name = read_text(data, value)
            graph.inputs.append(name)
        elif number == 2:
            for kind, content in read_fields(data, [span_of(value)]):
                shape = _shape(data, span_of(content)) if kind == 1 else None
    if shape is not None:
        graph.shapes[name] = shape


def _shape(data: bytes, span: Span) -> Shape:
    kind, sizes = 0, None
    for number, value in read_fields(data, [span]):
        if number == 1:
            kind = value
        elif number == 2:
            sizes = tuple(_size(data, span_of(one)) for part, one in read_fields(data, [span_of(value)]) if part == 1)
    return Shape(kind, sizes)


def _size(data: bytes, span: Span) -> int | None:
    return next((to_signed(value) for number, value in read_fields(data, [span]) if number == 1), None)


def _node(data: bytes, span: Span, depth: int) -> Node:
    node = Node()
    for number, value in read_fields(data, [span]):
        if number == 1:
            node.inputs.append(read_text(data, value))
        elif number == 2:
            node.outputs.append(read_text(data, value))
        elif number == 3:
            node.name = read_text(data, value)
        elif number == 4:
            node.op = read_text(data, value)
        elif number == 5:
            _add_attribute(data, span_of(value), node, depth)
        elif number == 7:
            node.domain = read_text(data, value)
        elif number == 8:
            node.overload = read_text(data, value)
    return node


def _add_attribute(data: bytes, span: Span, node: Node, depth: int) -> None:
    name = ""
    graphs: list[Span] = []
    tensors: list[Span] = []
    numbers: list[int | float] = []
    several: list[Span] = []
    text: Any = None
    is_passed = False
    for number, value in read_fields(data, [span], of_attribute=True):
        if number == 1:
            name = read_text(data, value)
        elif number == 2:
            numbers = [struct.unpack_from("<f", data, value)[0]]
        elif number == 3:
            numbers = [to_signed(value)]
        elif number == 4:
            text = value
        elif number == 21:
            is_passed = True
        elif number == 5:
            tensors.append(span_of(value))
        elif number == 6:
            graphs.append(span_of(value))
        elif number in (8, TAGGED):
            start, end = span_of(value)
            if end - start > MOST_READ and name != _INDEXES:
                is_passed = True
            else:
                numbers += read_ints(data, start, end, has_tags=number == TAGGED)
        elif number == 7:
            numbers += read_numbers(data, 4, value) if value[1] - value[0] <= MOST_READ else []
        elif number == TAGGED_FLOATS:
            numbers += [one for (one,) in struct.iter_unpack("<xf", data[slice(*value)])]
        elif number == 9:
            start, end = span_of(value)
            node.longest = max(node.longest, end - start)
        elif number == 10:
            node.tensors.append(_tensor(data, [span_of(value)]))
        elif number == 11:
            several.append(span_of(value))
        elif number in (22, 23):
            node.tensors += _sparse(data, span_of(value))
    if tensors:
        node.tensors.append(_tensor(data, tensors))
        numbers = node.tensors[-1].values() or []
    node.numbers[name] = numbers
    if text is not None:
        node.texts[name] = read_text(data, text)
    if is_passed:
        node.opaque.add(name)
    if graphs:
        node.graphs[name] = _graph(data, graphs, depth + 1, _GRAPH)
    node.graphs |= {f"{name}[{at}]": _graph(data, [one], depth + 1, _GRAPH) for at, one in enumerate(several)}


def _tensor(data: bytes, spans: Sequence[Span]) -> Tensor:
    tensor = Tensor(bytes=sum(end - start for start, end in spans))
    for number, value in read_fields(data, spans):
        if number == 1:
            tensor.dims += [to_signed(one) for one in read_varints(data, value)]
        elif number == 2:
            tensor.type = value
        elif number in (4, 5, 7, 10) and tensor.bytes <= MOST_READ:
            tensor.numbers += read_numbers(data, number, value)
        elif number == 8:
            tensor.name = read_text(data, value)
        elif number == 9:
            start, end = span_of(value)
            tensor.raw = data[start:end] if end - start <= MOST_READ else b""
        elif number == 13 or (number == 14 and value):
            tensor.is_external = True
    return tensor


def _sparse(data: bytes, span: Span) -> Iterator[Tensor]:
    """The two tensors of a sparse one, and itself."""
    whole = Tensor(bytes=span[1] - span[0], is_sparse=True)
    for number, value in read_fields(data, [span]):
        if number in (1, 2):
            tensor = _tensor(data, [span_of(value)])
            whole.name = whole.name or tensor.name
            yield tensor
        elif number == 3:
            whole.dims += [to_signed(one) for one in read_varints(data, value)]
    yield whole
