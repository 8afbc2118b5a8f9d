"""The probability from which on a binary model says yes: a number, or the one that does best on the validation part."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal, get_args

import numpy as np

from fti_assets.core.manifest import ThresholdRecord
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, Thresholds

Goal = Literal["f1", "accuracy", "youden"]
"""What the threshold is to make largest: F1, accuracy, or Youden's J, which is recall less the share of false alarms."""


Declared = float | Goal | Mapping[str, float | Goal]
"""What an evaluation says: one for all labels, or that of each by name."""


def checked_threshold(threshold: float | str, *, what: str) -> None:
    """Check what was declared.

    Raises:
        DeclarationError: it is neither a probability nor a goal.
    """
    if isinstance(threshold, str):
        if threshold not in get_args(Goal):
            raise DeclarationError(
                f"{what}: a threshold is a number from 0 to 1, or chosen by {one_of(get_args(Goal))}"
            )
    elif not 0 <= threshold <= 1:
        raise DeclarationError(f"{what}: a threshold is from 0 to 1, not {excerpt(threshold)}")


def threshold_of(declared: float | Goal, validation: Callable[[], Answers], *, what: str) -> ThresholdRecord:
    """The threshold that was declared, as float32 holds it, or the one that the graph's answers on the validation part choose.

    Probabilities are float32, and 0.7 is not one: as it is, a probability of 0.7 would lie below it. Rounded, ``probability >= threshold``
    is right wherever it is written.

    Raises:
        ModelError: as ``chosen_threshold``.
    """
    if isinstance(declared, str):
        return chosen_threshold(declared, validation(), what=what)
    return ThresholdRecord(float(np.float32(declared)))


def thresholds_of(
    declared: Declared, labels: Sequence[str], validation: Callable[[], Answers], *, what: str
) -> dict[str, ThresholdRecord]:
    """The threshold of each of several labels by name, or that of a model of one label under the empty text.

    Raises:
        ModelError: as ``chosen_threshold``.
    """
    if not labels:
        assert not isinstance(declared, Mapping)  # refused when the code loads
        return {"": threshold_of(declared, validation, what=what)}
    once = cache(validation)

    def own(label: str) -> ThresholdRecord:
        by_label = declared.get(label, THRESHOLD) if isinstance(declared, Mapping) else declared
        return threshold_of(by_label, lambda: once().of_label(label), what=f"the label {label!r} of {what}")

    return {label: own(label) for label in labels}


def cuts_of(records: Mapping[str, ThresholdRecord]) -> Thresholds:
    """The numbers of thresholds, as ``evaluate`` takes them."""
    values = tuple(one.value for one in records.values())
    return values[0] if [*records] == [""] else values


def chosen_threshold(goal: Goal, validation: Answers, *, what: str) -> ThresholdRecord:
    """The threshold that does best on the validation part.

    It lies in the middle between two neighbouring probabilities that occur, or at 0, where every row is a yes, or at 1, where none is. Of
    thresholds that do as well it is the one closest to 0.5, and of these the lower.

    Args:
        goal: what it makes largest.
        validation: the graph's answers there.
        what: names the dataset, for errors.

    Raises:
        ModelError: the part has no rows, or one class alone.

    >>> answers = Answers(np.array([0, 0, 1]), np.array([0.125, 0.25, 0.5]))
    >>> chosen_threshold("f1", answers, what="loans").value
    0.375
    """
    y = np.asarray(validation.y == 1)
    if y.all() or not y.any():
        rows = f"only {int(y[0])} as label in its {len(y)} validation rows" if len(y) else "no validation rows"
        raise ModelError(
            f"{what} has {rows}, so no threshold can be chosen by {goal}: give the split a larger validation part, or the "
            "evaluation a number, Evaluation(threshold=0.5)"
        )
    rounded = validation.predictions.astype(np.float32)
    probabilities, positions = np.unique(rounded.astype(np.float64), return_inverse=True)
    # Above each candidate, from 0 up to beyond the largest probability:
    weight = np.ones(len(y)) if validation.weight is None else validation.weight
    hits = np.append(np.bincount(positions, y * weight)[::-1].cumsum()[::-1], 0.0)
    alarms = np.append(np.bincount(positions, ~y * weight)[::-1].cumsum()[::-1], 0.0)
    values = _values(goal, hits, alarms)
    middle = (probabilities[1:] + probabilities[:-1]) / 2
    # Between neighbours of float32 there is nothing: the middle may round to the lower one.
    between = np.where(middle.astype(np.float32) > probabilities[:-1], middle, probabilities[1:])
    candidates = np.concatenate([[0.0], between, [1.0]])
    if probabilities[-1] == 1.0:  # no threshold says no to a certain yes
        candidates, values = candidates[:-1], values[:-1]
    best = np.flatnonzero(values >= values.max() - 1e-12)
    at = best[np.argmin(np.abs(candidates[best] - 0.5))]
    return ThresholdRecord(float(candidates[at]), goal, len(y))


def _values(goal: Goal, hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """The goal's value where so many yeses and noes are taken for yeses; the first candidate takes all."""
    yes, no = hits[0], alarms[0]
    if goal == "f1":
        return np.asarray(2 * hits / (hits + alarms + yes))
    if goal == "accuracy":
        return np.asarray((hits + no - alarms) / (yes + no))
    return np.asarray(hits / yes - alarms / no)
