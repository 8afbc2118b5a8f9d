"""Fitted models of LightGBM and XGBoost: what of them onnxmltools can convert, and how it comes to read them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Task, model_of
from fti_assets.errors import ModelError, one_of
from fti_assets.training.models.parts.frames import Layout

BOOSTERS = ("lightgbm", "xgboost")
"""The packages whose models are converted."""

_CONVERTERS = "onnxmltools.convert"
_OPSET = 15  # the newest that onnxmltools writes

OBJECTIVES: Mapping[str, Mapping[Task, tuple[str, ...]]] = {
    "lightgbm": {
        "binary": ("binary",),
        "multiclass": ("multiclass",),
        "regression": ("regression", "regression_l1", "huber", "quantile", "poisson", "gamma", "tweedie"),
        "ranking": ("lambdarank", "rank_xendcg"),
    },
    "xgboost": {
        "binary": ("binary:logistic",),
        "multiclass": ("multi:softprob",),
        "regression": (
            "reg:squarederror",
            "reg:absoluteerror",
            "reg:squaredlogerror",
            "reg:pseudohubererror",
            "count:poisson",
            "reg:gamma",
            "reg:tweedie",
        ),
        "ranking": ("rank:ndcg", "rank:pairwise", "rank:map"),
    },
}
"""The objectives of each task that the graph answers as the booster does; a score to rank by may be a regression's value too."""


def package_of(model: Any) -> str:
    """The package of which a model is, first in its class's line of those that are converted."""
    packages = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    return next((package for package in BOOSTERS if package in packages), packages[0])


def check_booster(model: Any, task: Task | None) -> None:
    """Refuse a booster of which the graph would answer otherwise, by its settings.

    Args:
        task: what its objective has to be of; None for one within another estimator.

    Raises:
        ModelError: it says which setting.
    """
    package, name = package_of(model), type(model).__name__
    objective, reason = (_lightgbm_reason if package == "lightgbm" else _xgboost_reason)(model)
    if reason:
        raise ModelError(f"{name} cannot be used as a model: {reason}")
    of_task = OBJECTIVES[package]
    tasks = ("ranking", "regression") if task == "ranking" else (task,)
    allowed = [one for key, names in of_task.items() if task is None or key in tasks for one in names]
    if objective not in allowed:
        raise ModelError(
            f"{name} has the objective {objective!r}, of which no graph{'' if task is None else f' of {model_of(task)}'} is made: choose "
            f"{one_of(allowed)}"
        )


def _lightgbm_reason(model: Any) -> tuple[str, str]:
    booster = getattr(model, "booster_", model)
    text = booster.model_to_string(num_iteration=-1)
    head = dict(line.partition("=")[::2] for line in text.partition("\nTree=0")[0].splitlines())
    objective, *settings = (head.get("objective") or "none").split(" ")
    if "average_output" in head:
        return objective, "boosting_type='rf' averages its trees, which the converter adds up. Choose 'gbdt' or 'dart'"
    if "\nis_linear=1" in text:
        return objective, "linear_tree=True has a linear model in each leaf, which no tree in a graph has. Leave it out"
    if "sqrt" in settings:
        return objective, "reg_sqrt=True is not converted. Fit it without, on the square root that you take yourself"
    if "\n[zero_as_missing: 1]" in text:
        return objective, "zero_as_missing=True takes 0 for missing, which no tree in a graph does. Leave it out"
    return objective, ""


def _xgboost_reason(model: Any) -> tuple[str, str]:
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective, kind = learner["objective"]["name"], learner["gradient_booster"]["name"]
    if kind != "gbtree":
        return objective, f"booster={kind!r} is not converted. Choose booster='gbtree'"
    missing = getattr(model, "missing", None)
    if missing is not None and not np.isnan(missing):
        return objective, f"missing={missing!r} takes a number for missing, which no tree in a graph does. Leave it out"
    return objective, ""


def booster_answers(model: Any, method: str, layout: Layout, rows: Any) -> Any:
    """What a booster itself answers to rows, ``[n]`` or ``[n, k]``; of a classifier of two classes ``[n, 2]``."""
    if hasattr(model, method) and hasattr(model, "fit"):
        return getattr(model, method)(rows)
    if package_of(model) == "lightgbm":
        return model.predict(rows)
    xgboost = require("xgboost")
    return model.predict(xgboost.DMatrix(rows, enable_categorical=bool(layout.categories)))


def convert_booster(model: Any, width: int) -> Any:
    """An ``onnx.ModelProto`` of the input ``X``, float32 ``[n, width]``; its last output has what counts."""
    converters = require("onnxmltools")
    number = require("onnxmltools.convert.common.data_types").FloatTensorType
    settings: dict[str, Any] = {"initial_types": [("X", number([None, width]))], "target_opset": _OPSET}
    with warnings.catch_warnings(), readable_boosters([model]):
        warnings.simplefilter("ignore")
        if package_of(model) == "xgboost":
            converted = converters.convert_xgboost(_with_known_objective(model), **settings)
        else:
            converted = converters.convert_lightgbm(model, zipmap=False, **settings)
    round_down(converted, [model])
    return converted


def _with_known_objective(model: Any) -> Any:
    """An XGBoost model that the converter reads: a ranking's score is the sum of its trees, as a value by squared error is."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    saved = json.loads(booster.save_raw("json"))
    if saved["learner"]["objective"]["name"] not in OBJECTIVES["xgboost"]["ranking"]:
        return model
    saved["learner"]["objective"] = {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}}
    other = require("xgboost").Booster()
    other.load_model(bytearray(json.dumps(saved).encode()))
    return other


@contextmanager
def readable_boosters(models: list[Any]) -> Iterator[None]:
    """Call the features of XGBoost's models f0, f1 and so on for a while, the only names that its converter reads."""
    boosters = [
        model.get_booster() if hasattr(model, "get_booster") else model
        for model in models
        if package_of(model) == "xgboost"
    ]
    before = [(booster.feature_names, booster.feature_types) for booster in boosters]
    try:
        for booster, (names, types) in zip(boosters, before, strict=True):
            if names is not None:
                booster.feature_names = [f"f{at}" for at in range(len(names))]
                booster.feature_types = types
        yield
    finally:
        for booster, (names, types) in zip(boosters, before, strict=True):
            if names is not None:
                booster.feature_names, booster.feature_types = names, types


def round_down(model: Any, boosters: list[Any]) -> None:
    """Give the trees of LightGBM in an ``onnx.ModelProto`` the greatest float32 below each threshold, in place of the nearest.

    A number is a float32 and goes left if it is at most the threshold, which is a float64: the nearest float32 may be above it and let
    another number go left, too.
    """
    thresholds: dict[tuple[int, float], float] = {}
    for booster in boosters:
        if package_of(booster) == "lightgbm":
            trees = getattr(booster, "booster_", booster).dump_model(num_iteration=-1)["tree_info"]
            for feature, threshold in _thresholds(trees):
                with np.errstate(over="ignore"):  # of a split that only tells missing values from all others
                    key = (feature, float(np.float32(threshold)))
                thresholds[key] = max(threshold, thresholds.get(key, threshold))
    for node in model.graph.node if thresholds else ():
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "nodes_values" not in attributes:
            continue
        values = attributes["nodes_values"].floats
        features, modes = attributes["nodes_featureids"].ints, attributes["nodes_modes"].strings
        for at, (feature, mode) in enumerate(zip(features, modes, strict=True)):
            own = thresholds.get((feature, values[at])) if mode == b"BRANCH_LEQ" else None
            if own is not None and values[at] > own:
                values[at] = float(np.nextafter(np.float32(values[at]), np.float32(-np.inf)))


def _thresholds(trees: list[dict[str, Any]]) -> Iterator[tuple[int, float]]:
    nodes = [tree["tree_structure"] for tree in trees]
    while nodes:
        node = nodes.pop()
        if "split_feature" in node:
            if node["decision_type"] == "<=":
                yield node["split_feature"], float(node["threshold"])
            nodes += [node["left_child"], node["right_child"]]


def register_boosters(packages: set[str]) -> None:
    """Let skl2onnx convert the boosters within pipelines, votes and searches."""
    if "lightgbm" in packages:
        _register("lightgbm", "LGBM", require(f"{_CONVERTERS}.lightgbm.operator_converters.LightGbm").convert_lightgbm)
    if "xgboost" in packages:
        _register("xgboost", "XGB", require(f"{_CONVERTERS}.xgboost.operator_converters.XGBoost").convert_xgboost)


def _register(package: str, prefix: str, convert: Any) -> None:
    shapes = require("skl2onnx.common.shape_calculator")
    for kind, shape, options in (
        (
            "Classifier",
            shapes.calculate_linear_classifier_output_shapes,
            {"zipmap": [True, False, "columns"], "nocl": [True, False]},
        ),
        ("Regressor", shapes.calculate_linear_regressor_output_shapes, {}),
        ("Ranker", shapes.calculate_linear_regressor_output_shapes, {}),
    ):
        booster = getattr(require(package), f"{prefix}{kind}")
        require("skl2onnx").update_registered_converter(booster, f"Fti{prefix}{kind}", shape, convert, options=options)
