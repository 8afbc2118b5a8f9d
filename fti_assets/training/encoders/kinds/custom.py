"""A user's own encoder: a function that gives its ONNX graph, and a numpy function that says what the graph must give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.functions import source_text
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.errors import DeclarationError, ExportError, ModelError, excerpt, one_of
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.nodes import OPSET, Nodes, category_input

TOLERANCE = 1e-4
"""Largest difference of a column from the oracle's, relative to it where it is above 1."""

_INPUTS: Mapping[str, tuple[str, ...]] = {
    "text": ("STRING",),
    "integer": ("FLOAT", "DOUBLE", "INT64"),
    "boolean": ("FLOAT", "DOUBLE", "INT64"),
    "number": ("FLOAT", "DOUBLE"),
    "timestamp": ("INT64",),
}
"""By the type of a feature, the element types that the input of its graph may have."""


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class CustomEncoder:
    """Your own encoder, as a part of the model's graph.

    Args:
        graph: a function of the state that returns an ``onnx.ModelProto`` or ``onnx.GraphProto``, such as from ``onnx.helper``, or
            an onnxscript function. It has one input ``[n, 1]`` and one output of numbers, ``[n]`` or ``[n, w]``. The input is
            float32, float64 or int64 for numbers, int64 or string for categories, and int64 microseconds since 1970 for a
            timestamp. A missing value is NaN, the empty string, or the least int64.
        oracle: a function of the values and the state that computes with numpy what the graph must return. It gets a canonical
            array ``[n]``: float64 with NaN, text objects with the empty text, or ``datetime64[us]`` with NaT. When a build is
            exported, the two are compared on its test rows and on rows that serving may see.
        fit: a function of the train part's values, in such an array, that returns the state: anything that JSON can hold. The
            manifest stores it. Without ``fit`` the state is None. The source of the three functions counts as the model's code;
            functions that they call do not count.
        columns: the names of the columns, after the feature's name; without them there is one column, with the feature's name.

    Raises:
        DeclarationError: a name is given twice.

    >>> CustomEncoder(graph=make_graph, oracle=np.sqrt)  # doctest: +SKIP
    """

    graph: Callable[..., Any]
    oracle: Callable[..., Any]
    fit: Callable[..., Any] | None = None
    columns: Sequence[str] = ()
    code: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or len(set(self.columns)) < len(self.columns):
            raise DeclarationError(f"CustomEncoder(columns={excerpt(self.columns)}): give a list of different names")
        object.__setattr__(self, "columns", tuple(self.columns))
        functions = [one for one in (self.fit, self.graph, self.oracle) if one is not None]
        object.__setattr__(
            self, "code", hashlib.sha256("\0".join(map(source_text, functions)).encode()).hexdigest()[:16]
        )

    def __repr__(self) -> str:
        return f"CustomEncoder(columns={self.columns!r}, code={self.code!r})"


@dataclass(frozen=True)
class FittedCustom(FittedSingle):
    """What was learned, the names of the columns, and the hash of the functions."""

    state: Any
    columns: tuple[str, ...]
    code: str
    kind: Literal["custom"] = "custom"
    declaration: InitVar[CustomEncoder | None] = None

    def __post_init__(self, declaration: CustomEncoder | None) -> None:
        object.__setattr__(self, "_declaration", declaration)

    @property
    def declared(self) -> CustomEncoder:
        """Its declaration, which a manifest does not have."""
        declaration: CustomEncoder | None = getattr(self, "_declaration", None)
        if declaration is None:
            raise ModelError("a custom encoder that was read from a manifest has no functions: fit it again")
        return declaration

    def element(self, column: Column) -> str:
        """The element type that its graph takes, as ``"INT64"``."""
        return self._model(column).element

    def source(self, column: Column) -> GraphInput:
        element = self.element(column)
        if element not in _INPUTS[column.type]:
            raise ModelError(
                f"the graph of the CustomEncoder of {column.name!r} takes {element}, but of a {column.type} feature it can take "
                f"{one_of(_INPUTS[column.type])}"
            )
        if column.type == "timestamp":
            return GraphInput(f"time.{column.name}", "int64", (column.name,))
        if element in ("FLOAT", "DOUBLE"):
            return GraphInput(f"double.{column.name}", "float64", (column.name,))
        return category_input(column)

    def names(self, feature: str) -> list[str]:
        return [f"{feature}:{one}" for one in self.columns] or [feature]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        [feature] = source.features
        onnx, own = nodes.onnx, self._model(Column(feature, "number"))
        prefix = f"custom.{feature}."
        model = onnx.compose.add_prefix(own.model, prefix)
        nodes.domains |= {one.domain: one.version for one in model.opset_import if one.domain not in ("", "ai.onnx")}
        element = getattr(onnx.TensorProto, own.element)
        nodes.add("Cast", [source.name], output=model.graph.input[0].name, to=element)
        nodes.nodes.extend(model.graph.node)
        nodes.initializers.extend(model.graph.initializer)
        single = nodes.cast(model.graph.output[0].name, np.float32)
        return nodes.add("Reshape", [single, nodes.constant([-1, max(1, len(self.columns))], np.int64)])

    def _model(self, column: Column) -> _OwnGraph:
        graph = self.declared.graph
        return _own_graph(_called("graph", column.name, lambda: graph(self.state)), column.name)

    def expected(self, values: np.ndarray, feature: str) -> np.ndarray:
        """What the oracle says of a canonical array ``[n]``: float64 ``[n, w]``.

        Raises:
            ModelError: it raises, or gives no numbers for each value.
        """
        oracle = self.declared.oracle
        answer = _called("oracle", feature, lambda: oracle(values, self.state))
        array = np.asarray(answer)
        if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or len(array) != len(values):
            raise ModelError(
                f"the oracle of the CustomEncoder of {feature!r} gives {excerpt(answer)} for {len(values)} values: give an array of "
                "numbers, [n] or [n, w]"
            )
        return array.astype(np.float64).reshape(len(values), -1)


def _called(role: str, feature: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # the user's own
        raise ModelError(
            f"{role}= of the CustomEncoder of {feature!r} fails: {type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True)
class _OwnGraph:
    """A graph as a model of the library's opset, and the element type of its input."""

    model: Any
    element: str


def _own_graph(proto: Any, feature: str) -> _OwnGraph:
    """What a user's function gave as a model.

    Raises:
        ModelError: it is no graph of one input and one output, or of an opset that cannot be converted.
    """
    from fti_assets.core.extras import require

    onnx = require("onnx")
    what = f"the graph of the CustomEncoder of {feature!r}"
    proto = proto.to_model_proto() if hasattr(proto, "to_model_proto") else proto
    if isinstance(proto, onnx.GraphProto):
        opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
        proto = onnx.helper.make_model(proto, opset_imports=opsets)
    if not isinstance(proto, onnx.ModelProto):
        raise ModelError(
            f"{what} is {excerpt(proto)}: give an onnx.ModelProto, an onnx.GraphProto or an onnxscript function"
        )
    try:
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        version = next((one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")), OPSET)
        model = proto if version == OPSET else onnx.version_converter.convert_version(proto, OPSET)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx's own, which share no base
        raise ModelError(f"{what} is no valid ONNX of opset {OPSET}: {str(error).splitlines()[0]:.300}") from error
    if branching := [node.op_type for node in model.graph.node if any(one.HasField("g") for one in node.attribute)]:
        raise ModelError(
            f"{what} has the operator {branching[0]}, which holds a graph of its own: write it without, as with Where"
        )
    constants = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ModelError(
            f"{what} has {len(inputs)} inputs and {len(model.graph.output)} outputs: it takes and gives one"
        )
    model = type(model).FromString(model.SerializeToString())
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return _OwnGraph(model, onnx.TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type))


def fit_custom(encoder: CustomEncoder, values: np.ndarray, feature: str = "a feature") -> FittedCustom:
    """What the user's function learns.

    Raises:
        ModelError: it raises, or JSON cannot hold what it gives.
    """
    fit = encoder.fit
    state = None if fit is None else _called("fit", feature, lambda: fit(values.copy()))
    what = f"what fit= of the CustomEncoder of {feature!r} gives is no JSON, which the manifest keeps"
    if (key := _strange_key(state)) is not None:
        raise ModelError(f"{what}: the key {excerpt(key)} would come back as text; make it text")
    try:
        state = json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{what}: {error}") from error
    return FittedCustom(state, tuple(encoder.columns), encoder.code, declaration=encoder)


def check_oracles(
    encoders: Mapping[str, object], columns: Mapping[str, np.ndarray], dense: np.ndarray, names: Sequence[str]
) -> None:
    """Compare what the graphs of custom encoders give with their oracles.

    Args:
        encoders: the fitted encoders by feature.
        columns: canonical arrays ``[n]``.
        dense: what the graph made of them, float32 ``[n, k]``.
        names: of its ``k`` columns.

    Raises:
        ExportError: a value differs by more than ``TOLERANCE``, or the oracle gives another shape.
    """
    for feature, encoder in encoders.items():
        if not isinstance(encoder, FittedCustom):
            continue
        own = dense[:, [names.index(name) for name in encoder.names(feature)]].astype(np.float64)
        expected = encoder.expected(columns[feature].copy(), feature)
        if expected.shape != own.shape:
            raise ExportError(
                f"the CustomEncoder of {feature!r} has {own.shape[1]} columns, and its oracle gives {list(expected.shape)} for "
                f"{len(own)} values: name the columns with columns=[...]"
            )
        with np.errstate(invalid="ignore"):
            off = np.abs(own - expected) / np.maximum(1.0, np.abs(expected))
        off = np.where((own == expected) | (np.isnan(own) & np.isnan(expected)), 0.0, np.nan_to_num(off, nan=np.inf))
        if off.max(initial=0.0) > TOLERANCE:
            row = int(off.max(axis=1).argmax())
            raise ExportError(
                f"the graph of the CustomEncoder of {feature!r} differs from its oracle for {int((off.max(axis=1) > TOLERANCE).sum())} of "
                f"{len(own)} values: of {columns[feature][row]!r} the graph makes {own[row].tolist()} and the oracle "
                f"{expected[row].tolist()}"
            )


def _strange_key(state: Any) -> Any:
    """A key within what was learned that is no text, None if there is none."""
    waiting, visits = [state], 0
    while waiting and visits < 1_000_000:
        one, visits = waiting.pop(), visits + 1
        if isinstance(one, Mapping):
            if strange := [key for key in one if not isinstance(key, str)]:
                return strange[0]
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return None
