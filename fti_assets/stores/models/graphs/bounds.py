"""Whether an ONNX graph ends whatever it is asked, fits into memory, and holds what it declares, read before onnxruntime sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from fti_assets.errors import excerpt
from fti_assets.stores.models.graphs.onnx_parts import Graph, Model, Node, Tensor
from fti_assets.stores.models.graphs.sizes import Sizes
from fti_assets.stores.models.graphs.step_bounds import A_SIZE, MAKE, Bound, Outside, Scope

_MOST_STEPS = 1_000_000
_MOST_NODES = 1_000_000
_PER_BYTE = 4
"""The smallest types put four values in a byte."""
_DENSEST = 2**27
"""A sparse constant of more values would fill half a gigabyte when it is loaded."""
_DEEPEST = 200
_MOST_BYTES = {1: 2**30, 64: 2**32}
"""By rows that are asked at once, what the tensors of a graph may take beside its own bytes."""
_MOST_MADE = 2**27
"""A tensor whose sizes are not known has no more values than this."""
_STEPS = {"If": Bound(1.0), "Scan": A_SIZE, "SequenceMap": A_SIZE}

Name = tuple[str, str, str]


class UnboundedError(ValueError):
    """A graph that may not end, takes too much memory, or does not hold what it declares."""


def check_bounds(data: bytes) -> None:
    """Refuse a model that may run, unfold or grow without an end, or whose constants are elsewhere or not as declared.

    A ``Loop`` has to have a trip count that is a constant or comes from shapes: at most a million steps for each of them. So have the
    sizes of a tensor that are given as values. As far as sizes are known, the tensors that are there at one time take at most 1 GiB for
    one row, and 4 GiB for 64.

    Args:
        data: the serialized model.

    Raises:
        UnboundedError: it may not end, takes too much memory, or does not hold what it declares; one sentence says where.
        ValueError: the bytes are no ONNX model.
    """
    model = Model.of(data)
    for graph in (model.graph, *model.functions.values()):
        for tensor in _tensors(graph):
            _check_tensor(tensor)
    for domain, op, _ in model.functions:
        if not domain:
            raise UnboundedError(f"its function {excerpt(op)} has the name of an operator of ONNX")
    largest = max((tensor.bytes for tensor in model.graph.tensors), default=0)
    counts: dict[int, int | None] = {}
    calls = _Calls(model, counts)
    calls.count(model.graph, ())  # before sizes are looked at, which takes as long as it unfolds to
    for rows, most in _MOST_BYTES.items():
        sizes = Sizes(model, rows, most + len(data) + largest * rows, _grown(rows))
        sizes.check(model.graph)
        counts |= sizes.unsized
    calls = _Calls(model, counts)
    calls.count(model.graph, ())
    # A constant that is an input too may be given with each request.
    calls.check(Scope(model.graph, None, dict.fromkeys(model.graph.inputs)), Bound(1.0))


def _tensors(graph: Graph) -> Iterator[Tensor]:
    yield from graph.tensors
    for node in graph.nodes:
        yield from node.tensors
        for inner in node.graphs.values():
            yield from _tensors(inner)


def _check_tensor(tensor: Tensor) -> None:
    what = f"its constant {excerpt(tensor.name)}"
    if tensor.is_external:
        raise UnboundedError(f"{what} is kept in another file: store it inside the model")
    values = prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or values > (_DENSEST if tensor.is_sparse else _PER_BYTE * tensor.bytes):
        raise UnboundedError(
            f"{what} declares {excerpt(' x '.join(map(str, tensor.dims)))} values and holds {tensor.bytes} bytes"
        )


class _Calls:
    """All calls of a model; those within functions at each place that calls them."""

    def __init__(self, model: Model, counts: dict[int, int | None]) -> None:
        self.functions, self.unsized = model.functions, counts
        self._counts: dict[Name, tuple[int, bool]] = {}

    def count(self, graph: Graph, within: tuple[Name, ...]) -> tuple[int, bool]:
        """How many calls a graph unfolds to, and whether some have graphs of their own or sizes that are not known."""
        size, stepping = len(graph.nodes), False
        for node in graph.nodes:
            stepping = stepping or (id(node) in self.unsized and node.op in MAKE)
            for inner in node.graphs.values():
                size, stepping = size + self.count(inner, within)[0], True
            if node.function in self.functions:
                more, steps = self._count_function(node, within)
                size, stepping = size + more, stepping or steps
            if size > _MOST_NODES:
                raise UnboundedError(f"its functions unfold to more than {_MOST_NODES} nodes")
        return size, stepping

    def _count_function(self, node: Node, within: tuple[Name, ...]) -> tuple[int, bool]:
        function = node.function
        if function in within:
            raise UnboundedError(f"its function {excerpt(node.op)} calls itself")
        if len(within) == _DEEPEST:
            raise UnboundedError(f"its functions call each other more than {_DEEPEST} deep")
        if node.graphs:
            raise UnboundedError(f"its function {excerpt(node.op)} is called with a graph")
        if function not in self._counts:
            self._counts[function] = self.count(self.functions[function], (*within, function))
        return self._counts[function]

    def check(self, scope: Scope, around: Bound) -> None:
        """Refuse steps and sizes without a bound in a graph that itself runs as often as ``around`` says."""
        for node in scope.graph.nodes:
            if node.function in self.functions:
                if self._counts[node.function][1]:
                    self.check(self._call_scope(scope, node), around)
                continue
            if id(node) in self.unsized and (node.is_standard or node.domain == "com.microsoft") and node.op in MAKE:
                _check_made(scope, node, self.unsized[id(node)])
            if not node.graphs:
                continue
            steps = _steps(scope, node).of_each(around)
            if steps.times > _MOST_STEPS or steps.degree > 2:
                each = " for each value of each" * steps.degree
                raise UnboundedError(f"its {_node_text(node)} may run {steps.times:g} steps{each}")
            for inner in node.graphs.values():
                loops = node.op == "Loop"
                counter = dict.fromkeys(inner.inputs[:1], steps) if loops else {}
                inputs = {**dict.fromkeys(inner.inputs), **counter}
                self.check(Scope(inner, scope, inputs, inner.inputs[1:] if loops else ()), steps)

    def _call_scope(self, scope: Scope, node: Node) -> Scope:
        body = self.functions[node.function]
        names = [*node.inputs, *[""] * len(body.inputs)]
        arguments = {one: Outside(scope, other) for one, other in zip(body.inputs, names, strict=False)}
        return Scope(body, None, arguments)


def _grown(rows: int) -> Callable[[Node, int | None], UnboundedError]:
    def grown(node: Node, size: int | None) -> UnboundedError:
        rows_text = "a row" if rows == 1 else f"{rows} rows"
        if size is None:
            return UnboundedError(f"how much memory its {_node_text(node)} takes for {rows_text} cannot be determined")
        return UnboundedError(f"with its {_node_text(node)} it takes {size / 2**30:.1f} GiB for {rows_text}")

    return grown


def _check_made(scope: Scope, node: Node, length: int | None) -> None:
    bound = scope.values_made(node)
    if bound is None:
        raise UnboundedError(f"its {_node_text(node)} makes as many values as data say, so it may take all memory")
    if bound.times ** (length or 1 if not bound.degree else 1) > _MOST_MADE:
        raise UnboundedError(f"its {_node_text(node)} may make more than {_MOST_MADE} values")


def _steps(scope: Scope, node: Node) -> Bound:
    if node.is_standard and node.op == "Loop":
        count = node.inputs[0] if node.inputs else ""
        bound = scope.upper_bound(count) if count else None
        if bound is None:
            raise UnboundedError(
                f"its {_node_text(node)} has no trip count that is a constant or comes from shapes, so it may never end"
            )
        return bound
    if not node.is_standard or node.op not in _STEPS:
        raise UnboundedError(
            f"its {_node_text(node)} runs a graph, which only If, Loop, Scan and SequenceMap of ONNX may"
        )
    if node.op != "If" and not all(scope.is_sized_by_shapes(name) for name in node.inputs if name):
        raise UnboundedError(f"its {_node_text(node)} goes over as many values as data say, so it may never end")
    return _STEPS[node.op]


def _node_text(node: Node) -> str:
    return f"{excerpt(node.op)} {excerpt(node.name)}" if node.name else excerpt(node.op)
