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
_TENSOR_BYTES = 512  # what onnxruntime takes for a tensor in a sequence, beside its values
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


def of_tensor(tensor: Tensor) -> Known:
    each = BYTES.get(tensor.type, 8) + (tensor.bytes if tensor.type == _TEXT else 0)
    shape, values = tuple(tensor.dims), None
    if prod(shape) <= _FEW and tensor.type != _TEXT:
        numbers = tensor.values()
        if numbers is not None and len(numbers) == prod(shape):
            values = np.array(numbers).reshape(shape)
    return Known(shape, each, values, is_stored=True)


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


def _few(values: Any) -> Any:
    """Values that are few enough to be followed, and exact."""
    if values is None or values.size > _FEW:
        return None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return None
    return values


def _given(one: Known | None) -> Known:
    if one is None or one.shape is None:
        raise ValueError
    return one


def _broadcast(inputs: Sequence[Known | None]) -> Known:
    ones = [_given(one) for one in inputs]
    if any(one.is_most for one in ones):  # which may be one where it is said to be more
        rank = max(len(one.shape) for one in ones)
        padded = [(*[1] * (rank - len(one.shape)), *one.shape) for one in ones]
        return Known(tuple(max(sizes) for sizes in zip(*padded, strict=True)), max(one.each for one in ones))
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
        return result._replace(values=_few(_quotient(*values) if both_whole else values[0] / values[1]))
    if node.op == "Pow":
        values = [value.astype(float) for value in values]
    if node.op not in _ARITHMETIC or _whole(node, "fmod", 0):
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
    return result._replace(values=_few(made))


def _cast(node: Node, inputs: list[Known | None]) -> Known:
    one, to = _given(inputs[0]), _whole(node, "to", 1)
    values = one.values
    if values is not None and to in (6, 7):
        values = np.array([int(value) for value in values.reshape(-1)], dtype=object).reshape(values.shape)
        values = np.array([max(min(int(value), 2**62), -(2**62)) for value in values.reshape(-1)]).reshape(values.shape)
    return Known(one.shape, BYTES.get(to, 8), values if to != _TEXT else None)


def _quotient(a: Any, b: Any) -> Any:
    """Of whole numbers, toward zero."""
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


def _recast(node: Node, inputs: list[Known | None]) -> Known:
    return _cast(node, inputs)._replace(values=None)


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
    start, limit = number_of(inputs[0]), number_of(inputs[1])
    step = number_of(inputs[2]) if len(inputs) > 2 and node.inputs[2] else 1.0  # which onnxruntime's own may leave out
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
    policy = node.texts.get("keep_aspect_ratio_policy", "stretch")
    if len(inputs) > at_sizes and node.inputs[at_sizes] and policy != "stretch":
        ratios = [size / one.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        sizes = [int(one.shape[axis] * ratio + 0.5) for axis in axes]
    shape = list(one.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return _of_shape(shape, one.each)


def _one_hot(node: Node, inputs: list[Known | None]) -> Known:
    one, depth = _given(inputs[0]), number_of(inputs[1])
    if depth is None:
        raise ValueError
    each = inputs[2].each if inputs[2] is not None else 8
    axis = _whole(node, "axis", -1)
    at = axis if axis >= 0 else len(one.shape) + 1 + axis
    return _of_shape([*one.shape[:at], int(depth), *one.shape[at:]], each)


def _by_attribute(node: Node, inputs: list[Known | None]) -> Known:
    return _of_shape(_attribute(node, "shape"), BYTES.get(_whole(node, "dtype", 1), 8))


def _first(node: Node, inputs: list[Known | None]) -> Known:
    if node.op == "Identity" and inputs[0] is not None:
        return inputs[0]
    one = _given(inputs[0])
    return Known(one.shape, BYTES.get(_whole(node, "dtype", 0), one.each))


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
        if node.texts.get("auto_pad", "").startswith("SAME"):
            result.append(size * strides[at] if node.op.startswith("ConvTranspose") else -(-size // strides[at]))
        elif node.op.startswith("ConvTranspose"):
            more = _attribute(node, "output_padding", zeros)[at]
            result.append(strides[at] * (size - 1) + more + reach - padded)
        else:
            result.append((size + padded - reach) // strides[at] + 1 + _whole(node, "ceil_mode", 0))
    return _of_shape([one.shape[0], channels, *(_attribute(node, "output_shape") or result)], one.each)


def _conv(node: Node, inputs: list[Known | None]) -> Known:
    one, weights = _given(inputs[0]), _given(inputs[1])
    channels = weights.shape[0] if node.op in ("Conv", "FusedConv") else weights.shape[1] * _whole(node, "group", 1)
    return _spatial(node, one, weights.shape[2:], channels)


def _pool(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one = _given(inputs[0])
    made = _spatial(node, one, _attribute(node, "kernel_shape"), one.shape[1])
    return [made, Known(made.shape, 8)]


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
        if one.is_most or _given(inputs[1]).is_most:
            return _of_shape(sizes, one.each)
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
    if not axes and _whole(node, "noop_with_empty_axes", 0):
        return one
    gone = {axis % len(one.shape) for axis in axes} if axes else set(range(len(one.shape)))
    keeps = _whole(node, "keepdims", 1)
    shape = tuple(1 if at in gone else size for at, size in enumerate(one.shape) if keeps or at not in gone)
    values = None
    if one.values is not None and one.values.size and node.op in _REDUCTIONS:
        wide = one.values.astype(object) if one.values.dtype.kind in "iu" else one.values
        values = _few(np.asarray(_REDUCTIONS[node.op](wide, axis=tuple(sorted(gone))), dtype=float).reshape(shape))
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
        return _at_most(one)
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


def _likely_typed(node: Node, inputs: list[Known | None]) -> Known:
    return Known(_given(inputs[0]).shape, _given(inputs[1]).each)


def _wide(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    """As many numbers as there are values, of eight bytes at most."""
    one = Known(_given(inputs[0]).shape, 8)
    return [one, Known((), 8), Known((), 8)]


def _labels(node: Node, inputs: list[Known | None]) -> Known:
    texts = max([node.longest, *map(len, node.texts.values())])
    return Known(_given(inputs[0]).shape, _TEXT_BYTES + texts)


def _arg_reduce(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    axis = _whole(node, "axis", 0) % len(one.shape)
    middle = (1,) if _whole(node, "keepdims", 1) else ()
    return Known((*one.shape[:axis], *middle, *one.shape[axis + 1 :]), 8)


def _weights_at(at: int, each: int) -> Callable[[Node, list[Known | None]], Known]:
    def product(node: Node, inputs: list[Known | None]) -> Known:
        pair = [inputs[0], inputs[at]]
        made = (
            _matmul(node, pair)
            if "MatMul" in node.op
            else _spatial(node, _given(pair[0]), _given(pair[1]).shape[2:], _given(pair[1]).shape[0])
        )
        return Known(made.shape, max(each, made.each))

    return product


def _at_most(one: Known) -> Known:
    return one._replace(values=None, is_most=True, is_stored=False)


def _non_zero(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return _at_most(Known((max(len(one.shape), 1), prod(one.shape)), 8))


def _compress(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return _at_most(one if "axis" in node.numbers else Known((prod(one.shape),), one.each))


def _unique(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one = _given(inputs[0])
    count = one.shape[_whole(node, "axis", 0)] if "axis" in node.numbers else prod(one.shape)
    values = one if "axis" in node.numbers else Known((count,), one.each)
    return [_at_most(values), *[_at_most(Known((count,), 8))] * 3]


def _top(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one = _given(inputs[0])
    count = number_of(inputs[1]) if len(inputs) > 1 else _whole(node, "k", 1)
    shape, axis = list(one.shape), _whole(node, "axis", -1)
    shape[axis] = shape[axis] if count is None else min(shape[axis], int(count))
    made = [Known(tuple(shape), one.each), Known(tuple(shape), 8)]
    return [*(map(_at_most, made) if count is None else made)]


def _split(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one, outputs = _given(inputs[0]), len(node.outputs)
    axis = _whole(node, "axis", 0) % len(one.shape)
    sizes = _attribute(node, "split")
    if len(inputs) > 1 and node.inputs[1]:
        sizes = _ints(inputs[1])
        if sizes is None:
            return [_at_most(one)] * outputs
    if not sizes:
        part = -(-one.shape[axis] // _whole(node, "num_outputs", outputs))
        sizes = [max(0, min(part, one.shape[axis] - at * part)) for at in range(outputs)]
    made: list[Known | None] = []
    for at, size in enumerate(sizes):
        start, cut = sum(sizes[:at]), [slice(None)] * len(one.shape)
        cut[axis] = slice(start, start + size)
        shape = (*one.shape[:axis], max(size, 0), *one.shape[axis + 1 :])
        made.append(Known(shape, one.each, None if one.values is None else one.values[tuple(cut)]))
    return made


def _split_to_sequence(node: Node, inputs: list[Known | None]) -> Known:
    """All parts together, each a tensor of its own."""
    one = _given(inputs[0])
    axis = _whole(node, "axis", 0) % len(one.shape)
    sizes = _ints(inputs[1]) if len(inputs) > 1 and node.inputs[1] else [1]
    least = 1 if sizes is None else max(1, sizes[0]) if len(sizes) == 1 else 0
    parts = -(-one.shape[axis] // least) if least else len(sizes or ())
    return Known(None, 1, more=one.bytes + parts * _TENSOR_BYTES)


def _sequence(node: Node, inputs: list[Known | None]) -> Known:
    """A sequence of tensors, as one that is as large as all."""
    ones = [one for one in inputs if one is not None]
    if len(ones) < len([name for name in node.inputs if name]):
        raise ValueError
    return Known(None, 1, more=sum(one.bytes for one in ones) + _TENSOR_BYTES * len(ones))


def _sequence_length(node: Node, inputs: list[Known | None]) -> Known:
    return Known((), 8)


def _by_indices(node: Node, inputs: list[Known | None]) -> Known:
    one, at, batch = _given(inputs[0]), _given(inputs[1]), _whole(node, "batch_dims", 0)
    return Known((*at.shape[:-1], *one.shape[batch + at.shape[-1] :]), one.each)


def _global_pool(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return Known((*one.shape[:2], *[1] * len(one.shape[2:])), one.each)


def _grid_sample(node: Node, inputs: list[Known | None]) -> Known:
    one, grid = _given(inputs[0]), _given(inputs[1])
    return Known((*one.shape[:2], *grid.shape[1:-1]), one.each)


def _regions(node: Node, inputs: list[Known | None]) -> Known:
    one, regions = _given(inputs[0]), _given(inputs[1])
    sizes = [_whole(node, "output_height", 1), _whole(node, "output_width", 1)]
    return _of_shape([regions.shape[0], one.shape[1], *(_attribute(node, "pooled_shape") or sizes)], one.each)


def _unpool(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    if len(inputs) > 2 and node.inputs[2]:
        return _of_shape(_ints(inputs[2]), one.each)
    kernel = _attribute(node, "kernel_shape")
    strides = _attribute(node, "strides", [1] * len(kernel))
    pads = _attribute(node, "pads", [0] * (2 * len(kernel)))
    sizes = [
        (size - 1) * strides[at] - pads[at] - pads[at + len(kernel)] + kernel[at]
        for at, size in enumerate(one.shape[2:])
    ]
    return _of_shape([*one.shape[:2], *sizes], one.each)


def _suppressed(node: Node, inputs: list[Known | None]) -> Known:
    boxes, scores = _given(inputs[0]), _given(inputs[1])
    return _at_most(Known((prod(scores.shape[:2]) * boxes.shape[1], 3), 8))


def _recurrent(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one, weights = _given(inputs[0]), _given(inputs[2])
    directions, hidden = weights.shape[0], weights.shape[2]
    length, batch = one.shape[:2]
    if _whole(node, "layout", 0):
        length, batch = batch, length
    first, last = (length, directions, batch, hidden), (directions, batch, hidden)
    if _whole(node, "layout", 0):
        first, last = (batch, length, directions, hidden), (batch, directions, hidden)
    return [Known(first, one.each), Known(last, one.each), Known(last, one.each)]


def _blocks(node: Node, inputs: list[Known | None]) -> Known:
    one, block = _given(inputs[0]), _whole(node, "blocksize", 1)
    batch, channels, height, width = one.shape
    if node.op == "DepthToSpace":
        return Known((batch, channels // block**2, height * block, width * block), one.each)
    return Known((batch, channels * block**2, height // block, width // block), one.each)


def _window(node: Node, inputs: list[Known | None]) -> Known:
    return _of_shape(_ints(inputs[0]), BYTES.get(_whole(node, "output_datatype", 1), 8))


def _mel(node: Node, inputs: list[Known | None]) -> Known:
    bins, length = number_of(inputs[0]), number_of(inputs[1])
    if bins is None or length is None:
        raise ValueError
    return _of_shape([int(length) // 2 + 1, int(bins)], BYTES.get(_whole(node, "output_datatype", 1), 8))


def _fourier(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    shape, each = [*one.shape[:-1], 2], one.each
    axis = number_of(inputs[2]) if len(inputs) > 2 and node.inputs[2] else _whole(node, "axis", 1)
    length = _given(inputs[1]) if len(inputs) > 1 and node.inputs[1] else None
    if axis is None or (length is not None and length.values is None):
        raise ValueError
    if length is not None:
        shape[int(axis)] = int(length.values.reshape(-1)[0])
    return _of_shape(shape, each)


def _short_fourier(node: Node, inputs: list[Known | None]) -> Known:
    one, step = _given(inputs[0]), number_of(inputs[1])
    length = number_of(inputs[3]) if len(inputs) > 3 and node.inputs[3] else None
    if length is None and len(inputs) > 2 and node.inputs[2]:
        length = _given(inputs[2]).shape[0]
    if step is None or length is None:
        raise ValueError
    frames = (one.shape[1] - int(length)) // int(step) + 1
    bins = int(length) // 2 + 1 if _whole(node, "onesided", 1) else int(length)
    return _of_shape([one.shape[0], frames, bins, 2], one.each)


def _crop_or_pad(node: Node, inputs: list[Known | None]) -> Known:
    one, sizes = _given(inputs[0]), _ints(inputs[1])
    if sizes is None:
        raise ValueError
    shape = list(one.shape)
    for axis, size in zip(_attribute(node, "axes") or range(len(shape)), sizes, strict=True):
        shape[axis] = size
    return _of_shape(shape, one.each)


def _images(node: Node, inputs: list[Known | None]) -> Known:
    one, image, block = _given(inputs[0]), _ints(inputs[1]), _ints(inputs[2])
    if image is None or block is None:
        raise ValueError
    return _of_shape([one.shape[0], one.shape[1] // max(1, prod(block)), *image], one.each)


def _grid(node: Node, inputs: list[Known | None]) -> Known:
    one, size = _given(inputs[0]), _ints(inputs[1])
    if size is None:
        raise ValueError
    return _of_shape([size[0], *size[2:], len(size) - 2], one.each)


def _split_text(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one = _given(inputs[0])
    return [_at_most(Known((*one.shape, max(1, one.each // 2)), _TEXT_BYTES)), Known(one.shape, 8)]


def _text_at_most(node: Node, inputs: list[Known | None]) -> Known:
    return _at_most(_given(inputs[0]))


def _attention(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    query, key, value = (_given(one) for one in inputs[:3])
    four = len(query.shape) == 4
    heads = query.shape[1] if four else _whole(node, "q_num_heads", 1)
    shared = key.shape[1] if four else _whole(node, "kv_num_heads", 1)
    past = _given(inputs[4]).shape[2] if len(inputs) > 4 and node.inputs[4] else 0
    batch, length = query.shape[0], key.shape[-2] + past
    widths = [one.shape[-1] if four else one.shape[-1] // shared for one in (key, value)]
    scores = Known((batch, heads, query.shape[-2], length), query.each)
    shape = (*query.shape[:-1], widths[1] if four else widths[1] * heads)
    present = [Known((batch, shared, length, width), query.each) for width in widths]
    return [Known(shape, query.each, more=scores.bytes), *present, scores]


def _with_statistics(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    """The first output as large as what is given; means, deviations or what was kept no larger."""
    one = Known(_given(inputs[0]).shape, max(4, _given(inputs[0]).each))
    return [one._replace(each=_given(inputs[0]).each), *[_at_most(one)] * 2]


def _losses(node: Node, inputs: list[Known | None]) -> list[Known | None]:
    one, labels = _given(inputs[0]), _given(inputs[1])
    shape = labels.shape if node.texts.get("reduction") == "none" else ()
    return [Known(shape, one.each), Known(one.shape, one.each)]


def _without_matrix(node: Node, inputs: list[Known | None]) -> Known:
    one = _given(inputs[0])
    return Known(one.shape[:-2], one.each)


def _rows_of(one: Known) -> int:
    return one.shape[0] if len(one.shape) > 1 else 1


def _ngrams(node: Node, inputs: list[Known | None]) -> Known:
    indexes = node.numbers["ngram_indexes"]
    return Known((*_given(inputs[0]).shape[:-1], int(max(indexes)) + 1), 4)


def _vectors(node: Node, inputs: list[Known | None]) -> Known:
    sizes = _attribute(node, "inputdimensions", [])
    return Known((_rows_of(_given(inputs[0])), sum(max(size, 0) for size in sizes)), 4)


def _targets(node: Node, inputs: list[Known | None]) -> Known:
    count = _whole(node, "n_targets" if "Tree" in node.op else "targets", 1)
    return _of_shape([_rows_of(_given(inputs[0])), count], max(4, _given(inputs[0]).each))


def _extracted(node: Node, inputs: list[Known | None]) -> Known:
    one, at = _given(inputs[0]), _given(inputs[1])
    return Known((*(one.shape[:-1] or (1,)), prod(at.shape)), one.each)


def _dense_map(node: Node, inputs: list[Known | None]) -> Known:
    return _of_shape([1, _whole(node, "max_map", 1)], _TEXT_BYTES)


_SAME = (
    "Identity", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Softmax", "LogSoftmax", "Erf", "Sin", "Cos", "Tan", "LeakyRelu", "Elu", "Selu",
    "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Gelu", "Mish", "Sign", "Reciprocal", "Clip", 
    "InstanceNormalization", "GroupNormalization", "LpNormalization", "CumSum", "Hardmax", "Celu", "ThresholdedRelu",
    "ScatterND", "ScatterElements", "Scatter", "EyeLike", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Trilu", "ReverseSequence",
    "Acos", "Asin", "Atan", "Acosh", "Asinh", "Atanh", "Sinh", "Cosh", "Scaler", "Binarizer", "Imputer", "Normalizer", "Shrink",
    "BitwiseNot", "CumProd", "IsInf", "IsNaN", "LRN", "MeanVarianceNormalization", "RMSNormalization", "RotaryEmbedding", "Swish",
    "RegexFullMatch", "TensorScatter", "SwiGLU", "Optional", "OptionalGetElement",
)  # fmt: skip
_BROADCAST = (
    *(op for op in _ARITHMETIC), "Div", "GreaterOrEqual", "LessOrEqual", "Xor", "PRelu", "Sum", "Mean", "BitShift", "BitwiseAnd",
    "BitwiseOr", "BitwiseXor",
)  # fmt: skip
_SEQUENCES = (
    "SequenceConstruct",
    "SequenceInsert",
    "SequenceErase",
    "SequenceAt",
    "SequenceEmpty",
    "ConcatFromSequence",
)
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
    **dict.fromkeys(("Dropout", "LayerNormalization", "BatchNormalization"), _with_statistics),
    "ArgMax": _arg_reduce, "ArgMin": _arg_reduce, "BitCast": _recast, "CastLike": _likely_typed, "DequantizeLinear": _wide,
    "QuantizeLinear": _wide, "DynamicQuantizeLinear": _wide, "LabelEncoder": _labels, "CategoryMapper": _labels,
    "ConvInteger": _weights_at(1, 4), "MatMulInteger": _weights_at(1, 4), "QLinearConv": _weights_at(3, 1),
    "QLinearMatMul": _weights_at(3, 1), "DeformConv": _weights_at(1, 1), "NonZero": _non_zero, "Compress": _compress, "Unique": _unique,
    "TopK": _top, "Split": _split, "SplitToSequence": _split_to_sequence, "GatherND": _by_indices,
    **dict.fromkeys(_SEQUENCES, _sequence),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global_pool), "GridSample": _grid_sample,
    "RoiAlign": _regions, "MaxRoiPool": _regions, "MaxUnpool": _unpool, "NonMaxSuppression": _suppressed,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent), "DepthToSpace": _blocks, "SpaceToDepth": _blocks,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _window), "MelWeightMatrix": _mel, "DFT": _fourier,
    "STFT": _short_fourier, "CenterCropPad": _crop_or_pad, "Col2Im": _images, "AffineGrid": _grid, "StringSplit": _split_text,
    "StringNormalizer": _text_at_most, "Attention": _attention, "SoftmaxCrossEntropyLoss": _losses,
    "NegativeLogLikelihoodLoss": _losses, "Det": _without_matrix, "TfIdfVectorizer": _ngrams, "FeatureVectorizer": _vectors,
    "LinearRegressor": _targets, "TreeEnsembleRegressor": _targets, "TreeEnsemble": _targets, "ArrayFeatureExtractor": _extracted,
    "CastMap": _dense_map, "SequenceLength": _sequence_length, "OptionalHasElement": _sequence_length,
}  # fmt: skip


def _fused_matmul(node: Node, inputs: list[Known | None]) -> Known:
    turned = []
    for at, name in enumerate(("transA", "transB")):
        one = _given(inputs[at])
        turned.append(
            one._replace(shape=(*one.shape[:-2], one.shape[-1], one.shape[-2])) if _whole(node, name, 0) else one
        )
    if _whole(node, "transBatchA", 0) or _whole(node, "transBatchB", 0):
        raise ValueError
    return _matmul(node, [*turned])


def _quantized(node: Node, inputs: list[Known | None]) -> Known:
    return _broadcast([inputs[0], inputs[3]])


def _crops(node: Node, inputs: list[Known | None]) -> Known:
    one, regions, size = _given(inputs[0]), _given(inputs[1]), _ints(inputs[3])
    if size is None:
        raise ValueError
    return _of_shape([regions.shape[0], one.shape[1], *size], one.each)


OF_MICROSOFT: dict[str, Callable[[Node, list[Known | None]], Known | Sequence[Known | None] | None]] = {
    **{op: RULES[op] for op in ("Pad", "Range", "Unique", "GatherND", "Trilu", "Gelu")},
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _quantized), "FusedMatMul": _fused_matmul, "TransposeMatMul": _fused_matmul,
    "FusedGemm": _gemm, "FusedConv": _conv, "ConvTransposeWithDynamicPads": _conv, "CropAndResize": _crops,
}  # fmt: skip
"""Rules for operators of onnxruntime's own that give more than they are given."""
BY_ATTRIBUTE = {
    **dict.fromkeys(("RandomUniform", "RandomNormal"), ("shape",)),
    **dict.fromkeys(
        (
            "Conv", "ConvTranspose", "FusedConv", "ConvTransposeWithDynamicPads", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool",
            "AveragePool", "LpPool", "MaxUnpool",
        ),
        ("kernel_shape", "strides", "pads", "output_padding", "output_shape"),
    ),
    "Pad": ("pads",), "Multinomial": ("sample_size",), "RoiAlign": ("output_height", "output_width"), "MaxRoiPool": ("pooled_shape",),
    "TfIdfVectorizer": ("ngram_indexes",), "FeatureVectorizer": ("inputdimensions",), "LinearRegressor": ("targets",),
    "TreeEnsembleRegressor": ("n_targets",), "TreeEnsemble": ("n_targets",), "CastMap": ("max_map",),
}  # fmt: skip
"""Attributes that say how large an output is."""
RISING = frozenset((
    "Add", "Mul", "Max", "Sum", "Concat", "Gather", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Identity", "Slice", "Expand", "Tile",
    "Shape", "Size", "Split", "Transpose", "ReduceSum", "ReduceProd", "ReduceMax",
))  # fmt: skip
"""Operators that give no larger values for values that are no larger, and not negative."""
MULTIPLIED = frozenset((
    *_BROADCAST, "MatMul", "Gemm", "Einsum", "Gather", "GatherND", "ConvTranspose", "Conv", "ConvInteger", "MatMulInteger", "QLinearMatMul",
    "QLinearConv", "DeformConv", "Attention", "ArrayFeatureExtractor", "RoiAlign", "MaxRoiPool", "NonMaxSuppression", "RNN", "GRU", "LSTM",
)) - {"Not", "Neg", "Abs", "Floor", "Ceil", "Round", "Sqrt"}  # fmt: skip
"""Operators that give at most as many values as those of their inputs make together, each with each; all others as many as in sum."""
WIDENED = frozenset(
    ("Cast", "CastLike", "NonZero", "DequantizeLinear", "ArgMax", "ArgMin", "Unique", "TopK", "EyeLike", "StringSplit")
)
"""Operators of which a value may take more bytes than those that it is made of."""
