"""A gate of a user's own, of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fti_assets.core.arguments import checked_arguments, checked_function
from fti_assets.core.manifest import GateVerdict
from fti_assets.core.sql import checked_name
from fti_assets.errors import ModelError, excerpt
from fti_assets.training.judging.metrics.own import source_hash
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores


class FunctionGate:
    """A gate that a function judges; calling it calls the function.

    Args:
        function: takes ``fti.Scores``; gives whether the challenger passes, or that and the reason, or an ``fti.GateVerdict``.
        name: the gate's name.
        metric: the metric that it looks at, None for none.
    """

    def __init__(self, function: Callable[[Scores], Any], name: str, metric: str | None) -> None:
        self._function, self.name, self.metric = function, name, metric

    def __call__(self, scores: Scores) -> Any:
        return self._function(scores)

    def __repr__(self) -> str:
        """Its name and a hash of its source, of which a model's code version is made."""
        return f"{self.name} ({source_hash(self._function)})"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger by its scores.

        Raises:
            ModelError: the function raises, or gives no verdict.
        """
        try:
            verdict = self._function(scores)
        except (Exception, SystemExit) as error:
            raise ModelError(f"the gate {self.name!r} fails: {type(error).__name__}: {error}") from error
        if isinstance(verdict, GateVerdict):
            return verdict
        passes, reason = verdict if isinstance(verdict, tuple) and len(verdict) == 2 else (verdict, None)
        if not isinstance(passes, bool | np.bool_):
            raise ModelError(
                f"the gate {self.name!r} gave {excerpt(verdict)}: return True or False, or (True, 'the reason'), or an fti.GateVerdict"
            )
        return GateVerdict(
            self.name,
            bool(passes),
            str(reason) if reason is not None else f"{self.name} says {'yes' if passes else 'no'}",
        )


@checked_arguments()
def gate(*, name: str | None = None, metric: str | None = None) -> Callable[[Callable[[Scores], Any]], FunctionGate]:
    """Make a gate from a function of ``fti.Scores`` that returns whether a challenger passes.

    The function returns True or False, or a pair of that and the reason in words, or an ``fti.GateVerdict`` with a figure and its
    bound.

    Args:
        name: the gate's name in verdicts and checks; by default the function's.
        metric: a metric that it uses. The model must evaluate it, which is checked when the code loads.

    Raises:
        DeclarationError: the decorated object is not a function, the name is invalid, or there is no such metric.

    >>> @gate(metric="log_loss")
    ... def much_better(scores):
    ...     return scores.metrics["log_loss"] < 0.9 * scores.baseline["log_loss"], "at least a tenth better than the baseline"
    >>> much_better.judge(Scores({"log_loss": 0.4}, baseline={"log_loss": 0.5})).passed
    True
    """

    def declare(function: Callable[[Scores], Any]) -> FunctionGate:
        checked_function(function, over="fti.gate")
        if metric is not None:
            metric_named(metric)
        return FunctionGate(function, checked_name(name or function.__name__, what="gate"), metric)

    return declare
