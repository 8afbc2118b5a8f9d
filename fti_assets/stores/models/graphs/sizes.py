"""How much memory the tensors of an ONNX graph take, as far as its constants and its shapes say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from fti_assets.stores.models.graphs.onnx_parts import Graph, Model, Node
from fti_assets.stores.models.graphs.size_rules.table import (
    BY_ATTRIBUTE,
    MULTIPLYING,
    OF_MICROSOFT,
    RISING,
    RULES,
    WIDENING,
)
from fti_assets.stores.models.graphs.size_rules.tensor_size import BYTES, TensorSize, number_of, of_tensor
from fti_assets.stores.models.graphs.step_bounds import MAKE

_MOST_STEPS = 50
"""Of a loop so many steps are followed one by one, since what they carry may grow."""
_BLIND = 16
"""Of what may be taken, a node of which no rule tells the sizes may be given a part of so many."""
_WIDEST = 40  # from a byte to a text
_DIMENSIONS = 8  # of a tensor of which the number of sizes is not known

Names = dict[str, TensorSize | None]


class Sizes:
    """The memory of a model's tensors when each size without a number is ``rows``.

    Args:
        most: the bytes that all tensors which are there at one time may take.
        grown: is told the node that goes above it, and the bytes, ``None`` if they cannot be told.
    """

    def __init__(self, model: Model, rows: int, most: int, grown: Callable[[Node, int | None], Exception]) -> None:
        self._functions, self._rows, self._most, self._grown = model.functions, rows, most, grown
        self.unsized: dict[int, int | None] = {}
        """By ``id``, nodes of which the sizes are not known, and how many sizes they are given in one tensor at most."""

    def check(self, graph: Graph) -> None:
        """Raise what ``grown`` makes of the first node that takes more than ``most``."""
        inputs = {name: None if name in graph.constants else self._input_size(graph, name) for name in graph.inputs}
        self._outputs(graph, {}, inputs, 0)

    def _input_size(self, graph: Graph, name: str) -> TensorSize | None:
        shape = graph.shapes.get(name)
        if shape is None or shape.sizes is None:
            return None
        sizes = tuple(self._rows if size is None else max(size, 0) for size in shape.sizes)
        return TensorSize(sizes, BYTES.get(shape.type, 8))

    def _outputs(
        self, graph: Graph, around: Mapping[str, TensorSize | None], inputs: Names, live_bytes: int
    ) -> list[TensorSize | None]:
        """What a graph gives, of what is around it and what is given to it, beside the ``live_bytes`` of others."""
        names: Names = {**around, **{name: of_tensor(one) for name, one in graph.constants.items()}, **inputs}
        nodes = _in_order(graph)
        uses: dict[str, int] = {}
        for at, node in enumerate(nodes):
            uses.update(dict.fromkeys(_inputs_of(node), at))
        uses.update(dict.fromkeys(graph.outputs, len(nodes)))
        constants = set(graph.constants) - inputs.keys()  # what a session may compute when it is made, and keep
        ends: dict[int, int] = {}
        for at, node in enumerate(nodes):
            outputs = self._node_outputs(node, names, live_bytes)
            names.update(zip(node.outputs, outputs, strict=False))
            is_fixed = not node.graphs and all(name in constants for name in node.inputs if name)
            for name, one in zip(node.outputs, outputs, strict=False):
                if is_fixed:
                    constants.add(name)
                if one is None or not name or node.op == "Constant":
                    continue
                live_bytes += one.bytes
                if not is_fixed:
                    last = max(uses.get(name, at), at)
                    ends[last] = ends.get(last, 0) + one.bytes
            if live_bytes > self._most:
                raise self._grown(node, live_bytes)
            live_bytes -= ends.pop(at, 0)
        return [names.get(name) for name in graph.outputs]

    def _node_outputs(self, node: Node, names: Names, live_bytes: int) -> list[TensorSize | None]:
        inputs = [names.get(name) if name else None for name in node.inputs]
        unknown: list[TensorSize | None] = [None] * len(node.outputs)
        if node.function in self._functions:
            body = self._functions[node.function]
            arguments = dict(zip(body.inputs, [*inputs, *[None] * len(body.inputs)], strict=False))
            return self._outputs(body, {}, arguments, live_bytes)
        if node.graphs:
            return self._of_graphs(node, names, inputs, live_bytes) or unknown
        rules = OF_MICROSOFT if node.domain == "com.microsoft" else RULES
        rule = rules.get(node.op) if node.is_standard or node.domain in ("ai.onnx.ml", "com.microsoft") else None
        if rule is not None and not node.opaque.isdisjoint(BY_ATTRIBUTE.get(node.op, ())):
            raise self._grown(node, None)
        try:
            outputs = None if rule is None else rule(node, inputs)
        except (
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            ZeroDivisionError,
            OverflowError,
            AttributeError,
            RuntimeError,
        ):
            outputs = None  # onnxruntime refuses it, or it is one that no rule follows
        if outputs is None:
            self.unsized[id(node)] = _longest(inputs)
            blind = sum(one.bytes for one in inputs if one is not None and not one.is_stored)
            if blind > self._most // _BLIND and node.op not in ("If", "Constant"):
                raise self._grown(node, None)
            outputs = None if rule is None or node.op in MAKE else _not_sized(node, inputs)
        if outputs is None:
            return unknown
        several = [outputs] if isinstance(outputs, TensorSize) else list(outputs)
        sizes = [one for one in inputs if one is not None]
        if any(one.is_most for one in sizes):
            is_rising = node.op in RISING and not any(_has_negative(one) for one in sizes)
            several = [one and one._replace(is_most=True, values=one.values if is_rising else None) for one in several]
        return [*several, *unknown][: len(unknown)]

    def _of_graphs(
        self, node: Node, names: Names, inputs: list[TensorSize | None], live_bytes: int
    ) -> list[TensorSize | None] | None:
        if node.op == "If":
            several = [self._outputs(one, names, {}, live_bytes) for one in node.graphs.values()]
            return [_either(ones) for ones in zip(*several, strict=False)]
        body = next(iter(node.graphs.values()))
        if node.op != "Loop":
            self._outputs(body, names, dict.fromkeys(body.inputs), live_bytes)
            return None
        steps = number_of(inputs[0]) if inputs else None
        state, scans, scan_bytes = inputs[2:], list[TensorSize | None](), 0
        count, is_steady = len(state), False
        for _ in range(_MOST_STEPS if steps is None else max(0, min(int(steps), _MOST_STEPS))):
            arguments: Names = dict(zip(body.inputs, [TensorSize((), 8), TensorSize((), 1), *state], strict=False))
            outputs = self._outputs(body, names, arguments, live_bytes + scan_bytes)
            after = [_without_values(one) for one in outputs[1 : 1 + count]]
            scans = outputs[1 + count :]
            scan_bytes += sum(one.bytes for one in scans if one is not None)
            is_steady = [*map(_extent, after)] == [*map(_extent, state)]
            state = after
            if is_steady:
                break
        if steps is None:
            return [*map(_without_values, state), *[None] * len(scans)]
        if steps > _MOST_STEPS and not is_steady:  # what grows by as much in each step
            state_bytes = sum(one.bytes for one in state if one is not None) * int(steps / _MOST_STEPS)
            if live_bytes + state_bytes > self._most:
                raise self._grown(node, live_bytes + state_bytes)
            state = [None] * count
        total = sum(one.bytes for one in scans if one is not None) * int(steps)
        if live_bytes + total > self._most:
            raise self._grown(node, live_bytes + total)
        stacks = [_stack(one, int(steps)) for one in scans]
        return [*map(_without_values, state), *stacks]


def _inputs_of(node: Node) -> list[str]:
    return [*node.inputs, *(name for one in node.graphs.values() for name in _names_within(one))]


def _in_order(graph: Graph) -> list[Node]:
    """The nodes, each after those that make what it uses: onnxruntime takes them in any order."""
    outputs = {name for node in graph.nodes for name in node.outputs if name}
    results: list[Node] = []
    ready: set[str] = set()
    waiting: dict[str, list[int]] = {}
    missing = [0] * len(graph.nodes)
    free: list[int] = []
    for at, node in enumerate(graph.nodes):
        needs = {name for name in _inputs_of(node) if name in outputs and name not in ready}
        missing[at] = len(needs)
        for name in needs:
            waiting.setdefault(name, []).append(at)
        if not needs:
            free.append(at)
        while free:
            one = graph.nodes[free.pop()]
            results.append(one)
            for name in one.outputs:
                if not name or name in ready:
                    continue
                ready.add(name)
                for other in waiting.pop(name, ()):
                    missing[other] -= 1
                    if not missing[other]:
                        free.append(other)
    return results


def _names_within(graph: Graph) -> list[str]:
    names = list(graph.outputs)
    for node in graph.nodes:
        names += node.inputs
        for inner in node.graphs.values():
            names += _names_within(inner)
    return names


def _longest(inputs: Sequence[TensorSize | None]) -> int | None:
    sizing = [one for one in inputs[1:] or inputs if one is not None]
    lengths = [
        _DIMENSIONS if one.shape is None else prod(one.shape)
        for one in sizing
        if one.shape is None or len(one.shape) == 1
    ]
    return max(lengths, default=None)


def _not_sized(node: Node, inputs: Sequence[TensorSize | None]) -> list[TensorSize | None] | None:
    """What a node gives of which the sizes are not told: so many bytes at most, of all that it is given."""
    sizes = [one for one in inputs if one is not None]
    if len(sizes) < len([name for name in node.inputs if name]):
        return None
    if node.op in MULTIPLYING and len(sizes) > 1:
        if not any(one.is_most or one.shape is None for one in sizes):
            return None  # onnxruntime refuses it
        most = prod(max(one.bytes, 1) for one in sizes)
    else:
        most = sum(one.bytes for one in sizes) * (_WIDEST if node.op in WIDENING else 1)
    return [TensorSize(None, 1, more=most)] * len(node.outputs)


def _has_negative(one: TensorSize) -> bool:
    return one.values is not None and bool((one.values < 0).any())


def _without_values(one: TensorSize | None) -> TensorSize | None:
    return None if one is None else one._replace(values=None, is_stored=False)


def _extent(one: TensorSize | None) -> tuple[Any, int] | None:
    return None if one is None else (one.shape, one.more)


def _stack(one: TensorSize | None, steps: int) -> TensorSize | None:
    if one is None or one.shape is None:
        return None if one is None else one._replace(more=one.more * steps)
    return TensorSize((steps, *one.shape), one.each, is_most=one.is_most)


def _either(several: Sequence[TensorSize | None]) -> TensorSize | None:
    """The larger of what two branches give."""
    if any(one is None for one in several):
        return None
    largest = max((one for one in several if one is not None), key=lambda one: one.bytes)
    return _without_values(largest)
