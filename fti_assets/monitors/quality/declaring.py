"""What a monitor's rules of quality need of what it watches."""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.quality.quality import Quality, check_quality
from fti_assets.training.judging.metrics.registry import check_metrics
from fti_assets.training.judging.slices import columns_of, slices_key
from fti_assets.training.models.model import Model, Servable


def check_rules_of_quality(rules: Sequence[Quality], answers: BatchPredictions | PredictionLog, *, what: str) -> None:
    """Check that every rule can be measured of the answers.

    Raises:
        DeclarationError: one cannot.
    """
    check_quality(rules, what=what)
    if not rules:
        return
    if isinstance(answers, BatchPredictions):
        models = answers.models
        if answers.top is not None:
            raise DeclarationError(
                f"{what} has quality=, but {answers.table_name} keeps the best {answers.top.k} items of each key, whose answers "
                "alone are no fair sample: watch predictions without top="
            )
    else:
        models = (answers.model,)
    judged_models = [_checked_model(model, what) for model in models]
    for rule in rules:
        fitting = [one for one in judged_models if rule.is_for(one.task, list(one.view.labels))]
        if not fitting:
            try:
                check_metrics(judged_models[0].task, [rule.metric], list(judged_models[0].view.labels))
            except DeclarationError as error:
                raise DeclarationError(f"{what}: {error}") from error
        for model in fitting:
            _check_slices(rule, model, what)
            _check_drop(rule, model, what)
    if isinstance(answers, PredictionLog):
        _check_log(rules, answers, judged_models[0], what)


def _checked_model(model: Servable, what: str) -> Model:
    if not isinstance(model, Model):
        raise DeclarationError(
            f"{what} has quality=, but {model.name!r} is a composite, which has no label: watch the models that it is made of"
        )
    return model


def _check_slices(rule: Quality, model: Model, what: str) -> None:
    spine = model.view.spine
    columns = list(dict.fromkeys([*model.view.feature_names, *spine.keys, *(spine.columns or ())]))
    names = [name for by in rule.sliced_by for name in columns_of(by)]
    unknown = [name for name in names if name not in columns]
    if unknown and spine.columns is not None:
        raise DeclarationError(
            f"{what} slices {rule.metric} by {list_some(unknown)}, which is neither a feature of {model.name!r} nor a column of "
            f"{spine.table_name}: there is {one_of(columns)}"
        )


def _check_drop(rule: Quality, model: Model, what: str) -> None:
    if rule.drop is None:
        return
    if rule.metric not in model.evaluate.metric_names:
        raise DeclarationError(
            f"{what} compares {rule.metric} with the build's own, but {model.name!r} evaluates {one_of(model.evaluate.metric_names)}: "
            "add it to fti.Evaluation(metrics=[...]), or give a fixed bound"
        )
    missing = [key for key in map(slices_key, rule.sliced_by) if key not in model.evaluate.slice_names]
    if missing:
        raise DeclarationError(
            f"{what} compares {rule.metric} by {list_some(missing)} with the build's own, but the slices of {model.name!r} are "
            f"{one_of(model.evaluate.slice_names)}: add them to fti.Evaluation(slices=[...]), or give a fixed bound"
        )


def _check_log(rules: Sequence[Quality], log: PredictionLog, model: Model, what: str) -> None:
    if model.task == "ranking":
        raise DeclarationError(
            f"{what} has quality=, but {log.table_name} logs a ranking row by row, so its lists are not known: watch batch predictions of "
            f"{model.name!r}"
        )
    labels = model.view.labels.values()
    by = list(dict.fromkeys(label.column.spine_keys.get(key, key) for label in labels for key in label.group.keys))
    sliced = [name for rule in rules for slicing in rule.sliced_by for name in columns_of(slicing)]
    for names, why in ((by, "needs the labels of logged answers, which come by"), (sliced, "slices by")):
        if secrets := [name for name in names if name in log.redact]:
            raise DeclarationError(f"{what} {why} {list_some(secrets)}: leave that out of redact of {log.table_name}")
