"""Rows that are what a partition holds already, but for the types of columns without values that the partition was written with.

A data version names the types of its columns. Where a column got its type from another partition meanwhile, unchanged rows are to
keep their version: it is the one of the same rows in the types of the partition's files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb

from fti_assets.core.names import PARTITION, PartitionRecord, TableName
from fti_assets.core.sql import literal, quote
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, hash_of, with_content
from fti_assets.stores.lake.catalog import partitions_of_older_columns
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.tables.placeholders import common_types


@dataclass(frozen=True)
class EarlierTypes:
    """The types of a partition's files.

    Args:
        types: the DuckDB type of each column.
        selection: the SQL of what to select of rows in the newer types, for rows in these.
    """

    types: Mapping[str, str]
    selection: str


def unchanged_partitions(
    lake: LakeReader, table: TableName, staging: str, old: Mapping[str, PartitionRecord], partitions: Collection[str]
) -> dict[str, EarlierTypes]:
    """The partitions whose staged rows are the stored ones in earlier types.

    Args:
        lake: the open lake, under the writers' lock.
        table: the stored table.
        staging: a temporary table of rows in the types that the stored table has or gets.
        old: the ledger's records.
        partitions: those to ask of, which hold as many rows as before, in another data version.
    """
    if not partitions:
        return {}
    types, older, results = lake.staged_types(staging), set(partitions), {}
    if lake.types(table) == types:
        older &= partitions_of_older_columns(lake, table)
    paths: dict[str, list[str]] = {key: [] for key in sorted(older)}
    for file in current_files(lake, table):
        if file.partition in older and not file.deletes and file.exists() and file.problem() is None:
            paths[file.partition].append(file.path)
    for key, files in paths.items():
        rows = f"(FROM {quote(staging)} WHERE {PARTITION} = {literal(key)})"
        try:
            earlier = _earlier(lake, rows, types, files)
        except duckdb.Error:  # a damaged file, which is about to be replaced
            continue
        if (
            earlier is not None
            and _version(lake, rows, earlier, hash_of(old[key].data_version)) == old[key].data_version
        ):
            results[key] = earlier
    return results


def _earlier(lake: LakeReader, rows: str, types: Mapping[str, str], files: Collection[str]) -> EarlierTypes | None:
    """The types of files that differ from newer ones in places without values only."""
    if not files:
        return None
    read = f"read_parquet([{', '.join(map(literal, files))}], union_by_name => true, hive_partitioning => false)"
    columns = lake.connection.execute(f"DESCRIBE FROM {read}").fetchall()
    old_types = {name: kind for name, kind, *_ in columns if name != PARTITION}
    differing = {name for name in types if old_types.get(name) != types[name]}
    common = common_types(lake, rows, old_types, rows, types)
    if old_types.keys() != types.keys() or not differing or common.keys() != differing:
        return None
    return EarlierTypes(
        old_types, f"* REPLACE ({', '.join(f'{common[name].cast(name)} AS {quote(name)}' for name in common)})"
    )


def _version(lake: LakeReader, rows: str, earlier: EarlierTypes, hash_version: str) -> str:
    sums = lake.connection.execute(
        f"SELECT {content_sums(hash_version)} FROM "
        + with_content(earlier.types, f"(SELECT {earlier.selection} FROM {rows})", hash_version)
    ).fetchall()[0]
    return data_version(earlier.types, tuple(map(int, sums)), hash_version)
