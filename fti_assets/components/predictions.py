"""Batch predictions in YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes
from fti_assets.components.declaring import ComponentTree, DeclaringComponent
from fti_assets.components.model import ModelComponent
from fti_assets.components.scaffold import PredictionsScaffolder
from fti_assets.core.names import versioned
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.training.models.model import Model


@dg.scaffold_with(PredictionsScaffolder)
class PredictionsComponent(AssetAttributes, DeclaringComponent):
    """Batch predictions: an answer for each spine row. The attributes are those of ``fti.batch_predictions``.

    Args:
        name: the name of the predictions.
        model: whose answers they are, by its name.
        schema: the path of a Pandera model of the rows.
    """

    name: str
    answering: str = Field(alias="model")
    version: int = 1
    row_schema: Annotated[Any, dg.Resolver.default(model_field_type=str | None)] = Field(default=None, alias="schema")
    catch_up: int | None = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` says."""
        return dg.ComponentTypeSpec(
            description="Batch predictions: a model's answer for each row of its view's spine.",
            produces=["asset", "asset_check"],
        )

    def names(self) -> Sequence[str]:
        """``delay_predictions`` and ``delay_predictions_v1``."""
        return self.name, versioned(self.name, self.version)

    def declare(self, tree: ComponentTree) -> BatchPredictions:
        """The predictions."""
        return fti.batch_predictions(
            name=self.name,
            version=self.version,
            model=self.named(tree, ModelComponent, self.answering, Model, what=f"model of predictions {self.name!r}"),
            schema=self.python(self.row_schema, what="schema"),
            catch_up=self.catch_up,
            **self.options(),
        )
