"""Dagster's storages in memory that cost little to make and to run on.

Its own make their tables, note all migrations and compile their SQL again each time, and open a connection
for each question. Here a new database is a copy of an empty one, and it has one connection. Events are written when
somebody asks, those that are of no asset, most of a run's, when somebody asks for them: in most tests nobody does. What each
run asks, the newest materialization of an asset or of one of its partitions, is kept beside, and so are the snapshots of jobs
and plans, which no test reads as text.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as db
from dagster import AssetKey, DagsterEventType
from dagster._core.debug import DebugRunPayload
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.event_api import AssetRecordsFilter, EventLogCursor, EventLogRecord, EventRecordsResult
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.snap import ExecutionPlanSnapshot, JobSnap
from dagster._core.storage.event_log.base import AssetEntry, AssetRecord
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageMetadata, SqlEventLogStorageTable
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from dagster._core.storage.runs.schema import RunStorageSqlMetadata, SnapshotsTable
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from fti_assets.event_log import PooledSqliteEventLogStorage


class RunsInMemory(InMemoryRunStorage):
    """Dagster's runs, on one connection; their snapshots are kept as they are."""

    def __init__(self, preload: Sequence[DebugRunPayload] | None = None) -> None:
        assert not preload, "runs of elsewhere are for Dagster's own storage"
        self._engine = _engine(RunStorageSqlMetadata)
        self._held_conn = self._engine.connect()
        self._lock = threading.RLock()
        self._snapshots: dict[str, Any] = {}

    def _has_snapshot_id(self, snapshot_id: str) -> bool:
        return snapshot_id in self._snapshots

    def _get_snapshot(self, snapshot_id: str) -> Any:
        return self._snapshots.get(snapshot_id)

    def add_job_snapshot(self, job_snapshot: JobSnap) -> str:
        """Keep it, and its name in the table that runs refer to."""
        return self._keep(job_snapshot.snapshot_id, job_snapshot)

    def add_execution_plan_snapshot(self, execution_plan_snapshot: ExecutionPlanSnapshot) -> str:
        """Keep it, and its name in the table that runs refer to."""
        return self._keep(name_of_plan(execution_plan_snapshot), execution_plan_snapshot)

    def _keep(self, snapshot_id: str, snapshot: Any) -> str:
        if snapshot_id not in self._snapshots:
            self._snapshots[snapshot_id] = snapshot
            with self.connect() as connection:
                row = {"snapshot_id": snapshot_id, "snapshot_body": b"", "snapshot_type": "kept beside"}
                connection.execute(SnapshotsTable.insert(), row)
        return snapshot_id

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._lock:
            if self._held_conn.in_transaction():  # of this thread, which holds the lock
                yield self._held_conn
                return
            with self._held_conn.begin():
                yield self._held_conn


_last_plan: list[Any] = [None, ""]


def name_of_plan(snapshot: ExecutionPlanSnapshot) -> str:
    """A name of the plan's own; Dagster's, which is asked for twice, is a hash of all that the plan holds."""
    if _last_plan[0] is not snapshot:
        _last_plan[:] = [snapshot, name_of_job()]
    return str(_last_plan[1])


def name_of_job(snapshot: JobSnap | None = None) -> str:
    """A name of the job's own; Dagster's is a hash of all that the job holds."""
    return uuid.uuid4().hex


class EventsInMemory(InMemoryEventLogStorage):
    """Dagster's event log, on one connection."""

    def __init__(self, inst_data: Any = None, preload: Sequence[DebugRunPayload] | None = None) -> None:
        assert not preload, "events of elsewhere are for Dagster's own storage"
        self._inst_data = inst_data
        self._engine = _engine(SqlEventLogStorageMetadata)
        self._held_conn = self._engine.connect()
        self._db_lock = threading.Lock()
        self._handlers: defaultdict[str, set[Any]] = defaultdict(set)
        self._storage_id = 0
        self._number_lock = threading.RLock()
        self._waiting: list[tuple[int, EventLogEntry]] = []
        self._waiting_of_assets: list[tuple[int, EventLogEntry]] = []
        self._newest: dict[tuple[AssetKey, str | None], EventLogRecord] = {}
        self._newest_observed: dict[tuple[AssetKey, str | None], EventLogRecord] = {}
        self._last_runs: dict[AssetKey, str | None] = {}
        self._with_status: set[AssetKey] = set()
        self._has_all = True  # until something is deleted
        self._asks = threading.local()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        if not getattr(self._asks, "stores", False):
            self._store_waiting_of_assets()
        with self._db_lock, self._held_conn.begin():
            if not getattr(self._asks, "of_assets", False):
                waiting, self._waiting = self._waiting, []
                if waiting:
                    rows = [{"id": number, **self._event_to_row(event)} for number, event in waiting]
                    self._held_conn.execute(SqlEventLogStorageTable.insert(), rows)
            yield self._held_conn

    def store_event(self, event: EventLogEntry) -> None:
        """Keep an event until it is asked for."""
        with self._number_lock:
            number, kind = self._storage_id + 1, event.dagster_event_type
            is_of_assets = event.is_dagster_event and kind in (ASSET_EVENTS | ASSET_CHECK_EVENTS)
            (self._waiting_of_assets if is_of_assets else self._waiting).append((number, event))
            self._storage_id = number
            if is_of_assets:
                self._keep_newest(EventLogRecord(storage_id=number, event_log_entry=event))
        for handler in list(self._handlers[event.run_id]):
            handler(event, str(EventLogCursor.from_storage_id(number)))

    def _keep_newest(self, record: EventLogRecord) -> None:
        event = record.event_log_entry.get_dagster_event()
        if event.asset_key is None:
            return
        if event.is_step_materialization:
            self._newest[event.asset_key, None] = self._newest[event.asset_key, event.partition] = record
        if event.is_step_materialization or event.is_asset_materialization_planned:
            self._last_runs[event.asset_key] = record.run_id
        elif event.is_asset_observation:
            self._newest_observed[event.asset_key, None] = self._newest_observed[event.asset_key, event.partition] = (
                record
            )
            self._last_runs.setdefault(event.asset_key, None)

    def _store_waiting_of_assets(self) -> None:
        with self._number_lock:
            waiting, self._waiting_of_assets = self._waiting_of_assets, []
            self._asks.stores = True
            try:
                with self._asking_of_assets():
                    for number, event in waiting:
                        self._store_of_assets(event, number)
            finally:
                self._asks.stores = False

    def _store_of_assets(self, event: EventLogEntry, number: int) -> None:
        """Dagster's steps, with the number that comes next: those before it may not be in the database yet."""
        with self._connect() as connection:
            connection.execute(SqlEventLogStorageTable.insert(), {"id": number, **self._event_to_row(event)})
            if event.dagster_event_type in ASSET_EVENTS and event.get_dagster_event().asset_key:
                self._store_asset_event_tags(connection, [event], [number])
                self._store_asset_event(connection, event, number)
        if event.dagster_event_type in ASSET_CHECK_EVENTS:
            self.store_asset_check_event(event, number)

    @contextmanager
    def _asking_of_assets(self) -> Iterator[None]:
        before = getattr(self._asks, "of_assets", False)
        self._asks.of_assets = True
        try:
            yield
        finally:
            self._asks.of_assets = before

    def fetch_materializations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """Dagster's own, unless the newest is asked for, of an asset or of one partition."""
        return self._fetch(super().fetch_materializations, self._newest, records_filter, limit, cursor, ascending)

    def fetch_observations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> EventRecordsResult:
        """Dagster's own, unless the newest is asked for, of an asset or of one partition."""
        return self._fetch(super().fetch_observations, self._newest_observed, records_filter, limit, cursor, ascending)

    def _fetch(
        self,
        fetch: Callable[[AssetKey | AssetRecordsFilter, int, str | None, bool], EventRecordsResult],
        kept: dict[tuple[AssetKey, str | None], EventLogRecord],
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None,
        ascending: bool,
    ) -> EventRecordsResult:
        if limit == 1 and not cursor and not ascending:
            newest = self._newest_that_is(records_filter, kept)
            if newest is not None:
                return newest
        with self._asking_of_assets():
            return fetch(records_filter, limit, cursor, ascending)

    def _newest_that_is(
        self, records_filter: AssetKey | AssetRecordsFilter, kept: dict[tuple[AssetKey, str | None], EventLogRecord]
    ) -> EventRecordsResult | None:
        """One or no record, or None where the database must be asked."""
        requests = _asset_and_partition(records_filter)
        if requests is None or not self._has_all:
            return None
        record = kept.get(requests)
        at = EventLogCursor.from_storage_id(-1 if record is None else record.storage_id).to_string()
        return EventRecordsResult([] if record is None else [record], cursor=at, has_more=record is not None)

    def get_latest_tags_by_partition(
        self,
        asset_key: AssetKey,
        event_type: DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        """Dagster's own, unless the data versions of the newest materializations are asked for, as each run asks for its inputs'."""
        versions_alone = event_type == DagsterEventType.ASSET_MATERIALIZATION and [*tag_keys] == [DATA_VERSION_TAG]
        if (
            versions_alone
            and asset_partitions is not None
            and (before_cursor, after_cursor) == (None, None)
            and self._has_all
        ):
            records = {
                one: self._newest[asset_key, one] for one in asset_partitions if (asset_key, one) in self._newest
            }
            tags = {
                one: record.asset_materialization.tags or {}
                for one, record in records.items()
                if record.asset_materialization
            }
            return {one: {DATA_VERSION_TAG: of[DATA_VERSION_TAG]} for one, of in tags.items() if DATA_VERSION_TAG in of}
        with self._asking_of_assets():
            return super().get_latest_tags_by_partition(
                asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
            )

    def wipe(self) -> None:
        """Dagster's own, which from here on is asked."""
        self._has_all = False
        super().wipe()

    def wipe_asset(self, asset_key: AssetKey) -> None:
        """Dagster's own, which from here on is asked."""
        self._has_all = False
        super().wipe_asset(asset_key)

    def wipe_asset_partitions(self, asset_key: AssetKey, partition_keys: Sequence[str]) -> None:
        """Dagster's own, which from here on is asked."""
        self._has_all = False
        super().wipe_asset_partitions(asset_key, partition_keys)

    def delete_events(self, run_id: str) -> None:
        """Dagster's own, which from here on is asked."""
        self._has_all = False
        super().delete_events(run_id)

    def update_asset_cached_status_data(self, asset_key: AssetKey, cache_values: AssetStatusCacheValue) -> None:
        """Dagster's own, which from here on is asked of that asset."""
        self._with_status.add(asset_key)
        super().update_asset_cached_status_data(asset_key, cache_values)

    def get_latest_materialization_events(self, *arguments: Any, **options: Any) -> Any:
        """Dagster's own."""
        with self._asking_of_assets():
            return super().get_latest_materialization_events(*arguments, **options)

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[AssetRecord]:
        """Dagster's own, unless assets are named whose status is not kept."""
        if asset_keys is not None and self._has_all and self._with_status.isdisjoint(asset_keys):
            present = sorted({*asset_keys} & {*self._last_runs}, key=lambda key: key.to_string())
            return [self._record(key) for key in present]
        with self._asking_of_assets():
            return super().get_asset_records(asset_keys)

    def _record(self, key: AssetKey) -> AssetRecord:
        newest = self._newest.get((key, None))
        entry = AssetEntry(asset_key=key, last_materialization_record=newest, last_run_id=self._last_runs[key])
        return AssetRecord(storage_id=[*self._last_runs].index(key) + 1, asset_entry=entry)

    def get_materialized_partitions(self, *arguments: Any, **options: Any) -> Any:
        """Dagster's own."""
        with self._asking_of_assets():
            return super().get_materialized_partitions(*arguments, **options)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        return column_name in AssetKeyTable.c

    # Dagster's own makes the same long text again for each partition of a run.
    _store_asset_check_evaluation_planned = PooledSqliteEventLogStorage._store_asset_check_evaluation_planned

    def has_table(self, table_name: str) -> bool:
        """Whether there is such a table; a look into the database would end the transaction that asks."""
        return table_name in SqlEventLogStorageMetadata.tables


def _asset_and_partition(records_filter: AssetKey | AssetRecordsFilter) -> tuple[AssetKey, str | None] | None:
    """What is asked for if it is the events of an asset, or of one of its partitions, and None otherwise."""
    if isinstance(records_filter, AssetKey):
        return records_filter, None
    key, partitions, *others = records_filter
    if partitions is None:
        requests = key, None
    elif len(partitions) == 1:
        requests = key, partitions[0]
    else:
        return None
    return requests if all(other is None for other in others) else None


def _engine(metadata: db.MetaData) -> Engine:
    template, shared = _template(metadata)
    engine = _engine_on(_connection())
    with engine.connect() as connection:
        template.backup(connection.connection.driver_connection)  # type: ignore[arg-type]
    engine.dialect, engine._compiled_cache = shared.dialect, shared._compiled_cache
    return engine


@cache
def _template(metadata: db.MetaData) -> tuple[sqlite3.Connection, Engine]:
    """A database with empty tables, and the engine whose compiled SQL all others use."""
    connection = _connection()
    engine = _engine_on(connection)
    with engine.begin() as opened:
        metadata.create_all(opened)
    return connection, engine


def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _engine_on(connection: sqlite3.Connection) -> Engine:
    return db.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
