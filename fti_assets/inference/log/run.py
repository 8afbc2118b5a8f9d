"""What the step of a prediction log does: take in the files that wait, and say what its writers did not do well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from fti_assets.core.names import PARTITION
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote
from fti_assets.errors import count_of, list_some
from fti_assets.features.groups.columns import stored_schema
from fti_assets.inference.log.log import (
    LATENCY,
    NOT_DROPPED,
    NOT_IN_CLEAR,
    NOT_OUTSIDE,
    REQUEST_ID,
    WITHIN_GOAL,
    PredictionLog,
    columns_of,
)
from fti_assets.inference.log.service import limit_verdicts, services_of
from fti_assets.inference.log.take_in import Intake, take_in
from fti_assets.inference.log.waiting import OUTSIDE, outside_lines
from fti_assets.orchestration.checks import check_result, preview
from fti_assets.orchestration.materialization import report_commit
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake


def files_folder(log: PredictionLog, stores: Stores) -> Path:
    """Where servers and apps write the files of a log's model."""
    return stores.log_folder() / log.model.name


def run_prediction_log(log: PredictionLog, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Take in the lines that wait for the partitions that are run."""
    folder = files_folder(log, stores)
    keys = [partition.key for partition in running_partitions(context)]
    with stores.offline_store().connect() as lake:
        asset = context.assets_def.key.to_user_string()
        intake = take_in(log, lake, folder, keys, asset=asset, run_id=context.run.run_id)
        services = services_of(lake.connection, f"SELECT * FROM {quote(intake.table)}", quote(PARTITION), intake.usage)
        verdicts = [
            *_verdicts(log, intake, folder),
            *_latency_verdict(log, lake, intake.table),
            *limit_verdicts(log.limits, services, log.model.name),
        ]
        yield from (check_result(log.key, verdict) for verdict in verdicts)
        metadata = {
            "preview": preview(lake.connection.table(quote(intake.table))),
            "new_answers": intake.answers,
            "files": len(intake.files),
            **stored_schema(columns_of(log), intake.commit.types),
        }
        by_partition = {key: service.metadata for key, service in services.items()}
        yield from report_commit(context, intake.commit, metadata, by_partition=by_partition)


def _latency_verdict(log: PredictionLog, lake: Lake, table: str) -> list[Verdict]:
    """Whether the requests of the partitions that are run were answered within the model's goal, if it has one.

    The rows of a request were answered together. At most one of 100 may take longer, since some always meet a restart or a new champion.
    """
    goal = log.model.latency_goal
    if goal is None:
        return []
    seconds = goal.total_seconds()
    of_requests = f"SELECT max({LATENCY}) AS {LATENCY} FROM {quote(table)} WHERE {LATENCY} IS NOT NULL GROUP BY {REQUEST_ID}, answered_at"
    [(requests, slow, median, high)] = lake.connection.execute(
        f"SELECT count(*), count(*) FILTER ({LATENCY} > {seconds!r}), quantile_disc({LATENCY}, 0.5), quantile_disc({LATENCY}, 0.99) "
        f"FROM ({of_requests})"
    ).fetchall()
    is_broken = slow * 100 > requests
    facts = {"requests": requests, "slow_requests": slow}
    if requests:
        facts |= {"p50_ms": round(median * 1000, 3), "p99_ms": round(high * 1000, 3)}
    problem = (
        f"{slow} of {requests} requests to {log.model.name} took longer than its latency goal of {seconds * 1000:g} ms; 99 of 100 were "
        f"answered within {high * 1000:.1f} ms. Give the server more workers or replicas, or state another goal"
        if is_broken
        else ""
    )
    return [Verdict(WITHIN_GOAL, slow if is_broken else 0, problem=problem, facts=facts)]


def _verdicts(log: PredictionLog, intake: Intake, folder: Path) -> list[Verdict]:
    in_clear, drops, outside = sum(intake.in_clear.values()), sum(intake.drops.values()), outside_lines(folder)
    redact = " ".join(f"--redact {name}" for name in sorted(intake.in_clear))
    return [
        Verdict(
            NOT_IN_CLEAR,
            in_clear,
            problem=f"{list_some(intake.in_clear)} of {log.table_name} was written in clear into {list_some(intake.clear_files)}; it was "
            f"left out here. Start those who answer with {redact}, or load the predictor with redact=[...]"
            if in_clear
            else "",
            facts=dict(intake.in_clear),
        ),
        Verdict(
            NOT_DROPPED,
            drops,
            problem=f"{count_of(drops, 'answer')} not logged: "
            f"{list_some(f'{why} {number}' for why, number in sorted(intake.drops.items()))}. Make room in {folder}, or take its files in "
            "more often"
            if drops
            else "",
            facts=dict(intake.drops),
        ),
        Verdict(
            NOT_OUTSIDE,
            outside,
            problem=f"{outside} lines are kept in {folder / OUTSIDE}, since they cannot be read or belong to no partition: "
            "look at them, then move their files back once there are partitions for them, or delete them"
            if outside
            else "",
        ),
    ]
