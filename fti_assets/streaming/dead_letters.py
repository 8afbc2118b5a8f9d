"""The table of events that a group could not take: ``streaming.<group>_v<N>_dead_letters``, a partition for each day of the broker."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import quote, temporary_name
from fti_assets.features.events.dead_letter import DeadLetter
from fti_assets.features.groups.group import FeatureGroup

_SCHEMA = pa.schema(
    {
        "shard": pa.int64(),
        "sequence": pa.int64(),
        "stored_at": pa.timestamp("us"),
        "reason": pa.string(),
        "payload": pa.binary(),
        "payload_bytes": pa.int64(),
    }
)


def dead_letters_table(group: FeatureGroup) -> TableName:
    """Where the events are that a group could not take."""
    return group.table.dead_letters


def staged_dead_letters(connection: duckdb.DuckDBPyConnection, letters: Sequence[DeadLetter]) -> str:
    """Dead letters in a temporary table, with their partitions; its name."""
    name = temporary_name("dead")
    columns = {field.name: [getattr(letter, field.name) for letter in letters] for field in _SCHEMA}
    rows = pa.table({field.name: pa.array(columns[field.name], field.type) for field in _SCHEMA})
    connection.register("__fti_dead", rows)
    try:
        connection.execute(
            f"CREATE TEMP TABLE {quote(name)} AS SELECT *, strftime(stored_at, '%Y-%m-%d') AS {PARTITION} FROM __fti_dead"
        )
    finally:
        connection.unregister("__fti_dead")
    return name


def add_dead_letters(connection: duckdb.DuckDBPyConnection, table: str, letters: Sequence[DeadLetter]) -> None:
    """Add some to a table that ``staged_dead_letters`` made."""
    more = staged_dead_letters(connection, letters)
    connection.execute(f"INSERT INTO {quote(table)} BY NAME FROM {quote(more)}")
    connection.execute(f"DROP TABLE {quote(more)}")
