"""What a number in an ONNX graph is at most: a constant, or as many times a size of what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fti_assets.stores.models.graphs.onnx_parts import Graph, Node

_FARTHEST = 200
"""Steps back from a count to where it comes from."""
# Operators that give their first input as it is, or values of it; that may turn their signs or round; that give its sizes.
_PASS = frozenset(("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Gather"))
_KEEP = _PASS | frozenset(
    ("GatherElements", "GatherND", "Slice", "Split", "Transpose", "Abs", "Neg", "Ceil", "Floor", "Round", "Relu")
)
_MEASURE = frozenset(("Shape", "Size", "SequenceLength"))
# Operators that make a tensor as large as values say, and which of their inputs say it.
MAKE = {
    "ConstantOfShape": (0,), "Expand": (1,), "Range": (0, 1, 2), "Tile": (1,), "Resize": (2, 3), "Upsample": (1,), "Pad": (1,),
    "OneHot": (1,), "CenterCropPad": (1,), "MaxUnpool": (2,), "BlackmanWindow": (0,), "HannWindow": (0,), "HammingWindow": (0,),
    "DFT": (1,), "STFT": (1, 3), "Col2Im": (1, 2), "AffineGrid": (1,), "MelWeightMatrix": (0, 1), "ImageDecoder": (0,),
    "CropAndResize": (3,),
}  # fmt: skip


class Bound(NamedTuple):
    """At most ``times`` times a size of what is asked to the power of ``degree``, on either side of zero."""

    times: float
    degree: int = 0

    def of_each(self, other: Bound) -> Bound:
        """Their product."""
        return Bound(self.times * other.times, self.degree + other.degree)

    def beside(self, other: Bound) -> Bound:
        """Their sum."""
        return Bound(self.times + other.times, max(self.degree, other.degree))


A_SIZE = Bound(1.0, 1)


class Scope:
    """What the names in a graph mean: its own, and around it those of the graph in which it lies.

    Args:
        inputs: for each input what bounds its value: a bound, a name of the graph that calls a function, or nothing.
        growing: inputs whose size may be another at each step.
    """

    def __init__(
        self,
        graph: Graph,
        around: Scope | None,
        inputs: Mapping[str, Bound | Outside | None],
        growing: Sequence[str] = (),
    ) -> None:
        self.graph, self.around, self.inputs, self.growing = graph, around, inputs, frozenset(growing)
        self.makers = {name: node for node in graph.nodes for name in node.outputs if name}
        self._bounds: dict[str, Bound | None] = {}

    def bound(self, name: str, left: int = _FARTHEST) -> Bound | None:
        """What the numbers of a name are at most; ``None`` if data decide it."""
        scope = self._of(name)
        if scope is None or not left:
            return None
        if name not in scope._bounds:
            scope._bounds[name] = None
            scope._bounds[name] = scope._own_bound(name, left - 1)
        return scope._bounds[name]

    def upper_bound(self, name: str, left: int = _FARTHEST) -> Bound | None:
        """As ``bound``, but above zero alone: ``Min`` bounds that by one of its inputs."""
        scope = self._of(name)
        if scope is None or not left:
            return None
        node = scope.makers.get(name)
        if node is not None and node.is_standard and node.inputs and name not in scope.inputs:
            if node.op in _PASS:
                return scope.upper_bound(node.inputs[0], left - 1)
            if node.op == "Min":
                least = [bound for one in node.inputs if (bound := scope.upper_bound(one, left - 1)) is not None]
                return min(least, key=lambda bound: (bound.degree, bound.times), default=None)
        return self.bound(name, left)

    def values_made(self, node: Node) -> Bound | None:
        """How many values a node of ``MAKE`` makes for each size that it is given; ``None`` if data decide it."""
        names = [node.inputs[at] for at in MAKE[node.op] if at < len(node.inputs) and node.inputs[at]]
        bounds = [self.upper_bound(name) for name in names]
        some = [bound for bound in bounds if bound is not None]
        if len(some) < len(bounds):
            return None
        if node.op != "Range":
            return max(some, key=lambda bound: bound.times, default=Bound(1.0))
        lowest, step = self.bound(names[0]), self._constant(names[2]) if len(names) > 2 else [1]
        if lowest is None or not step or not step[0]:
            return None
        return lowest.beside(some[1]).of_each(Bound(1 / abs(step[0])))

    def is_sized_by_shapes(self, name: str) -> bool:
        """Whether no value of the data decides how large a tensor is, so that it grows with what is asked alone."""
        waiting: list[tuple[Scope, str]] = [(self, name)]
        visits: set[tuple[int, str]] = set()
        while waiting:
            scope_of, one = waiting.pop()
            scope = scope_of._of(one)
            if scope is None:
                return False
            if (id(scope), one) in visits:
                continue
            visits.add((id(scope), one))
            if one in scope.growing:
                return False
            if one in scope.inputs:
                origin = scope.inputs[one]
                waiting += [(origin.scope, origin.name)] if isinstance(origin, Outside) else []
            elif one in scope.makers:
                node = scope.makers[one]
                has_shape_rules = node.is_standard or node.domain == "ai.onnx.ml"
                values = [node.inputs[at] for at in MAKE.get(node.op, ()) if at < len(node.inputs)]
                if not has_shape_rules or node.graphs or any(scope.bound(value) is None for value in values if value):
                    return False
                waiting += [(scope, value) for value in node.inputs if value]
        return True

    def _of(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.inputs or name in scope.makers or name in scope.graph.constants:
                return scope
            scope = scope.around
        return None

    def _own_bound(self, name: str, steps: int) -> Bound | None:
        if name in self.inputs:
            origin = self.inputs[name]
            return origin.scope.bound(origin.name, steps) if isinstance(origin, Outside) else origin
        values = self._constant(name)
        if values is not None:
            return Bound(max((abs(value) for value in values), default=0.0)) if _are_finite(values) else None
        node = self.makers.get(name)
        if node is None or not node.is_standard or not node.inputs or node.graphs:
            return None
        if node.op in _MEASURE:
            return A_SIZE if self.is_sized_by_shapes(node.inputs[0]) else None
        if node.op == "Mod":
            return self.bound(node.inputs[-1], steps)
        if node.op == "ConstantOfShape":
            values = node.numbers.get("value", [0.0])
            return Bound(max(map(abs, values))) if values and _are_finite(values) else None
        sources = node.inputs[1:] if node.op == "Where" else node.inputs
        bounds = [self.bound(one, steps) for one in (node.inputs[:1] if node.op in _KEEP else sources)]
        some = [bound for bound in bounds if bound is not None]
        if len(some) < len(bounds):
            return None
        return self._together(node, some)

    def _together(self, node: Node, bounds: Sequence[Bound]) -> Bound | None:
        result = bounds[0]
        if node.op in _KEEP:
            return result
        if node.op in ("Add", "Sub", "Max", "Sum", "Concat", "Where"):
            for bound in bounds[1:]:
                result = result.beside(bound)
            return result
        if node.op == "Mul":
            return result.of_each(bounds[1])
        if node.op == "Div":
            smallest = min((abs(value) for value in self._constant(node.inputs[1]) or ()), default=0)
            return result.of_each(Bound(1 / smallest)) if smallest else None
        return None

    def _constant(self, name: str) -> list[int | float] | None:
        """The numbers of a constant of this graph that are a few."""
        if name in self.inputs:
            return None
        if name in self.graph.constants:
            return self.graph.constants[name].values()
        node = self.makers.get(name)
        if node is None or not node.is_standard or node.op != "Constant":
            return None
        return next(iter(node.numbers.values()), None) or None


class Outside(NamedTuple):
    """A name of the graph that calls a function."""

    scope: Scope
    name: str


def _are_finite(values: Sequence[int | float]) -> bool:
    return all(abs(value) < float("inf") for value in values)
