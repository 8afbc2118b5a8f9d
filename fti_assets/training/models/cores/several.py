"""Several models that answer together as one core: one for each quantile, or one for each label."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Task
from fti_assets.errors import ModelError
from fti_assets.training.models.cores.core import Core, EncodedRows, estimator_gives

_OUTPUT = "side_by_side"


def quantiles_core(models: Sequence[Any], levels: int, core_of_one: Callable[[Any], Core]) -> Core:
    """Estimators of one kind, each a regression of its quantile, in the order of the levels.

    Args:
        models: the trained ones.
        levels: how many there must be.
        core_of_one: the core of one of them.

    Raises:
        ModelError: there are not as many as levels, they are of several kinds, or one cannot be exported.
    """
    if len(models) != levels:
        raise ModelError(
            f"there are {len(models)} models for {levels} levels: return one for each level, in their order"
        )
    cores = [core_of_one(model) for model in models]

    def predict(arrays: EncodedRows) -> np.ndarray:
        return np.sort(np.stack([core.predict(arrays) for core in cores], axis=1), axis=1)

    return Core(_side_by_side(cores, "levels"), _OUTPUT, "values", predict, cores[0].advice)


def labels_core(models: Sequence[Any], labels: int, task: Task, core_of_one: Callable[[Any], Core]) -> Core:
    """Models of one kind, each of its label, in the order of the labels.

    Args:
        models: the trained ones.
        labels: how many there must be.
        task: what they do together, ``multilabel`` or ``multioutput``.
        core_of_one: the core of one of them.

    Raises:
        ModelError: there are not as many as labels, they are of several kinds, or one cannot be exported.
    """
    if len(models) != labels:
        raise ModelError(
            f"there are {len(models)} models for {labels} labels: return one for each label, in the order of data.labels"
        )
    cores = [core_of_one(model) for model in models]

    def predict(arrays: EncodedRows) -> np.ndarray:
        return np.stack([core.predict(arrays) for core in cores], axis=1)

    return Core(_side_by_side(cores, "labels"), _OUTPUT, estimator_gives(task), predict, cores[0].advice)


def _side_by_side(cores: Sequence[Core], what: str) -> Any:
    """One model with the nodes of all, whose output has a column for each: a value, or a probability."""
    onnx = require("onnx")
    opsets = [{opset.domain: opset.version for opset in core.model.opset_import} for core in cores]
    if any(one != opsets[0] for one in opsets):
        raise ModelError(f"the models of the {what} become graphs of different opsets: return models of one class")
    parts = [
        onnx.compose.add_prefix(core.model, f"model{at}.", rename_inputs=False).graph for at, core in enumerate(cores)
    ]
    inputs = {one.name: one for part in parts for one in part.input}
    nodes = [node for part in parts for node in part.node]
    columns = []
    for at, core in enumerate(cores):
        nodes += _column(onnx, core, at)
        columns.append(f"model{at}:column")
    nodes.append(onnx.helper.make_node("Concat", columns, [_OUTPUT], axis=1))
    graph = onnx.helper.make_graph(
        nodes,
        what,
        list(inputs.values()),
        [onnx.helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, ["n", len(cores)])],
        [
            *(one for part in parts for one in part.initializer),
            onnx.numpy_helper.from_array(np.array([-1, 1]), "model:shape"),
            onnx.numpy_helper.from_array(np.array([1]), "model:yes"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=cores[0].model.opset_import)
    model.ir_version = max(core.model.ir_version for core in cores)
    return model


def _column(onnx: Any, core: Core, at: int) -> list[Any]:
    """The nodes that make a column ``[n, 1]`` of what a model gives for each row: of probabilities ``[n, 2]`` that of a yes."""
    name = f"model{at}"
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": onnx.TensorProto.FLOAT})]
    if core.gives == "probabilities":
        steps.append(("Gather", ["model:yes"], {"axis": 1}))
    elif core.gives == "logits":
        steps.append(("Sigmoid", [], {}))
    steps.append(("Reshape", ["model:shape"], {}))
    nodes, source = [], f"{name}.{core.output}"
    for number, (operator, constants, attributes) in enumerate(steps):
        result = f"{name}:column" if number == len(steps) - 1 else f"{name}:{number}"
        nodes.append(onnx.helper.make_node(operator, [source, *constants], [result], **attributes))
        source = result
    return nodes
