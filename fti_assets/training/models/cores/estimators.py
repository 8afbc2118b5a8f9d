"""Fitted scikit-learn estimators and what skl2onnx makes of them: settings that it cannot read, routes that it leaves out."""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.training.models.cores.boosters import BOOSTERS, package_of

_ROUTES = "nodes_missing_value_tracks_true"
_ULPS = 4
"""How far a converted threshold lies at most from the tree's own, in steps of float32."""


def _parts_of(value: Any, visited: set[int]) -> Iterator[Any]:
    """Every object of scikit-learn within an estimator and itself: of a forest, within a pipeline, a vote or a calibration."""
    if id(value) in visited:
        return
    visited.add(id(value))
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    elif isinstance(value, np.ndarray) and value.dtype == object:
        inner = value.ravel()
    elif package_of(value) in BOOSTERS:
        yield value
    elif type(value).__module__.partition(".")[0] == "sklearn":
        yield value
        inner = vars(value).values() if hasattr(value, "__dict__") else ()
    for one in inner:
        yield from _parts_of(one, visited)


def boosters_within(estimator: Any) -> list[Any]:
    """The fitted models of LightGBM and XGBoost within an estimator of scikit-learn."""
    parts = _parts_of(estimator, set())
    return [part for part in parts if package_of(part) in BOOSTERS and hasattr(part, "fit") and is_fitted(part)]


@contextmanager
def readable_votes(estimator: Any) -> Iterator[None]:
    """Give the votes within an estimator, for a while, settings of the same answers that skl2onnx can read."""
    parts = _parts_of(estimator, set())
    votes = [part for part in parts if type(part).__name__ in ("VotingClassifier", "VotingRegressor")]
    before = [dict(vars(vote)) for vote in votes]
    try:
        for vote in votes:
            # skl2onnx refuses flatten_transform=True, which predict_proba does not look at.
            if hasattr(vote, "flatten_transform"):
                vote.flatten_transform = False
            # It wants the weights as an array, and without those of dropped members.
            if vote.weights is not None:
                is_member = [not isinstance(member, str) for _, member in vote.estimators]
                vote.weights = np.asarray(vote.weights, dtype=float)[is_member]
        yield
    finally:
        for vote, settings in zip(votes, before, strict=True):
            vars(vote).update(settings)


def check_indicators(estimator: Any, name: str) -> None:
    """Refuse an imputer that adds columns which say what was missing: skl2onnx leaves them out.

    Raises:
        ModelError: there is one within the estimator.
    """
    for part in _parts_of(estimator, set()):
        indicator = getattr(part, "indicator_", None)  # without a column where nothing was missing in training
        if getattr(part, "add_indicator", False) and (indicator is None or len(indicator.features_)):
            raise ModelError(
                f"{name} cannot be used as a model: {type(part).__name__}(add_indicator=True) adds columns that skl2onnx leaves out. Leave "
                "add_indicator out, and let an fti.on_demand function give the model whether a feature is missing"
            )


def check_steps(estimator: Any, name: str) -> None:
    """Refuse a step before others that can predict, too: skl2onnx hands on its predictions, where scikit-learn transforms.

    Raises:
        ModelError: there is one within the estimator.
    """
    for part in _parts_of(estimator, set()):
        for step in _transformers(part):
            if hasattr(step, "predict") and hasattr(step, "transform") and not hasattr(step, "get_support"):
                kind = type(step).__name__
                raise ModelError(
                    f"{name} cannot be used as a model: {kind} is a step before others, of which skl2onnx hands on what predict gives, "
                    f"not transform. Leave {kind} out, or let a transformer that does not predict, such as PCA, take its place"
                )


def _transformers(part: Any) -> list[Any]:
    kind = type(part).__name__
    if kind == "Pipeline":
        return [step for _, step in part.steps[:-1]]
    if kind == "FeatureUnion":
        return [step for _, step in part.transformer_list]
    return [step for _, step, *_ in getattr(part, "transformers_", ())] if kind == "ColumnTransformer" else []


def is_fitted(estimator: Any) -> bool:
    """What scikit-learn says of an estimator, which knows those that need no fit."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except Exception:  # no estimator at all, as `predict` will say
        return True
    return True


def part_at_fault(error: Exception) -> str | None:
    """The class of the estimator that skl2onnx was about to convert when it failed, or None.

    Its own texts name operators of ONNX, opsets and its issue tracker, but seldom the step of a user.
    """
    parts = [
        getattr(frame.f_locals.get("operator", frame.f_locals.get("self")), "raw_operator", None)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    names = [type(part).__name__ for part in parts if part is not None]
    return names[-1] if names else None


def measures_distances(estimator: Any) -> bool:
    """Whether an estimator, or one within it, rests on distances between rows, as neighbours and Gaussian processes do.

    float32 loses the distances of rows far from zero, or far from all others, and another neighbour is the nearest.
    """
    rooms = {".".join(type(part).__module__.split(".")[1:2]) for part in _parts_of(estimator, set())}
    # Support vectors have no operator in float64.
    return bool(rooms & {"neighbors", "gaussian_process"}) and "svm" not in rooms


def take_float(model: Any) -> None:
    """Let an ``onnx.ModelProto`` of one input in float64 take it in float32."""
    [one] = model.graph.input
    name, one.type.tensor_type.elem_type = f"{one.name}_in_double", 1  # TensorProto.FLOAT
    for node in model.graph.node:
        _rename(node, one.name, name)
    cast = model.graph.node.add()
    cast.op_type, cast.name = "Cast", name
    cast.input.append(one.name)
    cast.output.append(name)
    attribute = cast.attribute.add()
    attribute.name, attribute.type, attribute.i = "to", 2, 11  # AttributeProto.INT, TensorProto.DOUBLE
    nodes = [cast, *model.graph.node[:-1]]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _rename(node: Any, name: str, other: str) -> None:
    """Let a call, and the graphs in it, use another value."""
    node.input[:] = [other if one == name else one for one in node.input]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            _rename(inner, name, other)


def route_missing(model: Any, estimator: Any) -> None:
    """Give every tree of an ``onnx.ModelProto`` the routes of the fitted tree that it was made from.

    A tree that is none of the estimator's is left as it is, for the comparison with the estimator to judge.
    """
    # The converter fills the attribute of routes with zeros for these, so that a missing value always went to the right. scikit-learn
    # keeps the way of each node in missing_go_to_left: learned, or that of the greater child where training missed nothing.
    trees_by_shape: dict[bytes, deque[Any]] = defaultdict(deque)
    for part in _parts_of(estimator, set()):
        if hasattr(part, "children_left") and hasattr(part, "threshold") and hasattr(part, "missing_go_to_left"):
            trees_by_shape[_shape(part.children_left == -1, part.feature)].append(part)
    if not trees_by_shape:
        return
    for node in model.graph.node:
        if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            _route(node, trees_by_shape)


def _route(node: Any, trees_by_shape: Mapping[bytes, deque[Any]]) -> None:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees, nodes, features = (
        np.array(attributes[name].ints) for name in ("nodes_treeids", "nodes_nodeids", "nodes_featureids")
    )
    is_leaf = np.array([mode == b"LEAF" for mode in attributes["nodes_modes"].strings])
    thresholds = np.array(attributes["nodes_values"].floats, dtype=np.float32)
    order = np.lexsort((nodes, trees))
    attribute = attributes.get(_ROUTES)
    # Histogram gradient boosting keeps its routes elsewhere, and the converter takes them over.
    routes = np.zeros(len(trees), dtype=np.int64) if attribute is None else np.array(attribute.ints, dtype=np.int64)
    for at in np.split(order, np.flatnonzero(np.diff(trees[order])) + 1):
        alike = trees_by_shape.get(_shape(is_leaf[at], features[at]), deque())
        tree = next((one for one in alike if _has_thresholds(one, thresholds[at])), None)
        if tree is not None:
            routes[at] = np.where(is_leaf[at], 0, np.asarray(tree.missing_go_to_left, dtype=np.int64))
            # Trees that are alike, as stumps of one feature, are told apart by their order, which the converter keeps.
            alike.remove(tree)
            alike.append(tree)
    if attribute is None:
        attribute = node.attribute.add()
        attribute.name, attribute.type = _ROUTES, 7  # AttributeProto.INTS
    del attribute.ints[:]
    attribute.ints.extend(routes.tolist())


def _shape(is_leaf: np.ndarray, features: np.ndarray) -> bytes:
    """What most trees are told apart by: which nodes are leaves, and the features of the others."""
    return is_leaf.tobytes() + np.where(is_leaf, 0, features).astype(np.int64).tobytes()


def _has_thresholds(tree: Any, thresholds: np.ndarray) -> bool:
    """Whether a tree of that shape has these thresholds, which the converter has rounded in its own way."""
    inner = tree.children_left != -1
    with np.errstate(over="ignore"):
        own, other = tree.threshold[inner].astype(np.float32), thresholds[inner]
    with np.errstate(invalid="ignore"):  # a node that tells missing values from all others may have an infinite one
        return bool(np.all((own == other) | (np.abs(own - other) <= _ULPS * np.spacing(np.abs(own)))))


def take_yes(model: Any, labels: int) -> None:
    """Have a converted model of several labels give the probability of a yes of each, ``[n, k]``.

    Of trees and neighbours skl2onnx gives ``[k, n, 2]``, of estimators that hold one for each label a sequence of ``[n, 2]``, of networks
    ``[n, k]`` at once.
    """
    onnx = require("onnx")
    graph, output = model.graph, model.graph.output[-1]
    source, is_sequence = output.name, output.type.HasField("sequence_type")
    if not is_sequence and len(output.type.tensor_type.shape.dim) == 2:
        return
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "labels.yes"))
    if is_sequence:
        maker = next(node for node in graph.node if source in node.output)
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1]), "labels.column"))
        columns = []
        for at, one in enumerate(maker.input):
            graph.node.append(onnx.helper.make_node("Gather", [one, "labels.yes"], [f"labels.{at}.yes"], axis=1))
            columns.append(f"labels.{at}")
            graph.node.append(onnx.helper.make_node("Reshape", [f"labels.{at}.yes", "labels.column"], columns[-1:]))
        graph.node.remove(maker)
        graph.node.append(onnx.helper.make_node("Concat", columns, ["labels"], axis=1))
    else:
        graph.node.append(onnx.helper.make_node("Gather", [source, "labels.yes"], ["labels.yes.rows"], axis=2))
        graph.node.append(onnx.helper.make_node("Transpose", ["labels.yes.rows"], ["labels"], perm=[1, 0]))
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.FLOAT, ["n", labels]))
