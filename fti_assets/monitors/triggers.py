"""Whether what a trigger asks of a monitor is ever judged there."""

from __future__ import annotations

from collections.abc import Iterable

from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.quality.quality import LABEL_RATE
from fti_assets.monitors.monitor import Monitor
from fti_assets.training.models.model import Model
from fti_assets.training.triggers.breaches import OnDegradation, OnDrift
from fti_assets.training.triggers.trigger import Trigger


def check_trigger(trigger: Trigger, monitor: Monitor, *, what: str) -> None:
    """Refuse a trigger that can never fire, since the monitor judges nothing that it asks for.

    Args:
        trigger: one of a user's own is taken as it is.
        monitor: that it names.
        what: whose trigger it is, for the error.

    Raises:
        DeclarationError: it names a metric, statistic or column that no rule of the monitor judges, or the monitor has no rule of the kind.
    """
    if isinstance(trigger, OnDegradation):
        _check_metric(trigger, monitor, what)
    elif isinstance(trigger, OnDrift):
        _check_drift(trigger, monitor, what)


def unmeasured_columns(
    columns: Iterable[str], answers: BatchPredictions | PredictionLog
) -> tuple[list[str], list[str]]:
    """Those of some columns of which a monitor of answers has no figures, as far as schemas tell, and those that there are."""
    several = isinstance(answers, BatchPredictions) and answers.by_model
    models = answers.models if isinstance(answers, BatchPredictions) else (answers.model,)
    outputs = [one.value for one in answers.answers] if isinstance(answers, BatchPredictions) else [answers.output]
    of_labels = [isinstance(model, Model) and model.view.has_several_labels for model in models]
    names = [
        name
        for output, model, is_of_labels in zip(outputs, models, of_labels, strict=True)
        for name in ([f"{output}.{label}" for label in model.view.labels] if is_of_labels else [output])
    ]
    for model in models:
        prefix = f"{model.name}." if several else ""
        if any(not one.columns and one.group.columns is None for one in model.view.selections):
            return [], names
        names += [f"{prefix}{name}" for name in (*model.view.feature_names, *model.view.labels)]
    of_classes = tuple(f"{one}." for one, is_of_labels in zip(outputs, of_labels, strict=True) if not is_of_labels)
    return [name for name in dict.fromkeys(columns) if name not in names and not name.startswith(of_classes)], names


def _check_metric(trigger: OnDegradation, monitor: Monitor, what: str) -> None:
    if trigger.metric == LABEL_RATE:
        raise DeclarationError(
            f"{what} has {trigger!r}, which would train again because labels are missing, and that brings none: leave it to the check of "
            f"{monitor!r}, and name a metric"
        )
    judged = [rule.metric for rule in monitor.quality if rule.is_judged and not rule.is_label_rate]
    if trigger.metric in judged:
        return
    existing = f"it judges {list_some(judged)}" if judged else "it judges no metric"
    is_measured = any(rule.metric == trigger.metric for rule in monitor.quality)
    why = "measures it without a bound" if is_measured else "has no rule for it"
    raise DeclarationError(
        f"{what} has {trigger!r}, which can never fire, since {monitor!r} {why}: {existing}. Give the monitor "
        f"quality=[fti.Quality({trigger.metric!r}, drop=0.05)], or name another metric"
    )


def _check_drift(trigger: OnDrift, monitor: Monitor, what: str) -> None:
    rules = monitor.drift
    if not rules:
        raise DeclarationError(
            f"{what} has {trigger!r}, which can never fire, since {monitor!r} judges no drift: give it drift=[fti.Drift('psi')]"
        )
    judged = list(dict.fromkeys(rule.statistic for rule in rules))
    if deaf := [name for name in trigger.statistics or () if name not in judged]:
        raise DeclarationError(
            f"{what} has {trigger!r}, but {monitor!r} has no rule for {one_of(deaf)}: it judges {list_some(judged)}. Give it "
            f"drift=[fti.Drift({judged[0]!r}), ...] with a rule for each statistic, or name others"
        )
    unknown, names = unmeasured_columns(trigger.columns or (), monitor.answers)
    if unknown:
        raise DeclarationError(
            f"{what} has {trigger!r}, but {monitor!r} does not measure {one_of(unknown)}: there is {list_some(names, limit=50)}"
        )
    counted = [rule for rule in rules if trigger.statistics is None or rule.statistic in trigger.statistics]
    if any(rule.columns is None for rule in counted):
        return
    columns = list(dict.fromkeys(name for rule in counted for name in rule.columns or ()))
    if deaf := [name for name in trigger.columns or () if name not in columns]:
        raise DeclarationError(
            f"{what} has {trigger!r}, but {monitor!r} has no rule for {one_of(deaf)}: it judges {list_some(columns, limit=50)}"
        )
