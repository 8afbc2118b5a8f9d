"""Evaluation: a model's outputs against the labels, over all rows, by slice, and for the baseline.

A metric that is undefined on its rows (ROC-AUC where only one class occurs, R2 of one row or of equal labels, anything
of no rows) is left out of the result: metrics are numbers, never NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import require
from fti_assets.core.manifest import OUTPUT_NAMES, Task
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of

"""The graph output of each task: ``[n]``, ``[n, k]`` and ``[n]``."""

LARGEST_SLICES = 200
"""Of a slice column with more values than this, the values with the most rows are evaluated."""

_Score = Callable[[Any, np.ndarray, np.ndarray], float | None]


@dataclass(frozen=True)
class Metric:
    """A metric: the tasks it is for, and which way is better. ``score`` takes sklearn.metrics, labels and outputs."""

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    score: _Score


def _roc_auc(metrics: Any, y: np.ndarray, outputs: np.ndarray) -> float | None:
    if len(np.unique(y)) < (2 if outputs.ndim == 1 else outputs.shape[1]):
        return None
    if outputs.ndim == 1:
        return float(metrics.roc_auc_score(y, outputs))
    return float(metrics.roc_auc_score(y, outputs, multi_class="ovr", labels=np.arange(outputs.shape[1])))


def _log_loss(metrics: Any, y: np.ndarray, outputs: np.ndarray) -> float:
    epsilon = float(np.finfo(np.float32).eps)
    outputs = np.clip(outputs, epsilon, 1 - epsilon)
    if outputs.ndim == 1:
        return float(metrics.log_loss(y, outputs, labels=[0, 1]))
    return float(metrics.log_loss(y, _summing_to_one(outputs), labels=np.arange(outputs.shape[1])))


def _brier(metrics: Any, y: np.ndarray, outputs: np.ndarray) -> float:
    labels = [0, 1] if outputs.ndim == 1 else np.arange(outputs.shape[1])
    return float(metrics.brier_score_loss(y, outputs, labels=labels))


def _accuracy(metrics: Any, y: np.ndarray, outputs: np.ndarray) -> float:
    return float(metrics.accuracy_score(y, outputs >= 0.5 if outputs.ndim == 1 else outputs.argmax(axis=1)))


def _r2(metrics: Any, y: np.ndarray, outputs: np.ndarray) -> float | None:
    return None if y.min() == y.max() else float(metrics.r2_score(y, outputs))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", ("binary", "multiclass"), True, _roc_auc),
        Metric("log_loss", ("binary", "multiclass"), False, _log_loss),
        Metric("brier", ("binary", "multiclass"), False, _brier),
        Metric("accuracy", ("binary", "multiclass"), True, _accuracy),
        Metric("rmse", ("regression",), False, lambda metrics, y, out: float(metrics.root_mean_squared_error(y, out))),
        Metric("mae", ("regression",), False, lambda metrics, y, out: float(metrics.mean_absolute_error(y, out))),
        Metric("r2", ("regression",), True, _r2),
    )
}
"""Every metric by name. Multiclass ROC-AUC is one against the rest, averaged over classes without weights."""


def metric_named(name: str) -> Metric:
    """The metric of that name.

    >>> metric_named("log_loss").higher_is_better
    False

    Raises:
        DeclarationError: there is none.
    """
    if name not in METRICS:
        raise DeclarationError(f"there is no metric {excerpt(name)}: choose {one_of(METRICS)}")
    return METRICS[name]


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a model is judged on the test part. Source of the metrics: scikit-learn's.

    Args:
        metrics: names from ``METRICS``.
        slices: columns by whose values the metrics are told apart.

    Raises:
        DeclarationError: no metrics, an unknown one, or a name given twice.

    >>> Evaluation(metrics=["roc_auc", "log_loss"], slices=["carrier"]).metrics
    ('roc_auc', 'log_loss')
    """

    metrics: Sequence[str]
    slices: Sequence[str] = ()

    def __post_init__(self) -> None:
        for field in ("metrics", "slices"):
            names = getattr(self, field)
            if isinstance(names, str) or len(set(names)) != len(names):
                raise DeclarationError(f"Evaluation({field}={names!r}): give a list of different names")
            object.__setattr__(self, field, tuple(names))
        if not self.metrics:
            raise DeclarationError(f"Evaluation has no metrics: choose from {one_of(METRICS)}")
        for name in self.metrics:
            metric_named(name)

    def check(self, task: Task) -> None:
        """Check that every metric is one for the task.

        Raises:
            DeclarationError: one is not.
        """
        check_metrics(task, self.metrics)


def check_metrics(task: Task, metrics: Sequence[str]) -> None:
    """Check that metrics exist and are for a task.

    Raises:
        DeclarationError: one is unknown, or for other tasks.
    """
    for name in metrics:
        if task not in metric_named(name).tasks:
            fitting = [metric.name for metric in METRICS.values() if task in metric.tasks]
            raise DeclarationError(f"the metric {name!r} is not one for a {task} model: choose {one_of(fitting)}")


def evaluate(
    task: Task,
    metrics: Sequence[str],
    outputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str] = (),
) -> dict[str, float]:
    """Score a graph's outputs; metrics that are undefined on these rows are left out.

    Probabilities are kept a float32 epsilon away from 0 and 1 for the log loss, so one certain mistake costs 15.9.

    Args:
        task: what the model does.
        metrics: names from ``METRICS``.
        outputs: the graph's outputs: ``probability`` ``[n]``, ``probabilities`` ``[n, k]`` or ``value`` ``[n]``.
        y: ``[n]``: 0 or 1, the class's position in ``classes``, or the value.
        classes: the classes of a multiclass model.

    Raises:
        DeclarationError: a metric is unknown or not for the task.
        ModelError: the outputs are not finite, or do not have the shape that the task and ``y`` ask for.

    >>> evaluate("binary", ["accuracy", "roc_auc"], {"probability": np.array([0.9, 0.6])}, np.array([1, 0]))
    {'accuracy': 0.5, 'roc_auc': 1.0}
    """
    check_metrics(task, metrics)
    predictions = _check(task, outputs, y, classes)
    if not len(y):
        return {}
    sklearn_metrics = require("sklearn.metrics")
    scores = {name: METRICS[name].score(sklearn_metrics, y, predictions) for name in metrics}
    return {name: score for name, score in scores.items() if score is not None and np.isfinite(score)}


def evaluate_slices(
    task: Task,
    evaluation: Evaluation,
    columns: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str] = (),
) -> dict[str, dict[str, dict[str, float]]]:
    """Score each value of each slice column: column to value to metrics and ``rows``, the most rows first.

    A missing value is the slice ``""``; whole numbers are written without a point. Source: sliced evaluation as in
    TensorFlow Model Analysis.

    Args:
        task, outputs, y, classes: as for ``evaluate``.
        evaluation: its metrics and slices.
        columns: each slice column's canonical array ``[n]``.

    Raises:
        DeclarationError: a slice column is not among the columns.
        ModelError: as ``evaluate``.
    """
    name = OUTPUT_NAMES[task]
    scores_by_column: dict[str, dict[str, dict[str, float]]] = {}
    for column in evaluation.slices:
        if column not in columns:
            raise DeclarationError(f"there is no column {column!r} to slice by: there are {one_of(columns)}")
        results, position, rows = np.unique(columns[column], return_inverse=True, return_counts=True)
        by_value = np.split(np.argsort(position, kind="stable"), np.cumsum(rows)[:-1])
        scores_by_column[column] = {
            _slice_name(results[at]): {
                **evaluate(task, evaluation.metrics, {name: outputs[name][by_value[at]]}, y[by_value[at]], classes),
                "rows": float(rows[at]),
            }
            for at in np.argsort(-rows, kind="stable")[:LARGEST_SLICES].tolist()
        }
    return scores_by_column


def baseline(
    task: Task, train_y: np.ndarray, test_y: np.ndarray, metrics: Sequence[str], classes: Sequence[str] = ()
) -> dict[str, float]:
    """Score the answer that knows no features: the train part's prior, or its mean.

    Args:
        task: what the model does.
        train_y, test_y: labels as for ``evaluate``.
        metrics: names from ``METRICS``.
        classes: the classes of a multiclass model.

    Raises:
        ModelError: there are no train rows.

    >>> baseline("regression", np.array([1.0, 3.0]), np.array([2.0, 4.0]), ["mae"])
    {'mae': 1.0}
    """
    if not len(train_y):
        raise ModelError("the train part has no rows: there is no baseline to compare with")
    if task == "multiclass":
        prior = np.bincount(train_y.astype(np.int64), minlength=len(classes)) / len(train_y)
        constant = np.tile(prior, (len(test_y), 1))
    else:
        constant = np.full(len(test_y), train_y.mean(dtype=np.float64))
    return evaluate(task, metrics, {OUTPUT_NAMES[task]: constant}, test_y, classes)


def _check(task: Task, outputs: Mapping[str, np.ndarray], y: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    name = OUTPUT_NAMES[task]
    if name not in outputs:
        raise ModelError(f"a {task} model gives the output {name!r}, but there is {one_of(outputs)}")
    predictions = np.asarray(outputs[name], dtype=np.float64)
    shape = (len(y), len(classes)) if task == "multiclass" else (len(y),)
    if predictions.shape != shape:
        raise ModelError(f"the output {name!r} has the shape {list(predictions.shape)}, not {list(shape)}")
    wrong = ~np.isfinite(predictions.reshape(len(y), -1)).all(axis=1) if len(y) else np.zeros(0, dtype=bool)
    if wrong.any():
        raise ModelError(
            f"the output {name!r} is not finite for {int(wrong.sum())} of {len(y)} rows, such as row "
            f"{int(wrong.argmax())}: look for missing values that Passthrough() lets through, or training that diverged"
        )
    return _summing_to_one(predictions) if task == "multiclass" else predictions


def _summing_to_one(probabilities: np.ndarray) -> np.ndarray:
    result: np.ndarray = probabilities / probabilities.sum(axis=1, keepdims=True)
    return result


def _slice_name(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(float(value))
    return str(value)
