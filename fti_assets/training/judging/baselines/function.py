"""A baseline of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from fti_assets.core.manifest import BY_NAME, CLASSIFIES, Task
from fti_assets.errors import ModelError, excerpt
from fti_assets.training.judging.baselines.baseline import Rows, TrainRows, UnlabelledRows
from fti_assets.training.judging.metrics.own import source_hash


class FunctionBaseline:
    """A user's own: a function of the train part and the test rows without their labels."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name: str = getattr(function, "__name__", type(function).__name__).strip("<>")

    def __repr__(self) -> str:
        """Its name, and a hash of its source, since a model's code version is made of what its gates say."""
        return f"{self.name} ({source_hash(self._function)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionBaseline) and other._function == self._function

    def __hash__(self) -> int:
        return hash(self._function)

    def check(self, task: Task, features: Collection[str], *, what: str) -> None:
        """It is one for every task."""

    def answers(self, task: Task, classes: int, train: TrainRows, test: Rows) -> np.ndarray:
        """As ``Baseline`` has it.

        Raises:
            ModelError: the function raises, or gives no answer for each row.
        """
        try:
            answers = np.asarray(self._function(train.copy(), UnlabelledRows(test.copy())), dtype=np.float64)
        except (Exception, SystemExit) as error:
            raise ModelError(f"the baseline {self.name!r} fails: {type(error).__name__}: {error}") from error
        shape = (test.rows, classes) if task in BY_NAME else (test.rows,)
        if answers.shape != shape:
            more = ", with a column for each class or label" if task in BY_NAME else ""
            raise ModelError(
                f"the baseline {self.name!r} gave the shape {list(answers.shape)}, not {list(shape)}: one answer a test row{more}"
            )
        least, most = (0.0, 1.0) if task in CLASSIFIES else (-np.inf, np.inf)
        wrong = ~(np.isfinite(answers) & (answers >= least) & (answers <= most))
        if wrong.any():
            kind = "probability" if task in CLASSIFIES else "finite number"
            raise ModelError(f"the baseline {self.name!r} gave {excerpt(float(answers[wrong][0]))}, which is no {kind}")
        return answers
