"""Several estimators that answer together, one for each quantile, as one core."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.training.models.cores.core import Core, EncodedRows

_OUTPUT = "quantiles"


def several_core(models: Sequence[Any], levels: int, core_of_one: Callable[[Any], Core]) -> Core:
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

    return Core(_side_by_side(cores), _OUTPUT, "values", predict, cores[0].advice)


def _side_by_side(cores: Sequence[Core]) -> Any:
    """One model with the nodes of all, whose output has a column for each."""
    onnx = require("onnx")
    opsets = [{opset.domain: opset.version for opset in core.model.opset_import} for core in cores]
    if any(one != opsets[0] for one in opsets):
        kinds = "models of one class with one setting of it that changes, the level"
        raise ModelError(f"the models of the levels become graphs of different opsets: return {kinds}")
    parts = [
        onnx.compose.add_prefix(core.model, f"level{at}.", rename_inputs=False).graph for at, core in enumerate(cores)
    ]
    inputs = {one.name: one for part in parts for one in part.input}
    nodes = [node for part in parts for node in part.node]
    columns = []
    for at, core in enumerate(cores):
        number, column = f"level{at}:float", f"level{at}:column"
        nodes += [
            onnx.helper.make_node("Cast", [f"level{at}.{core.output}"], [number], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Reshape", [number, "level:shape"], [column]),
        ]
        columns.append(column)
    nodes.append(onnx.helper.make_node("Concat", columns, [_OUTPUT], axis=1))
    graph = onnx.helper.make_graph(
        nodes,
        "levels",
        list(inputs.values()),
        [onnx.helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, ["n", len(cores)])],
        [
            *(one for part in parts for one in part.initializer),
            onnx.numpy_helper.from_array(np.array([-1, 1]), "level:shape"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=cores[0].model.opset_import)
    model.ir_version = max(core.model.ir_version for core in cores)
    return model
