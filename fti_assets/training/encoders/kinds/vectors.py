"""The encoder of a vector: an embedding's numbers as they are, a column each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.errors import DeclarationError, ModelError, excerpt
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.nodes import Nodes

MOST = 65_536
"""Numbers that a vector may have."""


@checked_arguments()
@dataclass(frozen=True)
class Vector:
    """Give a vector of one length, such as an embedding, to the model as it is: float32, ``dim`` columns. Nothing is learned.

    For list columns of floats (``FLOAT[]``, ``DOUBLE[]``). A vector that is missing as a whole (no row, an expired one, a null) is ``dim``
    missing numbers; a null, a NaN and what float32 does not hold are missing numbers of a vector.

    Args:
        dim: how many numbers each has. A row of another length is an error: when it is stored, if the group's schema states the length,
            and else when a model is trained on it or asked with it.
        missing: what stands for a missing number: ``"zero"``, or ``"nan"`` for trees.
        flag: whether one more column, ``<feature>:missing``, is 1 where any number is missing and 0 elsewhere.

    Raises:
        DeclarationError: ``dim`` is no whole number from 1 to 65,536, or ``missing`` is neither.

    >>> from fti_assets.core.types.vectors import vectors
    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Vector(dim=2, flag=True), vectors([[0.5, 1.0], None]), "vector")
    FittedVector(dim=2, missing='zero', flag=True, kind='vector')
    """

    dim: int
    missing: Literal["zero", "nan"] = "zero"
    flag: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.dim, bool) or not isinstance(self.dim, int) or not 1 <= self.dim <= MOST:
            raise DeclarationError(
                f"Vector(dim={excerpt(self.dim)}): give how many numbers each vector has, 1 to {MOST:,}, as in fti.Vector(dim=384)"
            )
        if self.missing not in ("zero", "nan"):
            raise DeclarationError(f"Vector(missing={excerpt(self.missing)}): give 'zero' or 'nan'")


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
