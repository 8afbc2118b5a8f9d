"""Cores: a trained model as ONNX from encoded tensors on, before the encoders are put in front of it."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Task
from fti_assets.errors import ModelError, one_of
from fti_assets.training.encoders.encoders import DENSE
from fti_assets.training.encoders.fitting import TABLES
from fti_assets.training.encoders.graph import OPSET
from fti_assets.training.models.data import matrix
from fti_assets.training.models.estimators import (
    check_indicators,
    check_steps,
    is_fitted,
    measures_distances,
    part_at_fault,
    readable_votes,
    route_missing,
    take_float,
)

MATRIX = "X"
"""The input of a core that takes one matrix, as ``data.train.X`` is."""

RETURN_KINDS = (
    "a torch module (nn.Module or LightningModule), a fitted scikit-learn estimator with predict_proba (regression: "
    "predict) that skl2onnx converts, or an onnx.ModelProto"
)

TRACING = "Look for what tracing cannot follow, such as branches on values, random numbers and fixed batch sizes"
"""What to do where a traced module and its graph answer otherwise."""

_HALF = ("torch.float16", "torch.bfloat16")
_OLDEST_OF_THE_HEAD = 11  # whose Clip has its bounds as inputs
_NOT_YET = ("xgboost", "lightgbm", "catboost")

_CONVERTERS = (
    "change its settings, or return one that it converts, such as LogisticRegression, Ridge, a random forest or histogram gradient "
    "boosting, or a torch module"
)

_UNKNOWN = "Unable to find a shape calculator"  # skl2onnx's text for a class that it does not know

_SEVERAL = "was fitted on several labels at once, but a model has one: fit it on data.train.y, [n], and declare a model for each label"

EncodedRows = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Core:
    """A model as ONNX, and the model itself to compare with.

    Attributes:
        model: the ``onnx.ModelProto``; its inputs are ``dense`` and Embedding features, or ``X``.
        output: the name of the output that counts.
        gives: what that output is.
        predict: the trained model's own answer to encoded inputs: probabilities or values, ``[n]`` or ``[n, k]``.
        advice: what to do where the ONNX model answers otherwise than the trained one, as a sentence without its stop.
    """

    model: Any
    output: str
    gives: Literal["logits", "probabilities", "values"]
    predict: Callable[[EncodedRows], np.ndarray]
    advice: str = TRACING


def core_of(model: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    """Export a trained model of any kind that is supported.

    Args:
        model: a torch module, a fitted scikit-learn estimator or an ``onnx.ModelProto``.
        sample: a few encoded rows, at least two.
        task: what the model does.
        classes: how many classes a multiclass model tells apart, else 0.

    Raises:
        ModelError: the kind is not supported, it cannot be exported, or its output has not the task's shape.
        MissingExtraError: what exports it is not installed.
    """
    packages = [kind.__module__.split(".")[0] for kind in type(model).__mro__]
    foreign_kind = next((package for package in packages if package in _NOT_YET), None)
    if foreign_kind is not None:
        raise ModelError(
            f"{type(model).__name__} is a model of {foreign_kind}, which is not supported yet: return {RETURN_KINDS}"
        )
    if "torch" in packages:
        return _torch_core(model, sample, task, classes)
    if "sklearn" in packages:
        return _sklearn_core(model, sample, task, classes)
    if type(model).__name__ == "ModelProto":
        return _onnx_core(model, sample, task, classes)
    raise ModelError(f"{type(model).__name__} cannot be exported: return {RETURN_KINDS}")


def check_shape(output: Any, task: Task, rows: int, classes: int, *, what: str) -> np.ndarray:
    """The output as ``[n]``, or ``[n, k]`` for multiclass; a ModelError if it has another shape."""
    shapes = [(rows, classes)] if task == "multiclass" else [(rows,), (rows, 1)]
    if np.shape(output) not in shapes:
        of_task = " or ".join(str(list(shape)) for shape in shapes)
        result = list(np.shape(output)) if hasattr(output, "shape") else type(output).__name__
        raise ModelError(f"{what} gives {result} for {rows} rows, but a {task} model gives {of_task}")
    values: np.ndarray = np.asarray(output)
    return values if task == "multiclass" else values.reshape(-1)


def activate(logits: np.ndarray, task: Task) -> np.ndarray:
    """Probabilities from logits by sigmoid or softmax, in float64; values as they are."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite is for the comparison to report
        if task == "binary":
            return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
        if task == "multiclass":
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    return logits


def _torch_core(module: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    torch = require("torch")
    require("onnx")
    names = list(sample)
    module = module.cpu().eval()
    _refuse_half(module)

    class Positional(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            return self.module(dict(zip(names, tensors, strict=True)))

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            with torch.no_grad():
                output = module.eval()({name: torch.from_numpy(arrays[name]) for name in names})
        except Exception as error:  # whatever the forward of a user raises
            raise ModelError(_forward_problem(module, arrays, error)) from error
        output = output.float().numpy() if isinstance(output, torch.Tensor) else output
        what = f"forward of {type(module).__name__}"
        return activate(check_shape(output, task, len(arrays[DENSE]), classes, what=what), task)

    predict(sample)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():  # the tracer's doubts are settled by comparing the outputs
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Positional().eval(),
                tuple(torch.from_numpy(sample[name]) for name in names),
                buffer,
                input_names=names,
                output_names=["output"],
                dynamic_axes={name: {0: "n"} for name in [*names, "output"]},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise ModelError(f"torch cannot export {type(module).__name__} to ONNX: {error}") from error
    return Core(require("onnx").load_from_string(buffer.getvalue()), "output", _gives(task), predict)


def _refuse_half(module: Any) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    half = [(name, str(tensor.dtype)) for name, tensor in tensors if str(tensor.dtype) in _HALF]
    if half:
        name, dtype = half[0]
        raise ModelError(
            f"{type(module).__name__} has {len(half)} tensors of half precision, {name!r} as {dtype} for one, but answers are "
            "computed in float32: return module.float(), and look at its metrics again"
        )


def _forward_problem(module: Any, arrays: EncodedRows, error: Exception) -> str:
    inputs = ", ".join(f"{name!r} {values.dtype} [n, {values.shape[1]}]" for name, values in arrays.items())
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.300}"
    advice = TABLES if isinstance(error, IndexError) else ""
    return f"forward of {type(module).__name__} fails on encoded rows, a dict of {inputs}: {reason}{advice}"


def _sklearn_core(estimator: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    converter = require("skl2onnx")
    tensors = require("skl2onnx.common.data_types")
    name = type(estimator).__name__
    method = "predict" if task == "regression" else "predict_proba"
    if not is_fitted(estimator):
        raise ModelError(f"{name} is not fitted: fit it on data.train.X and data.train.y before returning it")
    if not hasattr(estimator, method):
        soft = 'give a vote voting="soft", put another classifier into CalibratedClassifierCV, or '
        advice = soft if hasattr(estimator, "classes_") else ""
        raise ModelError(f"{name} has no {method}, which a {task} model needs: {advice}return {RETURN_KINDS}")
    if task == "regression" and hasattr(estimator, "predict_proba"):
        raise ModelError(f"{name} is a classifier, but the model's task is regression")
    if task != "regression":
        if not hasattr(estimator, "classes_"):
            raise ModelError(f"{name} is no classifier: return {RETURN_KINDS}")
        if any(np.ndim(one) for one in estimator.classes_):
            raise ModelError(f"{name} {_SEVERAL}")
        labels, codes = np.asarray(estimator.classes_).tolist(), list(range(classes or 2))
        if labels != codes:
            raise ModelError(f"{name} was fitted on the labels {labels[:20]}, not {codes[:20]}: fit it on data.train.y")
    width = matrix(sample).shape[1]

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            output = getattr(estimator, method)(matrix(arrays))
        except Exception as error:  # whatever an estimator raises
            raise ModelError(
                f"{name} fails on encoded rows: {_reason(error)}. It has to be fitted on data.train.X, [n, dense_dim + Embedding "
                f"features], here [n, {width}], and answer every such row"
            ) from error
        if task == "regression" and np.ndim(output) == 2 and np.shape(output)[1] > 1:
            raise ModelError(f"{name} {_SEVERAL}")
        if task == "binary":
            output = output[:, 1]
        return check_shape(output, task, len(arrays[DENSE]), classes, what=f"{method} of {name}").astype(np.float64)

    check_indicators(estimator, name)
    check_steps(estimator, name)
    predict(sample)
    fitted_estimator = getattr(estimator, "best_estimator_", estimator)  # what every search answers with
    in_double = measures_distances(estimator)
    number = tensors.DoubleTensorType if in_double else tensors.FloatTensorType
    try:
        with warnings.catch_warnings(), readable_votes(estimator):
            warnings.simplefilter("ignore")
            model = converter.convert_sklearn(
                fitted_estimator,
                initial_types=[(MATRIX, number([None, width]))],
                options=None if task == "regression" else {id(fitted_estimator): {"zipmap": False}},
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
    # The converter's opset is the newest that a node needs, and that of support vectors is old.
    for opset in model.opset_import:
        if opset.domain == "" and opset.version < _OLDEST_OF_THE_HEAD:
            opset.version = _OLDEST_OF_THE_HEAD
    route_missing(model, estimator)
    if in_double:
        take_float(model)
    gives: Literal["values", "probabilities"] = "values" if task == "regression" else "probabilities"
    advice = (
        f"skl2onnx does not convert {name} with these settings, or a step in it, to the same answers: {_CONVERTERS}"
    )
    return Core(model, model.graph.output[-1].name, gives, predict, advice)


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


def _onnx_core(model: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    from fti_assets.stores.models.graphs.execution import new_session

    constants = {one.name for one in model.graph.initializer}  # which older exporters list as inputs, too
    inputs = [one.name for one in model.graph.input if one.name not in constants]
    if not set(inputs) <= set(sample):
        raise ModelError(f"the ONNX model has the inputs {one_of(inputs)}, but the encoders give {one_of(sample)}")
    _refuse_other_types(model, inputs)
    if len(model.graph.output) != 1:
        outputs = one_of(one.name for one in model.graph.output)
        raise ModelError(f"the ONNX model has the outputs {outputs}: it needs exactly one, logits or values")
    try:
        session = new_session(model.SerializeToString())
    except Exception as error:
        raise ModelError(f"the ONNX model cannot be loaded: {error}") from error

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            (output,) = session.run(None, {name: arrays[name] for name in inputs})
        except Exception as error:
            advice = TABLES if "out of data bounds" in str(error) else ""
            raise ModelError(f"the ONNX model does not run on encoded rows: {error}{advice}") from error
        return activate(check_shape(output, task, len(arrays[DENSE]), classes, what="the ONNX model"), task)

    predict(sample)
    return Core(model, model.graph.output[0].name, _gives(task), predict)


def _refuse_other_types(model: Any, inputs: Sequence[str]) -> None:
    """Refuse a model that is not given, or does not give, what this project's graphs have."""
    types = require("onnx").TensorProto
    ends = [
        ("input", one, [types.FLOAT if one.name == DENSE else types.INT64])
        for one in model.graph.input
        if one.name in inputs
    ] + [("output", one, [types.FLOAT, types.DOUBLE]) for one in model.graph.output]
    for end, one, allowed_types in ends:
        kind = one.type.tensor_type.elem_type
        if kind and kind not in allowed_types:
            raise ModelError(
                f"the ONNX model has the {end} {one.name!r} as {types.DataType.Name(kind)}, but {types.DataType.Name(allowed_types[0])} "
                "is expected: export it from a model in float32, or put a Cast there"
            )


def _gives(task: Task) -> Literal["logits", "values"]:
    return "values" if task == "regression" else "logits"
