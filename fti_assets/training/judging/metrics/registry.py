"""Every metric by name, the project's and those that a user has made."""

import re
from collections.abc import Sequence
from functools import cache, partial

from fti_assets.core.manifest import Task, each_task, model_of
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.metrics import classification, quantiles, ranking, regression
from fti_assets.training.judging.metrics.metric import OF, AnyMetric, BuiltIn, OfLabel

_CLASSES: tuple[Task, ...] = ("binary", "multiclass")

METRICS: dict[str, BuiltIn] = {
    metric.name: metric
    for metric in (
        BuiltIn("roc_auc", _CLASSES, True, classification.roc_auc),
        BuiltIn("log_loss", _CLASSES, False, classification.log_loss),
        BuiltIn("brier", _CLASSES, False, classification.brier),
        BuiltIn("accuracy", _CLASSES, True, classification.accuracy),
        BuiltIn("pr_auc", _CLASSES, True, classification.pr_auc),
        BuiltIn("ece", _CLASSES, False, classification.ece, classification.ece_parts),
        BuiltIn("f1", _CLASSES, True, classification.f1),
        BuiltIn("precision", _CLASSES, True, classification.precision),
        BuiltIn("recall", _CLASSES, True, classification.recall),
        BuiltIn("exact_match", ("multilabel",), True, classification.exact_match),
        BuiltIn("rmse", ("regression",), False, regression.rmse),
        BuiltIn("mae", ("regression",), False, regression.mae),
        BuiltIn("mape", ("regression",), False, regression.mape),
        BuiltIn("r2", ("regression",), True, regression.r2),
        BuiltIn("pinball", ("quantile",), False, quantiles.pinball),
        BuiltIn("coverage_error", ("quantile",), False, quantiles.coverage_error, quantiles.coverage_parts),
        BuiltIn("ndcg", ("ranking",), True, ranking.ndcg),
        BuiltIn("map", ("ranking",), True, ranking.mean_average_precision),
        BuiltIn("mrr", ("ranking",), True, ranking.mean_reciprocal_rank),
    )
}
"""The project's metrics by name; ``ndcg_at_<k>``, of the first so many places, are further ones."""

USUAL_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "brier"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
    "multilabel": ("roc_auc", "log_loss", "brier"),
    "multioutput": ("rmse", "mae", "r2"),
    "quantile": ("pinball", "coverage_error"),
    "ranking": ("ndcg", "ndcg_at_10", "mrr"),
}
"""The metrics of a model that names none, by its task."""

AT_PLACES = "ndcg_at_10"
"""One of those."""

_AT_PLACES = re.compile(r"ndcg_at_([1-9][0-9]{0,8})")

OWN: dict[str, AnyMetric] = {}
"""Those that a user has made, by name; ``Metric`` puts itself here."""


@cache
def built_in(name: str) -> BuiltIn | None:
    """The project's metric of that name, if there is one.

    >>> built_in("ndcg_at_10").tasks, built_in("ndcg_at_0")
    (('ranking',), None)
    """
    if match := _AT_PLACES.fullmatch(name):
        return BuiltIn(name, ("ranking",), True, partial(ranking.ndcg, k=int(match[1])))
    return METRICS.get(name)


def metric_named(name: str) -> AnyMetric:
    """The metric of that name; of one of several labels ``log_loss:late``.

    >>> metric_named("log_loss").higher_is_better
    False

    Raises:
        DeclarationError: there is none.
    """
    base, of, label = name.partition(OF) if isinstance(name, str) else ("", "", "")
    metric = built_in(base) or OWN.get(base)
    if metric is not None and of and label:
        return OfLabel(metric, label)
    if metric is None or of:
        raise DeclarationError(
            f"there is no metric {excerpt(name)}: choose {one_of([*METRICS, AT_PLACES])}, or make one with fti.Metric"
        )
    return metric


def check_metrics(task: Task, metrics: Sequence[str], labels: Sequence[str] | None = None) -> None:
    """Check that metrics exist and are for a task; with several labels, that the labels exist that they name.

    Raises:
        DeclarationError: one is unknown, or for other tasks.
    """
    for name in metrics:
        metric, each = metric_named(name), each_task(task)
        if isinstance(metric, OfLabel):
            _check_label(metric, task, labels)
        if task not in metric.tasks and each not in metric.tasks:
            fitting = [metric.name for metric in METRICS.values() if {task, each} & {*metric.tasks}]
            fitting += [AT_PLACES] if task == "ranking" else []
            raise DeclarationError(f"the metric {name!r} is not one for {model_of(task)}: choose {one_of(fitting)}")


def _check_label(metric: OfLabel, task: Task, labels: Sequence[str] | None) -> None:
    each = each_task(task)
    if each == task:
        raise DeclarationError(
            f"the metric {metric.name!r} is of one of several labels, and {model_of(task)} has one: write {metric.metric.name!r}"
        )
    if each not in metric.tasks:
        raise DeclarationError(
            f"the metric {metric.metric.name!r} is of all labels together: write it without {metric.label!r}"
        )
    if labels is not None and metric.label not in labels:
        raise DeclarationError(f"the metric {metric.name!r} is of a label that there is not: there is {one_of(labels)}")
