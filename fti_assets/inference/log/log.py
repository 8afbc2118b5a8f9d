"""A prediction log: what one model was asked and answered, a row an answer, by prediction time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import dagster as dg

from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES, Task
from fti_assets.core.names import PREDICTIONS
from fti_assets.core.rollouts.rollout import MARK
from fti_assets.core.rules import Rule
from fti_assets.core.sql import literal
from fti_assets.core.types import SIDES
from fti_assets.features.groups.columns import Columns, table_column
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.inference.log.service_limits import ServiceLimits
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.models.model import Servable

REQUEST_ID, ROW, REQUEST, FEATURES, LATENCY = "request_id", "row", "request", "features", "latency"
PREDICTION_TIME = "prediction_time"
"""The prediction time of a log whose model's spine has no name for it."""
ANSWERED = f"NOT ({LATENCY} IS NULL AND contains({REQUEST_ID}, {literal(MARK)}))"
"""The SQL of the rows that somebody got: all but those of a shadow."""

NOT_IN_CLEAR = Rule(
    "redacted_by_servers", "What is redacted was never written in clear by who answered", blocking=False
)
NOT_DROPPED = Rule("nothing_dropped", "No answer was left out of the log by who answered", blocking=False)
NOT_OUTSIDE = Rule("nothing_outside", "Every line of the log can be read and belongs to a partition", blocking=False)
WITHIN_GOAL = Rule(
    "within_latency_goal", "99 of 100 requests were answered within the model's latency goal", blocking=False
)


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictionLog(TableDeclaration):
    """A declared prediction log. Make one with ``prediction_log``."""

    schema_name: ClassVar[str] = PREDICTIONS

    model: Servable
    redact: frozenset[str]
    limits: ServiceLimits | None = None
    to_sensor: Callable[[PredictionLog], dg.SensorDefinition] = field(repr=False)
    source: ClassVar[None] = None
    """What another system keeps; a log is the lake's."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What an answer is named by: the id of its request, and its place among the request's rows."""
        return (REQUEST_ID, ROW)

    @property
    def event_time(self) -> str:
        """The prediction time, under the spine's name for it."""
        return self.model.view.spine.event_time or PREDICTION_TIME

    @property
    def output(self) -> str:
        """The column of the answer, as prediction tables call it."""
        return OUTPUT_NAMES[self.model.task]

    @property
    def rests_on(self) -> list[Servable]:
        """Its model."""
        return [self.model]

    @cached_property
    def sensor(self) -> dg.SensorDefinition:
        """What takes its files in, for definitions that ``build_definitions`` does not make."""
        return self.to_sensor(self)


def rules_of(log: PredictionLog) -> tuple[Rule, ...]:
    """What a log's run says of who wrote it."""
    of_goal = [] if log.model.latency_goal is None else [WITHIN_GOAL]
    of_limits = [] if log.limits is None else log.limits.rules.values()
    return (NOT_IN_CLEAR, NOT_DROPPED, NOT_OUTSIDE, *of_goal, *of_limits)


def columns_of(log: PredictionLog) -> Columns:
    """The columns of a log's table, with the types that are known before the first run."""
    spine = log.model.view.spine
    types = spine.columns or {}
    answer = "MAP(VARCHAR, DOUBLE)" if log.model.task in BY_NAME else "number"
    columns = [
        table_column(REQUEST_ID, "text", "The request's id, by which fti why is asked", nullable=False),
        table_column(ROW, "integer", "The answer's place among those of its request, from 0", nullable=False),
        *(table_column(key, types.get(key), f"Key, of {spine.table_name}; null where redacted") for key in spine.keys),
        table_column(log.event_time, "timestamp", "Prediction time", nullable=False),
        table_column("answered_at", "timestamp", "When it was answered", nullable=False),
        table_column("build", "text", "The build that answered", nullable=False),
        table_column("arm", "text", "As what the build answered", nullable=False),
        table_column(log.output, answer, f"The answer of {log.model.name}"),
        table_column(REQUEST, "text", "The request as JSON, without what is redacted", nullable=False),
        table_column(FEATURES, "text", "What the model saw, as JSON, without what is redacted", nullable=False),
        table_column("ages", "text", "How many seconds old each group's row was, as JSON", nullable=False),
        table_column("missing", "VARCHAR[]", "Groups that brought no row, or a stale one", nullable=False),
        table_column("unknown", "VARCHAR[]", "Features with a category that was not learned", nullable=False),
        table_column("out_of_schema", "VARCHAR[]", "Fields that the spine's schema would refuse", nullable=False),
        table_column(LATENCY, "number", "How many seconds passed from the request to its answer; null of a shadow"),
    ]
    return {column.name: column for column in columns}


def types_of(log: PredictionLog, spine_types: dict[str, str]) -> dict[str, str]:
    """The DuckDB types of a log's columns, in their order.

    Args:
        log: the log.
        spine_types: those of the spine's keys that are known.
    """
    result = {}
    for name, column in columns_of(log).items():
        kind = column.type
        result[name] = spine_types.get(name) or (SIDES[kind].sql if kind in SIDES else kind)
    return {name: "VARCHAR" if kind == "unknown" else kind for name, kind in result.items()}


def own_columns(group: FeatureGroup, task: Task) -> list[str]:
    """The columns of the log of a task's answers that a spine has keys or a time for under the same name."""
    reserved_names = {
        REQUEST_ID,
        ROW,
        REQUEST,
        FEATURES,
        LATENCY,
        "answered_at",
        "build",
        "arm",
        "ages",
        "missing",
        "unknown",
        "out_of_schema",
    }
    reserved_names.add(OUTPUT_NAMES[task])
    return [name for name in (*group.keys, group.event_time) if name is not None and name.lower() in reserved_names]
