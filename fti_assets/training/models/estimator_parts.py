"""What is within a fitted scikit-learn estimator, and the settings that its converter to ONNX cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def parts_of(estimator: Any) -> Iterator[Any]:
    """Every object of scikit-learn within an estimator and itself: of a forest, within a pipeline, a vote or a calibration."""
    return _parts_in(estimator, set())


def _parts_in(value: Any, passed: set[int]) -> Iterator[Any]:
    if id(value) in passed:
        return
    passed.add(id(value))
    if isinstance(value, dict):
        for one in value.values():
            yield from _parts_in(one, passed)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for one in value if not isinstance(value, np.ndarray) else value.ravel():
            yield from _parts_in(one, passed)
    elif type(value).__module__.partition(".")[0] == "sklearn":
        yield value
        if hasattr(value, "__dict__"):
            yield from _parts_in(vars(value), passed)


@contextmanager
def readable_votes(estimator: Any) -> Iterator[None]:
    """Give the votes within an estimator, for a while, settings of the same answers that skl2onnx can read.

    It wants weights as an array, without those of dropped members, and ``flatten_transform=False``, which ``predict_proba`` does
    not look at.
    """
    votes = [part for part in parts_of(estimator) if type(part).__name__ in ("VotingClassifier", "VotingRegressor")]
    before = [dict(vars(vote)) for vote in votes]
    try:
        for vote in votes:
            if hasattr(vote, "flatten_transform"):
                vote.flatten_transform = False
            if vote.weights is not None:
                kept = [not isinstance(member, str) for _, member in vote.estimators]
                vote.weights = np.asarray(vote.weights, dtype=float)[kept]
        yield
    finally:
        for vote, settings in zip(votes, before, strict=True):
            vars(vote).update(settings)
