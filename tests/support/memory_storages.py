"""Dagster's storages in memory that cost little to make and to run on.

Its own make their tables, note all migrations and compile their SQL anew each time, and open a connection
for each question. Here a new database is a copy of an empty one, and it has one connection. Events are written when
somebody asks, those that are of no asset, most of a run's, when somebody asks for them: in most tests nobody does.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as db
from dagster._core.debug import DebugRunPayload
from dagster._core.event_api import EventLogCursor
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageMetadata, SqlEventLogStorageTable
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from fti_assets.event_log import PooledSqliteEventLogStorage


class RunsInMemory(InMemoryRunStorage):
    """Dagster's runs, on one connection."""

    def __init__(self, preload: Sequence[DebugRunPayload] | None = None) -> None:
        assert not preload, "runs of elsewhere are for Dagster's own storage"
        self._engine = _engine(RunStorageSqlMetadata)
        self._held_conn = self._engine.connect()
        self._lock = threading.RLock()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._lock:
            if self._held_conn.in_transaction():  # of this thread, which holds the lock
                yield self._held_conn
                return
            with self._held_conn.begin():
                yield self._held_conn


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
        for handler in list(self._handlers[event.run_id]):
            handler(event, str(EventLogCursor.from_storage_id(number)))

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

    def fetch_materializations(self, *arguments: Any, **options: Any) -> Any:
        """Dagster's own."""
        with self._asking_of_assets():
            return super().fetch_materializations(*arguments, **options)

    def get_latest_materialization_events(self, *arguments: Any, **options: Any) -> Any:
        """Dagster's own."""
        with self._asking_of_assets():
            return super().get_latest_materialization_events(*arguments, **options)

    def get_asset_records(self, *arguments: Any, **options: Any) -> Any:
        """Dagster's own."""
        with self._asking_of_assets():
            return super().get_asset_records(*arguments, **options)

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
