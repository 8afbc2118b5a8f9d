"""Batch predictions: the answers of models for every spine row of a partition, stored with the builds that gave them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES
from fti_assets.core.names import PREDICTIONS
from fti_assets.core.times import Times
from fti_assets.engines.choice import Engine
from fti_assets.features.groups.columns import Columns, declared_columns, table_column
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY, FeatureGroup
from fti_assets.features.rows.layout import Layout
from fti_assets.features.validation.schema import column_types
from fti_assets.inference.batch.top import SCORE, TopK
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.stores.sinks.sink import Sink
from fti_assets.training.datasets.dataset import identity_columns
from fti_assets.training.models.model import Servable

if TYPE_CHECKING:
    import pandera.pandas as pa


BUILD, PREDICTED_AT, TOP = "build", "predicted_at", "top"


class PredictionConfig(dg.Config):
    """How a run of batch predictions treats what is stored.

    Args:
        predict_again: answer stored rows again too; by default their answers stay, and only absent rows are predicted.
    """

    predict_again: bool = False


@dataclass(frozen=True)
class Answer:
    """What one model answers in a row: the columns of its answer, or of its list, and of the build that gave it."""

    model: Servable
    value: str
    build: str


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchPredictions(TableDeclaration):
    """Declared batch predictions. Make them with ``batch_predictions``."""

    schema_name: ClassVar[str] = PREDICTIONS

    models: tuple[Servable, ...]
    by_model: bool
    """Whether the columns of an answer are called by its model, as they are when a list of models was declared."""
    top: TopK | None = None
    schema: pa.DataFrameSchema | None
    catch_up: int
    sinks: tuple[Sink, ...] = ()
    online: bool = False
    online_history: timedelta = DEFAULT_ONLINE_HISTORY
    engine: Engine | None = None
    """What joins and asks the models; None for what the stores say."""
    source: ClassVar[None] = None
    """What another system keeps; answers are the lake's."""

    @property
    def spine(self) -> FeatureGroup:
        """The group whose rows are answered, which all views share."""
        return self.models[0].view.spine

    @property
    def feature_groups(self) -> list[FeatureGroup]:
        """The groups that the features of all models come from, without the spine."""
        return list(dict.fromkeys(group for model in self.models for group in model.feature_groups))

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What stands in a row for each model."""
        answers = []
        for model in self.models:
            value = OUTPUT_NAMES[model.task] if self.top is None else TOP
            before = f"{model.name}_" if self.by_model else ""
            answers.append(Answer(model, f"{before}{value}", f"{before}{BUILD}"))
        return tuple(answers)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row: the spine's keys and the prediction time, what the models answer, when."""
        answers = [name for answer in self.answers for name in (answer.value, answer.build)]
        return (*self.identity, *answers, PREDICTED_AT)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that name a row: what an answer is looked up by, and the prediction time."""
        return (*self.keys, *([] if self.event_time is None else [self.event_time]))

    @property
    def keys(self) -> tuple[str, ...]:
        """What an answer is looked up by online: the spine's keys, of lists those that a list belongs to."""
        return self.spine.keys if self.top is None else tuple(self.top.by)

    @property
    def items(self) -> tuple[str, ...]:
        """The spine's keys that name an item of a list; none without lists."""
        return tuple(key for key in self.spine.keys if key not in self.keys)

    @property
    def as_json(self) -> tuple[str, ...]:
        """The columns that the online store holds as JSON text: the lists, and answers of several numbers by name."""
        return tuple(one.value for one in self.answers if self.top is not None or one.model.task in BY_NAME)

    @property
    def windows(self) -> None:
        """An answer is a row of its own, no window."""

    @property
    def event_time(self) -> str | None:
        """The prediction time, the event time of an answer; None if the spine has none."""
        return self.spine.event_time

    @property
    def times(self) -> Times:
        """An answer is true and can be used from its prediction time on."""
        return Times(self.event_time)

    @property
    def rests_on(self) -> list[Servable]:
        """Its models."""
        return list(self.models)


def layout_of(predictions: BatchPredictions) -> Layout:
    """What the predictions' table demands of its rows."""
    spine = predictions.spine
    return Layout(
        what=predictions.table_name,
        not_null=predictions.identity,
        unique=(),
        partition_by=spine.event_time if predictions.partitions_def is not None else None,
        schema=predictions.schema,
        types={} if predictions.schema is None else column_types(predictions.schema),
    )


def columns_of(predictions: BatchPredictions) -> Columns:
    """The columns of the predictions' table."""
    columns = [column for column in identity_columns(predictions.spine) if column.name in predictions.identity]
    for answer in predictions.answers:
        name = answer.model.name
        of = f" of {name}" if predictions.by_model else ""
        columns += [
            table_column(answer.value, *_kind_of(predictions, answer), nullable=False),
            table_column(answer.build, "text", f"The build{of} that answered", nullable=False),
        ]
    columns.append(table_column(PREDICTED_AT, "timestamp", "When it answered", nullable=False))
    return declared_columns(columns, predictions.schema)


def _kind_of(predictions: BatchPredictions, answer: Answer) -> tuple[str, str]:
    """The type of a model's answer, and what it is."""
    name = answer.model.name
    if predictions.top is not None:
        items = ", ".join((*predictions.items, SCORE))
        of = "" if predictions.top.of is None else f" for {predictions.top.of}"
        return f"list of ({items})", f"The {predictions.top.k} best by the answers of {name}{of}, the best first"
    return "MAP(VARCHAR, DOUBLE)" if answer.model.task in BY_NAME else "number", f"The answer of {name}"
