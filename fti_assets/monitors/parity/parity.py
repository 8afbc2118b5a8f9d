"""A parity: what compares past requests online and offline, and the table of what differs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from fti_assets.core.names import MONITORING
from fti_assets.core.rules import Rule
from fti_assets.features.groups.columns import Columns, table_column
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.models.model import Servable

ONLINE_IS_OFFLINE = Rule(
    "online_is_offline", "Online and offline give the same to past requests, but for rows that came late"
)
NO_DELAY_BREACHES = Rule("no_delay_breaches", "No row came later than it says it was available", blocking=False)
REPLAYED = Rule("requests_replayed", "Past requests could be replayed online", blocking=False)
RULES = (ONLINE_IS_OFFLINE, NO_DELAY_BREACHES, REPLAYED)


@dataclass(frozen=True, eq=False, kw_only=True)
class Parity(TableDeclaration):
    """A declared parity. Make one with ``parity``."""

    schema_name: ClassVar[str] = MONITORING

    of: PredictionLog | BatchPredictions
    sample: int
    lag: timedelta

    @property
    def models(self) -> tuple[Servable, ...]:
        """Whose answers are compared."""
        return (self.of.model,) if isinstance(self.of, PredictionLog) else self.of.models

    @property
    def rests_on(self) -> list[PredictionLog | BatchPredictions]:
        """What the requests are of; the groups stand behind its models."""
        return [self.of]


def columns_of(parity: Parity) -> Columns:
    """The columns of a parity's table."""
    is_partitioned = parity.partitions_def is not None
    columns = [
        table_column(
            "partition_start", "timestamp", "Start of the partition that is compared", nullable=not is_partitioned
        ),
        table_column("measured_at", "timestamp", "When it was compared", nullable=False),
        table_column("kind", "text", "compared, behind, not_compared, break or delay_breach", nullable=False),
        table_column(
            "path", "text", "logged: as the model saw it; replayed: as the online path says now", nullable=False
        ),
        table_column("number", "integer", "How many requests; 1 of a difference", nullable=False),
        table_column("reason", "text", "Why they were not compared, or why it differs"),
        table_column("model", "text", "The model that answered", nullable=False),
        table_column("build", "text", "The build that answered"),
        table_column("request_id", "text", "The request, or the row of the predictions"),
        table_column("row", "integer", "Its place among those of its request, from 0"),
        table_column("request", "text", "Its fields as JSON"),
        table_column("prediction_time", "timestamp", "As of when it was answered"),
        table_column("answered_at", "timestamp", "When it was answered"),
        table_column("feature", "text", "What differs; value for the answer"),
        table_column("feature_group", "text", "The group that brings it"),
        table_column("key", "text", "The key of the group's row, as JSON"),
        table_column("online", "text", "The online value, as JSON"),
        table_column("offline", "text", "The offline value at the lake's snapshot of then, as JSON"),
        table_column("online_time", "timestamp", "Event time of the row that the online value is of"),
        table_column("offline_time", "timestamp", "Event time of the row that the offline value is of"),
    ]
    return {column.name: column for column in columns}
