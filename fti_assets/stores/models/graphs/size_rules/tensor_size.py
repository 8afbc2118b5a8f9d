"""What is known of a tensor before a graph is run: its sizes, its bytes, and its values where they are a few numbers such as sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fti_assets.stores.models.graphs.onnx_parts import Node, Tensor

FEW = 1_000
"""Values are followed of tensors that are as small as shapes are."""
TEXT = 8
TEXT_BYTES = 40
TENSOR_BYTES = 512  # what onnxruntime takes for a tensor in a sequence, beside its values
BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    TEXT: TEXT_BYTES,
    9: 1,
    10: 2,
    11: 8,
    12: 4,
    13: 8,
    14: 8,
    15: 16,
    16: 2,
}
"""Of a tensor's type, what a value takes."""


class TensorSize(NamedTuple):
    """What is known of a tensor: its sizes, what a value takes in bytes, and the values if they are a few numbers.

    ``is_most`` says that the sizes, and the values if there are some, are at most these. ``more`` are bytes beside the values, or all
    if ``shape`` is ``None``, since the sizes are not known. ``is_stored`` says that it is a constant of the model.
    """

    shape: Any  # sizes, or None
    each: int
    values: Any = None
    is_most: bool = False
    is_stored: bool = False
    more: int = 0

    @property
    def bytes(self) -> int:
        return (0 if self.shape is None else prod(self.shape) * self.each) + self.more


def of_tensor(tensor: Tensor) -> TensorSize:
    each = BYTES.get(tensor.type, 8) + (tensor.bytes if tensor.type == TEXT else 0)
    shape, values = tuple(tensor.dims), None
    if prod(shape) <= FEW and tensor.type != TEXT:
        numbers = tensor.values()
        if numbers is not None and len(numbers) == prod(shape):
            values = np.array(numbers).reshape(shape)
    return TensorSize(shape, each, values, is_stored=True)


def number_of(one: TensorSize | None) -> float | None:
    return None if one is None or one.values is None or one.values.size != 1 else float(one.values.reshape(-1)[0])


def whole_numbers(one: TensorSize | None) -> list[int] | None:
    if one is None or one.values is None:
        return None
    return [int(value) for value in one.values.reshape(-1)]


def attribute(node: Node, name: str, default: Any = None) -> Any:
    numbers = node.numbers.get(name)
    return default if not numbers else [int(number) for number in numbers]


def whole_number(node: Node, name: str, default: int) -> int:
    return int(attribute(node, name, [default])[0])


def few_values(values: Any) -> Any:
    """Values that are few enough to be followed, and exact."""
    if values is None or values.size > FEW:
        return None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return None
    return values


def require_sizes(one: TensorSize | None) -> TensorSize:
    if one is None or one.shape is None:
        raise ValueError
    return one


def broadcast(inputs: Sequence[TensorSize | None]) -> TensorSize:
    ones = [require_sizes(one) for one in inputs]
    if any(one.is_most for one in ones):  # which may be one where it is said to be more
        rank = max(len(one.shape) for one in ones)
        shapes = [(*[1] * (rank - len(one.shape)), *one.shape) for one in ones]
        return TensorSize(tuple(max(sizes) for sizes in zip(*shapes, strict=True)), max(one.each for one in ones))
    return TensorSize(np.broadcast_shapes(*(one.shape for one in ones)), max(one.each for one in ones))


def of_shape(shape: Sequence[int] | None, each: int) -> TensorSize:
    if shape is None:
        raise ValueError
    return TensorSize(tuple(max(int(size), 0) for size in shape), each)


def like_first(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    if node.op == "Identity" and inputs[0] is not None:
        return inputs[0]
    one = require_sizes(inputs[0])
    return TensorSize(one.shape, BYTES.get(whole_number(node, "dtype", 0), one.each))


def second_shape(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return TensorSize(require_sizes(inputs[1]).shape, require_sizes(inputs[0]).each)


def axes_of(node: Node, inputs: list[TensorSize | None]) -> list[int] | None:
    if len(inputs) > 1 and node.inputs[1]:
        axes = whole_numbers(inputs[1])
        if axes is None:
            raise ValueError
        return axes
    return attribute(node, "axes") or None


def at_most(one: TensorSize) -> TensorSize:
    return one._replace(values=None, is_most=True, is_stored=False)
