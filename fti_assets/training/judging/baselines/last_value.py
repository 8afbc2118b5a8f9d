"""The baseline of what was true last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import CLASSIFIES, VALUES, Task, each_task, model_of
from fti_assets.errors import DeclarationError, ModelError, one_of
from fti_assets.training.judging.baselines.baseline import Rows, TrainRows, prior_of


@checked_arguments()
@dataclass(frozen=True)
class LastValue:
    """A baseline that answers with the last known label: a feature of the view with the last label known at the prediction time.

    Make such a feature from the label's own group, such as ``fti.Last("is_late")`` over a window. It is then joined as of the
    prediction time like any other feature, and holds nothing that was not known. For a regression the feature is the answer itself,
    or the train mean if it is missing. The same holds for the score of a ranking, for which any number works, such as how often an
    item was taken. For classes the answer is how often each class followed the value in train, with the train prior counted as one
    more row; a value that is not in train gets the prior.

    Args:
        feature: the feature's name in the view.

    >>> LastValue("was_late").name
    'last_value_of_was_late'
    """

    feature: str

    @property
    def name(self) -> str:
        """``last_value_of_<feature>``."""
        return f"last_value_of_{self.feature}"

    def check(self, task: Task, features: Collection[str], *, what: str) -> None:
        """Check that the view has the feature.

        Raises:
            DeclarationError: the view does not have it, or the task has no last value.
        """
        if each_task(task) != task:
            raise DeclarationError(
                f"{what}: LastValue() has the last value of one label, and {model_of(task)} has several: write a function of the train "
                "part and the test rows, or baseline='prior'"
            )
        if task not in (*CLASSIFIES, *VALUES):
            raise DeclarationError(f"{what}: {model_of(task)} has no last value to be compared with")
        if self.feature not in features:
            raise DeclarationError(
                f"{what} needs the feature {self.feature!r}, which its view does not have: {one_of(features)}"
            )

    def answers(self, task: Task, classes: int, train: TrainRows, test: Rows) -> np.ndarray:
        """As ``Baseline`` has it.

        Raises:
            ModelError: the feature is not a number, as values and scores must be.
        """
        before, now = train.columns[self.feature], test.columns[self.feature]
        prior = prior_of(task, classes, train)
        if task in VALUES:
            if now.dtype.kind not in "fiub":
                raise ModelError(f"the baseline {self.name} needs a number, and the feature {self.feature!r} is text")
            value = np.asarray(now, dtype=np.float64)
            return np.where(np.isfinite(value), value, prior)
        values, position = np.unique(before, return_inverse=True)
        truth = np.asarray(train.y == 1, dtype=np.float64)[:, None] if task == "binary" else np.eye(classes)[train.y]
        counts = np.zeros((len(values), truth.shape[1]))
        np.add.at(counts, position, truth if train.undo is None else truth * train.undo[:, None])
        rows = np.bincount(position, weights=train.undo, minlength=len(values))[:, None]
        shares = (counts + prior) / (rows + 1)
        at = np.minimum(np.searchsorted(values, now), len(values) - 1)
        same = (values[at] == now) | ((values[at] != values[at]) & (now != now))  # NaN is a value of its own
        result = np.where(same[:, None], shares[at], prior)
        return np.asarray(result[:, 0] if task == "binary" else result)
