"""The table of checksums in the lake's catalog, beside DuckLake's own: of each file the one that it was written with.

It is written right after the commit that made the files, under its lock: a file of a writer that was killed in between has none, nor
has one of a lake that earlier code wrote. Such a file is read as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

import duckdb

from fti_assets.core.names import TableName
from fti_assets.core.sql import literal
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.lake.connection import CATALOG, ask_catalog, own_table
from fti_assets.stores.lake.files.checksums import SMALL_BYTES, checksum_of
from fti_assets.stores.lake.files.current_files import CHECKSUMS, PATH, TO_SCHEMA, OpenLake, current_files

_log = logging.getLogger(__name__)
_SQL = f"{CATALOG}.{CHECKSUMS}"


def record_checksums(lake: OpenLake, *, after: int) -> None:
    """Write down the checksums of the files that commits after a snapshot have made; the caller holds the writers' lock.

    It comes after the commit, so it raises nothing: what it does not get done, ``fti lake check --contents`` does. An object store keeps
    checksums of its own, and to read the files back would cost what writing them did.
    """
    if isinstance(lake.store.data, BucketPath):
        return
    newer = "(SELECT next_file_id FROM ducklake_snapshot WHERE snapshot_id = ?2)"
    try:
        with _one_transaction(lake.connection):
            rows = ask_catalog(
                lake,
                f"SELECT f.data_file_id, {PATH}, f.file_size_bytes FROM ducklake_data_file f {TO_SCHEMA} WHERE f.data_file_id >= {newer} "
                f"UNION ALL SELECT f.delete_file_id, {PATH}, f.file_size_bytes FROM ducklake_delete_file f {TO_SCHEMA} "
                f"WHERE f.delete_file_id >= {newer}",
                [f"{lake.store.data}/", int(after)],
            )
            _record(lake, {int(str(number)): (str(path), int(str(size))) for number, path, size in rows})
    except (duckdb.Error, OSError) as error:
        _log.warning(
            "the checksums of the newest files of %s are not recorded, so damage of them is not seen when they are read: %s. "
            "fti lake check --contents records them",
            lake.store.root,
            error,
        )


def record_lacking(lake: OpenLake, table: TableName, partitions: Collection[str], *, snapshot: int) -> int:
    """Write down the checksums that files of some partitions lack, as the files are; the caller holds the writers' lock.

    Args:
        lake: the open lake.
        table: a table.
        partitions: those whose rows were found to be what was committed.
        snapshot: the snapshot at which they were.
    """
    files = [
        file
        for file in current_files(lake, table, snapshot=snapshot, partitions=partitions)
        if file.checksum is None and file.exists()
    ]
    _record(lake, {file.number: (file.path, file.size) for file in files})
    return len(files)


def delete_dead_checksums(lake: OpenLake) -> None:
    """Delete the checksums of files that the catalog does not know any more; the caller holds the writers' lock."""
    if lake.has_checksums():
        lake.connection.execute(
            f"DELETE FROM {_SQL} WHERE file_id NOT IN (SELECT data_file_id FROM {own_table('data_file')} "
            f"UNION ALL SELECT delete_file_id FROM {own_table('delete_file')})"
        )


@contextmanager
def _one_transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """What a block asks and writes in one transaction, which costs less than one for each."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # it would hide the cause
            connection.execute("ROLLBACK")
        raise


def _record(lake: OpenLake, files: Mapping[int, tuple[str, int]]) -> None:
    if not files:
        return
    filters = _bloom_filters(lake, [path for path, size in files.values() if size > SMALL_BYTES])
    sums = {number: checksum_of(path, filters.get(path)) for number, (path, _) in files.items()}
    if not lake.has_checksums():
        lake.connection.execute(
            f"CREATE TABLE IF NOT EXISTS {_SQL} (file_id BIGINT PRIMARY KEY, end_start BIGINT, end_crc BIGINT, whole_crc BIGINT)"
        )
    lake.connection.execute(
        f"INSERT INTO {_SQL} SELECT unnest($1), unnest($2), unnest($3), unnest($4)",
        [
            list(sums),
            [one.start for one in sums.values()],
            [one.end for one in sums.values()],
            [one.whole for one in sums.values()],
        ],
    )


def _bloom_filters(lake: OpenLake, paths: Collection[str]) -> dict[str, int]:
    """Where the first Bloom filter of each of these files begins; DuckDB writes them behind all pages."""
    if not paths:
        return {}
    return dict(
        lake.connection.execute(
            f"SELECT file_name, min(bloom_filter_offset) FROM parquet_metadata([{', '.join(map(literal, paths))}]) "
            "GROUP BY 1 HAVING min(bloom_filter_offset) IS NOT NULL"
        ).fetchall()
    )
