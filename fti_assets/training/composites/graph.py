"""The graphs of some builds as one: they share its inputs, answers of some are inputs of others, and all answers are its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import NUMBERS, OUTPUT_NAMES, GraphInput, ModelManifest
from fti_assets.core.types import INPUTS
from fti_assets.errors import ModelError

_FLOAT, _DOUBLE = 1, 11
"""The numbers of float32 and float64 in ONNX's TensorProto."""


@dataclass(frozen=True)
class Member:
    """One of the builds: its manifest, and its graph as bytes."""

    manifest: ModelManifest
    graph: bytes

    @property
    def name(self) -> str:
        """Its model's name."""
        return self.manifest.model

    @property
    def answers(self) -> tuple[str, ...]:
        """What its answers are called among those of all."""
        if self.manifest.answers_by_name:
            return tuple(f"{self.name}.{of_class}" for of_class in self.manifest.classes)
        return (self.name,)


@dataclass(frozen=True)
class MergedGraph:
    """The serialized graph and its inputs; its output ``answers`` is float32 ``[n, k]``, the answers of the members in their order."""

    bytes: bytes
    inputs: tuple[GraphInput, ...]


def merged_graph(members: Sequence[Member], feeds: Mapping[str, str]) -> MergedGraph:
    """One graph of several.

    Args:
        members: in the order in which they run.
        feeds: a feature, and the member whose answer it is; of members that stand before all that take it.

    Raises:
        ModelError: graphs of such different releases cannot be put together.
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx")
    models = _of_one_opset(onnx, members)
    inputs = _inputs(members, feeds)
    graph = onnx.GraphProto(name="composite")
    for one in inputs:
        kind = getattr(onnx.TensorProto, INPUTS[one.type].element)
        graph.input.append(onnx.helper.make_tensor_value_info(one.name, kind, ["n", one.width]))
    _constant(onnx, graph, "composite.column", np.array([-1, 1]))
    number_features = next((one.features for one in inputs if one.name == NUMBERS), ())
    functions: dict[tuple[str, str], Any] = {}
    columns = []
    for member, model in zip(members, models, strict=True):
        prefix = f"{member.name}."
        own = onnx.compose.add_prefix(model, prefix)
        for graph_input in member.manifest.inputs:
            _feed(onnx, graph, prefix, graph_input, number_features, feeds)
        graph.node.extend(own.graph.node)
        graph.initializer.extend(own.graph.initializer)
        graph.sparse_initializer.extend(own.graph.sparse_initializer)
        functions |= {(one.domain, one.name): one for one in own.functions}
        # An answer of [n] becomes a column; one of [n, k] stays as it is.
        output, column = f"{prefix}{OUTPUT_NAMES[member.manifest.task]}", f"composite.{member.name}"
        if member.manifest.answers_by_name:
            column = output
        else:
            graph.node.append(onnx.helper.make_node("Reshape", [output, "composite.column"], [column]))
        columns.append(column)
    graph.node.append(onnx.helper.make_node("Concat", columns, [OUTPUT_NAMES["composite"]], axis=1))
    width = sum(len(member.answers) for member in members)
    graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT_NAMES["composite"], _FLOAT, ["n", width]))
    result = onnx.helper.make_model(graph, opset_imports=list(models[0].opset_import), producer_name="fti_assets")
    result.ir_version = max(model.ir_version for model in models)
    result.functions.extend(functions.values())
    try:
        onnx.checker.check_model(result)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the graphs of {_names_text(members)} do not make one valid ONNX graph: {error}") from error
    return MergedGraph(result.SerializeToString(), inputs)


def _inputs(members: Sequence[Member], feeds: Mapping[str, str]) -> tuple[GraphInput, ...]:
    """What the graph takes: all numbers in one input, each other feature in its own, without what is fed."""
    numbers: dict[str, None] = {}
    others: dict[str, GraphInput] = {}
    for one in (one for member in members for one in member.manifest.inputs):
        if one.name == NUMBERS:
            numbers |= dict.fromkeys(name for name in one.features if name not in feeds)
        elif one.features[0] not in feeds:
            if others.get(one.name, one).dim != one.dim:
                raise ModelError(
                    f"the models of a composite take {one.features[0]!r} with {others[one.name].width} and with {one.width} numbers: one "
                    "feature has one length, so train both on the same version of its group"
                )
            others[one.name] = one
    together = [GraphInput(NUMBERS, "float32", tuple(numbers))] if numbers else []
    return (*together, *others.values())


def _feed(
    onnx: Any,
    graph: Any,
    prefix: str,
    graph_input: GraphInput,
    number_features: Sequence[str],
    feeds: Mapping[str, str],
) -> None:
    """The nodes that make one input of a member from the shared ones and the answers before it."""
    into = f"{prefix}{graph_input.name}"
    node = onnx.helper.make_node
    if graph_input.name != NUMBERS:
        feature = graph_input.features[0]  # of several they are times, which no answer is
        if feature not in feeds:
            graph.node.append(node("Identity", [graph_input.name], [into]))
            return
        if graph_input.type != "float64":
            raise ModelError(
                f"{prefix.rstrip('.')} takes {feature!r} as {graph_input.type}, but it is filled with an answer, which is a number: give "
                "it an encoder of numbers"
            )
        graph.node.append(node("Cast", [f"composite.{feeds[feature]}"], [into], to=_DOUBLE))
        return
    fed_features = [feature for feature in graph_input.features if feature in feeds]
    sources = [*number_features, *fed_features]
    places = np.array([sources.index(feature) for feature in graph_input.features])
    before = NUMBERS
    if fed_features:
        before = f"{into}.beside_answers"
        parts = [*([NUMBERS] if number_features else []), *(f"composite.{feeds[feature]}" for feature in fed_features)]
        graph.node.append(node("Concat", parts, [before], axis=1))
    if places.tolist() == list(range(len(sources))):
        graph.node.append(node("Identity", [before], [into]))
        return
    _constant(onnx, graph, f"{into}.places", places)
    graph.node.append(node("Gather", [before, f"{into}.places"], [into], axis=1))


def _constant(onnx: Any, graph: Any, name: str, values: np.ndarray) -> None:
    graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.int64), name))


def _of_one_opset(onnx: Any, members: Sequence[Member]) -> list[Any]:
    """The graphs with the newest version of each operator set that one of them has."""
    models = [onnx.load_from_string(member.graph) for member in members]
    newest: dict[str, int] = {}
    for opset in (opset for model in models for opset in model.opset_import):
        newest[_domain(opset)] = max(opset.version, newest.get(_domain(opset), 0))
    for place, model in enumerate(models):
        own = {_domain(opset): opset.version for opset in model.opset_import}
        if own.get("", newest[""]) < newest[""]:
            try:
                models[place] = model = onnx.version_converter.convert_version(model, newest[""])
            except Exception as error:  # the converter's own errors share no base
                raise ModelError(
                    f"{members[place].name} {members[place].manifest.reference} is a graph of opset {own['']}, beside others of "
                    f"{newest['']}, and cannot be converted: {error}. Train it again with this release"
                ) from error
        # ai.onnx.ml is at least 3 in every build, and what its operators mean did not change since: the comparison with the
        # members' own answers would show it.
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(*one) for one in newest.items())
    return models


def _domain(opset: Any) -> str:
    return "" if opset.domain == "ai.onnx" else str(opset.domain)


def _names_text(members: Sequence[Member]) -> str:
    return ", ".join(f"{member.name} {member.manifest.reference}" for member in members)
