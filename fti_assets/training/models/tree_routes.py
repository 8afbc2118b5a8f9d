"""Trees of scikit-learn in ONNX: a missing value goes where the fitted tree sends it.

The converter writes the attribute that says so, ``nodes_missing_value_tracks_true``, with zeros, so that a missing value always went
to the right. scikit-learn keeps the way of each node in ``tree_.missing_go_to_left``, learned where training had missing
values and that of the greater child where it had none.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from fti_assets.training.models.estimator_parts import parts_of

_ATTRIBUTE = "nodes_missing_value_tracks_true"


def route_missing(model: Any, estimator: Any) -> None:
    """Give every tree of an ``onnx.ModelProto`` the routes of the fitted tree that it was made from.

    Trees are told apart by their features, thresholds and shape, and those that are alike in these, as stumps of one feature are,
    by their order, which the converter keeps. One that is none of the estimator's is left as it is, for the comparison with the
    estimator to judge.
    """
    fitted: dict[bytes, deque[Any]] = defaultdict(deque)
    for part in parts_of(estimator):
        if hasattr(part, "children_left") and hasattr(part, "threshold") and hasattr(part, "missing_go_to_left"):
            fitted[_shape_of(part)].append(part)
    if not fitted:
        return
    for node in model.graph.node:
        if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            _route(node, fitted)


def _route(node: Any, fitted: Mapping[bytes, deque[Any]]) -> None:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    ids = [np.array(attributes[name].ints) for name in ("nodes_treeids", "nodes_nodeids", "nodes_featureids")]
    is_leaf = np.array([mode == b"LEAF" for mode in attributes["nodes_modes"].strings])
    thresholds = np.array(attributes["nodes_values"].floats, dtype=np.float32)
    places: dict[int, list[int]] = defaultdict(list)
    for place, tree in enumerate(ids[0].tolist()):
        places[tree].append(place)
    routes = np.zeros(len(ids[0]), dtype=np.int64)
    for of_tree in places.values():
        at = np.array(sorted(of_tree, key=lambda place: int(ids[1][place])))
        alike = fitted.get(_shape(is_leaf[at], ids[2][at], thresholds[at]))
        if alike:
            routes[at] = np.where(is_leaf[at], 0, np.asarray(alike[0].missing_go_to_left, dtype=np.int64))
            alike.rotate(-1)
    attribute = attributes.get(_ATTRIBUTE)
    if attribute is None:
        attribute = node.attribute.add()
        attribute.name, attribute.type = _ATTRIBUTE, 7  # AttributeProto.INTS
    del attribute.ints[:]
    attribute.ints.extend(routes.tolist())


def _shape_of(tree: Any) -> bytes:
    return _shape(tree.children_left == -1, tree.feature, tree.threshold)


def _shape(is_leaf: np.ndarray, features: np.ndarray, thresholds: np.ndarray) -> bytes:
    """What tells a tree apart. Thresholds to half of float32's digits, since the converter rounds them in its own way."""
    digits = np.where(is_leaf, 0.0, thresholds).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.frombuffer(digits.tobytes(), dtype=np.uint32) + np.uint32(1 << 11) >> np.uint32(12)
    return is_leaf.tobytes() + np.where(is_leaf, 0, features).astype(np.int64).tobytes() + rounded.tobytes()
