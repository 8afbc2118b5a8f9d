"""The logged answers of a rollout's arms, with their labels, as they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.rollouts.rollout import MARK
from fti_assets.core.sql import literal, quote, timestamp
from fti_assets.errors import DataError
from fti_assets.experiments.experiment import Experiment
from fti_assets.experiments.judged import OngoingRollout
from fti_assets.inference.log.fields import fields_of_label, json_field
from fti_assets.inference.log.log import REQUEST, REQUEST_ID, PredictionLog
from fti_assets.monitoring.experiments.figures import OUTCOME, figure_sql
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.labels import LABEL, answers_with_label, complete_for

_UNIT, _PAIR = "__fti_unit", "__fti_pair"


@dataclass(frozen=True)
class ArmAnswers:
    """Answers of the arms.

    Args:
        rows: the quoted name of a relation with ``unit``, ``arm``, ``at``, ``figure`` and ``pair``.
        of_other_builds: how many answers were left out, since another build gave them than the rollout says: of servers that had not
            heard of it yet.
    """

    rows: str
    of_other_builds: int


def answers_of(experiment: Experiment, lake: Lake, ongoing: OngoingRollout, now: datetime, snapshot: int) -> ArmAnswers:
    """The answers since the rollout began that are as old as a label's maturity, each with its figure.

    Raises:
        DataError: the figure does not suit the rollout, or the log does not tell the keys.
        NotMaterializedError: the log or the label's group is not there.
    """
    _check(experiment, ongoing)
    log, view, connection = experiment.log, experiment.model.view, lake.connection
    label, time = view.only_label, quote(log.event_time)
    last = now - label.age
    assert log.partitions_def is not None
    ledger = lake.ledger(log.table, snapshot=snapshot)
    partitions = [one.key for one in partitions_between(log.partitions_def, ongoing.since, now) if one.key in ledger]
    log_rows = lake.rows(log.table, snapshot=snapshot, partitions=partitions)
    period = relation_name(log_rows.filter(f"{time} >= {timestamp(ongoing.since)} AND {time} <= {timestamp(last)}"))
    builds = " ".join(f"WHEN {literal(arm)} THEN {literal(build)}" for arm, build in ongoing.builds.items())
    of_arm = f"coalesce(build = (CASE arm {builds} END), false)"
    [(of_other_arms,)] = connection.execute(f"SELECT count(*) FILTER (NOT {of_arm}) FROM {period}").fetchall()
    answers = connection.sql(
        f"SELECT *{fields_of_label(log, label, lake)}, {_unit(log, ongoing)} AS {_UNIT}, {_pair(log, ongoing)} AS {_PAIR} "
        f"FROM {period} WHERE {of_arm}"
    )
    labels = lake.rows(label.group.table, snapshot=snapshot)
    complete = complete_for(lake, label, now, snapshot=snapshot)
    outcomes = answers_with_label(
        connection, answers, labels, label, view.spine, time=log.event_time, cutoff=now, complete=complete
    )
    kind = str(outcomes.types[outcomes.columns.index(LABEL)])
    figure = figure_sql(experiment.figure.name, experiment.model.task, log.output, LABEL, kind)
    rows = connection.sql(
        f"SELECT {_UNIT} AS unit, arm, {time} AS at, {figure} AS figure, {_together([_PAIR, _UNIT])} AS pair FROM {relation_name(outcomes)}"
    )
    return ArmAnswers(relation_name(rows), int(of_other_arms))


def _check(experiment: Experiment, ongoing: OngoingRollout) -> None:
    kind, figure, task = ongoing.rollout.kind, experiment.figure, experiment.model.task
    if kind == "shadow" and figure.name == OUTCOME:
        raise DataError(
            f"{experiment.table_name} compares outcomes, which a shadow cannot change: compare a metric, or start the rollout as 'ab'"
        )
    if kind == "bandit" and task not in figure.bounded_for:
        raise DataError(
            f"{experiment.table_name} compares {figure.name}, by which no bandit can go: it needs a figure between 0 and 1 of each "
            "answer, such as 'outcome', 'accuracy' or 'brier' of a binary model"
        )
    if secret_keys := [name for name in ongoing.rollout.key if name in experiment.log.redact]:
        raise DataError(
            f"the rollout of {experiment.model.name!r} goes by {secret_keys[0]!r}, which {experiment.log.table_name} redacts: its keys "
            "cannot be told. Leave it out of redact, or start the rollout with another key"
        )


def _unit(log: PredictionLog, ongoing: OngoingRollout) -> str:
    """The SQL of a request's key, by which its arm was told."""
    keys = log.model.view.spine.keys
    return _together([quote(name) if name in keys else json_field(REQUEST, name) for name in ongoing.rollout.key])


def _pair(log: PredictionLog, ongoing: OngoingRollout) -> str:
    """The SQL of what a champion's answer and its shadow's have in common: the request's id, and the spine's keys."""
    [*_, arm] = ongoing.builds
    mark = f"{MARK}{arm}"
    of_request = f"CASE WHEN arm = {literal(arm)} THEN left({REQUEST_ID}, -{len(mark)}) ELSE {REQUEST_ID} END"
    return _together([of_request, *map(quote, log.model.view.spine.keys)])


def _together(values: Sequence[str]) -> str:
    """The SQL of several values as one; a table holds no struct without names."""
    return f"struct_pack({', '.join(f'v{place} := {value}' for place, value in enumerate(values))})"
