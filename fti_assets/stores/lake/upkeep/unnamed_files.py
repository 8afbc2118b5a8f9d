"""Files in the lake's folder that its catalog does not name: of killed writers, or of a catalog that has lost them.

A writer makes its files and commits them under the writers' lock, so whoever holds the lock and finds such a file knows that
nobody is about to commit it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

import duckdb

from fti_assets.core.names import LEDGER, PARTITION, TILES, TableName, in_partitions
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DamagedError, StoreError, count_of, list_some
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import is_folder, paths_in, read_end, readable, reason, sized_files
from fti_assets.stores.lake.branches.branch import paths_of_branches
from fti_assets.stores.lake.catalog import named_paths
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.places import Place, within

_NAME = re.compile(r"ducklake-([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f-]+(?:-delete)?\.parquet")
_END = b"PAR1"  # a Parquet file is written from its beginning to its end


@dataclass(frozen=True)
class FileSizes:
    """The files of a lake's folder with their bytes, by whether the catalog names them."""

    by_catalog: dict[Place, int]
    strays: dict[Place, int]
    written: dict[Place, float]
    """When each stray was written last, in seconds since 1970."""


def file_sizes(lake: Lake) -> FileSizes:
    """Every file under ``data/``; the caller holds the writers' lock, or takes files of a writer at work for unnamed."""
    folder = lake.store.real_data
    names = named_paths(lake, folder)
    result = FileSizes({}, {}, {})
    for file, size, written in sized_files(folder):
        if str(file) in names:
            result.by_catalog[file] = size
        else:
            result.strays[file], result.written[file] = size, written
    return result


def missing_files(lake: Lake) -> list[str]:
    """The files that current rows are in, and that are not there or of another size than they were written in."""
    files = [file for table in [*lake.tables(), *lake.tiles()] for file in current_files(lake, table)]
    if isinstance(lake.store.data, BucketPath):  # which is asked once, and not for each
        sizes = {str(path): size for path, size, _ in sized_files(lake.store.data)}
        return sorted(file.path for file in files if sizes.get(file.path) != file.size)
    return sorted(file.path for file in files if not file.exists())


def tables_in(data: Place) -> list[TableName]:
    """The tables that have a folder."""
    schemas = filter(is_folder, paths_in(data))
    return [
        TableName(schema.name, folder.name) for schema in schemas for folder in paths_in(schema) if is_folder(folder)
    ]


def refuse_to_delete_most(
    lake: Lake, *, older_than: timedelta, tables_recorded: Collection[TableName] = frozenset()
) -> None:
    """Raise an error if most of a lake is in files of that age that its catalog does not name; the caller holds the writers' lock.

    Killed writers leave little. A catalog that was put back from an old copy, or lost its newest commits, leaves the only
    copy of the rows. A file whose rows are all stored in its partition is none, nor is one that was cut off while it was written.

    Args:
        lake: the open lake.
        older_than: the age.
        tables_recorded: the tables of which Dagster recorded what the catalog has, and nothing else: their files are of killed writers.

    Raises:
        DamagedError: it is so.
    """
    sizes = file_sizes(lake)
    rows = {
        file: size for file, size in _old_parquet(sizes, older_than).items() if not _is_of(lake, file, tables_recorded)
    }
    known_bytes, other_bytes = sum(sizes.by_catalog.values()), sum(rows.values())
    # By bytes and by number: one large file of a killed writer is no sign of an old catalog.
    if other_bytes > known_bytes and len(rows) > len(sizes.by_catalog):
        rows = {file: size for file, size in rows.items() if not _is_no_only_copy(lake, file)}
    if (other_bytes := sum(rows.values())) > known_bytes and len(rows) > len(sizes.by_catalog):
        raise DamagedError(
            f"{lake.store.catalog} names {count_of(len(sizes.by_catalog), 'file')} of {known_bytes} bytes, and {lake.store.data} holds "
            f"{len(rows)} more of {other_bytes} bytes, such as {min(map(str, rows))}: the catalog seems to be an old one, and to delete "
            "what it does not name would delete most of the lake. Nothing was deleted. Put the right catalog back, or register the "
            f"files that are there: fti lake repair --lake {lake.store.root}. If killed writers left them, set DAGSTER_HOME to where "
            f"Dagster recorded their runs, which says so, or delete them: fti lake delete-unnamed --lake {lake.store.root}"
        )


def refuse_only_copies(
    lake: Lake, *, older_than: timedelta = timedelta(0), tables_compared: Collection[TableName] = frozenset()
) -> None:
    """Raise an error if files of that age that the catalog does not name may be the only copy of rows; the caller holds the writers' lock.

    It is so where the catalog seems to be another lake's, since files that it names are not there, and where it lacks the
    partition that such a file is of. A killed writer's first run of a partition looks the same, and only Dagster can tell.

    Args:
        lake: the open lake.
        older_than: the age.
        tables_compared: the tables in which Dagster was asked what is lost: of these, a partition that the catalog lacks was never stored.

    Raises:
        DamagedError: it is so.
    """
    strays = unnamed_parquet(lake, older_than=older_than)
    if not strays:
        return
    holds = f"{lake.store.data} holds {len(strays)} files that it does not name"
    files = (file for table in lake.tables() for file in current_files(lake, table))
    if absent := sorted(file.path for file in files if not file.is_there()):
        raise DamagedError(
            f"{lake.store.catalog} names {len(absent)} files that are not there: {list_some(absent)}, and {holds}: it may be the "
            "catalog of another lake, or an old one, and those files the only copy of their rows. Nothing was deleted. Put the right "
            "catalog back, or materialize the partitions of the files that are gone again"
        )
    if lacking := _partitions_lacking(lake, strays, tables_compared):
        raise DamagedError(
            f"{lake.store.catalog} lacks {count_of(len(lacking), 'partition')}, and {holds}, some of these partitions: "
            f"{list_some(lacking)}. They may be the only copy of their rows. Nothing was deleted. Put the right catalog back, or register "
            f"the files that are there: fti lake repair --lake {lake.store.root}. If killed writers left them, materialize these "
            "partitions again, or set DAGSTER_HOME to where Dagster recorded their runs, which says so"
        )


def unnamed_parquet(lake: Lake, *, older_than: timedelta = timedelta(0)) -> dict[Place, int]:
    """The Parquet files that no snapshot names and that are so old, with their bytes; the caller holds the writers' lock."""
    return _old_parquet(file_sizes(lake), older_than)


def unnamed_tables(lake: Lake) -> dict[TableName, list[float]]:
    """The tables that Parquet files which no snapshot names are of, with the times at which these were written, in seconds since 1970;
    the caller holds the writers' lock.
    """
    times: dict[TableName, list[float]] = {}
    for file in unnamed_parquet(lake):
        of = _table_and_partition(lake, file)
        if of is not None:
            times.setdefault(of[0], []).append(_written_at(file))
    return {table: times[table] for table in sorted(times, key=str)}


def delete_unnamed(lake: Lake, *, older_than: timedelta = timedelta(0), files: Collection[Place] | None = None) -> int:
    """Delete the Parquet files that no snapshot names, nor a branch reads, and that are so old. How many it was.

    The caller holds the writers' lock.

    Args:
        lake: the open lake, which was found to be whole: see ``refuse_only_copies``.
        older_than: the age.
        files: only these files.

    Raises:
        StoreError: one cannot be deleted.
    """
    count, data = 0, lake.store.real_data
    shared = {data / path for path in paths_of_branches(lake.store)}  # of a catalog that a repair has replaced
    for file in unnamed_parquet(lake, older_than=older_than):
        if file not in shared and (files is None or file in files):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{file}, which no snapshot names, cannot be deleted: {reason(error)}") from error
            count += 1
    return count


def _partitions_lacking(lake: Lake, strays: Collection[Place], tables_compared: Collection[TableName]) -> list[str]:
    """The partitions of tables that were not compared, which files are of and the catalog lacks; what windows keep is made again."""
    by_table: dict[TableName, set[str | None]] = {}
    for file in strays:
        of = _table_and_partition(lake, file)
        if of is not None and of[0] not in tables_compared:
            by_table.setdefault(of[0], set()).add(of[1])
    lacking = []
    for table, partitions in by_table.items():
        ledger = lake.ledger(table)
        if partitions == {None} and not ledger:
            lacking.append(table.full_name)
        lacking += [f"{table.full_name} {one}" for one in partitions if one is not None and one not in ledger]
    return sorted(lacking)


def _is_of(lake: Lake, file: Place, tables: Collection[TableName]) -> bool:
    of = _table_and_partition(lake, file)
    return of is not None and of[0] in tables


def _table_and_partition(lake: Lake, file: Place) -> tuple[TableName, str | None] | None:
    """What a file is of, by the folders that it is in; the partition is None for what lies beside the partitions' folders."""
    match within(file, lake.store.real_data).parts:
        case (schema, name, folder, *_) if schema not in (TILES, LEDGER):
            key = unquote(folder.removeprefix(f"{PARTITION}=")) if folder.startswith(f"{PARTITION}=") else None
            return TableName(schema, name), key
    return None


def _is_no_only_copy(lake: Lake, file: Place) -> bool:
    """Whether a file was cut off, or the current rows of its partition hold each of its rows as often as it does."""
    check_file(file, "move it away")
    with readable(file):
        if read_end(file, len(_END)) != _END:
            return True
    table, partition = _table_and_partition(lake, file) or (None, None)
    if table is None or partition is None or not lake.has(table):
        return False
    columns = lake.types(table)
    names, rows = ", ".join(map(quote, columns)), f"read_parquet({literal(str(file))}, hive_partitioning => false)"
    stored_rows = f"SELECT {names} FROM {table.sql} WHERE {in_partitions([partition])}"
    execute = lake.connection.execute
    try:
        if {name for name, *_ in execute(f"DESCRIBE FROM {rows}").fetchall()} - {PARTITION} != {*columns}:
            return False
        return not execute(f"(SELECT {names} FROM {rows}) EXCEPT ALL ({stored_rows}) LIMIT 1").fetchall()
    except duckdb.Error:  # damaged
        return False


def _written_at(file: Place) -> float:
    """When a file was begun: by its name, which a copy keeps, else by its time."""
    match = _NAME.fullmatch(file.name)
    if match is not None:
        return int(match[1] + match[2], 16) / 1000  # the first 48 bits of a UUID of version 7 are milliseconds
    with readable(file):
        return file.stat().st_mtime


def _old_parquet(sizes: FileSizes, age: timedelta) -> dict[Place, int]:
    then = time.time() - age.total_seconds()
    return {
        file: size for file, size in sizes.strays.items() if file.suffix == ".parquet" and sizes.written[file] <= then
    }
