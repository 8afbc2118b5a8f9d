"""Batch predictions: a model's answers for every spine row of a partition, stored with the build that gave them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from fti_assets.core.names import PREDICTIONS
from fti_assets.core.times import Times
from fti_assets.features.groups.columns import Columns, declared_columns, table_column
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY
from fti_assets.features.rows.layout import Layout
from fti_assets.features.validation.schema import column_types
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.datasets.dataset import identity_columns
from fti_assets.training.judging.evaluation import OUTPUT_NAMES
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
    online: bool = False
    online_history: timedelta = DEFAULT_ONLINE_HISTORY
    source: ClassVar[None] = None
    """What another system keeps; answers are the lake's."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What an answer is looked up by online: the spine's keys."""
        return self.model.view.spine.keys

    @property
    def event_time(self) -> str | None:
        """The prediction time, the event time of an answer; None if the spine has none."""
        return self.model.view.spine.event_time

    @property
    def times(self) -> Times:
        """An answer is true and can be used from its prediction time on."""
        return Times(self.event_time)

    @property
    def rests_on(self) -> list[Model]:
        """Its model."""
        return [self.model]


BUILD, PREDICTED_AT = "build", "predicted_at"


def layout_of(predictions: BatchPredictions) -> Layout:
    """What the predictions' table demands of its rows."""
    spine = predictions.model.view.spine
    return Layout(
        what=predictions.table_name,
        not_null=predictions.model.view.identity,
        unique=(),
        partition_by=spine.event_time if predictions.partitions_def is not None else None,
        schema=predictions.schema,
        types={} if predictions.schema is None else column_types(predictions.schema),
    )


def columns_of(predictions: BatchPredictions) -> Columns:
    """The columns of the predictions' table."""
    model = predictions.model
    kind = "MAP(VARCHAR, DOUBLE)" if model.task == "multiclass" else "number"
    columns = [
        *identity_columns(model.view.spine),
        table_column(OUTPUT_NAMES[model.task], kind, f"The answer of {model.name}", nullable=False),
        table_column(BUILD, "text", "The build that answered", nullable=False),
        table_column(PREDICTED_AT, "timestamp", "When it answered", nullable=False),
    ]
    return declared_columns(columns, predictions.schema)
