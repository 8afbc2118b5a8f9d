"""The rows of a monitor's newest partitions, which its page draws."""

from __future__ import annotations

import duckdb

from fti_assets.core.times import Partition
from fti_assets.monitors.monitor import Monitor
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.lake.lake import Lake

_PARTITIONS = 90


def recent_rows(lake: Lake, monitor: Monitor, newest: Partition) -> duckdb.DuckDBPyRelation | None:
    """The rows of the 90 stored partitions up to ``newest``; None if there are none."""
    assert newest.start is not None
    assert newest.end is not None
    ledger = lake.ledger(monitor.table)
    length = newest.end - newest.start
    span = partitions_between(monitor.calendar, newest.start - length * _PARTITIONS, newest.end)
    keys = [one.key for one in span if one.key in ledger][-_PARTITIONS:]
    return lake.rows(monitor.table, partitions=keys) if keys else None
