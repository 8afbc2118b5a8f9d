"""A monitor: what it watches, by which rules, and the columns of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import dagster as dg

from fti_assets.core.names import MONITORING
from fti_assets.core.rules import Rule
from fti_assets.features.groups.columns import Columns, table_column
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.layout import Layout
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.drift.drift import MISSING_ANSWERS, Drift
from fti_assets.monitoring.measurement import IDENTITY
from fti_assets.monitoring.quality.quality import Quality
from fti_assets.orchestration.declaration import Declaration
from fti_assets.training.judging.slices import slices_key
from fti_assets.training.models.model import Model, Servable
from fti_assets.training.views.terms import Label

START, MEASURED_AT = "partition_start", "measured_at"

ANSWERS_THERE = Rule("answers_there", "Every partition of answers that is measured was materialized", blocking=False)
MEASURED = Rule("everything_measured", "What every build saw could be told and compared", blocking=False)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Monitor(TimedTable):
    """A declared monitor. Make one with ``monitor``.

    Its table has a row for each figure of each partition; other groups take it as an ``fti.Table``.
    """

    schema_name: ClassVar[str] = MONITORING

    answers: BatchPredictions | PredictionLog
    drift: tuple[Drift, ...]
    weeks: int
    quality: tuple[Quality, ...] = ()
    estimate: bool = True

    def __repr__(self) -> str:
        return f"monitor {self.table_name}"

    @property
    def models(self) -> tuple[Servable, ...]:
        """The models whose answers it watches."""
        return self.answers.models if isinstance(self.answers, BatchPredictions) else (self.answers.model,)

    @property
    def rests_on(self) -> Sequence[Declaration]:
        """What it watches."""
        return [self.answers]

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of its models, each group's once."""
        labels = [one for model in self.models if isinstance(model, Model) for one in model.view.labels.values()]
        return tuple({label.group: label for label in sorted(labels, key=lambda one: one.age)}.values())

    @property
    def maturity(self) -> timedelta | None:
        """How long after its end the labels of a partition's rows may still come; None if no quality is measured."""
        return max(label.age for label in self.labels) if self.quality else None

    @property
    def calendar(self) -> dg.PartitionsDefinition[str]:
        """Its partitions."""
        assert self.partitions_def is not None
        return self.partitions_def

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What its checks say, beside the rules of its rows."""
        of_quality = [quality_rule_of(rule) for rule in self.quality if rule.is_judged]
        return (*map(rule_of, self.drift), *of_quality, ANSWERS_THERE, MEASURED)


def layout_of(monitor: Monitor) -> Layout:
    """What the monitor's table demands of its rows."""
    return Layout(
        what=monitor.table_name,
        not_null=(START, MEASURED_AT, *IDENTITY),
        unique=(START, *IDENTITY),
        partition_by=START,
    )


def _row(in_a_row: int) -> str:
    return "" if in_a_row == 1 else f" in {in_a_row} partitions in a row"


def rule_of(drift: Drift) -> Rule:
    """The check of a rule, which only warns."""
    if drift.statistic == MISSING_ANSWERS:
        text = f"At most {drift.at_most:.0%} of the usual number of answers is missing{_row(drift.in_a_row)}"
        return Rule(drift.name, f"{text}, where {drift.min_rows} or more are usual", blocking=False)
    columns = "every column" if drift.columns is None else ", ".join(drift.columns)
    reference = (drift.reference or "").replace("_", " ")
    text = f"{drift.statistic} of {columns} against {reference} is at most {drift.at_most:g}"
    text += f"{', or what is usual' if drift.unusual else ''}{_row(drift.in_a_row)}"
    return Rule(drift.name, f"{text}, of {drift.min_rows} rows or more", blocking=False)


def quality_rule_of(quality: Quality) -> Rule:
    """The check of a rule of quality, which only warns."""
    by = f", and of each slice by {' and by '.join(map(slices_key, quality.sliced_by))}" if quality.slices else ""
    text = f"Of the answers{by}: {quality.text}{_row(quality.in_a_row)}, of {quality.min_rows} rows or more"
    return Rule(quality.name, text, blocking=False)


def columns_of(monitor: Monitor) -> Columns:
    """The columns of a monitor's table."""
    columns = [
        table_column(START, "timestamp", "Event time: the start of the partition that is judged", nullable=False),
        table_column(MEASURED_AT, "timestamp", "Available-at: when this figure was first measured", nullable=False),
        table_column("subject", "text", "feature, label, prediction, quality or service", nullable=False),
        table_column(
            "column_name", "text", "The feature, label or output; empty for quality, or the model", nullable=False
        ),
        table_column("statistic", "text", "What is measured: psi, null_rate, roc_auc ...", nullable=False),
        table_column("reference", "text", "What with: training, weeks_before, calibration, or nothing", nullable=False),
        table_column("slice", "text", "The rows it is of, as origin=JFK; empty for all", nullable=False),
        table_column("build", "text", "The build it is of; empty over all", nullable=False),
        table_column("arm", "text", "The arm it is of; empty over all", nullable=False),
        table_column("value", "number", "The figure; null where there is none"),
        table_column("low", "number", "Where it lies: from"),
        table_column("high", "number", "to"),
        table_column("rows", "integer", "The rows that it rests on", nullable=False),
        table_column("threshold", "number", "The bound that it is judged by; null if none is declared"),
        table_column("estimated", "boolean", "Whether it is an estimate before mature labels", nullable=False),
        table_column("verdict", "text", "ok, warning, too_few_rows, no_reference; empty: not judged", nullable=False),
    ]
    return {column.name: column for column in columns}
