"""The encoder of a vector: an embedding's numbers as they are, a column each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.manifest import Column, GraphInput
from fti_assets.core.types.vector import Vector as Vector
from fti_assets.errors import ModelError
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.nodes import Nodes


@dataclass(frozen=True)
class FittedVector(FittedSingle):
    """What was declared: nothing is learned."""

    dim: int
    missing: Literal["zero", "nan"]
    flag: bool
    kind: Literal["vector"] = "vector"

    def source(self, column: Column) -> GraphInput:
        return GraphInput(f"vector.{column.name}", "float32", (column.name,), self.dim)

    def names(self, feature: str) -> list[str]:
        flag = [f"{feature}:missing"] if self.flag else []
        return [*(f"{feature}:{place}" for place in range(self.dim)), *flag]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        # Less of an absolute value is false for NaN and for infinities: one comparison says what is there.
        is_there = nodes.add("Less", [nodes.add("Abs", [source.name]), nodes.constant(np.inf, np.float32)])
        other = nodes.constant(0.0 if self.missing == "zero" else np.nan, np.float32)
        numbers = nodes.add("Where", [is_there, source.name, other])
        if not self.flag:
            return numbers
        # A product with ones counts what is missing: reductions take their axes otherwise from opset to opset.
        absent = nodes.cast(nodes.add("Not", [is_there]), np.float32)
        count = nodes.add("MatMul", [absent, nodes.constant(np.ones((self.dim, 1)), np.float32)])
        return nodes.add("Concat", [numbers, nodes.add("Min", [count, nodes.constant(1.0, np.float32)])], axis=1)


def fit_vector(encoder: Vector, values: np.ndarray) -> FittedVector:
    """What was declared: nothing is learned."""
    return FittedVector(encoder.dim, encoder.missing, encoder.flag)


def check_length(feature: str, encoder: Vector, values: np.ndarray) -> None:
    """Check that train's vectors, a canonical array ``[n]``, have the declared length.

    Raises:
        ModelError: one has another.
    """
    lengths = Counter(value.shape[0] for value in values if value is not None and value.shape != (encoder.dim,))
    if lengths:
        [(length, _)] = lengths.most_common(1)
        raise ModelError(
            f"the vector {feature!r} has {encoder.dim} numbers by its fti.Vector(dim={encoder.dim}), but another count in "
            f"{sum(lengths.values())} of {len(values)} train rows, such as {length}: give the dim that the column has, and state it in the "
            "group's schema, so that no row of another length is stored"
        )
