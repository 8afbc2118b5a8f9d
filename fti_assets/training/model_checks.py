"""What a model cannot be: every check of its declaration that looks at more than one of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

import dagster as dg

from fti_assets.core.manifest import CLASSIFIES, ModelTask, Task, model_of
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.training.calibration.calibrators import Method
from fti_assets.training.datasets.sampling.weights import BINARY, ClassWeights
from fti_assets.training.judging.baselines.baseline import Baseline
from fti_assets.training.judging.baselines.last_value import LastValue
from fti_assets.training.judging.gates.gate import BaselineGate, CheckedGate, MetricGate, SlicedGate
from fti_assets.training.judging.metrics.metric import base_of
from fti_assets.training.judging.metrics.own import Metric
from fti_assets.training.judging.metrics.registry import check_metrics, metric_named
from fti_assets.training.judging.slices import columns_of
from fti_assets.training.models.cores.returns import check_return
from fti_assets.training.models.model import KEPT_APART, Model, Rollback
from fti_assets.training.triggers.new_data import OnNewData
from fti_assets.training.tuning.spaces import names_in
from fti_assets.training.tuning.tuning import Tuning
from fti_assets.training.views.checks.encoders import check_view_encoders
from fti_assets.training.views.view import FeatureView

_OF_SEVERAL: dict[ModelTask, Task] = {"multilabel": "multilabel", "regression": "multioutput"}
"""What a model of several labels does, by the task that is declared."""

_ROLLED_BACK: tuple[ModelTask, ...] = ("binary", "multiclass", "regression", "quantile")


def check_model(model: Model) -> None:
    """Refuse a model whose parts do not suit each other.

    Raises:
        DeclarationError: it says which.
    """
    _check_rollback(model)
    if model.tune is not None:
        _check_tuning(model, model.tune)
    check_view_encoders(model.view, model.own_encoders, what=f"model {model.name!r}")
    check_return(model.annotations.get("return"), model.task, what=f"model {model.name!r}", levels=len(model.levels))
    labels = _labels_of(model)
    model.evaluate.check(model.task, labels or ())
    metrics = [gate.metric for gate in model.gates if isinstance(gate, MetricGate) and gate.metric is not None]
    check_metrics(model.task, metrics, labels)
    other_metrics = [metric for metric in metrics if metric not in model.evaluate.metric_names]
    if other_metrics:
        raise DeclarationError(
            f"model {model.name!r} has gates on {list_some(other_metrics)}, but evaluates "
            f"{list_some(model.evaluate.metric_names)}: add them to Evaluation(metrics=[...])"
        )
    if model.importance is not None:
        model.importance.check(model.view.feature_names, model.evaluate.metric_names, what=f"model {model.name!r}")
    _check_queries(model)
    _check_weight(model)
    _check_baselines(model)
    _check_calibration(model)
    _check_threshold(model)
    for gate in model.gates:
        if isinstance(gate, CheckedGate):
            gate.check(model.task, model.evaluate, what=f"model {model.name!r}")
    for trigger in () if model.retraining is None else model.retraining.triggers:
        if isinstance(trigger, OnNewData):
            trigger.check(model.view, model.dataset.window, what=f"model {model.name!r}")
    names = [gate.name for gate in model.gates]
    if len(set(names)) < len(names):
        raise DeclarationError(f"model {model.name!r} has the same gate twice: {list_some(names)}")
    if KEPT_APART.name in names:
        raise DeclarationError(
            f"model {model.name!r} has a gate {KEPT_APART.name!r}, as each model's own check is called: rename it"
        )
    every = (*model.evaluate.sliced_by, *model.evaluate.compared_by)
    sliced_by = list(dict.fromkeys(column for by in every for column in columns_of(by)))
    unknown = [column for column in sliced_by if column not in model.view.feature_names]
    if unknown:
        raise DeclarationError(
            f"model {model.name!r} is sliced by {list_some(unknown)}, which its view {model.view.name!r} does not have: there is "
            f"{one_of(model.view.feature_names)}"
        )
    _refuse_vectors(model, [*sliced_by, *([model.evaluate.cluster] if model.evaluate.cluster else [])])
    cluster, drawn = model.evaluate.cluster, [*model.view.feature_names, *model.view.spine.keys]
    if cluster is not None and cluster not in drawn:
        raise DeclarationError(
            f"model {model.name!r} draws test rows by {cluster!r}, which is neither a feature nor a key: there is {one_of(drawn)}"
        )
    other_columns = [
        gate.by for gate in model.gates if isinstance(gate, SlicedGate) and gate.by not in model.evaluate.slice_names
    ]
    if other_columns:
        raise DeclarationError(
            f"model {model.name!r} has gates by {list_some(other_columns)}, but its slices are "
            f"{one_of(model.evaluate.slice_names)}: add them to Evaluation(slices=[...])"
        )
    if model.partitions_def != model.dataset.partitions_def:
        raise DeclarationError(
            f"model {model.name!r} has other partitions than its dataset {model.dataset.table_name}: leave them out"
        )


def task_of(task: ModelTask, view: FeatureView, *, what: str) -> Task:
    """What a model does, which the number of its view's labels says with the task that was declared.

    Raises:
        DeclarationError: the two do not suit each other.
    """
    if view.has_several_labels:
        if task not in _OF_SEVERAL:
            raise DeclarationError(
                f"{what} is {model_of(task)}, and its view {view.name!r} has the labels {list_some(view.labels)}: it is "
                f"{one_of(_OF_SEVERAL)}, or of a view of one label"
            )
        return _OF_SEVERAL[task]
    if task == "multilabel":
        raise DeclarationError(
            f"{what} is a multilabel model, and its view {view.name!r} has one label: give it several, "
            f"label={{'late': fti.Label(...), 'cancelled': fti.Label(...)}}, or write task='binary'"
        )
    return task


def checked_levels(task: Task, levels: Sequence[float], *, what: str) -> tuple[float, ...]:
    """The levels of a quantile model, ascending.

    Raises:
        DeclarationError: there are none, or a model of another task has some; one is no share, or is there twice.
    """
    if (task == "quantile") != bool(levels):
        needs = (
            "needs levels=, such as [0.1, 0.5, 0.9]" if task == "quantile" else "has levels, which quantile models have"
        )
        raise DeclarationError(f"{what} is {model_of(task)} and {needs}")
    ascending = sorted({float(level) for level in levels})
    if len(ascending) < len(levels) or not all(0 < level < 1 for level in ascending):
        raise DeclarationError(f"{what} has levels={list(levels)!r}: give different numbers above 0 and below 1")
    return tuple(ascending)


def checked_use(intended_use: str | None, *, what: str) -> str:
    """What a model is for, empty if nothing is said.

    Raises:
        DeclarationError: it is blank.
    """
    if intended_use and not intended_use.strip():
        raise DeclarationError(f"{what} has a blank intended_use: say what it is for, or leave it out")
    return intended_use or ""


def checked_limits(limits: Sequence[str], *, what: str) -> tuple[str, ...]:
    """Where a model should not be used, each as one line.

    Raises:
        DeclarationError: one is blank.
    """
    if blank := [at for at, limit in enumerate(limits) if not limit.strip()]:
        raise DeclarationError(f"{what} has limits of which number {blank[0] + 1} is blank: say it, or leave it out")
    return tuple(" ".join(limit.split()) if len(limit.splitlines()) > 1 else limit for limit in limits)


def checked_weights(weights: ClassWeights | None, task: Task, name: str) -> ClassWeights | None:
    """The weights of classes of a model that tells them apart.

    Raises:
        DeclarationError: it does not, or has no such class.
    """
    if weights is None:
        return None
    if task == "multilabel":
        raise DeclarationError(
            f"model {name!r} has weights= for classes, and several labels have classes of their own, of which a row has one each: leave "
            "them out, and choose a threshold for each label, Evaluation(threshold={...})"
        )
    if task not in CLASSIFIES:
        raise DeclarationError(
            f"model {name!r} has weights= for classes, and {model_of(task)} has none: leave them out"
        )
    if task == "binary" and (
        unknown := [
            one for one in (weights.classes if not isinstance(weights.classes, str) else ()) if one not in BINARY
        ]
    ):
        raise DeclarationError(
            f"model {name!r} has a weight for the class {one_of(unknown)}: a binary model's are {one_of(BINARY)}"
        )
    return weights


def _labels_of(model: Model) -> list[str] | None:
    """The names of several labels; None for a model of one."""
    return list(model.view.labels) if model.view.has_several_labels else None


def _check_threshold(model: Model) -> None:
    if model.evaluate.goals and not _validates(model, what=f"model {model.name!r}"):
        raise DeclarationError(
            f"model {model.name!r} chooses its threshold by {one_of(dict.fromkeys(model.evaluate.goals))} on the validation part, but its "
            f"dataset {model.dataset.table_name} has none: give its split a validation part, such as validation=0.2, or the evaluation a "
            "number"
        )


def _validates(model: Model, *, what: str) -> bool:
    """Whether its dataset's split has a validation part."""
    validation = model.dataset.split.validation
    return bool(duration(validation, what=what) if isinstance(validation, str | timedelta) else validation)


def _check_calibration(model: Model) -> None:
    what, method = f"model {model.name!r} has calibrate={model.calibrate!r}", model.calibrate
    if method is None:
        return
    if method not in get_args(Method):
        raise DeclarationError(f"{what}: it is {one_of(get_args(Method))}")
    if model.task not in CLASSIFIES:
        raise DeclarationError(f"{what}, but {model_of(model.task)} gives no probabilities of its own: leave it out")
    if not _validates(model, what=what):
        raise DeclarationError(
            f"{what}, which is fitted on the validation part, but its dataset {model.dataset.table_name} has none: give its split a "
            "validation part, such as validation=0.2"
        )


def _check_rollback(model: Model) -> None:
    if model.rollback is None:
        return
    what = f"model {model.name!r} has rollback={model.rollback!r}"
    if model.rollback not in get_args(Rollback):
        raise DeclarationError(f"{what}: it is {one_of(get_args(Rollback))}")
    if model.task not in _ROLLED_BACK:
        several = " of one label" if model.view.has_several_labels else ""
        raise DeclarationError(f"{what}, which there is for {one_of(_ROLLED_BACK)} models{several}: leave it out")
    if model.view.time is None:
        raise DeclarationError(
            f"{what}, but its spine {model.view.spine.table_name} has no event time, so no row comes after what a build has learned from: "
            "give it an event_time, or leave rollback out"
        )


def _refuse_vectors(model: Model, columns: Sequence[str]) -> None:
    """Refuse rows that are told apart by a vector, which hardly two rows share, and a vector as the last value of a label."""
    rivals = [gate.rival for gate in model.gates if isinstance(gate, BaselineGate)]
    last = [one.feature for one in rivals if isinstance(one, LastValue)]
    types = {name: kind for name, kind, _ in model.view.declared_features}
    if of_vectors := [name for name in (*columns, *last) if types.get(name) == "vector"]:
        raise DeclarationError(
            f"model {model.name!r} is sliced, drawn or compared by {list_some(of_vectors)}, a vector, which hardly two rows share: name a "
            "feature of text, whole numbers or booleans"
        )


def _check_queries(model: Model) -> None:
    if model.task == "ranking" and not model.dataset.query:
        raise DeclarationError(
            f"model {model.name!r} ranks the rows of a list, and nothing says which rows those are: declare its dataset with them, "
            f"fti.training_dataset(name=..., view={model.view.name}, query='session_id'), of a column of the spine "
            f"{model.view.spine.table_name}, or of several"
        )


def _check_weight(model: Model) -> None:
    """Refuse metrics of one's own that would count alike rows that do not."""
    if model.dataset.weight is None:
        return
    own = [base_of(metric_named(name)) for name in model.evaluate.metric_names]
    deaf = dict.fromkeys(one.name for one in own if isinstance(one, Metric) and not one.takes_weight)
    if deaf:
        raise DeclarationError(
            f"model {model.name!r} has the metric {one_of(deaf)}, and its dataset {model.dataset.table_name} rows that count by "
            f"{model.dataset.weight!r}: give the metric's function a third parameter, weight"
        )


def _check_baselines(model: Model) -> None:
    baselines: dict[str, Baseline] = {}
    for gate in model.gates:
        if not isinstance(gate, BaselineGate):
            continue
        one = gate.rival
        one.check(model.task, model.view.feature_names, what=f"model {model.name!r}: the gate {gate.name}")
        if baselines.setdefault(one.name, one) != one:
            raise DeclarationError(f"model {model.name!r} has two baselines that are called {one.name!r}: rename one")


def _check_tuning(model: Model, tuning: Tuning) -> None:
    """Raise a DeclarationError if trials cannot be judged, or a parameter means two things."""
    check_metrics(model.task, [model.tuned_metric], _labels_of(model))
    configs = [
        kind
        for kind in model.annotations.values()
        if isinstance(kind, type) and issubclass(kind, dg.Config) and not issubclass(kind, dg.ConfigurableResource)
    ]
    fields = {field for config in configs for field in getattr(config, "model_fields", ())}
    if both := sorted(fields & names_in(tuning.space)):
        raise DeclarationError(
            f"model {model.name!r} tunes {list_some(both)}, which its config has too: leave it out of the config, or out of the space"
        )
