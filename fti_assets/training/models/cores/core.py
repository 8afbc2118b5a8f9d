"""Cores: a trained model as ONNX from encoded tensors on, before the encoders are put in front of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fti_assets.core.manifest import BY_NAME, CLASSIFIES, Task, model_of
from fti_assets.errors import ModelError

MATRIX = "X"
"""The input of a core that takes one matrix, as ``data.train.X`` is."""

RETURN_KINDS = (
    "a torch module (nn.Module or LightningModule), a fitted scikit-learn estimator with predict_proba (regression "
    "and ranking: predict) that skl2onnx converts, a model of LightGBM or XGBoost, an onnx.ModelProto, or for "
    "quantiles or several labels a list of models, one for each"
)

TRACING = "Look for what tracing cannot follow, such as branches on values, random numbers and fixed batch sizes"
"""What to do where a traced module and its graph answer otherwise."""

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

    @property
    def has_trees(self) -> bool:
        """Whether trees are in the model, whose answers jump where a number crosses a threshold."""
        return any(node.op_type.startswith("TreeEnsemble") for node in self.model.graph.node)


def name_of(model: Any) -> str:
    """What a trained model, or several that answer together, is called: ``Ridge``, or ``Ridge (3)``."""
    if isinstance(model, list | tuple) and model:
        return f"{type(model[0]).__name__} ({len(model)})"
    return type(model).__name__


def check_shape(output: Any, task: Task, rows: int, classes: int, *, what: str) -> np.ndarray:
    """The output as ``[n]``, or ``[n, k]`` for multiclass, quantiles and several labels; a ModelError if it has another shape."""
    shapes = [(rows, classes)] if task in BY_NAME else [(rows,), (rows, 1)]
    if np.shape(output) not in shapes:
        of_task = " or ".join(str(list(shape)) for shape in shapes)
        result = list(np.shape(output)) if hasattr(output, "shape") else type(output).__name__
        raise ModelError(f"{what} gives {result} for {rows} rows, but {model_of(task)} gives {of_task}")
    values: np.ndarray = np.asarray(output)
    return values if task in BY_NAME else values.reshape(-1)


def activate(logits: np.ndarray, task: Task) -> np.ndarray:
    """Probabilities from logits by sigmoid or softmax, in float64; values as they are, quantiles in ascending order."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite is for the comparison to report
        if task in ("binary", "multilabel"):
            return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
        if task == "multiclass":
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    if task == "quantile":
        return np.sort(logits, axis=1)
    return logits


def estimator_gives(task: Task) -> Literal["values", "probabilities"]:
    """What the output of a converted estimator is."""
    return "values" if task not in CLASSIFIES else "probabilities"


def network_gives(task: Task) -> Literal["logits", "values"]:
    """What the output of a network is."""
    return "values" if task not in CLASSIFIES else "logits"
