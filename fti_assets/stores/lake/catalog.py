"""What DuckLake's own catalog says of snapshots and files, and the few things in it that DuckLake itself leaves behind.

Whoever changes something here holds the writers' lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from fti_assets.core.names import TableName
from fti_assets.core.sql import quote
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.lake.connection import CATALOG, ask_catalog, own_table
from fti_assets.stores.lake.files.checksums import Checksum
from fti_assets.stores.lake.files.current_files import (
    CHECKSUM_COLUMNS,
    OF_SCHEMA,
    OF_TABLE,
    PATH,
    TO_SCHEMA,
    checksum_in,
    to_checksum,
)
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.places import Place


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table, and the snapshots that read it: ``first <= snapshot < end``, None while it is current.

    It has its size in bytes and its checksum, if there is one, as it was written.
    """

    path: str
    first: int
    end: int | None
    size: int
    checksum: Checksum | None


def snapshots(lake: LakeReader) -> dict[int, timedelta]:
    """Every snapshot that can be read, and for how long it has not been the newest any more."""
    rows = ask_catalog(
        lake, "SELECT snapshot_id, CAST(snapshot_time AS TEXT) FROM ducklake_snapshot ORDER BY snapshot_id"
    )
    now, times = datetime.now(UTC), [datetime.fromisoformat(str(time)) for _, time in rows]
    until = [*times[1:], now]  # the next one was made
    return {int(str(version)): now - end for (version, _), end in zip(rows, until, strict=True)}


def data_files(lake: LakeReader, table: TableName) -> list[DataFile]:
    """The files of a table, those included that only old snapshots read, of an earlier table of that name too."""
    root = f"{lake.store.data}/"
    rows = ask_catalog(
        lake,
        f"""
        SELECT {PATH} AS place, f.begin_snapshot, f.end_snapshot, f.file_size_bytes, {CHECKSUM_COLUMNS}
        FROM ducklake_data_file f {TO_SCHEMA} {to_checksum(lake, "f.data_file_id")}
        WHERE s.schema_name = ?2 AND t.table_name = ?3 ORDER BY 1, 2, 3 NULLS LAST
        """,
        [root, table.schema, table.name],
    )
    return [
        DataFile(str(path), int(str(first)), None if end is None else int(str(end)), int(str(size)), checksum_in(*sums))
        for path, first, end, size, *sums in rows
    ]


def named_paths(lake: LakeReader, folder: Place) -> set[str]:
    """The real paths of all files that the catalog names, of any snapshot and those that wait to be deleted.

    Args:
        lake: the open lake.
        folder: the real path of its data folder, without symbolic links.
    """
    within = f"SELECT {PATH} AS place FROM {{}} f {TO_SCHEMA}"
    rows = ask_catalog(
        lake,
        f"{within.format('ducklake_data_file')} UNION {within.format('ducklake_delete_file')} UNION "
        "SELECT CASE WHEN NOT path_is_relative THEN '' ELSE ?1 END || path FROM ducklake_files_scheduled_for_deletion",
        [f"{folder}/"],
    )
    paths = {str(path) for (path,) in rows}
    if isinstance(folder, BucketPath):
        return paths
    # A path that is not relative may come by another symbolic link than the folder does.
    return {path if path.startswith(f"{folder}/") else os.path.realpath(path) for path in paths}


def tables_at_any_snapshot(lake: LakeReader, schema: str) -> list[TableName]:
    """The tables of a schema, those included that only old snapshots have."""
    rows = ask_catalog(
        lake,
        "SELECT DISTINCT t.table_name FROM ducklake_table t JOIN ducklake_schema s USING (schema_id) "
        "WHERE s.schema_name = ?1 ORDER BY 1",
        [schema],
    )
    return [TableName(schema, str(name)) for (name,) in rows]


def files_waiting(lake: LakeReader, *, younger_than: timedelta) -> int:
    """How many files came off the last snapshot that read them so recently, and wait to be deleted; those that branches read do not."""
    return int(
        str(
            lake.connection.execute(
                f"SELECT count(*) FROM {own_table('files_scheduled_for_deletion')} "
                "WHERE epoch_us(schedule_start::TIMESTAMPTZ) > epoch_us(now()) - ? AND schedule_start::TIMESTAMPTZ <= now()",
                [younger_than // timedelta(microseconds=1)],
            ).fetchall()[0][0]
        )
    )


def delete_dead_ledger_rows(lake: LakeReader) -> None:
    """Delete the rows of the ledgers, which lie in the catalog itself, that no snapshot has: DuckLake's expiry keeps them."""
    for (name,) in lake.connection.execute(f"SELECT table_name FROM {own_table('inlined_data_tables')}").fetchall():
        lake.connection.execute(
            f"DELETE FROM {CATALOG}.{quote(name)} WHERE end_snapshot IS NOT NULL AND (begin_snapshot, end_snapshot) NOT IN ("
            f"SELECT (begin_snapshot, end_snapshot) FROM (SELECT DISTINCT begin_snapshot, end_snapshot FROM {CATALOG}.{quote(name)} "
            f"WHERE end_snapshot IS NOT NULL) spans WHERE EXISTS (FROM {own_table('snapshot')} "
            "WHERE snapshot_id >= begin_snapshot AND snapshot_id < end_snapshot))"
        )


def partitions_of_older_columns(lake: LakeReader, table: TableName) -> set[str]:
    """The partitions with a file from before a column that the table has now was added, or got its type."""
    rows = lake.connection.execute(
        f"""
        SELECT DISTINCT p.partition_value FROM {own_table("data_file")} f JOIN {own_table("file_partition_value")} p USING (data_file_id)
        WHERE f.table_id = {_TABLE} AND f.end_snapshot IS NULL AND p.partition_key_index = 0 AND f.begin_snapshot < (
            SELECT max(begin_snapshot) FROM {own_table("column")} c WHERE c.table_id = f.table_id AND c.end_snapshot IS NULL)
        """,
        [table.schema, table.name],
    ).fetchall()
    return {partition for (partition,) in rows}


def put_columns(lake: LakeReader) -> int:
    """Put columns that got their type where those of their names were before, and say how many: DuckLake adds a column at the end only.

    Called right after a commit, before anything reads the new snapshot: DuckLake reads a snapshot's columns once.
    """
    rows = ask_catalog(
        lake,
        """
        SELECT table_id, column_id, place FROM (
            SELECT *, min(column_order) OVER (PARTITION BY table_id, column_name) AS place FROM ducklake_column
            WHERE parent_column IS NULL) c
        WHERE end_snapshot IS NULL AND column_order <> place
        """,
    )
    for table_id, column_id, place in rows:
        lake.connection.execute(
            f"UPDATE {own_table('column')} SET column_order = ? WHERE table_id = ? AND column_id = ? AND end_snapshot IS NULL",
            [int(str(one)) for one in (place, table_id, column_id)],
        )
    return len(rows)


def narrow_bounds(lake: LakeReader, table: TableName) -> None:
    """Set the least and greatest value of each column to those of the files that are left: DuckLake only ever widens them.

    What is inside a column, such as the elements of a list, is a column of its own to DuckLake, with bounds of its own.
    """
    execute, stats, columns = lake.connection.execute, own_table("table_column_stats"), own_table("column")
    rows = execute(
        f"""
        SELECT c.table_id, c.column_id, c.column_type
        FROM {columns} c {OF_TABLE}
        WHERE s.schema_name = ? AND t.table_name = ? AND t.end_snapshot IS NULL AND c.end_snapshot IS NULL
            AND c.column_type NOT IN ('struct', 'list', 'map')
        """,
        [table.schema, table.name],
    ).fetchall()
    for table_id, column_id, its_type in rows:
        kind = NUMBERS.get(its_type, its_type)
        least, greatest, unknown = execute(
            f"""
            SELECT arg_min(min_value, TRY_CAST(min_value AS {kind})), arg_max(max_value, TRY_CAST(max_value AS {kind})),
                count(*) FILTER (TRY_CAST(min_value AS {kind}) IS NULL AND value_count > coalesce(null_count, 0))
            FROM {own_table("file_column_stats")} WHERE table_id = ? AND column_id = ?
            """,
            [table_id, column_id],
        ).fetchall()[0]
        if not unknown:
            execute(
                f"UPDATE {stats} SET min_value = ?, max_value = ? WHERE table_id = ? AND column_id = ?",
                [least, greatest, table_id, column_id],
            )


def end_files(lake: LakeReader, table: TableName, partitions: Sequence[str], *, until: int, message: str) -> None:
    """End the files of some partitions in a snapshot of its own: DuckLake would read them first.

    It is what DuckLake writes where it deletes all rows of a file. The caller holds the writers' lock.

    Args:
        until: the newest snapshot whose files end; those that came later stay.
    """
    # DuckLake's own DELETE would read the files, which is what cannot be done.
    execute, newest = lake.connection.execute, lake.snapshot()
    ids = (
        f"SELECT table_id FROM {own_table('table')} t {OF_SCHEMA} "
        "WHERE t.end_snapshot IS NULL AND s.schema_name = ? AND t.table_name = ?"
    )
    ((table_id,),) = execute(ids, [table.schema, table.name]).fetchall()
    execute("BEGIN")
    try:
        _next_snapshot(lake, newest, newest + 1, f"deleted_from_table:{table_id}", message)
        of_partitions = (
            f"table_id = {table_id} AND end_snapshot IS NULL AND begin_snapshot <= {int(until)} "
            f"AND data_file_id IN (SELECT data_file_id FROM {own_table('file_partition_value')} "
            f"WHERE table_id = {table_id} AND partition_key_index = 0 "
            "AND partition_value IN (SELECT unnest($1)))"
        )
        for name in ("data_file", "delete_file"):
            execute(f"UPDATE {own_table(name)} SET end_snapshot = {newest + 1} WHERE {of_partitions}", [partitions])
        execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):
            execute("ROLLBACK")
        raise


def _next_snapshot(lake: LakeReader, newest: int, number: int, changes: str, message: str) -> None:
    lake.connection.execute(
        f"INSERT INTO {own_table('snapshot')} SELECT ?, now(), schema_version, next_catalog_id, next_file_id "
        f"FROM {own_table('snapshot')} WHERE snapshot_id = ?",
        [number, newest],
    )
    lake.connection.execute(
        f"INSERT INTO {own_table('snapshot_changes')} (snapshot_id, changes_made, author, commit_message) "
        "VALUES (?, ?, 'fti_assets', ?)",
        [number, changes, message],
    )


def skip_snapshots(lake: LakeReader, above: int, *, message: str) -> None:
    """Make sure that the newest snapshot has a higher number than some one, by one more of what is there now."""
    newest, execute, to = lake.snapshot(), lake.connection.execute, above + 1
    if newest > above:
        return
    execute("BEGIN")
    _next_snapshot(lake, newest, to, "", message)
    execute("COMMIT")


def ranges(versions: Iterable[int]) -> str:
    """Numbers as people write them.

    >>> ranges([3, 4, 5, 9])
    '3-5, 9'
    """
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in _runs(sorted(set(versions))))


def _runs(versions: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(versions) + 1):
        if place == len(versions) or versions[place] != versions[place - 1] + 1:
            yield versions[start], versions[place - 1]
            start = place


NUMBERS = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "int128": "HUGEINT",
    "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT", "uint128": "UHUGEINT",
    "float32": "FLOAT", "float64": "DOUBLE",
}  # fmt: skip
"""DuckLake's names of number types that DuckDB calls otherwise: to DuckDB INT8 is a number of eight bytes."""
_TABLE = (
    f"(SELECT table_id FROM {own_table('table')} t {OF_SCHEMA} "
    "WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND s.schema_name = $1 AND t.table_name = $2)"
)
"""The SQL of the number that a table has now."""
