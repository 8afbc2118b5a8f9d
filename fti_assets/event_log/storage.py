"""Dagster's event log on SQLite, its databases kept open.

Dagster's own ``SqliteEventLogStorage`` makes an engine for each event, opens the run's database, compiles the SQL and closes the
database again. The files, their tables and what they hold are the same here: a home may be opened by the one and then by the other.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from dagster import DagsterEventType, Field, StringSource
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from watchdog.events import EVENT_TYPE_MODIFIED, FileSystemEvent
from watchdog.observers import Observer

from fti_assets.event_log.databases import NewDatabases, OpenDatabases, engine_of_new, is_stamped, on_disk

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.event_api import EventHandlerFn
    from dagster._core.events.log import EventLogEntry

OPEN_DATABASES = 16
"""How many a process keeps open, of the one that each run has and the index over all."""


_LAST = {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}


class _Watchdog(SqliteEventLogStorageWatchdog):
    """Tells those who watch a run, such as its page in the UI, of each event when the run's write-ahead log grows."""

    def __init__(
        self,
        storage: SqliteEventLogStorage,
        run_id: str,
        callback: EventHandlerFn,
        cursor: str | None,
        wait_for_writer: Callable[[str], None],
    ) -> None:
        super().__init__(storage, run_id, callback, cursor)
        # Dagster's own waits for the database file, which changes with each event only where a connection is closed after it; of one
        # that stays open it changes at a checkpoint.
        path = storage.path_for_shard(run_id)
        self._wait_for_writer, self._run, self._paths = wait_for_writer, run_id, {path, f"{path}-wal"}

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take a change of a file of the folder."""
        if event.event_type == EVENT_TYPE_MODIFIED and event.src_path in self._paths:
            self._wait_for_writer(self._run)
            self._process_log()


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """The event log of a Dagster instance on SQLite, named in its ``dagster.yaml``.

    An event that was stored is in the file, so a process that is killed loses none. The databases are in WAL mode with
    ``synchronous = NORMAL``, and synced when a run ends: a power cut may take the newest events of a run that is under way, and
    damages nothing.

    ::

        event_log_storage:
          module: fti_assets.event_log
          class: PooledSqliteEventLogStorage

    Args:
        base_dir: the folder of the databases; by default ``history/runs`` in the instance's own, where Dagster has them.
        inst_data: what Dagster knows the storage by.
    """

    _obs: Any

    def __init__(self, base_dir: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._instance_weakref = None
        if base_dir is not None:
            self._open(base_dir)

    def _open(self, base_dir: str) -> None:
        self._databases = OpenDatabases(OPEN_DATABASES, SQLITE_BUSY_TIMEOUT_SECONDS)
        self._existing: set[str] = set()
        self._new = NewDatabases()
        self._last_of_its_run = False
        super().__init__(base_dir, self._inst_data)
        self._db_lock = threading.RLock()  # whoever forks takes it, and may be within a transaction
        _storages.add(self)

    def register_instance(self, instance: DagsterInstance) -> None:
        """Learn from the instance where its databases lie, unless ``base_dir`` says so."""
        if not hasattr(self, "_base_dir"):
            self._open(os.path.join(instance.root_directory, "history", "runs"))
        super().register_instance(instance)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """What ``config:`` takes."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteEventLogStorage:
        """The storage of a ``dagster.yaml``."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._databases.engine(self.path_for_shard(shard), lambda: self._prepare(shard))
            with engine.connect() as connection, self._commits(connection), connection.begin():
                yield connection

    def _commits(self, connection: Connection) -> AbstractContextManager[None]:
        return on_disk(connection.connection.driver_connection) if self._last_of_its_run else nullcontext()

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; one that ends a run, or has none, is on disk then with all before it.

        Dagster notes a run's end in another file, which must not be there without what the run has made.
        """
        with self._db_lock:
            kind = event.dagster_event.event_type if event.dagster_event else None
            # With synchronous = NORMAL a power cut may undo a commit; how a run ended must not be lost.
            self._last_of_its_run = kind in _LAST or event.run_id == RUNLESS_RUN_ID
            try:
                super().store_event(event)
            finally:
                self._last_of_its_run = False

    def _prepare(self, shard: str) -> None:
        """Make the tables of a database that is new."""
        if shard == INDEX_SHARD_NAME:
            self._existing.clear()
            path = self.path_for_shard(shard)
            if not is_stamped(path, SQLITE_BUSY_TIMEOUT_SECONDS):
                self._initdb(engine_of_new(path, SQLITE_BUSY_TIMEOUT_SECONDS))
            return
        self._new.make(self.path_for_shard(shard), self._initdb, SQLITE_BUSY_TIMEOUT_SECONDS)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table. One that is there stays, so it is looked for once."""
        if table_name not in self._existing and super().has_table(table_name):
            self._existing.add(table_name)
        return table_name in self._existing

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        name = f"asset_keys.{column_name}"
        if name not in self._existing and super()._has_asset_key_col_on_connection(conn, column_name):
            self._existing.add(name)
        return name in self._existing

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """Dagster's rows, one for each partition of a run, of which it makes the same long text again and again."""
        plan = event.get_dagster_event().asset_check_planned_data
        subset = plan.partitions_subset
        common = {
            "asset_key": plan.asset_key.to_string(),
            "check_name": plan.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            # Made once: Dagster serializes the event again for each partition.
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),
            "evaluation_event_storage_id": event_id,
        }
        rows = [{**common, "partition": key} for key in (subset.get_partition_keys() if subset else [None])]
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), rows)

    def upgrade(self) -> None:
        """Migrate each database, none of which is open meanwhile."""
        with self._db_lock:
            self._databases.close_all()
            super().upgrade()
            self._databases.close_all()
            self._existing.clear()

    def wipe(self) -> None:
        """Delete each run's database, and what the index holds."""
        with self._db_lock:
            self._databases.close_all()
            super().wipe()

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back with each event of a run that is stored from now on, by whichever process."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watchdog = _Watchdog(self, run_id, callback, cursor, self.wait_for_writer)
        self._watchers[run_id][callback] = (watchdog, self._obs.schedule(watchdog, self._base_dir, recursive=True))

    def wait_for_writer(self, run_id: str) -> None:
        """Wait for a transaction in a run's database to end, if there is one.

        The write-ahead log grows before a transaction can be read, and does not change when it can.
        """
        with suppress(OperationalError), self._connect(run_id) as connection:  # what was written can be read even so
            connection.execute(text("BEGIN IMMEDIATE"))

    def dispose(self) -> None:
        """Close what is open."""
        if hasattr(self, "_base_dir"):
            super().dispose()
            with self._db_lock:
                self._databases.close_all()


# Weak, so that a storage that nobody holds is not kept open for the sake of a fork.
_storages: weakref.WeakSet[PooledSqliteEventLogStorage] = weakref.WeakSet()
_locks: list[PooledSqliteEventLogStorage] = []


def _before_fork() -> None:
    """Let no SQLite connection be open in a process that is forked: the child could neither use nor close it."""
    for storage in list(_storages):
        storage._db_lock.acquire()
        storage._databases.close_all()
        _locks.append(storage)


def _after_fork() -> None:
    while _locks:
        _locks.pop()._db_lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
