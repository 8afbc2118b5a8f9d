"""The encoder graph: fitted encoders as one ONNX graph, which encodes the training data and serves inside the model.

Inputs are few, as ``GraphInput`` describes: all numbers joined in ``numbers``, each text or integer category by itself, and each
number that is standardized, or placed in a cycle, in float64.
Outputs are ``dense`` float32 ``[n, dense_dim]``, which holds the numbers and one-hots in the features' order, and for
each Embedding feature its codes under its own name, int64 ``[n, 1]``.

Mean and deviation are learned in float64 over the float32 values that the graph sees, and applied in float32. What does
not come out finite (NaN, infinities, a value or a difference beyond float32) is encoded as missing, which is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fti_assets.core.manifest import NUMBERS, Column, GraphInput
from fti_assets.core.types import INPUTS
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.encoders import FittedEncoder
from fti_assets.training.encoders.fitted import FittedNumber, FittedSingle
from fti_assets.training.encoders.nodes import IR_VERSION, ML_OPSET, OPSET, Nodes

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
        graph = self._session
        feeds = graph.feeds(columns)
        rows = len(next(iter(feeds.values())))
        arrays = {DENSE: np.empty((rows, self.dense_dim), dtype=np.float32)}
        arrays |= {feature: np.empty((rows, 1), dtype=np.int64) for feature in self.cardinalities}
        for start in range(0, rows, CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            for name, values in graph.run_feeds({name: values[chunk] for name, values in feeds.items()}).items():
                arrays[name][chunk] = values
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_session"}

    @cached_property
    def _session(self) -> Any:
        from fti_assets.stores.models.graphs.graph import Graph

        return Graph.from_bytes(self.graph, self.inputs, what="the encoder graph")


def build_encoder(features: Sequence[Column], encoders: Mapping[str, FittedEncoder]) -> EncoderModel:
    """Build the encoder graph of a view.

    Args:
        features: the view's features in order.
        encoders: each feature's fitted encoder, as ``fit_encoders`` gives them.

    Raises:
        MissingExtraError: onnx is not installed.

    >>> from fti_assets.training.encoders.kinds.scales import FittedStandardize
    >>> model = build_encoder([Column("temp", "number")], {"temp": FittedStandardize(10.0, 5.0)})
    >>> model.encode({"temp": np.array([20.0, np.nan])})["dense"].tolist()
    [[2.0], [0.0]]
    """
    nodes = Nodes()
    parts = {column.name: encoders[column.name].in_graph() for column in features}
    groups = _groups({name: part for name, part in parts.items() if isinstance(part, FittedNumber)})
    numbers = tuple(name for group in groups.values() for name in group)
    inputs = [GraphInput(NUMBERS, "float32", numbers)] if numbers else []
    blocks: list[str] = []
    # Where each feature's columns stand once the blocks are joined.
    places: dict[str, list[int]] = {}
    cardinalities, width = {}, 0
    for kind, group in groups.items():
        own = [numbers.index(name) for name in group]
        source = NUMBERS if len(groups) == 1 else nodes.picked(NUMBERS, own)
        block, columns = kind.block(nodes, source, [parts[name] for name in group])
        blocks.append(block)
        places |= {name: [width + at for at in of_one] for name, of_one in zip(group, columns, strict=True)}
        width += sum(map(len, columns))
    for column in features:
        part = parts[column.name]
        if not isinstance(part, FittedSingle):
            continue
        inputs.append(part.source(column))
        if part.is_code:
            nodes.add("Identity", [part.nodes(nodes, inputs[-1])], output=column.name)
            cardinalities[column.name] = part.cardinality
            continue
        own_width = len(part.names(column.name))
        places[column.name] = list(range(width, width + own_width))
        width += own_width
        if own_width:
            blocks.append(part.nodes(nodes, inputs[-1]))
    _dense(nodes, blocks, [place for one in features for place in places.get(one.name, [])], inputs[0])
    return EncoderModel(
        features=tuple(features),
        encoders=dict(encoders),
        graph=_model(nodes, inputs, width, cardinalities).SerializeToString(),
        inputs=tuple(inputs),
        dense_columns=tuple(name for one in features for name in parts[one.name].names(one.name)),
        cardinalities=cardinalities,
    )


def _groups(parts: Mapping[str, FittedNumber]) -> dict[type[FittedNumber], list[str]]:
    """The features of each block, in the features' order."""
    groups: dict[type[FittedNumber], list[str]] = {}
    for name, part in parts.items():
        groups.setdefault(part.together(), []).append(name)
    return groups


def _dense(nodes: Nodes, blocks: list[str], order: list[int], first: GraphInput) -> None:
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


def _model(nodes: Nodes, inputs: list[GraphInput], width: int, cardinalities: Mapping[str, int]) -> Any:
    helper, kinds = nodes.onnx.helper, nodes.onnx.TensorProto
    graph = helper.make_graph(
        nodes.nodes,
        "encoders",
        [
            helper.make_tensor_value_info(one.name, getattr(kinds, INPUTS[one.type].element), ["n", one.width])
            for one in inputs
        ],
        [
            helper.make_tensor_value_info(DENSE, kinds.FLOAT, ["n", width]),
            *(helper.make_tensor_value_info(feature, kinds.INT64, ["n", 1]) for feature in cardinalities),
        ],
        nodes.initializers,
    )
    # Versions are fixed: the newest that onnx has may be later than the app's onnxruntime reads.
    versions = {"": OPSET, "ai.onnx.ml": ML_OPSET} | nodes.domains
    opsets = [helper.make_opsetid(*one) for one in versions.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fti_assets")
    nodes.onnx.checker.check_model(model)
    return model
