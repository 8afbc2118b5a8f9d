"""The sizes that an operator of ONNX gives, of the sizes of its inputs, and the values where they are a few numbers such as sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fti_assets.stores.models.graphs.onnx_parts import Node, Tensor

_FEW = 1_000
"""Values are followed of tensors that are as small as shapes are."""
_TEXT = 8
_TEXT_BYTES = 40
BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    _TEXT: _TEXT_BYTES,
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


class Known(NamedTuple):
    """What is known of a tensor: its sizes, what a value takes in bytes, and the values if they are a few numbers."""

    shape: tuple[int, ...]
    each: int
    values: Any = None

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.each


def of_tensor(tensor: Tensor) -> Known:
    each = BYTES.get(tensor.type, 8) + (tensor.bytes if tensor.type == _TEXT else 0)
    shape, values = tuple(tensor.dims), None
    if prod(shape) <= _FEW and tensor.type != _TEXT:
        numbers = tensor.values()
        if numbers is not None and len(numbers) == prod(shape):
            values = np.array(numbers).reshape(shape)
    return Known(shape, each, values)


def number_of(one: Known | None) -> float | None:
    return None if one is None or one.values is None or one.values.size != 1 else float(one.values.reshape(-1)[0])


def _ints(one: Known | None) -> list[int] | None:
    if one is None or one.values is None:
        return None
    return [int(value) for value in one.values.reshape(-1)]


def _attribute(node: Node, name: str, default: Any = None) -> Any:
    numbers = node.numbers.get(name)
    return default if not numbers else [int(number) for number in numbers]


def _whole(node: Node, name: str, default: int) -> int:
    return int(_attribute(node, name, [default])[0])


def _kept(values: Any) -> Any:
    """Values that are few enough to be followed, and exact."""
    if values is None or values.size > _FEW:
        return None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return None
    return values


def _given(one: Known | None) -> Known:
    if one is None:
        raise ValueError
    return one


def _broadcast(inputs: Sequence[Known | None]) -> Known:
    ones = [_given(one) for one in inputs]
    return Known(np.broadcast_shapes(*(one.shape for one in ones)), max(one.each for one in ones))


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Mod": np.mod, "Min": np.minimum, "Max": np.maximum,
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sqrt": np.sqrt, "Where": np.where,
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
}  # fmt: skip


def _elementwise(node: Node, inputs: list[Known | None]) -> Known:
    result = _broadcast([one for one, name in zip(inputs, node.inputs, strict=True) if name])
    values = [one.values for one in inputs if one is not None]
    if not all(value is not None for value in values) or prod(result.shape) > _FEW:
        return result
    # Whole numbers of any length, so that none runs over.
    values = [
        value.astype(object) if value.dtype.kind in "iu" and node.op in ("Add", "Sub", "Mul") else value
        for value in values
    ]
    if node.op == "Div":
        both_whole = all(value.dtype.kind in "iu" for value in values)
        return result._replace(values=_kept(values[0] // values[1] if both_whole else values[0] / values[1]))
    if node.op == "Pow":
        values = [value.astype(float) for value in values]
    if node.op not in _ARITHMETIC:
        return result
    made = values[0]
    if len(values) == 1 or node.op == "Where":
        made = _ARITHMETIC[node.op](*values)
    else:
        for value in values[1:]:
            made = _ARITHMETIC[node.op](made, value)
    made = np.asarray(made)
    if made.dtype == object:
        made = np.array([max(min(int(one), 2**62), -(2**62)) for one in made.reshape(-1)]).reshape(made.shape)
    return result._replace(values=_kept(made))


def _cast(node: Node, inputs: list[Known | None]) -> Known:
    one, to = _given(inputs[0]), _whole(node, "to", 1)
    values = one.values
    if values is not None and to in (6, 7):
        values = np.array([int(value) for value in values.reshape(-1)], dtype=object).reshape(values.shape)
        values = np.array([max(min(int(value), 2**62), -(2**62)) for value in values.reshape(-1)]).reshape(values.shape)
    return Known(one.shape, BYTES.get(to, 8), values if to != _TEXT else None)


def _constant(node: Node, inputs: list[Known | None]) -> Known | None:
    if node.tensors:
        return None if node.tensors[-1].is_sparse else of_tensor(node.tensors[-1])
    for name, number in (("value_int", 7), ("value_ints", 7), ("value_float", 1), ("value_floats", 1)):
        if name in node.numbers and name not in node.passed:
            values = np.array(node.numbers[name])
            return Known(
                () if not name.endswith("s") else values.shape,
                BYTES[number],
                values.reshape(() if not name.endswith("s") else -1),
            )
    if "value_string" in node.texts:
        return Known((), _TEXT_BYTES + len(node.texts["value_string"]))
    return None


def _of_shape(shape: Sequence[int] | None, each: int) -> Known:
    if shape is None:
        raise ValueError
    return Known(tuple(max(int(size), 0) for size in shape), each)


def _constant_of_shape(node: Node, inputs: list[Known | None]) -> Known:
    each = BYTES.get(node.tensors[-1].type, 8) if node.tensors else 4
    made = _of_shape(_ints(inputs[0]), each)
    numbers = node.tensors[-1].values() if node.tensors else [0.0]
    return made._replace(values=np.full(made.shape, numbers[0]) if numbers and prod(made.shape) <= _FEW else None)


def _expand(node: Node, inputs: list[Known | None]) -> Known:
    one, shape = _given(inputs[0]), _of_shape(_ints(inputs[1]), 1).shape
    made = Known(np.broadcast_shapes(one.shape, shape), one.each)
    few = one.values is not None and prod(made.shape) <= _FEW
    return made._replace(values=np.broadcast_to(one.values, made.shape) if few else None)


def _tile(node: Node, inputs: list[Known | None]) -> Known:
    one, repeats = _given(inputs[0]), _ints(inputs[1])
    if repeats is None:
        raise ValueError
    made = Known(tuple(a * max(b, 0) for a, b in zip(one.shape, repeats, strict=True)), one.each)
    few = one.values is not None and prod(made.shape) <= _FEW
    return made._replace(values=np.tile(one.values, repeats) if few else None)


def _range(node: Node, inputs: list[Known | None]) -> Known:
    start, limit, step = (number_of(one) for one in inputs)
    if start is None or limit is None or step is None:
        raise ValueError
    count = max(0, -int(-(limit - start) // step))
    values = (
        np.arange(int(start), int(limit), int(step))
        if count <= _FEW and step == int(step) and start == int(start)
        else None
    )
    return Known((count,), _given(inputs[0]).each, values)


def _pad(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    pads = _ints(inputs[1]) if len(inputs) > 1 else _attribute(node, "pads")
    axes = _ints(inputs[3]) if len(inputs) > 3 and node.inputs[3] else list(range(len(one.shape)))
    if pads is None or axes is None:
        raise ValueError
    sizes = list(one.shape)
    for at, axis in enumerate(axes):
        sizes[axis] += pads[at] + pads[at + len(axes)]
    return _of_shape(sizes, one.each)


def _resize(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    at_scales, at_sizes = (1, 9) if node.op == "Upsample" else (2, 3)
    sizes = _ints(inputs[at_sizes]) if len(inputs) > at_sizes and node.inputs[at_sizes] else None
    axes = [int(axis) % len(one.shape) for axis in node.numbers.get("axes") or range(len(one.shape))]
    if sizes is None:
        scales = _given(inputs[at_scales]).values.reshape(-1)
        sizes = [int(one.shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True)]
    shape = list(one.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return _of_shape(shape, one.each)


def _one_hot(node: Node, inputs: list[Known | None]) -> Known:
    one, depth = _given(inputs[0]), number_of(inputs[1])
    if depth is None:
        raise ValueError
    each = inputs[2].each if inputs[2] is not None else 8
    return _of_shape([*one.shape, int(depth)], each)


def _by_attribute(node: Node, inputs: list[Known | None]) -> Known:
    return _of_shape(_attribute(node, "shape"), BYTES.get(_whole(node, "dtype", 1), 8))


def _first(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return one if node.op in ("Identity",) else Known(one.shape, BYTES.get(_whole(node, "dtype", 0), one.each))


def _shape_of(node: Node, inputs: list[Known | None]) -> Known:
    shape = _given(inputs[0]).shape
    start, end = _whole(node, "start", 0), _attribute(node, "end")
    values = np.array(shape, dtype=np.int64)[start : end[0] if end else None]
    return Known(values.shape, 8, values)


def _size_of(node: Node, inputs: list[Known | None]) -> Known:
    return Known((), 8, np.array(prod(_given(inputs[0]).shape)))


def _matmul(node: Node, inputs: list[Known | None]) -> Known:
    a, b = _given(inputs[0]), _given(inputs[1])
    left, right = a.shape, b.shape
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    return Known((*batch, *rows, *columns), max(a.each, b.each))


def _gemm(node: Node, inputs: list[Known | None]) -> Known:
    a, b = _given(inputs[0]), _given(inputs[1])
    return Known((a.shape[_whole(node, "transA", 0)], b.shape[1 - _whole(node, "transB", 0)]), a.each)


def _concat(node: Node, inputs: list[Known | None]) -> Known:
    ones = [_given(one) for one in inputs]
    axis = _whole(node, "axis", 0) % len(ones[0].shape)
    shape = list(ones[0].shape)
    shape[axis] = sum(one.shape[axis] for one in ones)
    few = all(one.values is not None for one in ones) and prod(shape) <= _FEW
    return Known(
        tuple(shape), max(one.each for one in ones), np.concatenate([one.values for one in ones], axis) if few else None
    )


def _gather(node: Node, inputs: list[Known | None]) -> Known:
    one, at = _given(inputs[0]), _given(inputs[1])
    axis = _whole(node, "axis", 0) % len(one.shape)
    few = one.values is not None and at.values is not None
    values = np.take(one.values, at.values.astype(int), axis) if few else None
    return Known((*one.shape[:axis], *at.shape, *one.shape[axis + 1 :]), one.each, values)


def _spatial(node: Node, one: Known, kernel: Sequence[int], channels: int) -> Known:
    """The sizes after a window that moves over all but the first two."""
    sizes = one.shape[2:]
    ones, zeros = [1] * len(sizes), [0] * len(sizes)
    strides, dilations = _attribute(node, "strides", ones), _attribute(node, "dilations", ones)
    pads = _attribute(node, "pads", [*zeros, *zeros])
    result = []
    for at, size in enumerate(sizes):
        reach, padded = dilations[at] * (kernel[at] - 1) + 1, pads[at] + pads[at + len(sizes)]
        if node.op == "ConvTranspose":
            more = _attribute(node, "output_padding", zeros)[at]
            result.append(strides[at] * (size - 1) + more + reach - padded)
        else:
            result.append((size + padded - reach) // strides[at] + 1 + _whole(node, "ceil_mode", 0))
    return _of_shape([one.shape[0], channels, *(_attribute(node, "output_shape") or result)], one.each)


def _conv(node: Node, inputs: list[Known | None]) -> Known:
    one, weights = _given(inputs[0]), _given(inputs[1])
    channels = weights.shape[0] if node.op == "Conv" else weights.shape[1] * _whole(node, "group", 1)
    return _spatial(node, one, weights.shape[2:], channels)


def _pool(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return _spatial(node, one, _attribute(node, "kernel_shape"), one.shape[1])


def _multinomial(node: Node, inputs: list[Known | None]) -> Known:
    return Known((_given(inputs[0]).shape[0], _whole(node, "sample_size", 1)), 8)


def _second_shape(node: Node, inputs: list[Known | None]) -> Known:
    return Known(_given(inputs[1]).shape, _given(inputs[0]).each)


def _reshape(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    sizes = _ints(inputs[1]) if len(inputs) > 1 else _attribute(node, "shape")
    if sizes is None:
        raise ValueError
    if not _whole(node, "allowzero", 0):
        sizes = [one.shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(one.shape) // max(1, -prod(sizes))
    if prod(sizes) != prod(one.shape):
        raise ValueError
    return Known(tuple(sizes), one.each, None if one.values is None else one.values.reshape(sizes))


def _axes(node: Node, inputs: list[Known | None]) -> list[int] | None:
    if len(inputs) > 1 and node.inputs[1]:
        axes = _ints(inputs[1])
        if axes is None:
            raise ValueError
        return axes
    return _attribute(node, "axes") or None


def _squeeze(node: Node, inputs: list[Known | None]) -> Known:
    one, axes = _given(inputs[0]), _axes(node, inputs)
    gone = {axis % len(one.shape) for axis in axes} if axes else {at for at, size in enumerate(one.shape) if size == 1}
    shape = tuple(size for at, size in enumerate(one.shape) if at not in gone)
    return Known(shape, one.each, None if one.values is None else one.values.reshape(shape))


def _unsqueeze(node: Node, inputs: list[Known | None]) -> Known:
    one, axes = _given(inputs[0]), _axes(node, inputs) or []
    rank = len(one.shape) + len(axes)
    new, old = {axis % rank for axis in axes}, iter(one.shape)
    shape = tuple(1 if at in new else next(old) for at in range(rank))
    return Known(shape, one.each, None if one.values is None else one.values.reshape(shape))


def _transpose(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    order = _attribute(node, "perm", list(range(len(one.shape)))[::-1])
    return Known(
        tuple(one.shape[at] for at in order), one.each, None if one.values is None else one.values.transpose(order)
    )


def _flatten(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    axis = _whole(node, "axis", 1)
    return Known((prod(one.shape[:axis]), prod(one.shape[axis:])), one.each)


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceMean": np.mean,
}  # fmt: skip


def _reduce(node: Node, inputs: list[Known | None]) -> Known:
    one, axes = _given(inputs[0]), _axes(node, inputs)
    if axes is None and _whole(node, "noop_with_empty_axes", 0):
        return one
    gone = {axis % len(one.shape) for axis in axes} if axes else set(range(len(one.shape)))
    keeps = _whole(node, "keepdims", 1)
    shape = tuple(1 if at in gone else size for at, size in enumerate(one.shape) if keeps or at not in gone)
    values = None
    if one.values is not None and node.op in _REDUCTIONS:
        wide = one.values.astype(object) if one.values.dtype.kind in "iu" else one.values
        values = _kept(np.asarray(_REDUCTIONS[node.op](wide, axis=tuple(sorted(gone))), dtype=float).reshape(shape))
    return Known(shape, one.each, values)


def _slice(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    if len(inputs) > 1:
        starts, ends = _ints(inputs[1]), _ints(inputs[2])
        axes = _ints(inputs[3]) if len(inputs) > 3 and node.inputs[3] else None
        steps = _ints(inputs[4]) if len(inputs) > 4 and node.inputs[4] else None
    else:
        starts, ends, axes, steps = _attribute(node, "starts"), _attribute(node, "ends"), _attribute(node, "axes"), None
    if starts is None or ends is None:
        raise ValueError
    cuts = [slice(None)] * len(one.shape)
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        cuts[axis] = slice(start, None if step < 0 and end < -one.shape[axis] else end, step)
    shape = tuple(len(range(*cut.indices(size))) for cut, size in zip(cuts, one.shape, strict=True))
    return Known(shape, one.each, None if one.values is None else one.values[tuple(cuts)])


def _text_concat(node: Node, inputs: list[Known | None]) -> Known:
    made = _broadcast(inputs)
    return Known(made.shape, sum(_given(one).each for one in inputs))


def _einsum(node: Node, inputs: list[Known | None]) -> Known:
    """The sizes of a product that is named by letters; without an arrow those that come once are left, in their order."""
    left, arrow, right = node.texts["equation"].replace(" ", "").partition("->")
    ones = [_given(one) for one in inputs]
    sizes: dict[str, int] = {}
    for letters, one in zip(left.split(","), ones, strict=True):
        for letter, size in zip(letters, one.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    kept = right if arrow else "".join(sorted(letter for letter in sizes if left.count(letter) == 1))
    return Known(tuple(sizes[letter] for letter in kept), max(one.each for one in ones))


_SAME = (
    "Identity", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Softmax", "LogSoftmax", "Erf", "Sin", "Cos", "Tan", "LeakyRelu", "Elu", "Selu",
    "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Gelu", "Mish", "Sign", "Reciprocal", "Clip", "Dropout", "LayerNormalization",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization", "CumSum", "Hardmax", "Celu", "ThresholdedRelu",
    "ScatterND", "ScatterElements", "Scatter", "EyeLike", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Trilu", "ReverseSequence",
    "Acos", "Asin", "Atan", "Acosh", "Asinh", "Atanh", "Sinh", "Cosh", "Scaler", "Binarizer", "Imputer", "Normalizer", "Shrink",
)  # fmt: skip
_BROADCAST = (
    *(op for op in _ARITHMETIC), "Div", "GreaterOrEqual", "LessOrEqual", "Xor", "PRelu", "Sum", "Mean", "BitShift", "BitwiseAnd",
    "BitwiseOr", "BitwiseXor",
)  # fmt: skip
RULES: dict[str, Callable[[Node, list[Known | None]], Known | Sequence[Known | None] | None]] = {
    **dict.fromkeys(_SAME, _first),
    **dict.fromkeys(_BROADCAST, _elementwise),
    **dict.fromkeys((*_REDUCTIONS, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), _reduce),
    **dict.fromkeys(("RandomUniform", "RandomNormal"), _by_attribute),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Constant": _constant, "ConstantOfShape": _constant_of_shape, "Expand": _expand, "Tile": _tile, "Range": _range, "Pad": _pad,
    "OneHot": _one_hot, "Shape": _shape_of, "Size": _size_of, "MatMul": _matmul, "Gemm": _gemm, "Concat": _concat, "Gather": _gather,
    "GatherElements": _second_shape, "Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Flatten": _flatten, "Slice": _slice, "Cast": _cast, "StringConcat": _text_concat, "Einsum": _einsum, "Conv": _conv,
    "ConvTranspose": _conv, "MaxPool": _pool, "AveragePool": _pool, "LpPool": _pool, "Multinomial": _multinomial,
}  # fmt: skip
