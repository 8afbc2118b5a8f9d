"""Events as a run stores them, and what the databases of a home hold."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
AT = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
TAGS = {"dagster/data_version": "1", "kept": "no"}


def entry(run: str, number: int, kind: DagsterEventType | None = None, data: Any = None) -> EventLogEntry:
    """An event that says its number; of no kind, what a user logs."""
    event = None if kind is None else DagsterEvent(kind.value, "job", event_specific_data=data)
    return EventLogEntry(
        error_info=None,
        level=10,
        user_message=str(number),
        run_id=run,
        timestamp=AT + number,
        job_name="job",
        dagster_event=event,
    )


def materialized(run: str, number: int, asset: str = "orders") -> EventLogEntry:
    """The materialization of a partition."""
    made = dg.AssetMaterialization(asset, partition=f"2024-01-{1 + number % 28:02}", tags=TAGS)
    return entry(run, number, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made))


def events_of_a_run(run: str, days: int = 3) -> Iterator[EventLogEntry]:
    """A range of an asset with a check by partition, one over all, and one in a run without partitions."""
    range_of_days = DAYS.subset_with_partition_keys(DAYS.get_partition_keys()[:days]).to_serializable_subset()
    asset = dg.AssetKey("orders")
    yield entry(run, 0, DagsterEventType.RUN_START)
    for check, subset in (("by_day", range_of_days), ("whole", range_of_days), ("plain", None)):
        planned = AssetCheckEvaluationPlanned(asset_key=asset, check_name=check, partitions_subset=subset)
        yield entry(run, 1, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)
    yield entry(run, 2)
    for number in range(3, 3 + days):
        yield materialized(run, number)
    for check, partition in (("by_day", "2024-01-02"), ("whole", None), ("plain", None)):
        evaluated = AssetCheckEvaluation(
            asset_key=asset, check_name=check, passed=check != "whole", partition=partition, metadata={}
        )
        yield entry(run, 40, DagsterEventType.ASSET_CHECK_EVALUATION, evaluated)
    yield entry(run, 41, DagsterEventType.RUN_SUCCESS)


def numbers(storage: SqliteEventLogStorage, run: str) -> list[int]:
    """The numbers of a run's events, in their order."""
    return [int(one.user_message) for one in storage.get_logs_for_run(run)]


def mirrored(storage: SqliteEventLogStorage) -> list[int]:
    """The numbers of the events in the index over all runs."""
    with storage.index_connection() as connection:
        events = connection.exec_driver_sql("SELECT event FROM event_logs ORDER BY id").scalars().all()
    return [int(json.loads(event)["user_message"]) for event in events]


def tables(base: Path) -> dict[str, list[Any]]:
    """All that the databases hold, and how, apart from when a row was written."""
    held: dict[str, list[Any]] = {}
    for file in sorted(base.glob("*.db")):
        with closing(sqlite3.connect(file)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            made = sorted(connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall())
            held[file.name] = [mode, made]
            for table in [name for kind, name, _ in made if kind == "table"]:
                rows = connection.execute(f'SELECT * FROM "{table}"')
                names = [column[0] for column in rows.description]
                messages = [name for name in names if name not in {"create_timestamp", "migration_completed"}]
                held[file.name].append((table, [[row[names.index(name)] for name in messages] for row in rows]))
    return held
