"""The baseline of a linear model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import CLASSIFIES, VALUES, Task, each_task
from fti_assets.errors import DeclarationError, one_of
from fti_assets.training.judging.baselines.baseline import Rows, TrainRows

_MOST_ROWS = 200_000
_ROUNDS = 500


@dataclass(frozen=True)
class Linear:
    """The simplest model of the encoded features: logistic regression, or ridge regression of values and of the labels to rank by, with
    scikit-learn's defaults.

    Numbers are standardized and get the train mean where they are missing; each code of an Embedding is a column of its own. It learns
    from 200,000 train rows at most, evenly taken.
    """

    name: str

    def check(self, task: Task, features: Collection[str], *, what: str) -> None:
        """Check that the task is one for it.

        Raises:
            DeclarationError: it is not.
        """
        tasks = CLASSIFIES if self.name == "logistic" else (*VALUES, "multioutput")
        if task not in tasks:
            other = "; write baseline='linear'" if each_task(task) in VALUES else ""
            other = "; write baseline='logistic'" if task in CLASSIFIES else other
            raise DeclarationError(f"{what}: the baseline {self.name!r} is for {one_of(tasks)}, not for {task}{other}")

    def answers(self, task: Task, classes: int, train: TrainRows, test: Rows) -> np.ndarray:
        """As ``Baseline`` has it."""
        rows = np.unique(np.linspace(0, train.rows - 1, min(train.rows, _MOST_ROWS)).round().astype(np.int64))
        x, test_x = _design({name: values[rows] for name, values in train.inputs.items()}, test.inputs)
        y, weight = train.y[rows], None if train.undo is None else train.undo[rows]
        if (each := each_task(task)) != task:
            return np.stack([_fitted(each, 0, x, one, weight, test_x) for one in y.T], axis=1)
        return _fitted(task, classes, x, y, weight, test_x)


def _fitted(task: Task, classes: int, x: Any, y: np.ndarray, weight: np.ndarray | None, test_x: Any) -> np.ndarray:
    """What the model of one label answers."""
    linear = require("sklearn.linear_model")
    if task in VALUES:
        return np.asarray(linear.Ridge().fit(x, y.astype(np.float64), weight).predict(test_x), dtype=np.float64)
    model = linear.LogisticRegression(max_iter=_ROUNDS).fit(x, y, weight)
    probabilities = np.zeros((test_x.shape[0], max(classes, 2)))
    probabilities[:, model.classes_] = model.predict_proba(test_x)
    return probabilities[:, 1] if task == "binary" else probabilities


def _design(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    """Encoded inputs as matrices for a linear model."""
    compose, sparse = require("sklearn.preprocessing"), require("scipy.sparse")
    parts: list[tuple[Any, Any]] = []
    for name, values in train.items():
        if values.dtype.kind == "f":
            numbers, test_numbers = values.astype(np.float64), test[name].astype(np.float64)
            means = np.array(
                [column[np.isfinite(column)].mean() if np.isfinite(column).any() else 0.0 for column in numbers.T]
            )
            numbers, test_numbers = (np.where(np.isfinite(one), one, means) for one in (numbers, test_numbers))
            scaler = compose.StandardScaler().fit(numbers)
            parts.append((scaler.transform(numbers), scaler.transform(test_numbers)))
        else:
            encoder = compose.OneHotEncoder(handle_unknown="ignore").fit(values)
            parts.append((encoder.transform(values), encoder.transform(test[name])))
    if all(isinstance(own, np.ndarray) for own, _ in parts):
        return np.hstack([own for own, _ in parts]), np.hstack([other for _, other in parts])
    return sparse.hstack([own for own, _ in parts]).tocsr(), sparse.hstack([other for _, other in parts]).tocsr()
