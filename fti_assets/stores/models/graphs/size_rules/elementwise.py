"""The sizes and values of operators that take one value of each input for each of the output."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fti_assets.stores.models.graphs.onnx_parts import Node
from fti_assets.stores.models.graphs.size_rules.tensor_size import (
    BYTES,
    FEW,
    TEXT,
    TensorSize,
    broadcast,
    few_values,
    require_sizes,
    whole_number,
)

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Mod": np.mod, "Min": np.minimum, "Max": np.maximum,
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sqrt": np.sqrt, "Where": np.where,
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
}  # fmt: skip


def elementwise(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    result = broadcast([one for one, name in zip(inputs, node.inputs, strict=True) if name])
    values = [one.values for one in inputs if one is not None]
    if not all(value is not None for value in values) or prod(result.shape) > FEW:
        return result
    # Whole numbers of any length, so that none runs over.
    values = [
        value.astype(object) if value.dtype.kind in "iu" and node.op in ("Add", "Sub", "Mul") else value
        for value in values
    ]
    if node.op == "Div":
        both_whole = all(value.dtype.kind in "iu" for value in values)
        return result._replace(values=few_values(_quotient(*values) if both_whole else values[0] / values[1]))
    if node.op == "Pow":
        values = [value.astype(float) for value in values]
    if node.op not in ARITHMETIC or whole_number(node, "fmod", 0):
        return result
    total = values[0]
    if len(values) == 1 or node.op == "Where":
        total = ARITHMETIC[node.op](*values)
    else:
        for value in values[1:]:
            total = ARITHMETIC[node.op](total, value)
    total = np.asarray(total)
    if total.dtype == object:
        total = np.array([max(min(int(one), 2**62), -(2**62)) for one in total.reshape(-1)]).reshape(total.shape)
    return result._replace(values=few_values(total))


def cast(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, to = require_sizes(inputs[0]), whole_number(node, "to", 1)
    values = one.values
    if values is not None and to in (6, 7):
        values = np.array([int(value) for value in values.reshape(-1)], dtype=object).reshape(values.shape)
        values = np.array([max(min(int(value), 2**62), -(2**62)) for value in values.reshape(-1)]).reshape(values.shape)
    return TensorSize(one.shape, BYTES.get(to, 8), values if to != TEXT else None)


def _quotient(a: Any, b: Any) -> Any:
    """Of whole numbers, toward zero."""
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


def recast(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return cast(node, inputs)._replace(values=None)
