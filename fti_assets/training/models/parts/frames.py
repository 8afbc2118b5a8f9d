"""Features as pandas frames: as they are, with categories kept, or encoded; and which of them a model was fitted on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Column
from fti_assets.errors import ModelError, one_of
from fti_assets.training.encoders.declarations import DENSE, Encoder
from fti_assets.training.encoders.encoders import FittedEncoder, fit_encoders
from fti_assets.training.encoders.graph import EncoderModel, build_encoder
from fti_assets.training.encoders.kinds.categories import (
    Embedding,
    FittedEmbedding,
    FittedHashing,
    FittedOneHot,
    FittedOrdinal,
    by_name,
)
from fti_assets.training.encoders.kinds.scales import FittedStandardize, Passthrough
from fti_assets.training.encoders.kinds.targets import FittedTarget
from fti_assets.training.encoders.kinds.vectors import FittedVector

ENCODED = "encoded."
"""What the columns of an encoded frame begin with, so that a model's feature names say which frame it was fitted on."""

_REFUSED = re.compile(r'[\[\]<>{}",:]')  # by LightGBM or XGBoost, in the name of a feature
_NO_NAMES = re.compile(r"Column_\d+$")  # what LightGBM calls the columns of an array

Arrays = Mapping[str, np.ndarray]


class Frames:
    """Frames of a view's features.

    Args:
        features: the view's features in order.
        encoder: the declared encoders, fitted.
        train: the train part's columns, from which categories come that no encoder has learned.
    """

    def __init__(self, features: Sequence[Column], encoder: EncoderModel, train: Arrays) -> None:
        self.features, self.encoder, self._train = tuple(features), encoder, train

    @cached_property
    def raw_encoder(self) -> EncoderModel:
        """The graph in front of a model that was fitted on the raw frame: numbers as they are, categories as codes.

        Raises:
            ModelError: a number is beyond float32, or a category beyond 2**53.
        """
        encoders_by_name: dict[str, FittedEncoder] = {}
        declared: dict[str, Encoder] = {}
        for column in self.features:
            fitted = self.encoder.encoders[column.name]
            if isinstance(fitted, FittedOneHot | FittedEmbedding | FittedTarget):
                encoders_by_name[column.name] = FittedEmbedding(by_name(fitted.categories))
            elif isinstance(fitted, FittedOrdinal):
                encoders_by_name[column.name] = FittedEmbedding(fitted.categories)  # in the order that was declared
            elif isinstance(fitted, FittedVector):
                encoders_by_name[column.name] = FittedVector(fitted.dim, "nan", flag=False)  # as it is, as numbers are
            elif column.type == "timestamp":
                encoders_by_name[column.name] = fitted  # a time itself is nothing that a model takes
            elif isinstance(fitted, FittedStandardize) and fitted.dtype == "float64":
                encoders_by_name[column.name] = fitted  # as a float32 its numbers could not be told apart
            else:
                is_category = column.type == "text" or isinstance(fitted, FittedHashing)
                declared[column.name] = Embedding() if is_category else Passthrough()
        others = [column for column in self.features if column.name in declared]
        learned = fit_encoders(others, declared, self._train) if others else {}
        return build_encoder(
            self.features, {column.name: (encoders_by_name | learned)[column.name] for column in self.features}
        )

    @cached_property
    def encoded_names(self) -> tuple[str, ...]:
        """The columns of an encoded frame, those of ``X``."""
        names = [
            _REFUSED.sub("_", f"{ENCODED}{name}") for name in (*self.encoder.dense_columns, *self.encoder.cardinalities)
        ]
        return tuple(f"{name}.{at}" if name in names[:at] else name for at, name in enumerate(names))

    @cached_property
    def raw_columns(self) -> dict[str, str]:
        """The columns of a raw frame, each with that of the raw encoder: a feature's name, or those of what is made of a time or a
        vector.

        These give way to a feature of the same name, with a number after their own.
        """
        inputs = {column.name for column in self.features if column.type not in ("timestamp", "vector")}
        names: dict[str, str] = {}
        for column in self.features:
            if column.type not in ("timestamp", "vector"):
                names[column.name] = column.name
                continue
            for name in self.raw_encoder.encoders[column.name].in_graph().names(column.name):
                plain = _REFUSED.sub("_", name)
                numbered = (f"{plain}.{number}" if number else plain for number in count())
                names[next(one for one in numbered if one not in inputs and one not in names)] = name
        return names

    def raw(self, arrays: Arrays) -> Any:
        """A frame of what the raw encoder gives."""
        pandas = require("pandas")
        columns: dict[str, Any] = {}
        for name, own in self.raw_columns.items():
            if own in self.raw_encoder.cardinalities:
                categories = self.raw_encoder.encoders[own].categories  # type: ignore[union-attr]
                columns[name] = pandas.Categorical.from_codes(
                    arrays[own].reshape(-1) - 1, pandas.Index(list(categories))
                )
            else:
                columns[name] = arrays[DENSE][:, self.raw_encoder.dense_columns.index(own)]
        return pandas.DataFrame(columns)

    def encoded(self, matrix: np.ndarray) -> Any:
        """A frame of ``X``."""
        return require("pandas").DataFrame(matrix, columns=list(self.encoded_names))

    def layout(self, model: Any, matrix: Any) -> Layout:
        """How a trained model takes its rows, by the names of the features that it was fitted on.

        Args:
            model: the trained model.
            matrix: makes ``X`` of encoded rows.

        Raises:
            ModelError: it was fitted on other columns than those of one frame.
        """
        names = feature_names(model)
        if names is None:
            return Layout(self, "matrix", (), matrix)
        for kind, own in (("raw", list(self.raw_columns)), ("encoded", list(self.encoded_names))):
            spelt = {name.replace(" ", "_"): name for name in own} | {name: name for name in own}
            if all(name in spelt for name in names):
                return Layout(self, kind, tuple(spelt[name] for name in names), matrix)  # type: ignore[arg-type]
        strange = [name for name in names if name not in (*self.raw_columns, *self.encoded_names)]
        raise ModelError(
            f"{type(model).__name__} was fitted on the columns {one_of(strange or names)}, but features come from one frame, "
            "data.train.frame or data.train.encoded_frame, some of its columns or all: let an fti.on_demand function make others"
        )


def layout_of(frames: Frames, model: Any, matrix: Any) -> Layout:
    """How a trained model, or several that answer together, takes its rows; the arguments are those of ``Frames.layout``.

    Raises:
        ModelError: as ``Frames.layout``, or several take different rows.
    """
    if not isinstance(model, list | tuple) or not model:
        return frames.layout(model, matrix)
    layouts = [frames.layout(one, matrix) for one in model]
    if any((one.kind, one.names) != (layouts[0].kind, layouts[0].names) for one in layouts):
        raise ModelError(
            "the models of the levels were fitted on different columns: fit all on data.train.X, or all on one frame"
        )
    return layouts[0]


@dataclass(frozen=True)
class Layout:
    """What a model takes: the matrix ``X``, or columns of the raw or of the encoded frame, in its order."""

    frames: Frames
    kind: Literal["matrix", "raw", "encoded"]
    names: tuple[str, ...]
    matrix: Any

    @property
    def encoder(self) -> EncoderModel:
        """The graph that gives what it is made of."""
        return self.frames.raw_encoder if self.kind == "raw" else self.frames.encoder

    @property
    def categories(self) -> tuple[str, ...]:
        """The columns of the raw frame that are categories."""
        return tuple(name for name in self.names if self.kind == "raw" and name in self.encoder.cardinalities)

    def rows(self, arrays: Arrays) -> Any:
        """Encoded rows as the model itself takes them."""
        if self.kind == "raw":
            return self.frames.raw(arrays)[list(self.names)]
        matrix = self.matrix(arrays)
        return matrix if self.kind == "matrix" else self.frames.encoded(matrix)[list(self.names)]

    def width(self, arrays: Arrays) -> int:
        """How many columns it takes."""
        return len(self.names) or int(self.matrix(arrays).shape[1])

    def put_in_front(self, model: Any, matrix_input: str) -> Any:
        """Let an ``onnx.ModelProto`` of one matrix take encoded rows in its place; without names it takes ``X`` itself."""
        if self.kind == "matrix" or (self.kind == "encoded" and self.names == self.frames.encoded_names):
            return model
        onnx = require("onnx")
        helper, kinds = onnx.helper, onnx.TensorProto
        nodes: list[Any] = []
        inputs = [helper.make_tensor_value_info(matrix_input, kinds.FLOAT, ["n", None])]
        whole, order = matrix_input, [0]
        if self.kind == "encoded":
            order = [self.frames.encoded_names.index(name) for name in self.names]
        else:
            inputs = [helper.make_tensor_value_info(DENSE, kinds.FLOAT, ["n", self.encoder.dense_dim])]
            codes = list(self.categories)
            inputs += [helper.make_tensor_value_info(name, kinds.INT64, ["n", 1]) for name in codes]
            whole = DENSE
            if codes:
                whole = _codes_beside_dense(onnx, nodes, model.graph, codes)
            places = {name: at for at, name in enumerate((*self.encoder.dense_columns, *codes))}
            order = [places[self.frames.raw_columns[name]] for name in self.names]
        columns = f"{matrix_input}.columns"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(order, np.int64), f"{columns}.order"))
        nodes.append(helper.make_node("Gather", [whole, f"{columns}.order"], [columns], axis=1))
        for node in model.graph.node:
            node.input[:] = [columns if one == matrix_input else one for one in node.input]
        rest = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([*nodes, *rest])
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        return model


def _codes_beside_dense(onnx: Any, nodes: list[Any], graph: Any, codes: Sequence[str]) -> str:
    """Codes from 0, as pandas and boosters have them, NaN where the graph's code is 0, to the right of the numbers."""
    make = onnx.helper.make_node
    for name, value in (("codes.one", 1.0), ("codes.half", 0.5), ("codes.missing", np.nan)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    floats = [f"codes.{at}" for at in range(len(codes))]
    for name, single in zip(codes, floats, strict=True):
        nodes.append(make("Cast", [name], [single], to=onnx.TensorProto.FLOAT))
    nodes += [
        make("Concat", floats, ["codes.all"], axis=1),
        make("Sub", ["codes.all", "codes.one"], ["codes.from_zero"]),
        make("Less", ["codes.all", "codes.half"], ["codes.is_missing"]),
        make("Where", ["codes.is_missing", "codes.missing", "codes.from_zero"], ["codes.nan"]),
        make("Concat", [DENSE, "codes.nan"], ["codes.beside"], axis=1),
    ]
    return "codes.beside"


def feature_names(model: Any) -> list[str] | None:
    """The columns that a model was fitted on, in order; None for one that was fitted on an array."""
    package = type(model).__module__.partition(".")[0]
    names: Any = None
    try:
        if package == "lightgbm":
            names = getattr(model, "booster_", model).feature_name()
            names = None if all(_NO_NAMES.match(name) for name in names) else names
        elif package == "xgboost":
            names = (model.get_booster() if hasattr(model, "get_booster") else model).feature_names
        else:
            names = getattr(model, "feature_names_in_", None)
    except Exception:  # one that was not fitted, as is said where it is looked at
        return None
    return None if names is None else [str(name) for name in names]
