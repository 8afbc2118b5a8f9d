"""Models and batch predictions in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dagster as dg
from pydantic import Field

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, PythonObject, RowSchema
from fti_assets.components.declaring import ComponentTree, DeclaringComponent, names_of
from fti_assets.components.feature_view import FeatureViewComponent
from fti_assets.components.reference import construct, encoders_of
from fti_assets.components.scaffold import ModelScaffolder, PredictionsScaffolder
from fti_assets.core.manifest import ModelTask
from fti_assets.core.names import versioned
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model


class EvaluationAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """How a model is judged; the attributes are those of ``fti.Evaluation``."""

    metrics: Sequence[str]
    slices: Sequence[str] = ()


@dg.scaffold_with(ModelScaffolder)
class ModelComponent(AssetAttributes, DeclaringComponent):
    """A model: a function that trains, how it is judged, what it must pass. The attributes are those of ``fti.model``.

    Args:
        function: ``train.py:delay_net`` in a file beside the defs.yaml, or ``my_project.training.delay_net``.
        dataset: the view that it learns from, by its name or its dataset's.
        task: ``binary``, ``multiclass`` or ``regression``.
        name: the model's name, by default the function's.
        encoders: ``{origin: OneHot, carrier: {type: Embedding, max_categories: 64}}``, in place of the view's.
        evaluate: metrics and slices; the task's usual metrics by default.
        gates: ``{type: BeatsBaseline, metric: log_loss}`` and the like.
    """

    function: PythonObject
    dataset: str
    task: ModelTask
    name: str | None = None
    version: int = 1
    encoders: Mapping[str, str | Mapping[str, Any]] | None = None
    evaluate: EvaluationAttributes | None = None
    gates: Sequence[str | Mapping[str, Any]] = ()
    gates_fail_run: bool = True
    promote: Literal["automatic", "by_hand", "after_experiment"] = "automatic"
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
            tree, FeatureViewComponent, self.dataset, TrainingDataset, what=f"dataset of model {name!r}"
        )
        evaluate = self.evaluate
        return fti.model(
            name=name,
            version=self.version,
            dataset=dataset,
            task=self.task,
            encoders=encoders_of(self.encoders, self._context),
            evaluate=evaluate and fti.Evaluation(metrics=evaluate.metrics, slices=evaluate.slices),
            gates=[
                construct(gate, self._context, module="training.judging.gates", what=f"gate of model {name!r}")
                for gate in self.gates
            ],
            gates_fail_run=self.gates_fail_run,
            promote=self.promote,
            catch_up=self.catch_up,
            latency_goal=self.latency_goal,
            **self.options(),
        )(function)


@dg.scaffold_with(PredictionsScaffolder)
class PredictionsComponent(AssetAttributes, DeclaringComponent):
    """Batch predictions: an answer for each spine row. The attributes are those of ``fti.batch_predictions``.

    Args:
        name: the name of the predictions.
        model: whose answers they are, by its name; a list of names for several.
        top: ``{k: 10, by: listener_id}``, the arguments of ``fti.TopK``.
        schema: the path of a Pandera model of the rows.
    """

    name: str
    answering: str | Sequence[str] = Field(alias="model")
    version: int = 1
    top: Mapping[str, Any] | None = None
    row_schema: RowSchema
    catch_up: int | None = None
    online: bool = False
    online_history: str | None = None

    summary = "Batch predictions: a model's answer for each row of its view's spine."

    def names(self) -> Sequence[str]:
        """``delay_predictions`` and ``delay_predictions_v1``."""
        return self.name, versioned(self.name, self.version)

    def declare(self, tree: ComponentTree) -> BatchPredictions:
        """The predictions."""
        return fti.batch_predictions(
            name=self.name,
            version=self.version,
            model=self._model(tree, self.answering)
            if isinstance(self.answering, str)
            else [self._model(tree, name) for name in self.answering],
            top=None if self.top is None else fti.TopK(**self.top),
            schema=self.python(self.row_schema, what="schema"),
            catch_up=self.catch_up,
            online=self.online,
            online_history=self.online_history,
            **self.options(),
        )

    def _model(self, tree: ComponentTree, name: str) -> Model:
        return self.look_up(tree, ModelComponent, name, Model, what=f"model of predictions {self.name!r}")
