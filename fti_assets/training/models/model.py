"""Models: a function that trains on a dataset, how it is judged, and what it must pass to be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from fti_assets.core.manifest import Task
from fti_assets.core.rules import Rule
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import Declaration
from fti_assets.training.calibration.calibrators import Method
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.sampling.weights import ClassWeights
from fti_assets.training.encoders.declarations import Encoder
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.gates.gate import Gate
from fti_assets.training.judging.importance import Importance
from fti_assets.training.triggers.retraining import Retraining
from fti_assets.training.tuning.tuning import Tuning
from fti_assets.training.views.terms import ViewTerms
from fti_assets.training.views.view import FeatureView

KEPT_APART = Rule(
    "numbers_kept_apart", "No encoder makes one number of different train values of a feature", blocking=False
)

Promotion = Literal["automatic", "by_hand", "after_experiment"]

Rollback = Literal["propose", "automatic"]
"""What is done about a champion that does worse than the one before it on fresh labels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Servable(Declaration):
    """What the model store serves under one name: a model, or a composite of models."""

    task: Task
    promote: Promotion
    catch_up: int
    latency_goal: timedelta | None

    @property
    def view(self) -> ViewTerms:
        """What a request to it brings, and what it needs besides."""
        raise NotImplementedError

    @property
    def feature_groups(self) -> list[FeatureGroup]:
        """The groups that its features come from, without the spine."""
        view = self.view
        return [group for group in view.groups if group not in (view.spine, *view.label_groups)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Servable):
    """A declared model. Make one with ``model``; calling it calls the training function."""

    function: Callable[..., Any]
    data_parameter: str
    annotations: Mapping[str, Any] = field(repr=False)
    dataset: TrainingDataset
    own_encoders: Mapping[str, Encoder]
    weights: ClassWeights | None
    evaluate: Evaluation
    levels: tuple[float, ...]
    gates: tuple[Gate, ...]
    gates_fail_run: bool
    importance: Importance | None
    tune: Tuning | None
    calibrate: Method | None
    intended_use: str
    limits: tuple[str, ...]
    trial_parameter: str | None
    asset_ins: Mapping[str, Any] = field(repr=False)
    retraining: Retraining | None = None
    rollback: Rollback | None = None

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*arguments, **keywords)

    @property
    def view(self) -> FeatureView:
        return self.dataset.view

    @property
    def requests_inputs(self) -> bool:
        return self.retraining is not None

    @property
    def own_parameters(self) -> set[str]:
        """The function's parameters that its step provides, and not Dagster."""
        return {*self.own_arguments(None, None)}

    def own_arguments(self, data: Any, trial: Any) -> dict[str, Any]:
        """What its step gives to the function: the data, and the trial if it is tuned."""
        return {self.data_parameter: data, **({} if self.trial_parameter is None else {self.trial_parameter: trial})}

    @property
    def tuned_metric(self) -> str:
        """The metric by which trials are judged."""
        return (self.tune and self.tune.metric) or self.evaluate.metric_names[0]

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by feature: the model's own before the view's."""
        return {**self.view.encoders, **self.own_encoders}

    @property
    def rests_on(self) -> list[TrainingDataset]:
        """Its dataset."""
        return [self.dataset]
