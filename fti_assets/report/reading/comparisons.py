"""What the parities and experiments have compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fti_assets.core.sql import quote, timestamp
from fti_assets.errors import FtiError
from fti_assets.experiments.experiment import Experiment
from fti_assets.monitors.parity.parity import Parity
from fti_assets.report.reading.figures import MOST_POINTS
from fti_assets.stores.lake.lake import Lake

_MOST_DIFFERENCES = 20


@dataclass(frozen=True)
class ParityDay:
    """A partition of a parity in numbers of requests, and of values that differ."""

    start: datetime
    compared: int
    not_compared: int
    behind: int
    breaks: int
    breaches: int


@dataclass(frozen=True)
class Difference:
    """A value that is not the same online and offline; the values are JSON."""

    kind: str
    path: str
    feature: str
    key: str
    online: str
    offline: str
    online_time: datetime | None
    offline_time: datetime | None
    prediction_time: datetime | None
    reason: str


@dataclass(frozen=True)
class ParityFigures:
    """What a parity's table says, the oldest partition first; ``problem`` is why it says nothing."""

    table: str
    of: str
    days: tuple[ParityDay, ...] = ()
    differences: tuple[Difference, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class ArmFigures:
    """What an experiment says of an arm."""

    arm: str
    build: str
    keys: int
    share: float | None
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    improvement: float | None
    improvement_low: float | None
    improvement_high: float | None
    verdict: str
    reason: str
    until: datetime | None


@dataclass(frozen=True)
class ExperimentFigures:
    """What an experiment's table says of each arm; ``figure`` is what is compared."""

    table: str
    figure: str
    arms: tuple[ArmFigures, ...] = ()
    problem: str = ""


def parity_of(lake: Lake, parity: Parity, since: datetime | None) -> ParityFigures:
    """What a parity has compared; of a table that is not there or cannot be read, why."""
    table, of = parity.table.full_name, parity.of.table_name
    if not lake.has(parity.table):
        return ParityFigures(table, of, problem=f"it is not materialized yet: materialize {parity.table_name}")
    try:
        rows = lake.rows(parity.table)
        if since is not None:
            rows = rows.filter(f"coalesce(partition_start, measured_at) >= {timestamp(since)}")
        return ParityFigures(table, of, _days(rows), _differences(rows), _reasons(rows))
    except FtiError as error:
        return ParityFigures(table, of, problem=str(error))


def _days(rows: Any) -> tuple[ParityDay, ...]:
    # A request is compared on two paths, of which one may be shut: what the longer one has is what was compared.
    by_path = rows.aggregate(
        "coalesce(partition_start, measured_at) AS start, model, path, kind, sum(number) AS number",
        "coalesce(partition_start, measured_at), model, path, kind",
    )
    of_model = by_path.aggregate("start, model, kind, max(number) AS most, sum(number) AS number", "start, model, kind")
    sums = ", ".join(
        f"coalesce(sum({what}) FILTER (kind = '{kind}'), 0)"
        for kind, what in (
            ("compared", "most"),
            ("not_compared", "most"),
            ("behind", "number"),
            ("break", "number"),
            ("delay_breach", "number"),
        )
    )
    days = of_model.aggregate(f"start, {sums}", "start").order("start DESC").limit(MOST_POINTS).fetchall()
    return tuple(ParityDay(start, *map(int, counts)) for start, *counts in reversed(days))


def _differences(rows: Any) -> tuple[Difference, ...]:
    names = "kind, path, feature, key, online, offline, online_time, offline_time, prediction_time, reason"
    some = rows.filter("kind IN ('break', 'delay_breach')").order(
        "kind = 'break' DESC, prediction_time DESC, feature, path"
    )
    return tuple(
        Difference(
            kind, path, feature or "", key or "", online or "", offline or "", first, other, request, reason or ""
        )
        for kind, path, feature, key, online, offline, first, other, request, reason in some.limit(_MOST_DIFFERENCES)
        .project(names)
        .fetchall()
    )


def _reasons(rows: Any) -> tuple[tuple[str, int], ...]:
    reasons = rows.filter("kind = 'not_compared'").aggregate(
        "path || ': ' || reason AS reason, sum(number) AS number", "path, reason"
    )
    return tuple(
        (str(reason), int(number)) for reason, number in reasons.order("number DESC, reason").limit(8).fetchall()
    )


def experiment_of(lake: Lake, experiment: Experiment) -> ExperimentFigures:
    """What an experiment has found; of a table that is not there or cannot be read, why."""
    table, figure = experiment.table.full_name, experiment.figure.name
    if not lake.has(experiment.table):
        problem = f"it has judged no rollout yet: materialize {experiment.table_name}"
        return ExperimentFigures(table, figure, problem=problem)
    names = (
        "arm", "build", "keys", "share", "mean", "mean_low", "mean_high", "improvement", "improvement_low", "improvement_high",
        "verdict", "reason", "until",
    )  # fmt: skip
    try:
        rows = (
            lake.rows(experiment.table)
            .order("since DESC, arm")
            .limit(12)
            .project(", ".join(map(quote, names)))
            .fetchall()
        )
        return ExperimentFigures(table, figure, tuple(ArmFigures(*row) for row in rows))
    except FtiError as error:
        return ExperimentFigures(table, figure, problem=str(error))
