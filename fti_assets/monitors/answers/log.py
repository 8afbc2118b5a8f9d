"""The answers of a prediction log, which has what the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.inference.log.fields import fields_of_label, json_field
from fti_assets.inference.log.log import ANSWERED, FEATURES, PredictionLog
from fti_assets.monitors.answers.answered import (
    ANSWER,
    ARM,
    BUILD,
    MATURE,
    Answered,
    stored_partitions,
    with_partitions,
)
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.labels import LABEL, answers_with_label, complete_for
from fti_assets.training.views.terms import Label


@dataclass(frozen=True, kw_only=True)
class LogAnswers(Answered):
    """The answers of a prediction log; those of a shadow, which nobody got, are left out."""

    log: PredictionLog

    @property
    def source(self) -> PredictionLog:
        """What holds the answers."""
        return self.log

    @property
    def redacted(self) -> frozenset[str]:
        """The features that are kept out of the log."""
        return self.log.redact

    @property
    def order(self) -> tuple[str, ...]:
        """As ``Answered`` has it."""
        return (self.log.event_time, *self.log.keys)

    def stored(self, partitions: Sequence[Partition]) -> duckdb.DuckDBPyRelation:
        """The stored answers of partitions of the monitor, with all columns of the log."""
        log = self.log
        keys = stored_partitions(self.lake, log, partitions, self.snapshot)
        rows = self.lake.rows(log.table, snapshot=self.snapshot, partitions=keys)
        rows = rows.filter(ANSWERED)
        items = [
            "answers.*",
            f"answers.build AS {BUILD}",
            f"answers.arm AS {ARM}",
            f"answers.{quote(log.output)} AS {ANSWER}",
        ]
        return self.lake.connection.sql(with_partitions(relation_name(rows), log.event_time, partitions, items))

    def joined(self, manifest: ModelManifest, partitions: Sequence[Partition]) -> str:
        """The answers with the features that the log says the model saw, those of the build's view."""
        features = [one for one in manifest.view.features if one.name not in self.redacted]
        answers = self.stored(partitions)
        # The log's own columns, such as a key, may be called as a feature.
        own = [name for name in answers.columns if name not in {one.name for one in features}]
        labels = dict.fromkeys([*self.label_columns.values(), LABEL])
        items = [*map(quote, own), MATURE, *labels, *map(_feature_sql, features)]
        return self.to_table(self.lake.connection.sql(f"SELECT {', '.join(items)} FROM {self._labelled(answers)}"))

    def labelled(self, partitions: Sequence[Partition]) -> str:
        """As ``Answered`` has it."""
        return self.to_table(self.lake.connection.sql(f"FROM {self._labelled(self.stored(partitions))}"))

    def beside_keys(self, label: Label) -> duckdb.DuckDBPyRelation:
        """As ``Answered`` has it."""
        rows = self.lake.rows(self.log.table, snapshot=self.snapshot).filter(ANSWERED)
        return self.lake.connection.sql(
            f"SELECT *{fields_of_label(self.log, label, self.lake)} FROM {relation_name(rows)}"
        )

    def _labelled(self, answers: duckdb.DuckDBPyRelation) -> str:
        """The name of the answers with their label."""
        mature = self.mature_sql(quote(self.log.event_time))
        rows = self.lake.connection.sql(f"SELECT *, {mature} AS {MATURE} FROM {relation_name(answers)}")
        return relation_name(self.with_every_label(rows))

    def with_one_label(
        self, rows: duckdb.DuckDBPyRelation, labels: duckdb.DuckDBPyRelation, label: Label
    ) -> duckdb.DuckDBPyRelation:
        """As ``Answered`` has it."""
        log, connection = self.log, self.lake.connection
        fields = fields_of_label(log, label, self.lake)
        with_fields = connection.sql(f"SELECT *{fields} FROM {relation_name(rows)}")
        spine, time = log.model.view.spine, log.event_time
        complete = complete_for(self.lake, label, self.now, snapshot=self.snapshot)
        outcomes = answers_with_label(
            connection, with_fields, labels, label, spine, time=time, cutoff=self.now, complete=complete
        )
        listed = ", ".join([*map(quote, rows.columns), LABEL])
        return connection.sql(f"SELECT {listed} FROM {relation_name(outcomes)}")


def log_answers(lake: Lake, log: PredictionLog, snapshot: int, now: datetime) -> LogAnswers:
    """The answers of a log."""
    return LogAnswers(lake=lake, model=log.model, column=log.output, prefix="", snapshot=snapshot, now=now, log=log)


_CASTS = {
    "number": "DOUBLE",
    "integer": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "text": "VARCHAR",
    "vector": "FLOAT[]",
}


def _feature_sql(column: Column) -> str:
    """A feature as the log's JSON has it; what cannot be read as its type is no value."""
    return f"TRY_CAST({json_field(FEATURES, column.name)} AS {_CASTS[column.type]}) AS {quote(column.name)}"
