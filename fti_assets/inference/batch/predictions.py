"""Batch predictions: a model's answers for every spine row of a partition, stored with the build that gave them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from fti_assets.core.names import PREDICTIONS
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.models.model import Model

if TYPE_CHECKING:
    import pandera.pandas as pa


class PredictionConfig(dg.Config):
    """How a run of batch predictions treats what is stored.

    Args:
        predict_again: answer stored rows anew too; by default their answers stay, and only absent rows are predicted.
    """

    predict_again: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchPredictions(TableDeclaration):
    """Declared batch predictions. Make them with ``batch_predictions``."""

    schema_name: ClassVar[str] = PREDICTIONS

    model: Model
    schema: pa.DataFrameSchema | None
    catch_up: int

    @property
    def rests_on(self) -> list[Model]:
        """Its model."""
        return [self.model]
