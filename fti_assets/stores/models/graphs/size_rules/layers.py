"""The sizes that layers, images, signals and texts give, of the sizes of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from fti_assets.stores.models.graphs.onnx_parts import Node
from fti_assets.stores.models.graphs.size_rules.tensor_size import (
    BYTES,
    TEXT_BYTES,
    TensorSize,
    at_most,
    attribute,
    broadcast,
    number_of,
    of_shape,
    require_sizes,
    whole_number,
    whole_numbers,
)


def matmul(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    a, b = require_sizes(inputs[0]), require_sizes(inputs[1])
    left, right = a.shape, b.shape
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    return TensorSize((*batch, *rows, *columns), max(a.each, b.each))


def gemm(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    a, b = require_sizes(inputs[0]), require_sizes(inputs[1])
    return TensorSize((a.shape[whole_number(node, "transA", 0)], b.shape[1 - whole_number(node, "transB", 0)]), a.each)


def _spatial(node: Node, one: TensorSize, kernel: Sequence[int], channels: int) -> TensorSize:
    """The sizes after a window that moves over all but the first two."""
    sizes = one.shape[2:]
    ones, zeros = [1] * len(sizes), [0] * len(sizes)
    strides, dilations = attribute(node, "strides", ones), attribute(node, "dilations", ones)
    pads = attribute(node, "pads", [*zeros, *zeros])
    result = []
    for at, size in enumerate(sizes):
        reach, padding = dilations[at] * (kernel[at] - 1) + 1, pads[at] + pads[at + len(sizes)]
        if node.texts.get("auto_pad", "").startswith("SAME"):
            result.append(size * strides[at] if node.op.startswith("ConvTranspose") else -(-size // strides[at]))
        elif node.op.startswith("ConvTranspose"):
            more = attribute(node, "output_padding", zeros)[at]
            result.append(strides[at] * (size - 1) + more + reach - padding)
        else:
            result.append((size + padding - reach) // strides[at] + 1 + whole_number(node, "ceil_mode", 0))
    return of_shape([one.shape[0], channels, *(attribute(node, "output_shape") or result)], one.each)


def conv(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, weights = require_sizes(inputs[0]), require_sizes(inputs[1])
    channels = (
        weights.shape[0] if node.op in ("Conv", "FusedConv") else weights.shape[1] * whole_number(node, "group", 1)
    )
    return _spatial(node, one, weights.shape[2:], channels)


def pool(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one = require_sizes(inputs[0])
    output = _spatial(node, one, attribute(node, "kernel_shape"), one.shape[1])
    return [output, TensorSize(output.shape, 8)]


def multinomial(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return TensorSize((require_sizes(inputs[0]).shape[0], whole_number(node, "sample_size", 1)), 8)


def text_concat(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    output = broadcast(inputs)
    return TensorSize(output.shape, sum(require_sizes(one).each for one in inputs))


def einsum(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    """The sizes of a product that is named by letters; without an arrow those that come once are left, in their order."""
    left, arrow, right = node.texts["equation"].replace(" ", "").partition("->")
    ones = [require_sizes(one) for one in inputs]
    sizes: dict[str, int] = {}
    for letters, one in zip(left.split(","), ones, strict=True):
        for letter, size in zip(letters, one.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    axes = right if arrow else "".join(sorted(letter for letter in sizes if left.count(letter) == 1))
    return TensorSize(tuple(sizes[letter] for letter in axes), max(one.each for one in ones))


def likely_typed(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return TensorSize(require_sizes(inputs[0]).shape, require_sizes(inputs[1]).each)


def size_widths(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    """As many numbers as there are values, of eight bytes at most."""
    one = TensorSize(require_sizes(inputs[0]).shape, 8)
    return [one, TensorSize((), 8), TensorSize((), 8)]


def labels(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    texts = max([node.longest, *map(len, node.texts.values())])
    return TensorSize(require_sizes(inputs[0]).shape, TEXT_BYTES + texts)


def weights_at(at: int, each: int) -> Callable[[Node, list[TensorSize | None]], TensorSize]:
    def product(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
        pair = [inputs[0], inputs[at]]
        output = (
            matmul(node, pair)
            if "MatMul" in node.op
            else _spatial(
                node, require_sizes(pair[0]), require_sizes(pair[1]).shape[2:], require_sizes(pair[1]).shape[0]
            )
        )
        return TensorSize(output.shape, max(each, output.each))

    return product


def global_pool(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    return TensorSize((*one.shape[:2], *[1] * len(one.shape[2:])), one.each)


def grid_sample(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, grid = require_sizes(inputs[0]), require_sizes(inputs[1])
    return TensorSize((*one.shape[:2], *grid.shape[1:-1]), one.each)


def regions(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, regions = require_sizes(inputs[0]), require_sizes(inputs[1])
    sizes = [whole_number(node, "output_height", 1), whole_number(node, "output_width", 1)]
    return of_shape([regions.shape[0], one.shape[1], *(attribute(node, "pooled_shape") or sizes)], one.each)


def unpool(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    if len(inputs) > 2 and node.inputs[2]:
        return of_shape(whole_numbers(inputs[2]), one.each)
    kernel = attribute(node, "kernel_shape")
    strides = attribute(node, "strides", [1] * len(kernel))
    pads = attribute(node, "pads", [0] * (2 * len(kernel)))
    sizes = [
        (size - 1) * strides[at] - pads[at] - pads[at + len(kernel)] + kernel[at]
        for at, size in enumerate(one.shape[2:])
    ]
    return of_shape([*one.shape[:2], *sizes], one.each)


def selection_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    boxes, scores = require_sizes(inputs[0]), require_sizes(inputs[1])
    return at_most(TensorSize((prod(scores.shape[:2]) * boxes.shape[1], 3), 8))


def recurrent(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one, weights = require_sizes(inputs[0]), require_sizes(inputs[2])
    directions, width = weights.shape[0], weights.shape[2]
    length, batch = one.shape[:2]
    if whole_number(node, "layout", 0):
        length, batch = batch, length
    first, last = (length, directions, batch, width), (directions, batch, width)
    if whole_number(node, "layout", 0):
        first, last = (batch, length, directions, width), (batch, directions, width)
    return [TensorSize(first, one.each), TensorSize(last, one.each), TensorSize(last, one.each)]


def blocks(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, block = require_sizes(inputs[0]), whole_number(node, "blocksize", 1)
    batch, channels, height, width = one.shape
    if node.op == "DepthToSpace":
        return TensorSize((batch, channels // block**2, height * block, width * block), one.each)
    return TensorSize((batch, channels * block**2, height // block, width // block), one.each)


def window_of(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return of_shape(whole_numbers(inputs[0]), BYTES.get(whole_number(node, "output_datatype", 1), 8))


def mel(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    bins, length = number_of(inputs[0]), number_of(inputs[1])
    if bins is None or length is None:
        raise ValueError
    return of_shape([int(length) // 2 + 1, int(bins)], BYTES.get(whole_number(node, "output_datatype", 1), 8))


def fourier(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    shape, each = [*one.shape[:-1], 2], one.each
    axis = number_of(inputs[2]) if len(inputs) > 2 and node.inputs[2] else whole_number(node, "axis", 1)
    length = require_sizes(inputs[1]) if len(inputs) > 1 and node.inputs[1] else None
    if axis is None or (length is not None and length.values is None):
        raise ValueError
    if length is not None:
        shape[int(axis)] = int(length.values.reshape(-1)[0])
    return of_shape(shape, each)


def short_fourier(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, step = require_sizes(inputs[0]), number_of(inputs[1])
    length = number_of(inputs[3]) if len(inputs) > 3 and node.inputs[3] else None
    if length is None and len(inputs) > 2 and node.inputs[2]:
        length = require_sizes(inputs[2]).shape[0]
    if step is None or length is None:
        raise ValueError
    frames = (one.shape[1] - int(length)) // int(step) + 1
    bins = int(length) // 2 + 1 if whole_number(node, "onesided", 1) else int(length)
    return of_shape([one.shape[0], frames, bins, 2], one.each)


def crop_or_pad(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, sizes = require_sizes(inputs[0]), whole_numbers(inputs[1])
    if sizes is None:
        raise ValueError
    shape = list(one.shape)
    for axis, size in zip(attribute(node, "axes") or range(len(shape)), sizes, strict=True):
        shape[axis] = size
    return of_shape(shape, one.each)


def image_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, image, block = require_sizes(inputs[0]), whole_numbers(inputs[1]), whole_numbers(inputs[2])
    if image is None or block is None:
        raise ValueError
    return of_shape([one.shape[0], one.shape[1] // max(1, prod(block)), *image], one.each)


def grid_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, size = require_sizes(inputs[0]), whole_numbers(inputs[1])
    if size is None:
        raise ValueError
    return of_shape([size[0], *size[2:], len(size) - 2], one.each)


def split_text(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one = require_sizes(inputs[0])
    return [at_most(TensorSize((*one.shape, max(1, one.each // 2)), TEXT_BYTES)), TensorSize(one.shape, 8)]


def text_at_most(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return at_most(require_sizes(inputs[0]))


def attention(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    query, key, value = (require_sizes(one) for one in inputs[:3])
    four = len(query.shape) == 4
    heads = query.shape[1] if four else whole_number(node, "q_num_heads", 1)
    key_heads = key.shape[1] if four else whole_number(node, "kv_num_heads", 1)
    past = require_sizes(inputs[4]).shape[2] if len(inputs) > 4 and node.inputs[4] else 0
    batch, length = query.shape[0], key.shape[-2] + past
    widths = [one.shape[-1] if four else one.shape[-1] // key_heads for one in (key, value)]
    scores = TensorSize((batch, heads, query.shape[-2], length), query.each)
    shape = (*query.shape[:-1], widths[1] if four else widths[1] * heads)
    present = [TensorSize((batch, key_heads, length, width), query.each) for width in widths]
    return [TensorSize(shape, query.each, more=scores.bytes), *present, scores]


def with_statistics(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    """The first output as large as what is given; means, deviations or what was kept no larger."""
    one = TensorSize(require_sizes(inputs[0]).shape, max(4, require_sizes(inputs[0]).each))
    return [one._replace(each=require_sizes(inputs[0]).each), *[at_most(one)] * 2]


def losses(node: Node, inputs: list[TensorSize | None]) -> list[TensorSize | None]:
    one, labels = require_sizes(inputs[0]), require_sizes(inputs[1])
    shape = labels.shape if node.texts.get("reduction") == "none" else ()
    return [TensorSize(shape, one.each), TensorSize(one.shape, one.each)]


def without_matrix(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one = require_sizes(inputs[0])
    return TensorSize(one.shape[:-2], one.each)


def _rows_of(one: TensorSize) -> int:
    return one.shape[0] if len(one.shape) > 1 else 1


def ngrams(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    indexes = node.numbers["ngram_indexes"]
    return TensorSize((*require_sizes(inputs[0]).shape[:-1], int(max(indexes)) + 1), 4)


def vectors(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    sizes = attribute(node, "inputdimensions", [])
    return TensorSize((_rows_of(require_sizes(inputs[0])), sum(max(size, 0) for size in sizes)), 4)


def target_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    count = whole_number(node, "n_targets" if "Tree" in node.op else "targets", 1)
    return of_shape([_rows_of(require_sizes(inputs[0])), count], max(4, require_sizes(inputs[0]).each))


def feature_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, at = require_sizes(inputs[0]), require_sizes(inputs[1])
    return TensorSize((*(one.shape[:-1] or (1,)), prod(at.shape)), one.each)


def dense_map(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return of_shape([1, whole_number(node, "max_map", 1)], TEXT_BYTES)


def fused_matmul(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    operands = []
    for at, name in enumerate(("transA", "transB")):
        one = require_sizes(inputs[at])
        operands.append(
            one._replace(shape=(*one.shape[:-2], one.shape[-1], one.shape[-2])) if whole_number(node, name, 0) else one
        )
    if whole_number(node, "transBatchA", 0) or whole_number(node, "transBatchB", 0):
        raise ValueError
    return matmul(node, [*operands])


def quantized_sizes(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    return broadcast([inputs[0], inputs[3]])


def crops(node: Node, inputs: list[TensorSize | None]) -> TensorSize:
    one, regions, size = require_sizes(inputs[0]), require_sizes(inputs[1]), whole_numbers(inputs[3])
    if size is None:
        raise ValueError
    return of_shape([regions.shape[0], one.shape[1], *size], one.each)
