"""The encoder graph: fitted encoders as one ONNX graph, which encodes the training data and serves inside the model.

Inputs are few, as ``GraphInput`` describes: all numbers joined in ``numbers``, each text or integer category by itself, and each
number that is standardized in float64.
Outputs are ``dense`` float32 ``[n, dense_dim]``, which holds the numbers and one-hots in the features' order, and for
each Embedding feature its codes under its own name, int64 ``[n, 1]``.

Mean and deviation are learned in float64 over the float32 values that the graph sees, and applied in float32. What does
not come out finite (NaN, infinities, a value or a difference beyond float32) is encoded as missing, which is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import NUMBERS, Column, GraphInput
from fti_assets.core.types import INPUTS, MISSING_INTEGER
from fti_assets.training.encoders.encoders import (
    DENSE,
    FittedEmbedding,
    FittedEncoder,
    FittedOneHot,
    FittedPassthrough,
    FittedStandardize,
)

OPSET = 17
ML_OPSET = 4
IR_VERSION = 8
CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class EncoderModel:
    """Fitted encoders, and the ONNX graph that applies them.

    ``dense_columns`` names the columns of ``dense``: ``temp``, ``origin=JFK``.
    """

    features: tuple[Column, ...]
    encoders: Mapping[str, FittedEncoder]
    graph: bytes
    inputs: tuple[GraphInput, ...]
    dense_columns: tuple[str, ...]
    cardinalities: Mapping[str, int]

    @property
    def dense_dim(self) -> int:
        """Columns of ``dense``."""
        return len(self.dense_columns)

    def encode(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Encode ``n`` rows of canonical columns with onnxruntime, in chunks, exactly as serving will.

        Returns:
            ``dense`` float32 ``[n, dense_dim]``, and each Embedding feature int64 ``[n, 1]``.

        Raises:
            DataError: a feature is not among the columns, or they differ in length.
        """
        from fti_assets.stores.models.graphs.graph import Graph

        graph = Graph.from_bytes(self.graph, self.inputs, what="the encoder graph")
        feeds = graph.feeds(columns)
        rows = len(next(iter(feeds.values())))
        arrays = {DENSE: np.empty((rows, self.dense_dim), dtype=np.float32)}
        arrays |= {feature: np.empty((rows, 1), dtype=np.int64) for feature in self.cardinalities}
        for start in range(0, rows, CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            for name, values in graph.run_feeds({name: values[chunk] for name, values in feeds.items()}).items():
                arrays[name][chunk] = values
        return arrays


def build_encoder(features: Sequence[Column], encoders: Mapping[str, FittedEncoder]) -> EncoderModel:
    """Build the encoder graph of a view.

    Args:
        features: the view's features in order.
        encoders: each feature's fitted encoder, as ``fit_encoders`` gives them.

    Raises:
        MissingExtraError: onnx is not installed.

    >>> model = build_encoder([Column("temp", "number")], {"temp": FittedStandardize(10.0, 5.0)})
    >>> model.encode({"temp": np.array([20.0, np.nan])})["dense"].tolist()
    [[2.0], [0.0]]
    """
    nodes = _Nodes()
    numbers = tuple(
        one.name for one in features if _is_number(encoders[one.name]) and not _is_double(encoders[one.name])
    )
    inputs = [GraphInput(NUMBERS, "float32", numbers)] if numbers else []
    blocks = [_numbers_block(nodes, [encoders[name] for name in numbers])] if numbers else []
    # Where each feature's columns stand once the blocks are joined, and what they are called.
    places = {name: [position] for position, name in enumerate(numbers)}
    names: dict[str, list[str]] = {name: [name] for name in numbers}
    cardinalities, width = {}, len(numbers)
    for column in features:
        encoder = encoders[column.name]
        if isinstance(encoder, FittedStandardize) and _is_double(encoder):
            inputs.append(GraphInput(f"double.{column.name}", "float64", (column.name,)))
            blocks.append(_double_block(nodes, inputs[-1].name, encoder))
            places[column.name], names[column.name] = [width], [column.name]
            width += 1
        if not isinstance(encoder, FittedOneHot | FittedEmbedding):
            continue
        source = _category_input(column)
        inputs.append(source)
        if isinstance(encoder, FittedEmbedding):
            nodes.add("Identity", [_codes(nodes, source, encoder.categories)], output=column.name)
            cardinalities[column.name] = len(encoder.categories) + 1
            continue
        places[column.name] = list(range(width, width + len(encoder.categories)))
        names[column.name] = [f"{column.name}={category}" for category in encoder.categories]
        width += len(encoder.categories)
        if encoder.categories:
            blocks.append(_one_hot_block(nodes, source, encoder.categories))
    _dense(nodes, blocks, [place for one in features for place in places.get(one.name, [])], inputs[0])
    return EncoderModel(
        features=tuple(features),
        encoders=dict(encoders),
        graph=_model(nodes, inputs, width, cardinalities).SerializeToString(),
        inputs=tuple(inputs),
        dense_columns=tuple(name for one in features for name in names.get(one.name, [])),
        cardinalities=cardinalities,
    )


class _Nodes:
    """Nodes and initializers of a graph in the making, with names of their own."""

    def __init__(self) -> None:
        self.onnx = require("onnx")
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}.{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type) -> str:
        name = f"constant.{len(self.initializers)}"
        self.initializers.append(self.onnx.numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name


def _category_input(column: Column) -> GraphInput:
    if column.type == "text":
        return GraphInput(f"text.{column.name}", "string", (column.name,))
    return GraphInput(f"integer.{column.name}", "int64", (column.name,))


def _is_number(encoder: FittedEncoder) -> bool:
    return isinstance(encoder, FittedStandardize | FittedPassthrough)


def _is_double(encoder: FittedEncoder) -> bool:
    return isinstance(encoder, FittedStandardize) and encoder.dtype == "float64"


def _double_block(nodes: _Nodes, source: str, encoder: FittedStandardize) -> str:
    """Standardized in float64: what is left after the mean is small enough for float32."""
    difference = nodes.add("Sub", [source, nodes.constant([[encoder.mean]], np.float64)])
    quotient = nodes.add("Div", [difference, nodes.constant([[encoder.std]], np.float64)])
    single = nodes.add("Cast", [quotient], to=nodes.onnx.TensorProto.FLOAT)
    finite = nodes.add("Less", [nodes.add("Abs", [single]), nodes.constant(np.inf, np.float32)])
    return nodes.add("Where", [finite, single, nodes.constant(0.0, np.float32)])


def _numbers_block(nodes: _Nodes, encoders: list[FittedEncoder]) -> str:
    scales = [one if isinstance(one, FittedStandardize) else None for one in encoders]
    if not any(scales):
        return NUMBERS
    difference = nodes.add("Sub", [NUMBERS, nodes.constant([[one.mean if one else 0.0 for one in scales]], np.float32)])
    quotient = nodes.add("Div", [difference, nodes.constant([[one.std if one else 1.0 for one in scales]], np.float32)])
    # Less of an absolute value is false for NaN and for infinities: one comparison says what is finite.
    keep = nodes.add("Less", [nodes.add("Abs", [quotient]), nodes.constant(np.inf, np.float32)])
    if not all(scales):
        keep = nodes.add("Or", [keep, nodes.constant([[one is None for one in scales]], np.bool_)])
    return nodes.add("Where", [keep, quotient, nodes.constant(0.0, np.float32)])


def _one_hot_block(nodes: _Nodes, source: GraphInput, categories: tuple[str, ...] | tuple[int, ...]) -> str:
    names: dict[str, Any] = {"cats_strings" if source.type == "string" else "cats_int64s": list(categories)}
    wide = nodes.add("OneHotEncoder", [source.name], domain="ai.onnx.ml", zeros=1, **names)
    return nodes.add("Reshape", [wide, nodes.constant([0, len(categories)], np.int64)])  # 0: as many rows as there are


def _codes(nodes: _Nodes, source: GraphInput, categories: tuple[str, ...] | tuple[int, ...]) -> str:
    missing, keys = ("", "keys_strings") if source.type == "string" else (MISSING_INTEGER, "keys_int64s")
    codes: dict[str, Any] = {keys: [missing, *categories], "values_int64s": list(range(len(categories) + 1))}
    return nodes.add("LabelEncoder", [source.name], domain="ai.onnx.ml", default_int64=0, **codes)


def _dense(nodes: _Nodes, blocks: list[str], order: list[int], first: GraphInput) -> None:
    if not blocks:  # no columns, but as many rows as there are
        rows = nodes.add(
            "Slice", [nodes.add("Shape", [first.name]), *(nodes.constant([at], np.int64) for at in (0, 1))]
        )
        shape = nodes.add("Concat", [rows, nodes.constant([0], np.int64)], axis=0)
        nodes.add("Expand", [nodes.constant(np.empty((1, 0)), np.float32), shape], output=DENSE)
        return
    dense = blocks[0] if len(blocks) == 1 else nodes.add("Concat", blocks, axis=1)
    # Blocks of one kind are computed at once; the view's order of features comes back here, if it is another.
    if order != sorted(order):
        dense = nodes.add("Gather", [dense, nodes.constant(order, np.int64)], axis=1)
    nodes.add("Identity", [dense], output=DENSE)


def _model(nodes: _Nodes, inputs: list[GraphInput], width: int, cardinalities: Mapping[str, int]) -> Any:
    helper, kinds = nodes.onnx.helper, nodes.onnx.TensorProto
    graph = helper.make_graph(
        nodes.nodes,
        "encoders",
        [
            helper.make_tensor_value_info(one.name, getattr(kinds, INPUTS[one.type].element), ["n", len(one.features)])
            for one in inputs
        ],
        [
            helper.make_tensor_value_info(DENSE, kinds.FLOAT, ["n", width]),
            *(helper.make_tensor_value_info(feature, kinds.INT64, ["n", 1]) for feature in cardinalities),
        ],
        nodes.initializers,
    )
    # Versions are fixed: the newest that onnx has may be later than the app's onnxruntime reads.
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fti_assets")
    nodes.onnx.checker.check_model(model)
    return model
