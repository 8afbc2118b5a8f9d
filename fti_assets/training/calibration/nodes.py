"""A calibrator as nodes of the exported graph, behind its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.training.calibration.calibrators import EPSILON, Isotonic, Platt
from fti_assets.training.encoders.nodes import Nodes

_PREFIX = "calibration."


def with_calibration(
    graph: bytes, output: str, calibrators: Sequence[Platt | Isotonic], *, are_classes: bool = True
) -> bytes:
    """The graph whose output is calibrated; whatever else it has stays as it was.

    Args:
        graph: a serialized ONNX model.
        output: its one output, float32 ``[n]`` for one calibrator and ``[n, k]`` for ``k``.
        calibrators: of the probabilities of each class, or of each label.
        are_classes: whether several are of classes, whose probabilities are brought to a sum of one again.
    """
    onnx = require("onnx")
    model = onnx.load_from_string(graph)
    nodes = Nodes()
    raw = f"{_PREFIX}raw"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == output:
                    names[at] = raw
    if len(calibrators) == 1:
        result = _calibrated(nodes, nodes.cast(raw, np.float64), calibrators[0])
    elif are_classes:
        result = _summing_to_one(nodes, _each(nodes, raw, calibrators), len(calibrators))
    else:
        result = _each(nodes, raw, calibrators)
    nodes.add("Cast", [result], output=output, to=onnx.TensorProto.FLOAT)
    _take(model.graph, nodes, output)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _take(graph: Any, nodes: Nodes, output: str) -> None:
    """Add nodes and constants under names of their own."""
    own = {one.name for one in nodes.initializers} | {name for node in nodes.nodes for name in node.output}
    own -= {output}
    for node in nodes.nodes:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name in own:
                    names[at] = f"{_PREFIX}{name}"
        graph.node.append(node)
    for one in nodes.initializers:
        one.name = f"{_PREFIX}{one.name}"
        graph.initializer.append(one)


def _each(nodes: Nodes, source: str, calibrators: Sequence[Platt | Isotonic]) -> str:
    columns = [
        _calibrated(nodes, nodes.cast(nodes.picked(source, [at]), np.float64), one)
        for at, one in enumerate(calibrators)
    ]
    return nodes.add("Concat", columns, axis=1)


def _summing_to_one(nodes: Nodes, each: str, classes: int) -> str:
    # Not ReduceSum, whose axes became an input; and NaN, which is no probability, has to stay one.
    total = nodes.add("MatMul", [each, nodes.constant(np.ones((classes, 1)), np.float64)])
    nothing, one = nodes.constant(0.0, np.float64), nodes.constant(1.0, np.float64)
    is_lost = nodes.add("Not", [nodes.add("Or", [nodes.add("Greater", [total, nothing]), nodes.add("IsNaN", [total])])])
    shares = nodes.add("Div", [each, nodes.add("Where", [is_lost, one, total])])
    return nodes.add("Where", [is_lost, nodes.constant(1 / classes, np.float64), shares])


def _calibrated(nodes: Nodes, source: str, calibrator: Platt | Isotonic) -> str:
    """What becomes of float64 probabilities of any shape."""
    if isinstance(calibrator, Platt):
        return _platt(nodes, source, calibrator)
    return _isotonic(nodes, source, calibrator)


def _platt(nodes: Nodes, source: str, calibrator: Platt) -> str:
    inside = _clip(nodes, source, EPSILON, 1 - EPSILON)
    one = nodes.constant(1.0, np.float64)
    odds = nodes.add("Sub", [nodes.add("Log", [inside]), nodes.add("Log", [nodes.add("Sub", [one, inside])])])
    scaled = nodes.add("Mul", [odds, nodes.constant(-calibrator.slope, np.float64)])
    score = nodes.add("Sub", [scaled, nodes.constant(calibrator.intercept, np.float64)])
    return nodes.add("Div", [one, nodes.add("Add", [one, nodes.add("Exp", [score])])])


def _isotonic(nodes: Nodes, source: str, calibrator: Isotonic) -> str:
    points, values = (np.array(one, dtype=np.float64) for one in (calibrator.points, calibrator.values))
    if len(points) == 1:
        level = nodes.add("Mul", [source, nodes.constant(0.0, np.float64)])  # of the shape, and NaN where it is NaN
        return nodes.add("Add", [level, nodes.constant(values[0], np.float64)])
    inside = _clip(nodes, source, points[0], points[-1])
    flat = nodes.add("Reshape", [nodes.cast(inside, np.float32), nodes.constant([-1, 1], np.int64)])
    place = nodes.cast(nodes.add("Reshape", [_places(nodes, flat, points), nodes.constant([-1], np.int64)]), np.int64)
    start, base, slope = (
        nodes.add("Gather", [nodes.constant(table, np.float64), place])
        for table in (points, values, np.append(np.diff(values) / np.diff(points), 0.0))
    )
    ahead = nodes.add("Sub", [nodes.add("Reshape", [inside, nodes.constant([-1], np.int64)]), start])
    line = nodes.add("Add", [base, nodes.add("Mul", [ahead, slope])])
    return nodes.add("Reshape", [line, nodes.add("Shape", [source])])


def _places(nodes: Nodes, source: str, points: np.ndarray) -> str:
    """Of float32 ``[n, 1]`` the last point that is not above it, as a float32 ``[n, 1]``: a tree, which keeps memory flat.

    Points are float32 themselves, since a graph's answers are, so that the comparison is exact.
    """
    attributes: dict[str, list[Any]] = {
        name: [] for name in ("ids", "features", "modes", "values", "yes", "no", "leaves", "places")
    }

    def grow(low: int, high: int) -> int:
        """The tree of the places ``low`` to ``high``; the id of its root."""
        at = len(attributes["ids"])
        attributes["ids"].append(at)
        attributes["features"].append(0)
        attributes["yes"].append(0)
        attributes["no"].append(0)
        if low == high:
            attributes["modes"].append("LEAF")
            attributes["values"].append(0.0)
            attributes["leaves"].append(at)
            attributes["places"].append(float(low))
            return at
        middle = (low + high + 1) // 2
        attributes["modes"].append("BRANCH_GTE")
        attributes["values"].append(float(points[middle]))
        attributes["no"][at] = grow(low, middle - 1)
        attributes["yes"][at] = grow(middle, high)
        return at

    grow(0, len(points) - 1)
    count, leaves = len(attributes["ids"]), attributes["leaves"]
    return nodes.add(
        "TreeEnsembleRegressor",
        [source],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0] * count,
        nodes_nodeids=attributes["ids"],
        nodes_featureids=attributes["features"],
        nodes_modes=attributes["modes"],
        nodes_values=attributes["values"],
        nodes_truenodeids=attributes["yes"],
        nodes_falsenodeids=attributes["no"],
        target_treeids=[0] * len(leaves),
        target_nodeids=leaves,
        target_ids=[0] * len(leaves),
        target_weights=attributes["places"],
    )


def _clip(nodes: Nodes, source: str, low: float, high: float) -> str:
    """NaN stays NaN, which not every runtime's Clip says."""
    least, most = nodes.constant(low, np.float64), nodes.constant(high, np.float64)
    raised = nodes.add("Where", [nodes.add("Less", [source, least]), least, source])
    return nodes.add("Where", [nodes.add("Greater", [raised, most]), most, raised])
