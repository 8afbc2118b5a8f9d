"""The answers of batch predictions, whose features are joined again as the batch joined them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from fti_assets.core.manifest import ModelManifest, ViewRecord
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import spine_as_of, spine_times, with_spine_times
from fti_assets.inference.batch.predictions import Answer, BatchPredictions
from fti_assets.monitors.answers.answered import (
    ANSWER,
    ARM,
    BUILD,
    MATURE,
    PARTITION,
    Answered,
    stored_partitions,
    with_partitions,
    within_sql,
)
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.labels import complete_for, with_label
from fti_assets.training.datasets.rows import has_versions
from fti_assets.training.views.terms import Label


@dataclass(frozen=True, kw_only=True)
class BatchAnswers(Answered):
    """The answers of one model of batch predictions."""

    predictions: BatchPredictions
    answer: Answer

    @property
    def source(self) -> BatchPredictions:
        """What holds the answers."""
        return self.predictions

    @property
    def is_list(self) -> bool:
        """Whether the best items of each key are stored."""
        return self.predictions.top is not None

    @property
    def order(self) -> tuple[str, ...]:
        """As ``Answered`` has it."""
        keys, time = self.predictions.keys, self.predictions.event_time
        assert time is not None
        return (time, *keys)

    def stored(self, partitions: Sequence[Partition]) -> duckdb.DuckDBPyRelation:
        """The stored answers of partitions of the monitor, by the predictions' identity."""
        predictions, time = self.predictions, self.predictions.event_time
        assert time is not None
        keys = stored_partitions(self.lake, predictions, partitions, self.snapshot)
        rows = relation_name(self.lake.rows(predictions.table, snapshot=self.snapshot, partitions=keys))
        items = [
            *(f"answers.{quote(name)}" for name in predictions.identity),
            f"answers.{quote(self.answer.build)} AS {BUILD}",
            f"'' AS {ARM}",
            f"answers.{quote(self.answer.value)} AS {ANSWER}",
        ]
        return self.lake.connection.sql(with_partitions(rows, time, partitions, items))

    def joined(self, manifest: ModelManifest, partitions: Sequence[Partition]) -> str:
        """The answers with the features that a build's view joins to their spine rows, which are those of its own time.

        Answers whose spine row is no longer there are left out.
        """
        view = with_spine_times(manifest.view, self.predictions.spine)
        return self.to_table(
            assemble(self.lake, view, self.with_every_label(self._spine_rows(view, partitions)), snapshot=self.snapshot)
        )

    def labelled(self, partitions: Sequence[Partition]) -> str:
        """As ``Answered`` has it."""
        return self.to_table(
            self.with_every_label(self._spine_rows(_without_features(self.predictions.spine), partitions))
        )

    def beside_keys(self, label: Label) -> duckdb.DuckDBPyRelation:
        """As ``Answered`` has it: what the answers have not stands in their spine rows, whichever version of one."""
        predictions, spine = self.predictions, self.predictions.spine
        identity = list(map(quote, predictions.identity))
        answers = relation_name(self.lake.rows(predictions.table, snapshot=self.snapshot))
        own = [f"answers.{name}" for name in identity]
        beside = [quote(label.column.spine_keys.get(key, key)) for key in label.group.keys]
        missing = [name for name in dict.fromkeys(beside) if name not in identity]
        if not missing:
            return self.lake.connection.sql(f"SELECT DISTINCT {', '.join(own)} FROM {answers} answers")
        rows = relation_name(self.lake.rows(spine.table, snapshot=self.snapshot))
        listed = ", ".join([*own, *(f"spine.{name}" for name in missing)])
        return self.lake.connection.sql(
            f"SELECT DISTINCT {listed} FROM {answers} answers JOIN {rows} spine USING ({', '.join(identity)})"
        )

    def _spine_rows(self, view: ViewRecord, partitions: Sequence[Partition]) -> duckdb.DuckDBPyRelation:
        """The spine rows that were answered, with their answers."""
        connection = self.lake.connection
        assert view.prediction_time is not None
        versions = self.lake.rows(view.spine_table, snapshot=self.snapshot).filter(
            within_sql(view.prediction_time, partitions)
        )
        answers = relation_name(self.stored(partitions))
        same = " AND ".join(f"answers.{quote(name)} = spine.{quote(name)}" for name in self.predictions.identity)
        own = ", ".join(f"answers.{name}" for name in (PARTITION, BUILD, ARM, ANSWER))
        return connection.sql(
            f"SELECT spine.*, {own}, {self.mature_sql(f'spine.{quote(view.prediction_time)}')} AS {MATURE} "
            f"FROM {relation_name(spine_as_of(connection, versions, view))} spine JOIN {answers} answers ON {same}"
        )

    def with_one_label(
        self, rows: duckdb.DuckDBPyRelation, labels: duckdb.DuckDBPyRelation, label: Label
    ) -> duckdb.DuckDBPyRelation:
        """As ``Answered`` has it."""
        spine = self.predictions.spine
        is_own = label.group is spine and label.horizon is None and not has_versions(spine)
        complete = complete_for(self.lake, label, self.now, snapshot=self.snapshot)
        own = None if is_own else labels
        return with_label(self.lake.connection, rows, own, label, spine, self.now, complete=complete)


def batch_answers(lake: Lake, predictions: BatchPredictions, snapshot: int, now: datetime) -> Iterator[BatchAnswers]:
    """The answers of each model."""
    for answer in predictions.answers:
        yield BatchAnswers(
            lake=lake,
            model=answer.model,
            column=answer.value,
            prefix=f"{answer.model.name}." if predictions.by_model else "",
            snapshot=snapshot,
            now=now,
            predictions=predictions,
            answer=answer,
        )


def _without_features(spine: FeatureGroup) -> ViewRecord:
    """A view of a spine that has its rows and no feature, which needs no build."""
    return ViewRecord(
        name=spine.name,
        version=1,
        spine=spine.name,
        spine_version=spine.version,
        spine_keys=spine.keys,
        prediction_time=spine.event_time,
        request=(),
        joins=(),
        on_demand=(),
        features=(),
        spine_times=spine_times(spine),
    )
