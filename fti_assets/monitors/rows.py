"""Measurements as rows of a monitor's table; what has not changed keeps the time at which it was first measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

import duckdb
import pyarrow as pa

from fti_assets.core.sql import quote, timestamp
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitors.monitor import MEASURED_AT
from fti_assets.stores.duckdb.relations import relation_name

_TYPES = {
    "partition_start": pa.timestamp("us"),
    **dict.fromkeys(("value", "low", "high", "threshold"), pa.float64()),
    "rows": pa.int64(),
    "estimated": pa.bool_(),
}
_NAMES = tuple(field.name for field in fields(Measurement))
_SCHEMA = pa.schema([pa.field(name, _TYPES.get(name, pa.string())) for name in _NAMES])


def measured_rows(
    connection: duckdb.DuckDBPyConnection,
    measurements: Sequence[Measurement],
    earlier: duckdb.DuckDBPyRelation | None,
    now: datetime,
) -> duckdb.DuckDBPyRelation:
    """The rows of some partitions.

    A row that is stored with the same figures keeps its ``measured_at``, so that a rerun which finds nothing new changes nothing, not even
    the data version; and what was known when stays true.

    Args:
        connection: the lake's.
        measurements: all of the partitions.
        earlier: the stored rows of the same partitions, None where there are none.
        now: when they were measured.
    """
    columns = {name: [getattr(one, name) for one in measurements] for name in _NAMES}
    rows = relation_name(connection.from_arrow(pa.table(columns, schema=_SCHEMA)))
    first, *others = _NAMES
    order = ", ".join(["partition_start", "subject", "column_name", "statistic", "reference", "slice", "build", "arm"])
    moment, source = timestamp(now), f"{rows} measured"
    if earlier is not None:
        same = " AND ".join(f"measured.{quote(name)} IS NOT DISTINCT FROM earlier.{quote(name)}" for name in _NAMES)
        moment = f"coalesce(earlier.{MEASURED_AT}, {moment})"
        source = f"{source} LEFT JOIN {relation_name(earlier)} earlier ON {same}"
    items = [f"measured.{quote(first)}", f"{moment} AS {MEASURED_AT}", *(f"measured.{quote(name)}" for name in others)]
    return connection.sql(f"SELECT {', '.join(items)} FROM {source} ORDER BY {order}")
