"""What counts as a loss of quality: a metric, how bad it may be, and of how many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Task, each_task
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.metrics.metric import plain_name
from fti_assets.training.judging.metrics.registry import check_metrics, metric_named
from fti_assets.training.judging.slices import By, slices_key

LABEL_RATE = "label_rate"
"""The share of mature answers that have a label: the one figure of quality that is no metric."""

MIN_ROWS = 500
"""Of fewer rows a metric says more of chance than of the model: of 500 rows the 95% interval of a ROC-AUC is some 0.05 either way."""


@checked_arguments(itself=["slices"])
@dataclass(frozen=True)
class Quality:
    """A rule of a monitor: a metric of the answers, with an optional bound.

    The metric is that of the model's evaluation, on answers that are as old as the label's maturity and have a label. A figure
    beyond the bound, from at least ``min_rows`` rows, is a breach; breaches in ``in_a_row`` consecutive partitions are a warning.
    Without a bound the metric is measured but not judged.

    Args:
        metric: as in ``fti.Evaluation``: ``"roc_auc"``, ``"log_loss"``, ``"rmse"``, ``"log_loss:late"`` for one of several labels,
            or the name of an ``fti.Metric``; or ``"label_rate"``, the share of mature answers that have a label, with
            ``at_least=``.
        at_least: the smallest figure that is not a breach, for a metric where higher is better.
        at_most: the largest figure that is not a breach, for a metric where lower is better.
        drop: how much worse it may be than the build's own figure on its test rows, instead of a fixed bound.
        in_a_row: how many consecutive partitions must have a breach; those with fewer rows than ``min_rows`` do not count.
        min_rows: with fewer rows there is no verdict; for ``"label_rate"`` the rows are mature answers, with a label or without.
        slices: features, or columns of the spine; the metric is also measured and judged for each of their values. Crossed columns
            work as in ``fti.Evaluation``.

    Raises:
        DeclarationError: there is no such metric, a number is out of range, or there are two bounds or one on the wrong side.

    >>> Quality("roc_auc", at_least=0.7, in_a_row=2)
    Quality(metric='roc_auc', at_least=0.7, at_most=None, drop=None, in_a_row=2, min_rows=500, slices=())
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    drop: float | None = None
    in_a_row: int = 1
    min_rows: int = MIN_ROWS
    slices: Sequence[str | Sequence[str]] = ()

    def __post_init__(self) -> None:
        # Its checks of metrics and slices are an evaluation's own.
        evaluation = Evaluation(metrics=["rmse" if self.is_label_rate else self.metric], slices=self.slices)
        object.__setattr__(self, "slices", evaluation.slices)
        what, bounds = (
            f"Quality({self.metric!r})",
            {"at_least": self.at_least, "at_most": self.at_most, "drop": self.drop},
        )
        numbers = {name: value for name, value in bounds.items() if value is not None}
        if len(numbers) > 1:
            raise DeclarationError(f"{what} has {' and '.join(numbers)}: give it one bound")
        for name, value in numbers.items():
            if not math.isfinite(value) or (name == "drop" and value < 0):
                raise DeclarationError(f"{what} has {name}={excerpt(value)}: a number is expected, of a drop from 0 on")
            object.__setattr__(self, name, float(value))
        if self.is_label_rate and self.at_least is None and numbers:
            raise DeclarationError(
                f"{what} has {next(iter(numbers))}: a share of labels can only be too low, so give at_least="
            )
        wrong = "at_most" if self.higher_is_better else "at_least"
        if wrong in numbers:
            right, way = ("at_least", "higher") if self.higher_is_better else ("at_most", "lower")
            raise DeclarationError(
                f"{what} has {wrong}, but {self.metric} is better the {way}: give {right}=, or drop="
            )
        if self.in_a_row < 1 or self.min_rows < 1:
            raise DeclarationError(
                f"{what} has in_a_row={self.in_a_row} and min_rows={self.min_rows}: both are at least 1"
            )

    @property
    def is_label_rate(self) -> bool:
        """Whether the rule is of the share of labels instead of a metric."""
        return self.metric == LABEL_RATE

    @property
    def higher_is_better(self) -> bool:
        """Which way the metric is better."""
        return self.is_label_rate or metric_named(self.metric).higher_is_better

    def is_for(self, task: Task, labels: Sequence[str]) -> bool:
        """Whether the metric is one for a task and its labels."""
        if self.is_label_rate:
            return True
        try:
            check_metrics(task, [self.metric], labels)
        except DeclarationError:
            return False
        return True

    @property
    def is_judged(self) -> bool:
        """Whether there is a bound."""
        return (self.at_least, self.at_most, self.drop) != (None, None, None)

    @property
    def sliced_by(self) -> tuple[By, ...]:
        """The column of each slicing, or its columns."""
        return tuple(by if isinstance(by, str) else tuple(by) for by in self.slices)

    @property
    def name(self) -> str:
        """The name of its check: ``quality_roc_auc``."""
        return checked_name(f"quality_{plain_name(self.metric)}".lower(), what="check")

    @property
    def text(self) -> str:
        """The rule in words, ``roc_auc at least 0.7``; the metric alone without a bound."""
        if not self.is_judged:
            return self.metric
        if self.drop is not None:
            return f"{self.metric} worse by at most {self.drop:g} than on the build's test rows"
        return f"{self.metric} {'at least' if self.higher_is_better else 'at most'} {self.bound(None):g}"

    def bound(self, own: float | None) -> float | None:
        """The last figure that is not a breach; None if there is no bound, or no figure that a drop is counted from.

        Args:
            own: the build's figure on its test rows.
        """
        if self.drop is None:
            return self.at_least if self.at_most is None else self.at_most
        if own is None:
            return None
        return own - self.drop if self.higher_is_better else own + self.drop

    def is_breach(self, value: float, bound: float) -> bool:
        """Whether a figure is beyond a bound."""
        return value < bound if self.higher_is_better else value > bound


def check_quality(rules: Sequence[Quality], *, what: str) -> None:
    """Raise a DeclarationError if two rules are of one metric."""
    names = [rule.metric for rule in rules]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DeclarationError(
            f"{what} has two rules of {one_of(twice)}: give one for each metric, with all its slices"
        )


def with_each_label(rules: Sequence[Quality], task: Task, labels: Sequence[str]) -> list[Quality]:
    """The rules, and of several labels a metric of each label beside a mean over them, measured alone.

    >>> [rule.metric for rule in with_each_label([Quality("brier"), Quality("brier:b")], "multilabel", ["a", "b"])]
    ['brier', 'brier:b', 'brier:a']
    """
    named = [rule.metric for rule in rules if not rule.is_label_rate]
    if each_task(task) == task or not named:
        return list(rules)
    every = Evaluation(metrics=named).for_labels(task, labels).metric_names
    return [*rules, *(Quality(name) for name in every if name not in named)]


def slicings(rules: Sequence[Quality]) -> list[Any]:
    """What the rules together are sliced by, each once, crossed ones in whichever order."""
    return list({slices_key(by): by for rule in rules for by in rule.sliced_by}.values())
