"""Nodes of an encoder graph in the making, and what several encoders are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.core.types import MISSING_INTEGER

OPSET = 17
ML_OPSET = 4
IR_VERSION = 8

Places = list[list[int]]
"""Of each feature of a block the columns that it has there."""


class Nodes:
    """Nodes and initializers of a graph in the making, with names of their own; ``domains`` are those beside ONNX's own.

    A trained model's graph may be of any opset from 10 on, and takes the encoders' with it: an operator belongs here only if it means the
    same in all of them, as GreaterOrEqual (from 12 on) and ReduceSum (whose axes became an input in 13) do not.
    """

    def __init__(self) -> None:
        self.onnx = require("onnx")
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.domains: dict[str, int] = {}

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        """Add a node of one output, and give the output's name."""
        output = output or f"{operator}.{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type) -> str:
        name = f"constant.{len(self.initializers)}"
        self.initializers.append(self.onnx.numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def cast(self, source: str, dtype: type) -> str:
        return self.add("Cast", [source], to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def picked(self, source: str, columns: Sequence[int]) -> str:
        """Some columns of ``[n, k]``."""
        return self.add("Gather", [source, self.constant(columns, np.int64)], axis=1)

    def finite_or(self, source: str, others: Any) -> str:
        """``[n, k]`` float32 with another value of each column where it is not finite."""
        # Less of an absolute value is false for NaN and for infinities: one comparison says what is finite.
        keep = self.add("Less", [self.add("Abs", [source]), self.constant(np.inf, np.float32)])
        return self.add("Where", [keep, source, self.constant(others, np.float32)])


def category_input(column: Column) -> GraphInput:
    """The graph's input of a feature whose values are told apart."""
    if column.type == "text":
        return GraphInput(f"text.{column.name}", "string", (column.name,))
    return GraphInput(f"integer.{column.name}", "int64", (column.name,))


def category_keys(source: GraphInput, categories: Sequence[Any]) -> dict[str, Any]:
    """The attribute of a LabelEncoder that names what is missing, and then the categories."""
    missing, keys = ("", "keys_strings") if source.type == "string" else (MISSING_INTEGER, "keys_int64s")
    return {keys: [missing, *categories]}


def codes(nodes: Nodes, source: GraphInput, categories: Sequence[Any], *, missing: int = 0) -> str:
    """The code of each category, int64 ``[n, 1]``: from ``missing + 1`` on in their order; 0 for what is none of them."""
    values = list(range(missing, missing + len(categories) + 1))
    keys = category_keys(source, categories)
    return nodes.add("LabelEncoder", [source.name], domain="ai.onnx.ml", default_int64=0, **keys, values_int64s=values)
