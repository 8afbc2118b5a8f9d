"""Fitted estimators of scikit-learn, and models of LightGBM and XGBoost, as cores."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import CLASSIFIES, VALUES, Task, model_of
from fti_assets.errors import ModelError, one_of
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.nodes import OPSET
from fti_assets.training.models.cores.boosters import (
    booster_answers,
    check_booster,
    convert_booster,
    package_of,
    readable_boosters,
    register_boosters,
)
from fti_assets.training.models.cores.core import (
    MATRIX,
    RETURN_KINDS,
    Core,
    EncodedRows,
    check_shape,
    estimator_gives,
)
from fti_assets.training.models.cores.estimators import (
    boosters_within,
    check_indicators,
    check_steps,
    is_fitted,
    measures_distances,
    part_at_fault,
    readable_votes,
    route_missing,
    take_float,
    take_yes,
)
from fti_assets.training.models.parts.frames import Layout

_OLDEST_OF_THE_HEAD = 11  # whose Clip has its bounds as inputs

_CONVERTERS = (
    "change its settings, or return one that it converts, such as LogisticRegression, Ridge, a random forest or histogram gradient "
    "boosting, or a torch module"
)

_UNKNOWN = "Unable to find a shape calculator"  # skl2onnx's text for a class that it does not know

_SEVERAL = (
    "was fitted on several labels at once, but the view has one: fit it on data.train.y, [n], or give the view several labels, "
    "label={...}"
)


def _check_estimator(estimator: Any, method: str, task: Task, classes: int) -> None:
    """Refuse an estimator that is not fitted, or not for the task."""
    name = type(estimator).__name__
    if not is_fitted(estimator):
        raise ModelError(f"{name} is not fitted: fit it on data.train.X and data.train.y before returning it")
    if not hasattr(estimator, method):
        soft = 'give a vote voting="soft", put another classifier into CalibratedClassifierCV, or '
        advice = soft if hasattr(estimator, "classes_") else ""
        raise ModelError(f"{name} has no {method}, which {model_of(task)} needs: {advice}return {RETURN_KINDS}")
    if task not in CLASSIFIES and hasattr(estimator, "predict_proba"):
        raise ModelError(f"{name} is a classifier, but the model's task is {task}")
    if task in CLASSIFIES:
        if not hasattr(estimator, "classes_"):
            raise ModelError(f"{name} is no classifier: return {RETURN_KINDS}")
        if task == "multilabel":
            _check_labels(estimator, classes)
            return
        if any(np.ndim(one) for one in estimator.classes_):
            raise ModelError(f"{name} {_SEVERAL}")
        labels, codes = np.asarray(estimator.classes_).tolist(), list(range(classes or 2))
        if labels != codes:
            raise ModelError(f"{name} was fitted on the labels {labels[:20]}, not {codes[:20]}: fit it on data.train.y")


def _check_labels(estimator: Any, labels: int) -> None:
    """Refuse an estimator that was not fitted on so many labels of 0 and 1."""
    classes, name = estimator.classes_, type(estimator).__name__
    several = isinstance(classes, list) or (np.ndim(classes) == 2)
    if several and [np.asarray(one).tolist() for one in classes] != [[0, 1]] * labels:
        raise ModelError(
            f"{name} was fitted on {len(classes)} labels, not on {labels} of 0 and 1: fit it on data.train.y, [n, {labels}]"
        )


def _answers_of(
    name: str, method: str, answers: Callable[[EncodedRows], Any], task: Task, classes: int, width: int
) -> Callable[[EncodedRows], np.ndarray]:
    """What an estimator or booster answers to encoded rows, in the task's shape and in float64."""

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            output = answers(arrays)
        except Exception as error:  # whatever an estimator raises
            raise ModelError(
                f"{name} fails on encoded rows: {_reason(error)}. It has to be fitted on data.train.X, [n, dense_dim + Embedding "
                f"features], here [n, {width}], or on a frame, and answer every such row"
            ) from error
        if task in VALUES and np.ndim(output) == 2 and np.shape(output)[1] > 1:
            raise ModelError(f"{name} {_SEVERAL}")
        if task == "binary" and np.ndim(output) == 2:
            output = output[:, 1]
        if task == "multilabel" and isinstance(output, list):  # of each label, no and yes
            output = np.stack([np.asarray(one)[:, 1] for one in output], axis=1)
        return check_shape(output, task, len(arrays[DENSE]), classes, what=f"{method} of {name}").astype(np.float64)

    return predict


def booster_core(model: Any, sample: EncodedRows, task: Task, classes: int, layout: Layout) -> Core:
    """A model of LightGBM or XGBoost, converted by onnxmltools."""
    name = type(model).__name__
    is_estimator = hasattr(model, "fit")
    method = "predict" if task not in CLASSIFIES or not is_estimator else "predict_proba"
    if is_estimator:
        _check_estimator(model, method, task, classes)
    check_booster(model, task)
    require("onnxmltools")
    width = layout.width(sample)
    predict = _answers_of(
        name, method, lambda arrays: booster_answers(model, method, layout, layout.rows(arrays)), task, classes, width
    )
    predict(sample)
    try:
        converted = convert_booster(model, width)
    except Exception as error:  # whatever a converter raises
        raise ModelError(
            f"{name} cannot be used as a model: onnxmltools does not convert it with these settings ({_reason(error)}): change "
            "its settings, or return another booster"
        ) from error
    advice = f"onnxmltools does not convert {name} with these settings to the same answers: change its settings, or return another booster"
    _take_the_head(converted)
    core = layout.put_in_front(converted, MATRIX)
    return Core(core, core.graph.output[-1].name, estimator_gives(task), predict, advice)


def _take_the_head(model: Any) -> None:
    """Raise the opset to that of the head; the converter's is the newest that a node needs, and that of support vectors is old."""
    for opset in model.opset_import:
        if opset.domain == "" and opset.version < _OLDEST_OF_THE_HEAD:
            opset.version = _OLDEST_OF_THE_HEAD


def method_of(task: Task) -> str:
    """The method of an estimator that answers."""
    return "predict_proba" if task in CLASSIFIES else "predict"


def sklearn_predict(
    estimator: Any, sample: EncodedRows, task: Task, classes: int, layout: Layout
) -> Callable[[EncodedRows], np.ndarray]:
    """What a fitted estimator of scikit-learn itself answers to encoded rows.

    Raises:
        ModelError: it is not fitted, or not for the task.
    """
    method = method_of(task)
    _check_estimator(estimator, method, task, classes)
    return _answers_of(
        type(estimator).__name__,
        method,
        lambda arrays: getattr(estimator, method)(layout.rows(arrays)),
        task,
        classes,
        layout.width(sample),
    )


def sklearn_core(estimator: Any, sample: EncodedRows, task: Task, classes: int, layout: Layout) -> Core:
    """A fitted estimator of scikit-learn, converted by skl2onnx."""
    converter = require("skl2onnx")
    tensors = require("skl2onnx.common.data_types")
    name = type(estimator).__name__
    method = method_of(task)
    _check_estimator(estimator, method, task, classes)
    if layout.categories:
        raise ModelError(
            f"{name} was fitted on data.train.frame with {one_of(layout.categories)}, whose categories only a booster itself takes: fit it "
            "on data.train.X or data.train.encoded_frame, or return the booster alone"
        )
    width = layout.width(sample)
    predict = sklearn_predict(estimator, sample, task, classes, layout)
    boosters = boosters_within(estimator)
    for booster in boosters:
        check_booster(booster, None)
    check_indicators(estimator, name)
    check_steps(estimator, name)
    predict(sample)
    fitted_estimator = getattr(estimator, "best_estimator_", estimator)  # what every search answers with
    in_double = measures_distances(estimator)
    register_boosters({package_of(booster) for booster in boosters})
    number = tensors.DoubleTensorType if in_double else tensors.FloatTensorType
    try:
        with warnings.catch_warnings(), readable_votes(estimator), readable_boosters(boosters):
            warnings.simplefilter("ignore")
            model = converter.convert_sklearn(
                fitted_estimator,
                initial_types=[(MATRIX, number([None, width]))],
                options=None if task not in CLASSIFIES else {id(fitted_estimator): {"zipmap": False}},
                target_opset={"": OPSET, "ai.onnx.ml": 3},
            )
    except Exception as error:  # whatever a converter raises
        part = part_at_fault(error) or type(fitted_estimator).__name__
        verb = "know" if _UNKNOWN in str(error) else "convert"
        settings = (
            "" if verb == "know" else f" with these settings, as a model or as a step before others{_plain(error)}"
        )
        raise ModelError(
            f"{name} cannot be used as a model: skl2onnx does not {verb} {part}{settings}. It has to know the estimator and every "
            f"step in it: {_CONVERTERS}"
        ) from error
    _take_the_head(model)
    route_missing(model, estimator)
    if in_double:
        take_float(model)
    if task == "multilabel":
        take_yes(model, classes)
    model = layout.put_in_front(model, MATRIX)
    advice = (
        f"skl2onnx does not convert {name} with these settings, or a step in it, to the same answers: {_CONVERTERS}"
    )
    return Core(model, model.graph.output[-1].name, estimator_gives(task), predict, advice)


def _plain(error: Exception) -> str:
    """What a converter says of a setting, in brackets; empty where it speaks of operators, opsets and its own issue tracker."""
    first = re.split(r"(?i)[,.] you may raise", str(error).partition("\n")[0])[0].strip().rstrip(".")
    return (
        ""
        if not first or re.search("(?i)onnx|opset|operator|https?:|option|variable|raise", first)
        else f" ({first:.200})"
    )


def _reason(error: Exception) -> str:
    """Why something of scikit-learn failed, in a line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0].strip().rstrip('.'):.300}"
