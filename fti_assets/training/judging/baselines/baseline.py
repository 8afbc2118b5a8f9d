"""Baselines: answers that are easy to have, which a model should beat. Each learns from the train part alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from fti_assets.core.manifest import Task


class Rows(Protocol):
    """What a baseline sees of rows; a ``Part`` of the training data is one."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]: ...
    @property
    def inputs(self) -> Mapping[str, np.ndarray]: ...
    @property
    def rows(self) -> int: ...
    @property
    def X(self) -> np.ndarray: ...
    @property
    def frame(self) -> Any: ...
    def copy(self) -> Rows:
        """The same rows in arrays of their own."""


class TrainRows(Rows, Protocol):
    """Rows with their labels."""

    @property
    def y(self) -> np.ndarray: ...
    @property
    def undo(self) -> np.ndarray | None:
        """What a row counts, ``[n]``, where the dataset says it or keeps a sample of a class; None where all count alike."""

    @property
    def counts(self) -> np.ndarray | None:
        """What a row counts by the dataset's weight alone ``[n]``."""

    @property
    def queries(self) -> np.ndarray | None:
        """The number of each row's query ``[n]``; None without queries."""

    def copy(self) -> TrainRows:
        """The same rows in arrays of their own."""


class UnlabelledRows:
    """The features of some rows, as a ``Part`` has them, without their labels.

    Attributes:
        columns: the raw features, name to canonical array ``[n]``.
        inputs: ``dense`` float32 ``[n, dense_dim]`` and each Embedding feature int64 ``[n, 1]``.
        rows: how many there are.
        X: one matrix of the encoded features.
        frame: the features with their names, as a pandas frame.
    """

    def __init__(self, part: Rows) -> None:
        self._part = part

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        return self._part.columns

    @property
    def inputs(self) -> Mapping[str, np.ndarray]:
        return self._part.inputs

    @property
    def rows(self) -> int:
        return self._part.rows

    @property
    def X(self) -> np.ndarray:
        return self._part.X

    @property
    def frame(self) -> Any:
        return self._part.frame


class Baseline(Protocol):
    """Answers to the test rows, ``[n]``, or ``[n, k]`` of a multiclass model, learned from the train part."""

    @property
    def name(self) -> str:
        """What it is called in gates, manifest and card."""

    def check(self, task: Task, features: Collection[str], *, what: str) -> None:
        """Raise a DeclarationError if it is none for such a model."""

    def answers(self, task: Task, classes: int, train: TrainRows, test: Rows) -> np.ndarray:
        """Learn and answer."""


def prior_of(task: Task, classes: int, train: TrainRows) -> np.ndarray:
    """The share of each class ``[k]``, or the share of the positive class or the mean, a number, or of each of several labels ``[k]``,
    before any sample was taken."""
    y, weight = train.y, train.undo
    if task == "multiclass":
        counts = np.bincount(y.astype(np.int64), weights=weight, minlength=classes)
        return counts / (len(y) if weight is None else weight.sum())
    return np.asarray(y.mean(axis=0, dtype=np.float64) if weight is None else np.average(y, axis=0, weights=weight))
