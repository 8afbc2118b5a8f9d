"""Partitions whose files do not hold what was written."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from fti_assets.core.names import PARTITION, PartitionRecord, TableName, in_partitions
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, hash_of, with_content
from fti_assets.stores.lake.files.current_files import damaged_files
from fti_assets.stores.lake.files.damage import unreadable_files
from fti_assets.stores.lake.reader import LakeReader


def lost_partitions(
    lake: LakeReader,
    table: TableName,
    types: Mapping[str, str],
    records: Mapping[str, PartitionRecord],
    selection: str = "*",
) -> set[str]:
    """The partitions whose files do not hold what was written, so that the same rows have to be written again."""
    holding = [key for key, record in records.items() if record.rows]
    if not holding:
        return set()
    if damage := {file.partition for file in damaged_files(lake, table, holding)}:
        readable = {key: record for key, record in records.items() if key not in damage}
        return damage | lost_partitions(lake, table, types, readable, selection)
    try:
        results: dict[str, str] = {}
        for version in {hash_of(records[key].data_version) for key in holding}:
            keys = [key for key in holding if hash_of(records[key].data_version) == version]
            rows = f"SELECT {selection} FROM {table.sql} WHERE {in_partitions(keys)}"
            contents = with_content(types, f"({rows})", version, columns=PARTITION)
            query = f"SELECT {PARTITION}, {content_sums(version)} FROM {contents} GROUP BY 1"
            for key, *sums in lake.connection.execute(query).fetchall():
                results[key] = data_version(types, tuple(map(int, sums)), version)
    except duckdb.Error:
        damage = {file.partition for file in unreadable_files(lake, table, holding)}
        if not damage:
            raise
        return damage | lost_partitions(
            lake, table, types, {key: records[key] for key in holding if key not in damage}, selection
        )
    return {key for key in holding if results.get(key) != records[key].data_version}
