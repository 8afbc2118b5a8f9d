"""Dagster's event log on SQLite, with databases that stay open."""

from fti_assets.event_log.storage import PooledSqliteEventLogStorage as PooledSqliteEventLogStorage

__all__ = ["PooledSqliteEventLogStorage"]
