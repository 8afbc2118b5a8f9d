"""Telling those who watch a run of each event: the run page of the UI."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from watchdog.events import EVENT_TYPE_MODIFIED, FileSystemEvent

if TYPE_CHECKING:
    from dagster._core.event_api import EventHandlerFn


class Watchdog(SqliteEventLogStorageWatchdog):
    """Reads what is new when the run's write-ahead log grows.

    Dagster's own waits for the database file, which changes with each event where a connection is closed after it; of one that stays
    open, at a checkpoint only.

    Args:
        storage: the event log.
        run_id: the run that is watched.
        callback: takes each event.
        cursor: where reading begins.
        wait_for_writer: waits until a writer of this process has committed what it holds of the run.
    """

    def __init__(
        self,
        storage: SqliteEventLogStorage,
        run_id: str,
        callback: EventHandlerFn,
        cursor: str | None,
        wait_for_writer: Callable[[str], None],
    ) -> None:
        super().__init__(storage, run_id, callback, cursor)
        path = storage.path_for_shard(run_id)
        self._wait_for_writer, self._run, self._paths = wait_for_writer, run_id, {path, f"{path}-wal"}

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take a change of a file of the folder."""
        if event.event_type == EVENT_TYPE_MODIFIED and event.src_path in self._paths:
            self._wait_for_writer(self._run)
            self._process_log()
