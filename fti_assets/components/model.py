"""Models in YAML, and composites of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, PythonObject
from fti_assets.components.declaring import ComponentTree, DeclaringComponent, names_of
from fti_assets.components.feature_view import FeatureViewComponent
from fti_assets.components.published import PublishedModelComponent
from fti_assets.components.reference import encoders_of, gate_of, space_of, trigger_of
from fti_assets.components.scaffold import CompositeScaffolder, ModelScaffolder
from fti_assets.core.manifest import ModelTask
from fti_assets.core.names import versioned_name
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model


class EvaluationAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """How a model is judged; the attributes are those of ``fti.Evaluation``."""

    metrics: Sequence[str] | None = None
    slices: Sequence[str | Sequence[str]] = ()
    fairness: Sequence[str | Sequence[str]] = ()
    min_rows: int = 1
    threshold: float | str = 0.5
    confidence: float | None = 0.95
    cluster: str | None = None


class ImportanceAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """How the importance of features is measured; the attributes are those of ``fti.Importance``."""

    metric: str | None = None
    rows: int = 2_000
    repeats: int = 5
    groups: Mapping[str, Sequence[str]] = {}

    def declare(self) -> fti.Importance:
        """The declaration."""
        return fti.Importance(metric=self.metric, rows=self.rows, repeats=self.repeats, groups=self.groups)


class TuningAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """How parameters are searched for; the attributes are those of ``fti.Tuning``."""

    space: Mapping[str, Mapping[str, Any]]
    trials: int = 20
    metric: str | None = None
    pruning: str | Mapping[str, Any] = "none"
    seed: int = 0


@dg.scaffold_with(ModelScaffolder)
class ModelComponent(AssetAttributes, DeclaringComponent):
    """A model: a function that trains, how it is judged, what it must pass. The attributes are those of ``fti.model``.

    Args:
        function: ``train.py:delay_net`` in a file beside the defs.yaml, or ``my_project.training.delay_net``.
        dataset: the view that it learns from, by its name or its dataset's.
        task: ``binary``, ``multiclass``, ``regression``, ``quantile`` or ``ranking``.
        levels: of a quantile model, ``[0.1, 0.5, 0.9]``.
        name: the model's name, by default the function's.
        encoders: ``{origin: OneHot, carrier: {type: Embedding, max_categories: 64}}``, in place of the view's.
        weights: ``balanced``, or what a row of each class counts, ``{"1": 5.0}``; all alike by default.
        evaluate: metrics and slices; the task's usual metrics by default.
        gates: ``{type: BeatsBaseline, metric: log_loss}`` and the like.
        importance: ``{rows: 500, groups: {weather: [temp, wind_speed]}}``, or ``false``.
        calibrate: ``platt`` or ``isotonic``.
        intended_use, limits: for the card.
        retrain: ``{type: OnSchedule, cron: "0 6 * * 1"}``, ``{type: OnDrift, monitor: delay_monitor}`` and the like.
        cooldown: how long triggers wait after one of them, ``7d``.
        rollback: ``propose`` or ``automatic``, for a champion that does worse than the one before it.
        tune: a space, ``{alpha: {type: LogUniform, low: 0.01, high: 10}}``, and how many trials.
    """

    function: PythonObject
    dataset: str
    task: ModelTask
    name: str | None = None
    version: int = 1
    levels: Sequence[float] = ()
    encoders: Mapping[str, str | Mapping[str, Any]] | None = None
    weights: Literal["balanced"] | Mapping[str, float] | None = None
    evaluate: EvaluationAttributes | None = None
    gates: Sequence[str | Mapping[str, Any]] = ()
    gates_fail_run: bool = True
    importance: ImportanceAttributes | bool = True
    promote: Literal["automatic", "by_hand", "after_experiment"] = "automatic"
    tune: TuningAttributes | None = None
    calibrate: Literal["platt", "isotonic"] | None = None
    intended_use: str | None = None
    limits: Sequence[str] = ()
    retrain: Sequence[Mapping[str, Any]] | None = None
    cooldown: str | None = None
    rollback: Literal["propose", "automatic"] | None = None
    catch_up: int | None = None
    latency_goal: str | None = None

    summary = "A model: trained on a view's dataset, exported to ONNX, judged by gates before it serves."

    def names(self) -> Sequence[str]:
        """``delay_net`` and ``delay_net_v1``."""
        return names_of(self.name, self.function, self.version)

    def declare(self, tree: ComponentTree) -> Model:
        """The model."""
        name = self.names()[0]
        function = self.function_of(self.function, what=f"function of model {name!r}", decorator="fti.model")
        dataset = self.look_up(
            tree, {FeatureViewComponent: TrainingDataset}, self.dataset, what=f"dataset of model {name!r}"
        )
        evaluate = self.evaluate
        return fti.model(
            name=name,
            version=self.version,
            dataset=dataset,
            task=self.task,
            levels=self.levels,
            encoders=encoders_of(self.encoders, self._context),
            weights=None if self.weights is None else fti.ClassWeights(self.weights),
            evaluate=evaluate and fti.Evaluation(**dict(evaluate)),
            gates=[gate_of(gate, self._context, what=f"gate of model {name!r}") for gate in self.gates],
            gates_fail_run=self.gates_fail_run,
            importance=self.importance if isinstance(self.importance, bool) else self.importance.declare(),
            promote=self.promote,
            calibrate=self.calibrate,
            intended_use=self.intended_use,
            limits=self.limits,
            retrain=None
            if self.retrain is None
            else [trigger_of(one, self._context, what=f"trigger of model {name!r}") for one in self.retrain],
            cooldown=self.cooldown,
            rollback=self.rollback,
            tune=self._tuning(f"model {name!r}"),
            catch_up=self.catch_up,
            latency_goal=self.latency_goal,
            **self.options(),
        )(function)

    def _tuning(self, what: str) -> fti.Tuning | None:
        tune = self.tune
        return tune and fti.Tuning(
            space=space_of(tune.space, self._context, what=what),
            trials=tune.trials,
            metric=tune.metric,
            pruning=tune.pruning,
            seed=tune.seed,
        )


@dg.scaffold_with(CompositeScaffolder)
class CompositeComponent(AssetAttributes, DeclaringComponent):
    """Models that answer together, as one. The attributes are those of ``fti.composite``.

    Args:
        name: the composite's name.
        models: its models by their names, in the order in which they run.
        feeds: a column of the spine, and the model whose answer fills it: ``{late_risk: delay_net}``.
        combine: the path of the on-demand function that makes the answers, ``combining.py:risk``.
    """

    name: str
    models: Sequence[str]
    version: int = 1
    feeds: Mapping[str, str] | None = None
    combine: str | None = None
    promote: Literal["automatic", "by_hand", "after_experiment"] = "automatic"
    catch_up: int | None = None
    latency_goal: str | None = None

    summary = "Models over one spine that answer one request together, promoted and served as one."

    def names(self) -> Sequence[str]:
        """``trip_risk`` and ``trip_risk_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def declare(self, tree: ComponentTree) -> Composite:
        """The composite."""
        what = f"composite {self.name!r}"
        return fti.composite(
            name=self.name,
            version=self.version,
            models=[self._model(tree, name) for name in self.models],
            feeds={column: self._model(tree, name) for column, name in (self.feeds or {}).items()},
            combine=None if self.combine is None else self.on_demand_of(self.combine, what=f"combine of {what}"),
            promote=self.promote,
            catch_up=self.catch_up,
            latency_goal=self.latency_goal,
            **self.options(),
        )

    def _model(self, tree: ComponentTree, name: str) -> Model:
        return self.look_up(tree, MODELS, name, what=f"model of composite {self.name!r}")


MODELS: Mapping[type[DeclaringComponent], type[Model]] = {ModelComponent: Model, PublishedModelComponent: Model}
"""The components of models."""

SERVABLE: Mapping[type[DeclaringComponent], type[Model | Composite]] = {
    ModelComponent: Model,
    CompositeComponent: Composite,
    PublishedModelComponent: Model,  # or a composite, as its build says
}
"""The components of what answers, and what each declares."""
