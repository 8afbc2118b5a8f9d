"""Metrics of a user's own."""

import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.functions import source_text
from fti_assets.core.manifest import ModelTask
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import macro_mean
from fti_assets.training.judging.metrics.ranking import by_query
from fti_assets.training.judging.metrics.registry import OWN, built_in
from fti_assets.training.judging.resampling.bootstrap import Statistic

_TAKEN = ("rows",)  # what stands beside the metrics of a slice


@checked_arguments()
@dataclass(frozen=True)
class Metric:
    """Your own metric, as a function of labels and predictions. Evaluations and gates can then use its name.

    Intervals call the function on a thousand draws of the test rows, with each row as often as it was drawn. For a ranking model
    the function is called once per query, and the metric is the mean over queries.

    Args:
        name: what it is called.
        function: called with the labels ``y`` ``[n]`` (0 or 1, the class's position, or the value) and the predictions:
            probabilities ``[n]`` or ``[n, k]``, or values ``[n]``; for a ranking model, with the labels and scores of one query.
            With several labels it is called for each, and the mean counts; a metric for ``multilabel`` gets all of them, ``[n,
            k]``. It returns a number, or NaN or None if the metric is undefined, which leaves a query out. With a parameter
            ``weight`` it also gets the weight of each row, ``[n]``; a dataset with ``weight=`` needs such a parameter.
        higher_is_better: whether a higher value is better.
        tasks: the tasks it is for.

    Raises:
        DeclarationError: the name is invalid or that of another metric, or a task is unknown.

    >>> cost = Metric(
    ...     "cost", lambda y, probability: 5 * y[probability < 0.5].sum() / len(y), higher_is_better=False, tasks=["binary"]
    ... )
    >>> cost.name, cost.tasks
    ('cost', ('binary',))
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    higher_is_better: bool = field(kw_only=True)
    tasks: Sequence[ModelTask] = field(kw_only=True)
    source: str = field(init=False, compare=False)
    takes_weight: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        checked_name(self.name, what="metric")
        what = f"Metric({self.name!r})"
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if unknown := [task for task in self.tasks if task not in get_args(ModelTask)]:
            raise DeclarationError(f"{what} has the task {unknown[0]!r}: it is {one_of(get_args(ModelTask))}")
        if not self.tasks:
            raise DeclarationError(f"{what} is for no task: give tasks=[...], of {one_of(get_args(ModelTask))}")
        object.__setattr__(self, "source", source_hash(self.function))
        object.__setattr__(self, "takes_weight", _takes_weight(self.function))
        other = OWN.get(self.name)
        if built_in(self.name) or self.name in _TAKEN:
            raise DeclarationError(f"there is a metric {self.name!r} already: give your own another name")
        if isinstance(other, Metric) and _place(other.function) != _place(self.function):
            raise DeclarationError(
                f"there is a metric {self.name!r} already, made of {_place(other.function)}: give the one of {_place(self.function)} "
                "another name"
            )
        OWN[self.name] = self

    def statistic(self, answers: Answers) -> Statistic:
        """As ``AnyMetric`` has it, for weights that are counts.

        Raises:
            ModelError: the function raises, or does not return a number.
        """
        if answers.queries is not None:
            return by_query(answers, lambda y, scores: self._value(Answers(y, scores)))
        if answers.task is not None and answers.task not in self.tasks:
            return macro_mean(self._of_draws, answers)
        return self._of_draws(answers)

    def _of_draws(self, answers: Answers) -> Statistic:
        positions = np.arange(len(answers.y))

        def of_counts(counts: np.ndarray) -> float:
            return self._value(answers.part(np.repeat(positions, counts.astype(np.int64))))

        return lambda weights: np.array([of_counts(counts) for counts in weights])

    def _value(self, answers: Answers) -> float:
        more = self._weight_of(answers)
        try:
            value = self.function(answers.y, answers.ranking, **more)  # as the graph gives them, to the last digit
            number = math.nan if value is None else float(value)
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"the metric {self.name!r} fails on {len(answers.y)} rows: {type(error).__name__}: {error}. Give a number, or NaN where "
                "it is undefined, as where draws of the rows have one class alone"
            ) from error
        return number if math.isfinite(number) else math.nan

    def _weight_of(self, answers: Answers) -> dict[str, np.ndarray]:
        if self.takes_weight:
            return {"weight": np.ones(len(answers.y)) if answers.weight is None else answers.weight}
        if answers.weight is not None:
            raise ModelError(
                f"the rows do not count alike, and the metric {self.name!r} does not take what each counts: give its function a third "
                "parameter, weight"
            )
        return {}


def _takes_weight(function: Any) -> bool:
    try:
        return "weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some of C's have no signature
        return False


def _place(function: Any) -> str:
    """Where a function was written: the same after its module was loaded again."""
    name = getattr(function, "__qualname__", None) or excerpt(function)
    return f"{getattr(function, '__module__', '')}.{name}"


def source_hash(function: Any) -> str:
    """What changes with the function's source and what it holds besides, for the code version of a model."""
    return hashlib.sha256(source_text(function).encode()).hexdigest()[:12]
