"""The sizes that operators on shapes, indices and sequences give, of the sizes of their inputs."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fti_assets.stores.models.graphs.onnx_parts import Node
from fti_assets.stores.models.graphs.size_rules.tensor_size import (
    BYTES,
    FEW,
    TENSOR_BYTES,
    TEXT_BYTES,
    TensorSize,
    at_most,
    attribute,
    axes_of,
    few_values,
    number_of,
    of_shape,
    of_tensor,
    require_sizes,
    whole_number,
    whole_numbers,
)


def constant_value(node: Node, inputs: list[TensorSize | None]) -> TensorSize | None:
    if node.tensors:
        return None if node.tensors[-1].is_sparse else of_tensor(node.tensors[-1])
    for name, number in (("value_int", 7), ("value_ints", 7), ("value_float", 1), ("value_floats", 1)):
        if name in node.numbers and name not in node.opaque:
            values = np.array(node.numbers[name])
            return TensorSize(
                () if not name.endswith("s") else values.shape,
                BYTES[number],
                values.reshape(() if not name.endswith("s") else -1),
            )
    if "value_string" in node.texts:
        return TensorSize((), TEXT_BYTES + len(node.texts["value_string"]))
    return None


def constant_of_shape(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    each = BYTES.get(node.tensors[-1].type, 8) if node.tensors else 4
    output = of_shape(whole_numbers(inputs[0]), each)
    numbers = node.tensors[-1].values() if node.tensors else [0.0]
    return output._replace(values=np.full(output.shape, numbers[0]) if numbers and prod(output.shape) <= FEW else None)


def expand(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, shape = require_sizes(inputs[0]), of_shape(whole_numbers(inputs[1]), 1).shape
    output = TensorSize(np.broadcast_shapes(one.shape, shape), one.each)
    few = one.values is not None and prod(output.shape) <= FEW
    return output._replace(values=np.broadcast_to(one.values, output.shape) if few else None)


def tile(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, repeats = require_sizes(inputs[0]), whole_numbers(inputs[1])
    if repeats is None:
        raise ValueError
    output = TensorSize(tuple(a * max(b, 0) for a, b in zip(one.shape, repeats, strict=True)), one.each)
    few = one.values is not None and prod(output.shape) <= FEW
    return output._replace(values=np.tile(one.values, repeats) if few else None)


def range_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    start, limit = number_of(inputs[0]), number_of(inputs[1])
    step = number_of(inputs[2]) if len(inputs) > 2 and node.inputs[2] else 1.0  # which onnxruntime's own may leave out
    if start is None or limit is None or step is None:
        raise ValueError
    count = max(0, -int(-(limit - start) // step))
    values = (
        np.arange(int(start), int(limit), int(step))
        if count <= FEW and step == int(step) and start == int(start)
        else None
    )
    return TensorSize((count,), require_sizes(inputs[0]).each, values)


def pad(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    pads = whole_numbers(inputs[1]) if len(inputs) > 1 else attribute(node, "pads")
    axes = whole_numbers(inputs[3]) if len(inputs) > 3 and node.inputs[3] else list(range(len(one.shape)))
    if pads is None or axes is None:
        raise ValueError
    sizes = list(one.shape)
    for at, axis in enumerate(axes):
        sizes[axis] += pads[at] + pads[at + len(axes)]
    return of_shape(sizes, one.each)


def resize(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    at_scales, at_sizes = (1, 9) if node.op == "Upsample" else (2, 3)
    sizes = whole_numbers(inputs[at_sizes]) if len(inputs) > at_sizes and node.inputs[at_sizes] else None
    axes = [int(axis) % len(one.shape) for axis in node.numbers.get("axes") or range(len(one.shape))]
    if sizes is None:
        scales = require_sizes(inputs[at_scales]).values.reshape(-1)
        sizes = [int(one.shape[axis] * scale) for axis, scale in zip(axes, scales, strict=True)]
    policy = node.texts.get("keep_aspect_ratio_policy", "stretch")
    if len(inputs) > at_sizes and node.inputs[at_sizes] and policy != "stretch":
        ratios = [size / one.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        sizes = [int(one.shape[axis] * ratio + 0.5) for axis in axes]
    shape = list(one.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return of_shape(shape, one.each)


def one_hot(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, depth = require_sizes(inputs[0]), number_of(inputs[1])
    if depth is None:
        raise ValueError
    each = inputs[2].each if inputs[2] is not None else 8
    axis = whole_number(node, "axis", -1)
    at = axis if axis >= 0 else len(one.shape) + 1 + axis
    return of_shape([*one.shape[:at], int(depth), *one.shape[at:]], each)


def by_attribute(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return of_shape(attribute(node, "shape"), BYTES.get(whole_number(node, "dtype", 1), 8))


def shape_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    shape = require_sizes(inputs[0]).shape
    start, end = whole_number(node, "start", 0), attribute(node, "end")
    values = np.array(shape, dtype=np.int64)[start : end[0] if end else None]
    return TensorSize(values.shape, 8, values)


def size_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return TensorSize((), 8, np.array(prod(require_sizes(inputs[0]).shape)))


def concat(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    ones = [require_sizes(one) for one in inputs]
    axis = whole_number(node, "axis", 0) % len(ones[0].shape)
    shape = list(ones[0].shape)
    shape[axis] = sum(one.shape[axis] for one in ones)
    few = all(one.values is not None for one in ones) and prod(shape) <= FEW
    return TensorSize(
        tuple(shape), max(one.each for one in ones), np.concatenate([one.values for one in ones], axis) if few else None
    )


def gather(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, at = require_sizes(inputs[0]), require_sizes(inputs[1])
    axis = whole_number(node, "axis", 0) % len(one.shape)
    few = one.values is not None and at.values is not None
    values = np.take(one.values, at.values.astype(int), axis) if few else None
    return TensorSize((*one.shape[:axis], *at.shape, *one.shape[axis + 1 :]), one.each, values)


def reshape(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    sizes = whole_numbers(inputs[1]) if len(inputs) > 1 else attribute(node, "shape")
    if sizes is None:
        raise ValueError
    if not whole_number(node, "allowzero", 0):
        sizes = [one.shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(one.shape) // max(1, -prod(sizes))
    if prod(sizes) != prod(one.shape):
        if one.is_most or require_sizes(inputs[1]).is_most:
            return of_shape(sizes, one.each)
        raise ValueError
    return TensorSize(tuple(sizes), one.each, None if one.values is None else one.values.reshape(sizes))


def squeeze(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, axes = require_sizes(inputs[0]), axes_of(node, inputs)
    singles = (
        {axis % len(one.shape) for axis in axes} if axes else {at for at, size in enumerate(one.shape) if size == 1}
    )
    shape = tuple(size for at, size in enumerate(one.shape) if at not in singles)
    return TensorSize(shape, one.each, None if one.values is None else one.values.reshape(shape))


def unsqueeze(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, axes = require_sizes(inputs[0]), axes_of(node, inputs) or []
    rank = len(one.shape) + len(axes)
    new, old = {axis % rank for axis in axes}, iter(one.shape)
    shape = tuple(1 if at in new else next(old) for at in range(rank))
    return TensorSize(shape, one.each, None if one.values is None else one.values.reshape(shape))


def transpose(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    order = attribute(node, "perm", list(range(len(one.shape)))[::-1])
    return TensorSize(
        tuple(one.shape[at] for at in order), one.each, None if one.values is None else one.values.transpose(order)
    )


def flatten(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    axis = whole_number(node, "axis", 1)
    return TensorSize((prod(one.shape[:axis]), prod(one.shape[axis:])), one.each)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceMean": np.mean,
}  # fmt: skip


def reduce(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, axes = require_sizes(inputs[0]), axes_of(node, inputs)
    if not axes and whole_number(node, "noop_with_empty_axes", 0):
        return one
    reduction = {axis % len(one.shape) for axis in axes} if axes else set(range(len(one.shape)))
    keeps = whole_number(node, "keepdims", 1)
    shape = tuple(1 if at in reduction else size for at, size in enumerate(one.shape) if keeps or at not in reduction)
    values = None
    if one.values is not None and one.values.size and node.op in REDUCTIONS:
        wide = one.values.astype(object) if one.values.dtype.kind in "iu" else one.values
        values = few_values(
            np.asarray(REDUCTIONS[node.op](wide, axis=tuple(sorted(reduction))), dtype=float).reshape(shape)
        )
    return TensorSize(shape, one.each, values)


def slice_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    if len(inputs) > 1:
        starts, ends = whole_numbers(inputs[1]), whole_numbers(inputs[2])
        axes = whole_numbers(inputs[3]) if len(inputs) > 3 and node.inputs[3] else None
        steps = whole_numbers(inputs[4]) if len(inputs) > 4 and node.inputs[4] else None
    else:
        starts, ends, axes, steps = attribute(node, "starts"), attribute(node, "ends"), attribute(node, "axes"), None
    if starts is None or ends is None:
        return at_most(one)
    cuts = [slice(None)] * len(one.shape)
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        cuts[axis] = slice(start, None if step < 0 and end < -one.shape[axis] else end, step)
    shape = tuple(len(range(*cut.indices(size))) for cut, size in zip(cuts, one.shape, strict=True))
    return TensorSize(shape, one.each, None if one.values is None else one.values[tuple(cuts)])


def arg_reduce(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    axis = whole_number(node, "axis", 0) % len(one.shape)
    middle = (1,) if whole_number(node, "keepdims", 1) else ()
    return TensorSize((*one.shape[:axis], *middle, *one.shape[axis + 1 :]), 8)


def non_zero(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    return at_most(TensorSize((max(len(one.shape), 1), prod(one.shape)), 8))


def compress(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    return at_most(one if "axis" in node.numbers else TensorSize((prod(one.shape),), one.each))


def unique_values(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one = require_sizes(inputs[0])
    count = one.shape[whole_number(node, "axis", 0)] if "axis" in node.numbers else prod(one.shape)
    values = one if "axis" in node.numbers else TensorSize((count,), one.each)
    return [at_most(values), *[at_most(TensorSize((count,), 8))] * 3]


def top_sizes(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one = require_sizes(inputs[0])
    count = number_of(inputs[1]) if len(inputs) > 1 else whole_number(node, "k", 1)
    shape, axis = list(one.shape), whole_number(node, "axis", -1)
    shape[axis] = shape[axis] if count is None else min(shape[axis], int(count))
    outputs = [TensorSize(tuple(shape), one.each), TensorSize(tuple(shape), 8)]
    return [*(map(at_most, outputs) if count is None else outputs)]


def split_sizes(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one, outputs = require_sizes(inputs[0]), len(node.outputs)
    axis = whole_number(node, "axis", 0) % len(one.shape)
    sizes = attribute(node, "split")
    if len(inputs) > 1 and node.inputs[1]:
        sizes = whole_numbers(inputs[1])
        if sizes is None:
            return [at_most(one)] * outputs
    if not sizes:
        part = -(-one.shape[axis] // whole_number(node, "num_outputs", outputs))
        sizes = [max(0, min(part, one.shape[axis] - at * part)) for at in range(outputs)]
    parts: list[TensorSize | None] = []
    for at, size in enumerate(sizes):
        start, cut = sum(sizes[:at]), [slice(None)] * len(one.shape)
        cut[axis] = slice(start, start + size)
        shape = (*one.shape[:axis], max(size, 0), *one.shape[axis + 1 :])
        parts.append(TensorSize(shape, one.each, None if one.values is None else one.values[tuple(cut)]))
    return parts


def split_to_sequence(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    """All parts together, each a tensor of its own."""
    one = require_sizes(inputs[0])
    axis = whole_number(node, "axis", 0) % len(one.shape)
    sizes = whole_numbers(inputs[1]) if len(inputs) > 1 and node.inputs[1] else [1]
    least = 1 if sizes is None else max(1, sizes[0]) if len(sizes) == 1 else 0
    parts = -(-one.shape[axis] // least) if least else len(sizes or ())
    return TensorSize(None, 1, more=one.bytes + parts * TENSOR_BYTES)


def sequence_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    """A sequence of tensors, as one that is as large as all."""
    ones = [one for one in inputs if one is not None]
    if len(ones) < len([name for name in node.inputs if name]):
        raise ValueError
    return TensorSize(None, 1, more=sum(one.bytes for one in ones) + TENSOR_BYTES * len(ones))


def sequence_length(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return TensorSize((), 8)


def by_indices(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, at, batch = require_sizes(inputs[0]), require_sizes(inputs[1]), whole_number(node, "batch_dims", 0)
    return TensorSize((*at.shape[:-1], *one.shape[batch + at.shape[-1] :]), one.each)
