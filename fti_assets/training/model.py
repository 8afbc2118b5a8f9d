"""Declaring models: a function that trains on a dataset, how it is judged, and what it must pass to be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Unpack, get_args

from fti_assets.core.arguments import caller_names, checked_arguments, checked_function
from fti_assets.core.manifest import ModelTask
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.signature import annotations_of, parameters_of
from fti_assets.training.calibration.calibrators import Method
from fti_assets.training.datasets.dataset import TrainingDataset, checked_catch_up
from fti_assets.training.datasets.sampling.weights import ClassWeights
from fti_assets.training.encoders.declarations import Encoder
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.gates.gate import Gate
from fti_assets.training.judging.importance import Importance
from fti_assets.training.model_checks import (
    check_model,
    checked_levels,
    checked_limits,
    checked_use,
    checked_weights,
    task_of,
)
from fti_assets.training.models.asset import model_asset
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.model import Model, Promotion, Rollback
from fti_assets.training.training_dataset import training_dataset
from fti_assets.training.triggers.retraining import checked_retraining
from fti_assets.training.triggers.trigger import Trigger
from fti_assets.training.tuning.trial import Trial
from fti_assets.training.tuning.tuning import Tuning
from fti_assets.training.views.view import FeatureView


@checked_arguments(options=AssetOptions)
def model(
    *,
    dataset: TrainingDataset | FeatureView,
    task: ModelTask,
    name: str | None = None,
    version: int = 1,
    levels: Sequence[float] = (),
    encoders: Mapping[str, Encoder] | None = None,
    weights: ClassWeights | None = None,
    evaluate: Evaluation | None = None,
    gates: Sequence[Gate] = (),
    gates_fail_run: bool = True,
    importance: Importance | bool = True,
    promote: Promotion = "automatic",
    tune: Tuning | None = None,
    calibrate: Method | None = None,
    intended_use: str | None = None,
    limits: Sequence[str] = (),
    retrain: Sequence[Trigger] | None = None,
    cooldown: str | timedelta | None = None,
    rollback: Rollback | None = None,
    catch_up: int | None = None,
    latency_goal: str | timedelta | None = None,
    ins: Mapping[str, Any] | None = None,
    **options: Unpack[AssetOptions],
) -> Callable[[Callable[..., Any]], Model]:
    """Declare a model: a function of ``fti.TrainingData`` that returns a trained model.

    The function may also take ``context``, a ``config: dg.Config`` and resources. It returns a trained
    ``LightningModule`` or ``nn.Module`` (its ``forward`` takes the dict of encoded tensors and returns logits, or values
    for regression), a fitted scikit-learn estimator, a model of LightGBM or XGBoost, or an ``onnx.ModelProto``. If its result is annotated
    with a class that can never be exported for the task, loading the code fails and says so.

    Args:
        dataset: the dataset it learns from. A view makes a dataset of its own, with the view's version.
        encoders: encoders by feature, instead of the view's, so that models of one dataset can encode differently.
        weights: the weight of a row of each class in training, in ``data.train.weight``; all alike by default.
        task: ``binary``, ``multiclass``, ``regression``, ``quantile`` or ``ranking``. The label of a ranking is how relevant a row
            is, a number from 0, and its dataset names by ``query=`` which rows are one list. With several labels the task is
            ``multilabel``, where each is a yes or no, or ``regression``.
        levels: the levels of a quantile model, such as ``[0.1, 0.5, 0.9]``. It answers with one value per level, in ascending
            order.
        name: the model's name, by default the function's.
        version: names the asset; the model store keeps all versions under one model with one champion.
        evaluate: the metrics, slices and threshold; the task's usual metrics by default.
        gates: what the exported graph must pass on the test split; a build that fails is kept as rejected.
        gates_fail_run: whether the run fails if a gate does.
        importance: how the importance of its features is measured on the test split; ``False`` turns it off.
        promote: ``automatic`` makes an accepted build the champion unless the champion's cutoff is later; ``by_hand`` leaves it to
            people, ``after_experiment`` to the verdict of an ``fti.experiment`` on a rollout, except for the first build.
        tune: a search for parameters, which the function takes as ``trial: fti.Trial``; the build is the model of the best trial.
        calibrate: ``platt`` or ``isotonic`` calibrates the probabilities of a classifier on the validation part, within the graph: by a
            logistic regression of their log odds, or by a monotone function, for each class against the rest.
        intended_use: what the model is for and who uses it, for its card.
        limits: where it should not be used, and what it does not know, for its card; each is one line of its list.
        retrain: triggers of training (``fti.OnSchedule``, ``fti.OnNewData``, ``fti.OnDrift``, ``fti.OnDegradation``), instead
            of the default, which is to train at each new cutoff. Their sensor comes with ``build_definitions``. The newest cutoff that
            is ready is trained, in one run with its dataset, if there is something that the newest build has not learned from.
        rollback: what to do, as labels arrive, about a champion that does worse on them than its predecessor: ``propose`` records a
            proposal until a person decides, ``automatic`` rolls back. Both are scored on the same rows, which neither was trained
            on, by the first metric; the whole interval of the difference must show it.
        cooldown: how long after a request no trigger but a schedule fires again, 7 days by default.
        catch_up: at how many of the dataset's newest cutoffs it is trained automatically, at most 1,000; by default as many
            as the dataset catches up on.
        latency_goal: the time within which a server is to answer a request, such as ``"50ms"``. Requests that cannot be answered
            in that time are refused at once (503) instead of waiting.
        ins: plain Dagster assets that the function takes, as ``@dg.asset`` has them.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.
    """

    caller_scope = caller_names()

    def declare(function: Callable[..., Any]) -> Model:
        checked_function(function, over="fti.model")
        own_name = checked_name(name or function.__name__, what="model")
        checked_version(version, what=f"model {own_name!r}")
        if task not in get_args(ModelTask):
            raise DeclarationError(f"model {own_name!r} has the task {task!r}: it is {one_of(get_args(ModelTask))}")
        if promote not in get_args(Promotion):
            raise DeclarationError(f"model {own_name!r} has promote={promote!r}: it is {one_of(get_args(Promotion))}")
        no_gates = [gate for gate in gates if isinstance(gate, type) or not hasattr(gate, "judge")]
        if no_gates:
            raise DeclarationError(
                f"model {own_name!r} has the gate {no_gates[0]!r}: write gates=[fti.BeatsBaseline('log_loss')], or another one of "
                "fti.NotWorseThanChampion, fti.MetricBounds and fti.SliceGap, or a function with @fti.gate() over it"
            )
        own = _dataset_of(dataset) if isinstance(dataset, FeatureView) else dataset
        annotations = annotations_of(function, caller_scope)
        does = task_of(task, own.view, what=f"model {own_name!r}")
        labels = list(own.view.labels) if own.view.has_several_labels else []
        evaluation = (evaluate or Evaluation()).for_task(does).for_labels(does, labels)
        result = Model(
            name=own_name,
            version=version,
            function=function,
            data_parameter=_data_parameter(function, annotations, own_name),
            annotations=annotations,
            dataset=own,
            own_encoders=dict(encoders or {}),
            weights=checked_weights(weights, does, own_name),
            task=does,
            levels=checked_levels(does, levels, what=f"model {own_name!r}"),
            evaluate=evaluation,
            gates=tuple(gates),
            gates_fail_run=gates_fail_run,
            importance=(Importance() if importance else None) if isinstance(importance, bool) else importance,
            tune=tune,
            calibrate=calibrate,
            intended_use=checked_use(intended_use, what=f"model {own_name!r}"),
            limits=checked_limits(limits, what=f"model {own_name!r}"),
            trial_parameter=_trial_parameter(
                list(parameters_of(function)), annotations, own_name, is_tuned=tune is not None
            ),
            promote=promote,
            catch_up=own.catch_up if catch_up is None else checked_catch_up(catch_up, what=f"model {own_name!r}"),
            latency_goal=None
            if latency_goal is None
            else checked_latency_goal(latency_goal, what=f"model {own_name!r}"),
            retraining=checked_retraining(
                retrain, cooldown, options.get("automation_condition", False), what=f"model {own_name!r}"
            ),
            rollback=rollback,
            asset_ins=ins or {},
            options={**options, "partitions_def": options.get("partitions_def") or own.partitions_def},
            to_asset=model_asset,
        )
        check_model(result)
        record_use([own, *own.view.upstream], f"used_by_model/{result.asset_name}", result)
        return result

    return declare


@cache
def _dataset_of(view: FeatureView) -> TrainingDataset:
    """The dataset that a view makes of its own, one for all its models."""
    return training_dataset(name=f"{view.name}_dataset", version=view.version, view=view)


def checked_latency_goal(value: str | timedelta, *, what: str) -> timedelta:
    """A latency goal as a duration.

    Raises:
        DeclarationError: it is none, or zero.
    """
    goal = duration(value, what=f"{what}: latency_goal")
    if not goal:
        raise DeclarationError(f"{what} has latency_goal={value!r}: no answer takes no time; write such as '50ms'")
    return goal


def _data_parameter(function: Callable[..., Any], annotations: Mapping[str, Any], name: str) -> str:
    parameters = list(parameters_of(function))
    results = [parameter for parameter in parameters if annotations.get(parameter) is TrainingData]
    if not results and "data" in parameters:
        results = ["data"]
    if len(results) != 1:
        raise DeclarationError(
            f"model {name!r} needs one parameter for its training data, as in def {name}(data: fti.TrainingData); it has "
            f"{list_some(parameters)}"
        )
    return results[0]


def _trial_parameter(
    parameters: Sequence[str], annotations: Mapping[str, Any], name: str, *, is_tuned: bool
) -> str | None:
    results = [parameter for parameter in parameters if annotations.get(parameter) is Trial]
    if results and not is_tuned:
        raise DeclarationError(
            f"model {name!r} takes {results[0]!r}, an fti.Trial, but nothing is tuned: give it tune=fti.Tuning(space={{...}}), or leave "
            "the parameter out"
        )
    if is_tuned and not results and "trial" in parameters:
        results = ["trial"]
    if is_tuned and len(results) != 1:
        raise DeclarationError(
            f"model {name!r} has tune=, so its function takes one trial, whose parameters it trains with: write def {name}(data: "
            "fti.TrainingData, trial: fti.Trial)"
        )
    return results[0] if results else None
