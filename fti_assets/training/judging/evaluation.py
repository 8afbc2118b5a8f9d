"""Evaluation: a model's outputs against the labels, over all rows, by slice, and for the baseline.

A metric that is undefined on its rows (ROC-AUC where only one class occurs, R2 of one row or of equal labels, anything
of no rows) is left out of the result: metrics are numbers, never NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Task, each_task, model_of
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, Thresholds, answers_of
from fti_assets.training.judging.metrics.metric import OF, AnyMetric
from fti_assets.training.judging.metrics.own import Metric
from fti_assets.training.judging.metrics.registry import METRICS, USUAL_METRICS, check_metrics, metric_named
from fti_assets.training.judging.slices import By, slices_key
from fti_assets.training.judging.thresholds import Goal, checked_threshold


@checked_arguments(itself=["slices", "fairness", "min_rows"])
@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """How a model is evaluated on the test part. Source of the metrics: scikit-learn's definitions.

    Args:
        metrics: names of metrics, and your own ``fti.Metric``; by default the usual ones of the model's task. With several labels
            each metric is the mean over them, and ``log_loss:late`` is that of one; a model also evaluates each metric for every
            label.
        slices: columns by whose values the metrics are split; several columns, such as ``("origin", "carrier")``, split by each
            combination of their values.
        min_rows: slices with fewer test rows are left out, also for fairness.
        fairness: columns; the decisions of a binary model are compared between their values. Crossed columns work as in ``slices``.
        threshold: the probability from which a binary model says yes, for accuracy, precision, recall and F1: a number, or the one
            with the largest ``"f1"``, ``"accuracy"`` or ``"youden"`` (recall minus the share of false alarms) on the validation
            part. It is compared as a float32, like the graph's answer. With several labels, one threshold for all of them, or a
            dict from label to threshold.
        confidence: the confidence of the metrics' intervals, from a bootstrap of the test rows; None for no intervals.
        cluster: the feature or key whose values are drawn with all their rows, such as a customer with many payments; by default
            each row is drawn by itself, or each query for a ranking model.

    Raises:
        DeclarationError: the list of metrics is empty, one is unknown, a name is given twice, or a threshold or confidence is invalid.

    >>> Evaluation(metrics=["roc_auc", "log_loss"], slices=["carrier"])
    Evaluation(metrics=('roc_auc', 'log_loss'), slices=('carrier',))
    """

    metrics: Sequence[str | Metric] | None = None
    slices: Sequence[str | Sequence[str]] = ()
    fairness: Sequence[str | Sequence[str]] = ()
    min_rows: int = 1
    threshold: float | Goal | Mapping[str, float | Goal] = THRESHOLD
    confidence: float | None = 0.95
    cluster: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.metrics, str):
            raise DeclarationError(f"Evaluation(metrics={self.metrics!r}): give a list of different names")
        if self.metrics is not None:
            self._take("metrics", [one.name if isinstance(one, Metric) else one for one in self.metrics])
            if not self.metrics:
                raise DeclarationError(f"Evaluation has no metrics: choose from {one_of(METRICS)}")
        for name in self.metric_names:
            metric_named(name)
        for field in ("slices", "fairness"):
            self._take(field, _checked_slices(field, getattr(self, field)))
        if not isinstance(self.min_rows, int) or isinstance(self.min_rows, bool) or not 1 <= self.min_rows < 2**63:
            raise DeclarationError(
                f"Evaluation(min_rows={excerpt(self.min_rows)}): give the fewest rows of a slice, 1 or more"
            )
        by_label = isinstance(self.threshold, Mapping)
        for one in self.threshold.values() if isinstance(self.threshold, Mapping) else [self.threshold]:
            checked_threshold(one, what="Evaluation")
        if by_label:
            object.__setattr__(self, "threshold", dict(self.threshold))  # type: ignore[arg-type]
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise DeclarationError(
                f"Evaluation(confidence={excerpt(self.confidence)}): give a number above 0 and below 1"
            )

    def _take(self, field: str, values: Sequence[object]) -> None:
        if len(set(values)) != len(values):
            raise DeclarationError(f"Evaluation({field}={list(values)!r}): give a list of different names")
        object.__setattr__(self, field, tuple(values))

    def __repr__(self) -> str:
        """What was declared, and the source of metrics of one's own: a model's code version is made of it."""
        terms = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if one.name in ("metrics", "slices") or getattr(self, one.name) != one.default
        ]
        own = [metric for name in self.metric_names if isinstance(metric := metric_named(name), Metric)]
        return f"Evaluation({', '.join([*terms, *([f'own={own}'] if own else [])])})"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics; none as long as they are those of a task that is not known yet."""
        return tuple(str(name) for name in self.metrics or ())

    @property
    def sliced_by(self) -> tuple[By, ...]:
        """The column of each slicing, or its columns."""
        return _as_by(self.slices)

    @property
    def compared_by(self) -> tuple[By, ...]:
        """The column of each slicing for fairness, or its columns."""
        return _as_by(self.fairness)

    @property
    def slice_names(self) -> tuple[str, ...]:
        """What each slicing is called."""
        return tuple(slices_key(by) for by in self.sliced_by)

    @property
    def goals(self) -> tuple[str, ...]:
        """What thresholds are chosen by on the validation part."""
        every = self.threshold.values() if isinstance(self.threshold, Mapping) else [self.threshold]
        return tuple(one for one in every if isinstance(one, str))

    def for_task(self, task: Task) -> "Evaluation":
        """The same with the usual metrics of the task, if none were named."""
        return replace(self, metrics=USUAL_METRICS[task]) if self.metrics is None else self

    def for_labels(self, task: Task, labels: Sequence[str]) -> "Evaluation":
        """The same with each metric of every one of several labels besides its mean."""
        of_each = [
            f"{name}{OF}{label}"
            for label in labels
            for name in self.metric_names
            if OF not in name and each_task(task) in metric_named(name).tasks
        ]
        return replace(self, metrics=list(dict.fromkeys([*self.metric_names, *of_each]))) if labels else self

    def check(self, task: Task, labels: Sequence[str] = ()) -> None:
        """Check that every metric is one for the task, and that there is something for a threshold to decide.

        Raises:
            DeclarationError: one is not, or there is not.
        """
        check_metrics(task, self.metric_names, labels or None)
        if self.threshold != THRESHOLD and task not in ("binary", "multilabel"):
            raise DeclarationError(
                f"Evaluation(threshold={self.threshold!r}): {model_of(task)} has no threshold, only "
                "binary and multilabel ones have"
            )
        if isinstance(self.threshold, Mapping) and (strange := [one for one in self.threshold if one not in labels]):
            alternatives = f"there is {one_of(labels)}" if labels else "the model has one: give a number or a goal"
            raise DeclarationError(
                f"Evaluation(threshold={self.threshold!r}) has one of the label {strange[0]!r}: {alternatives}"
            )
        if self.fairness and task == "multilabel":
            raise DeclarationError(
                f"Evaluation(fairness={list(self.fairness)!r}): rates are compared of a binary model's decisions, and a multilabel one "
                "decides on several labels: declare a view and a model of the label that matters, or leave fairness= out"
            )
        if self.fairness and task != "binary":
            raise DeclarationError(
                f"Evaluation(fairness={list(self.fairness)!r}): {model_of(task)} decides nothing whose rates could be compared, "
                "only a binary one does"
            )


def _as_by(slices: Sequence[str | Sequence[str]]) -> tuple[By, ...]:
    return tuple(by if isinstance(by, str) else tuple(by) for by in slices)


def _checked_slices(field: str, slices: object) -> list[By]:
    wrong = f"Evaluation({field}={excerpt(slices)}): give a list of different names, and of lists of them for crossed slices"
    if isinstance(slices, str) or not isinstance(slices, Sequence):
        raise DeclarationError(wrong)
    checked: list[By] = []
    for by in slices:
        names = [by] if isinstance(by, str) else list(by) if isinstance(by, Sequence) else []
        if not names or len(set(map(str, names))) < len(names) or not all(isinstance(name, str) for name in names):
            raise DeclarationError(wrong)
        checked.append(names[0] if len(names) == 1 else tuple(names))
    if len({frozenset([by] if isinstance(by, str) else by) for by in checked}) < len(checked):
        raise DeclarationError(wrong)
    return checked


def evaluate(
    task: Task,
    metrics: Sequence[str],
    outputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str] = (),
    *,
    threshold: Thresholds = THRESHOLD,
    queries: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Score a graph's outputs; metrics that are undefined on these rows are left out.

    Probabilities are kept a float32 epsilon away from 0 and 1 for the log loss, so one certain mistake costs 15.9.

    Args:
        task: what the model does.
        metrics: names of metrics.
        outputs: the graph's outputs: ``probability`` ``[n]``, ``probabilities`` ``[n, k]``, ``value`` ``[n]``,
            ``values`` ``[n, k]``, ``quantiles`` ``[n, q]`` or ``score`` ``[n]``.
        y: ``[n]``: 0 or 1, the class's position in ``classes``, the value, or the label to rank by; of several labels ``[n, k]``.
        classes: the classes of a multiclass model, the levels of quantiles, or the names of several labels.
        threshold: the probability from which on a binary model says yes, or that of each of several labels.
        queries: ``[n]``, the number of each row's query, of a ranking model.
        weight: ``[n]``, what each row counts; all alike by default.

    Raises:
        DeclarationError: a metric is unknown or not for the task.
        ModelError: the outputs are not finite, or do not have the shape that the task and ``y`` ask for.

    >>> evaluate("binary", ["accuracy", "roc_auc"], {"probability": np.array([0.9, 0.6])}, np.array([1, 0]))
    {'accuracy': 0.5, 'roc_auc': 1.0}
    """
    check_metrics(task, metrics)
    answers = answers_of(task, outputs, y, classes, threshold=threshold, queries=queries, weight=weight)
    return scores_of(answers, [metric_named(name) for name in metrics])


def scores_of(answers: Answers, metrics: Sequence[AnyMetric]) -> dict[str, float]:
    """The metrics of some answers by name, without those that are undefined."""
    if not len(answers.y):
        return {}
    once = np.ones((1, len(answers.y)))
    scores = {metric.name: float(metric.statistic(answers)(once)[0]) for metric in metrics}
    return {name: score for name, score in scores.items() if np.isfinite(score)}
