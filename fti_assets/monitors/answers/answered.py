"""What was answered in some partitions: each row's features as its build saw them, its answer, and its label once there is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.orchestration.partitions import is_timed, partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.checks.rows import VISIBLE_LABEL
from fti_assets.training.datasets.labels import LABEL, label_columns
from fti_assets.training.models.model import Model, Servable
from fti_assets.training.views.terms import Label

PARTITION, BUILD, ARM, ANSWER, MATURE = "_fti_monitored", "_fti_build", "_fti_arm", "_fti_answer", "_fti_mature"
"""The columns of a row's partition of the monitor, of the build and the arm that answered, of its answer, and of whether it is so old
that its label counts; ``LABEL`` is the label that was known when it was measured, of young rows too."""


@dataclass(frozen=True, kw_only=True)
class Answered(ABC):
    """The answers of one model.

    Args:
        lake: the open lake.
        model: whose answers they are.
        column: the answer's column.
        prefix: what stands before the names of the model's features and label, where several models answer in one row.
        snapshot: of the lake.
        now: as of when labels are known.
    """

    lake: Lake
    model: Servable
    column: str
    prefix: str
    snapshot: int
    now: datetime

    @abstractmethod
    def stored(self, partitions: Sequence[Partition]) -> duckdb.DuckDBPyRelation:
        """The stored answers of partitions of the monitor, with ``PARTITION``, ``BUILD``, ``ARM`` and ``ANSWER``."""

    @abstractmethod
    def joined(self, manifest: ModelManifest, partitions: Sequence[Partition]) -> str:
        """The quoted name of a temporary table with the stored answers, what a build sees of each, ``LABEL`` and ``MATURE``.

        Raises:
            FtiError: a group that the build needs is not there, or an on-demand function is another one by now.
        """

    @abstractmethod
    def labelled(self, partitions: Sequence[Partition]) -> str:
        """The same without what builds see: the answers with what stands beside them, the spine's columns or the log's."""

    @abstractmethod
    def beside_keys(self, label: Label) -> duckdb.DuckDBPyRelation:
        """All stored answers by their prediction time, lazily, with the columns that a label is joined by."""

    @property
    @abstractmethod
    def source(self) -> BatchPredictions | PredictionLog:
        """What holds the answers."""

    @property
    def redacted(self) -> frozenset[str]:
        """The features that nobody may see."""
        return frozenset()

    @property
    def is_list(self) -> bool:
        """Whether an answer is a list of items, of which nothing is compared."""
        return False

    @property
    @abstractmethod
    def order(self) -> tuple[str, ...]:
        """The columns that rows are ordered by, the prediction time first, as datasets have them; they tell rows apart."""

    @property
    def time(self) -> str:
        """The column of the prediction time."""
        return self.order[0]

    @property
    def query(self) -> tuple[str, ...]:
        """The columns that name the list of a row, of a ranking model."""
        return self.model.dataset.query if isinstance(self.model, Model) and self.model.task == "ranking" else ()

    @property
    def drawn_by(self) -> str | None:
        """The column whose values are drawn with all their rows, for intervals; None if each row is drawn by itself."""
        return self.model.evaluate.cluster if isinstance(self.model, Model) else None

    @property
    def all_labels(self) -> dict[str, Label]:
        """The labels by name; none of a composite."""
        return self.model.view.labels if isinstance(self.model, Model) else {}

    def rows_of(self, label: Label) -> duckdb.DuckDBPyRelation | None:
        """The rows of a label's group, None while there are none."""
        is_stored = self.lake.has(label.group.table)
        return self.lake.rows(label.group.table, snapshot=self.snapshot) if is_stored else None

    @abstractmethod
    def with_one_label(
        self, rows: duckdb.DuckDBPyRelation, labels: duckdb.DuckDBPyRelation, label: Label
    ) -> duckdb.DuckDBPyRelation:
        """Rows with ``LABEL``, by the rule of the rows that a model learns from, as of now."""

    def with_every_label(self, rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Rows with each label under its name in ``label_columns``, and with ``LABEL``, which is null where there are several."""
        columns = self.label_columns
        for name, label in self.all_labels.items():
            labels = self.rows_of(label)
            rows = self.without_label(rows) if labels is None else self.with_one_label(rows, labels, label)
            if columns[name] != LABEL:
                own = [one for one in rows.columns if one not in (LABEL, VISIBLE_LABEL)]
                listed = ", ".join([*map(quote, own), f"{LABEL} AS {columns[name]}"])
                rows = self.lake.connection.sql(f"SELECT {listed} FROM {relation_name(rows)}")
        return rows if LABEL in rows.columns else self.without_label(rows)

    @property
    def label_columns(self) -> dict[str, str]:
        """The column of each label, by the label's name; none of a composite."""
        return label_columns(self.all_labels)

    def counts(self, partitions: Sequence[Partition]) -> dict[str, dict[str, int]]:
        """How many rows each build answered, by the partition's key."""
        counts: dict[str, dict[str, int]] = {}
        if not partitions:
            return counts
        rows = relation_name(self.stored(partitions))
        query = f"SELECT {PARTITION}, {BUILD}, count(*) FROM {rows} GROUP BY 1, 2 ORDER BY 1, 2"
        for partition, build, count in self.lake.connection.execute(query).fetchall():
            counts.setdefault(partition, {})[build] = count
        return counts

    def totals(self, partitions: Sequence[Partition], counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """How many answers there are by the partition's key, of those that were answered: none as well, if they are stored.

        Args:
            partitions: of the monitor.
            counts: what ``counts`` gave of them.
        """
        totals = {key: sum(of_builds.values()) for key, of_builds in counts.items()}
        source = self.source
        if is_timed(source.partitions_def):
            ledger = self.lake.ledger(source.table, snapshot=self.snapshot)
            stored = [one.key for one in partitions if any(key in ledger for key in answer_partitions(source, [one]))]
        else:  # those since the first answer
            starts = [one.start for one in partitions if one.key in totals and one.start is not None]
            stored = [one.key for one in partitions if one.start is not None and starts and one.start >= min(starts)]
        return dict.fromkeys(stored, 0) | totals

    def to_table(self, rows: duckdb.DuckDBPyRelation) -> str:
        """A temporary table of some rows, by its quoted name."""
        table = quote("temp", temporary_name("answered"))
        self.lake.connection.execute(f"CREATE TEMP TABLE {table} AS FROM {relation_name(rows)}")
        return table

    def mature_sql(self, time: str) -> str:
        """The SQL of whether a row is as old as the label's maturity."""
        if not isinstance(self.model, Model):
            return "false"
        return f"{time} <= {timestamp(self.now - self.model.view.maturity)}"

    def without_label(self, rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Rows whose label has no table yet, or no meaning."""
        return rows.project(f"*, NULL::DOUBLE AS {LABEL}")


def with_partitions(rows: str, time: str, partitions: Sequence[Partition], items: Sequence[str]) -> str:
    """The SQL of rows with the partition of the monitor that their time lies in; others are left out."""
    spans = ", ".join(
        f"({literal(one.key)}, {timestamp(one.start)}, {timestamp(one.end)})"
        for one in partitions
        if one.start is not None and one.end is not None
    )
    column = f"answers.{quote(time)}"
    return (
        f"SELECT spans.key AS {PARTITION}, {', '.join(items)} FROM {rows} answers "
        f"ASOF JOIN (FROM (VALUES {spans}) spans(key, since, until)) spans ON {column} >= spans.since WHERE {column} < spans.until"
    )


def answer_partitions(answers: BatchPredictions | PredictionLog, partitions: Sequence[Partition]) -> list[str]:
    """The partitions of answers that overlap some of a monitor's; none if they have none in time."""
    if not is_timed(answers.partitions_def):
        return []
    keys = [
        one.key for start, end in spans(partitions) for one in partitions_between(answers.partitions_def, start, end)
    ]
    return list(dict.fromkeys(keys))


def stored_partitions(
    lake: Lake, answers: BatchPredictions | PredictionLog, partitions: Sequence[Partition], snapshot: int
) -> list[str] | None:
    """Those of them that are stored; None is all of a table without partitions in time."""
    if not is_timed(answers.partitions_def):
        return None
    ledger = lake.ledger(answers.table, snapshot=snapshot)
    return [key for key in answer_partitions(answers, partitions) if key in ledger]


def missing_answers(
    lake: Lake, answers: BatchPredictions | PredictionLog, partitions: Sequence[Partition], snapshot: int
) -> list[str]:
    """Those of them that are not stored."""
    ledger = lake.ledger(answers.table, snapshot=snapshot)
    return [f"{answers.table_name} {key}" for key in answer_partitions(answers, partitions) if key not in ledger]


def spans(partitions: Sequence[Partition]) -> Iterator[tuple[datetime, datetime]]:
    """Adjoining partitions as spans, in the order of time."""
    ends = sorted((one.start, one.end) for one in partitions if one.start is not None and one.end is not None)
    while ends:
        start, end = ends.pop(0)
        while ends and ends[0][0] <= end:
            end = max(end, ends.pop(0)[1])
        yield start, end


def within_sql(time: str, partitions: Sequence[Partition]) -> str:
    """The SQL of whether a time lies in one of some partitions."""
    parts = [
        f"{quote(time)} >= {timestamp(start)} AND {quote(time)} < {timestamp(end)}" for start, end in spans(partitions)
    ]
    return f"({' OR '.join(parts)})" if parts else "false"
