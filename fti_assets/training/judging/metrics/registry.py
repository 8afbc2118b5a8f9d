"""Every metric by name, the project's and those that a user has made."""

from collections.abc import Sequence

from fti_assets.core.manifest import CLASSIFIES, Task
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.metrics import classification, quantiles, regression
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
    )
}
"""The project's metrics by name."""

OWN: dict[str, AnyMetric] = {}
"""Those that a user has made, by name; ``Metric`` puts itself here."""


def metric_named(name: str) -> AnyMetric:
    """The metric of that name.

    >>> metric_named("log_loss").higher_is_better
    False

    Raises:
        DeclarationError: there is none.
    """
    metric = METRICS.get(name) or OWN.get(name)
    if metric is None:
        raise DeclarationError(
            f"there is no metric {excerpt(name)}: choose {one_of(METRICS)}, or make one with fti.Metric"
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
            raise DeclarationError(f"the metric {name!r} is not one for a {task} model: choose {one_of(fitting)}")
