"""Models in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes
from fti_assets.components.construct import construct
from fti_assets.components.declaring import ComponentTree, DeclaringComponent, checked_function
from fti_assets.components.feature_view import FeatureViewComponent
from fti_assets.components.reference import last_name
from fti_assets.components.scaffold import ModelScaffolder
from fti_assets.core.manifest import Task
from fti_assets.core.names import versioned
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

    function: Annotated[Any, dg.Resolver.default(model_field_type=str)]
    dataset: str
    task: Task
    name: str | None = None
    version: int = 1
    encoders: Mapping[str, str | Mapping[str, Any]] | None = None
    evaluate: EvaluationAttributes | None = None
    gates: Sequence[str | Mapping[str, Any]] = ()
    gates_fail_run: bool = True
    promote: Literal["automatic", "by_hand"] = "automatic"
    catch_up: int | None = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(
            description="A model: trained on a view's dataset, exported to ONNX, judged by gates before it serves.",
            produces=["asset", "asset_check"],
        )

    def names(self) -> Sequence[str]:
        """``delay_net`` and ``delay_net_v1``."""
        given = self.function if isinstance(self.function, str) else getattr(self.function, "__name__", "")
        name = self.name or last_name(given)
        return name, versioned(name, self.version)

    def declare(self, tree: ComponentTree) -> Model:
        """The model."""
        name = self.names()[0]
        what = f"function of model {name!r}"
        function = checked_function(self.python(self.function, what=what), what=what, decorator="fti.model")
        dataset = self.named(
            tree, FeatureViewComponent, self.dataset, TrainingDataset, what=f"dataset of model {name!r}"
        )
        evaluate = self.evaluate
        return fti.model(
            name=name,
            version=self.version,
            dataset=dataset,
            task=self.task,
            encoders={
                feature: construct(
                    given, self._context, module="training.encoders.encoders", what=f"encoder of feature {feature!r}"
                )
                for feature, given in (self.encoders or {}).items()
            },
            evaluate=evaluate and fti.Evaluation(metrics=evaluate.metrics, slices=evaluate.slices),
            gates=[
                construct(gate, self._context, module="training.judging.gates", what=f"gate of model {name!r}")
                for gate in self.gates
            ],
            gates_fail_run=self.gates_fail_run,
            promote=self.promote,
            catch_up=self.catch_up,
            **self.options(),
        )(function)
