"""Every metric by name, the project's and those that a user has made."""

import re
from collections.abc import Sequence
from functools import cache, partial

from fti_assets.core.manifest import CLASSIFIES, Task
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.metrics import classification, quantiles, ranking, regression
from fti_assets.training.judging.metrics.metric import AnyMetric, BuiltIn

METRICS: dict[str, BuiltIn] = {
    metric.name: metric
    for metric in (
        BuiltIn("roc_auc", CLASSIFIES, True, classification.roc_auc),
        BuiltIn("log_loss", CLASSIFIES, False, classification.log_loss),
        BuiltIn("brier", CLASSIFIES, False, classification.brier),
        BuiltIn("accuracy", CLASSIFIES, True, classification.accuracy),
        BuiltIn("pr_auc", CLASSIFIES, True, classification.pr_auc),
        BuiltIn("ece", CLASSIFIES, False, classification.ece),
        BuiltIn("f1", CLASSIFIES, True, classification.f1),
        BuiltIn("precision", CLASSIFIES, True, classification.precision),
        BuiltIn("recall", CLASSIFIES, True, classification.recall),
        BuiltIn("rmse", ("regression",), False, regression.rmse),
        BuiltIn("mae", ("regression",), False, regression.mae),
        BuiltIn("mape", ("regression",), False, regression.mape),
        BuiltIn("r2", ("regression",), True, regression.r2),
        BuiltIn("pinball", ("quantile",), False, quantiles.pinball),
        BuiltIn("coverage_error", ("quantile",), False, quantiles.coverage_error),
        BuiltIn("ndcg", ("ranking",), True, ranking.ndcg),
        BuiltIn("map", ("ranking",), True, ranking.mean_average_precision),
        BuiltIn("mrr", ("ranking",), True, ranking.mean_reciprocal_rank),
    )
}
"""The project's metrics by name; ``ndcg_at_<k>``, of the first so many places, are further ones."""

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
    """The metric of that name.

    >>> metric_named("log_loss").higher_is_better
    False

    Raises:
        DeclarationError: there is none.
    """
    metric = (built_in(name) if isinstance(name, str) else None) or OWN.get(name)
    if metric is None:
        raise DeclarationError(
            f"there is no metric {excerpt(name)}: choose {one_of([*METRICS, AT_PLACES])}, or make one with fti.Metric"
        )
    return metric


def check_metrics(task: Task, metrics: Sequence[str]) -> None:
    """Check that metrics exist and are for a task.

    Raises:
        DeclarationError: one is unknown, or for other tasks.
    """
    for name in metrics:
        if task not in metric_named(name).tasks:
            fitting = [metric.name for metric in METRICS.values() if task in metric.tasks]
            fitting += [AT_PLACES] if task == "ranking" else []
            raise DeclarationError(f"the metric {name!r} is not one for a {task} model: choose {one_of(fitting)}")
