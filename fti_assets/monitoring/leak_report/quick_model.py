"""A quick model: scikit-learn's histogram gradient boosting on raw features, seeded, the same for whatever join they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fti_assets.core.manifest import Column

QuickTask = Literal["binary", "multiclass", "regression"]
Arrays = Mapping[str, np.ndarray]

_MOST_CATEGORIES = 250
_TREES, _LEARNING_RATE = 200, 0.08
_MISSING = -1.0
_LARGEST = 1e300


@dataclass(frozen=True)
class QuickModel:
    """A model that was fitted, and how texts become numbers for it.

    Args:
        task: what it answers.
        columns: its features in order.
        codes: of each text feature the number of each text.
        estimator: scikit-learn's.
    """

    task: QuickTask
    columns: tuple[Column, ...]
    codes: Mapping[str, Mapping[str, int]]
    estimator: Any

    def answers(self, features: Arrays) -> np.ndarray:
        """The probability ``[n]`` of a binary label, probabilities ``[n, k]`` of a class, or values ``[n]``."""
        matrix = _matrix(self.columns, self.codes, features)
        if self.task == "regression":
            return np.asarray(self.estimator.predict(matrix), dtype=np.float64)
        probabilities = np.asarray(self.estimator.predict_proba(matrix), dtype=np.float64)
        return probabilities[:, 1] if self.task == "binary" else probabilities


def fit(
    task: QuickTask,
    columns: Sequence[Column],
    train: tuple[Arrays, np.ndarray],
    validation: tuple[Arrays, np.ndarray],
    *,
    seed: int = 0,
) -> QuickModel:
    """Fit a quick model.

    Args:
        task: what it answers.
        columns: the features.
        train: the features ``[n]`` by name, and the labels: 0 or 1, the class's position, or the value.
        validation: the same of other rows, at which it stops; without rows it grows all its trees.
        seed: of the estimator.

    Texts become categories by how often train has them, the rarest of more than 250 as missing. Missing numbers stay missing; of a feature
    that train has nowhere nothing is learned.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    codes = {column.name: _codes(train[0][column.name]) for column in columns if column.type == "text"}
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    x, y = _matrix(columns, codes, train[0]), train[1]
    x[:, np.isnan(x).all(axis=0)] = 0.0  # scikit-learn finds no bins of no values
    stops = len(validation[1]) > 0 and (task == "regression" or set(np.unique(validation[1])) >= set(np.unique(y)))
    estimator = kind(
        categorical_features=[column.type == "text" for column in columns],
        max_iter=_TREES,
        learning_rate=_LEARNING_RATE,
        early_stopping=stops,
        random_state=seed,
    )
    more = {"X_val": _matrix(columns, codes, validation[0]), "y_val": validation[1]} if stops else {}
    estimator.fit(x, y, **more)
    return QuickModel(task, tuple(columns), codes, estimator)


def _codes(texts: np.ndarray) -> dict[str, int]:
    """The categories of a feature by how often they come, then by name; the empty text is a missing one."""
    values, counts = np.unique(texts.astype(str), return_counts=True)
    order = sorted((-count, value) for value, count in zip(values.tolist(), counts.tolist(), strict=True) if value)
    return {value: code for code, (_, value) in enumerate(order[:_MOST_CATEGORIES])}


def _matrix(columns: Sequence[Column], codes: Mapping[str, Mapping[str, int]], features: Arrays) -> np.ndarray:
    result = np.empty((len(features[columns[0].name]) if columns else 0, len(columns)))
    for place, column in enumerate(columns):
        values = features[column.name]
        if column.type == "text":
            of = codes[column.name]
            unique, places = np.unique(values.astype(str), return_inverse=True)
            result[:, place] = np.array([of.get(value, _MISSING) for value in unique.tolist()])[places]
            result[result[:, place] == _MISSING, place] = np.nan
        elif column.type == "timestamp":
            result[:, place] = np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.float64))
        else:
            # Between two infinite numbers no tree finds a threshold.
            result[:, place] = np.clip(values.astype(np.float64), -_LARGEST, _LARGEST)
    return result
