"""Taking rows out of the lake, at every snapshot, so that no file is left that holds them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import PARTITION, Commit, PartitionRecord, TableName
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DamagedError, list_some
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import files_under
from fti_assets.stores.lake.catalog import data_files, narrow_bounds
from fti_assets.stores.lake.files.damage import with_other_rows
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.staged_contents import contents_of, keep_earlier_hashes
from fti_assets.stores.lake.upkeep.expiry import delete_spilled, delete_unneeded, expire
from fti_assets.stores.lake.upkeep.occurrences import REMEDY, files_answer, is_readable_as_written
from fti_assets.stores.lake.upkeep.unnamed_files import delete_unnamed, file_sizes, tables_in
from fti_assets.stores.places import Place, real_place, within


@dataclass(frozen=True)
class ExpiryReport:
    """What expiring snapshots for good did, and what a search of all files found afterwards."""

    deleted: int
    """Files that no snapshot needs any more."""
    unnamed: int
    """Files of killed writers, which no snapshot named."""
    folder: str
    """The folder whose files were searched."""
    searched: int
    beside: tuple[str, ...]
    """The files of the lake beside that folder, which were not."""
    holding: tuple[str, ...]
    """The files that hold the rows still."""
    unreadable: tuple[str, ...]
    """The files that could not be searched."""


def take_out(
    lake: Lake,
    table: TableName,
    predicate: str,
    *,
    message: str,
    extra: Mapping[str, object],
    record: Callable[[PartitionRecord, Mapping[str, int]], str] = lambda old, splits: old.record,
    split: str | None = None,
) -> Commit | None:
    """Take the rows that a predicate finds out of every partition, in one transaction; None if no current file has them.

    Their partitions are written again without them, so that no current file holds them, and the ledger says their new data
    versions and row counts; who made them, and when, stays. A row that was deleted by a row-level change is still in its
    file: that partition is written again too, and keeps its data version.

    Args:
        lake: an open connection to the offline store.
        table: the table.
        predicate: what finds the rows.
        message: the commit's message.
        extra: what else the commit says.
        record: gives a partition's JSON, from what it was and the number of rows of each split.
        split: the column that names a row's split.

    Raises:
        StoreError: the commit failed; the rows are still there.
    """
    execute, staging = lake.connection.execute, "__fti_left"
    with lake.store.lock():
        current = [file for file in data_files(lake, table) if file.end is None]
        partitions = sorted(files_answer(lake, table, current, f"SELECT DISTINCT {PARTITION}", predicate))
        if not partitions:
            return None
        old = lake.ledger(table, partitions=partitions)
        execute(
            f"CREATE OR REPLACE TEMP TABLE {quote(staging)} AS SELECT * FROM {table.sql} "
            f"WHERE {PARTITION} IN (SELECT unnest(?)) AND ({predicate}) IS NOT TRUE",
            [partitions],
        )
        _refuse_other_rows(lake, table, old)
        contents, splits = contents_of(lake, staging, partitions), _splits(lake, staging, split)
        keep_earlier_hashes(lake, staging, contents, old)
        changes = tuple(partition for partition in partitions if contents[partition][0] != old[partition].data_version)
        records = [
            replace(
                old[partition],
                data_version=contents[partition][0],
                rows=contents[partition][1],
                committed_at=clock.now() if partition in changes else old[partition].committed_at,
                record=record(old[partition], splits.get(partition, {})),
            )
            for partition in partitions
        ]
        try:
            commit = lake.write(table, staging, partitions, records, old=old, message=message, extra=extra)
            return replace(commit, changed=changes)
        finally:
            execute(f"DROP TABLE {quote(staging)}")


def expire_snapshots(lake: Lake, versions: Sequence[int], predicates: Mapping[TableName, str]) -> ExpiryReport:
    """Expire some snapshots for good: delete their files at once, those of killed writers, and what the catalog knew of them.

    Then every file that is left is searched for the rows.

    Args:
        lake: an open connection to the offline store.
        versions: the snapshots.
        predicates: what finds the rows in each table.

    Raises:
        StoreError: the catalog is read all the time; everything else is done.
    """
    with lake.store.lock():
        expire(lake, list(versions))
        deletions = delete_unneeded(lake)
        strays = delete_unnamed(lake)  # whoever made them is dead, since we have the writers' lock
        delete_spilled(Path(tempfile.gettempdir()), untouched_for=timedelta(0))
        for table in predicates:
            narrow_bounds(lake, table)
        lake.store.overwrite_deleted()
        count, holding, unreadable = 0, [], []
        # Of other bytes than were written, DuckDB could leave the rows out, or end the process.
        root = lake.store.data
        damage = {
            file.path if isinstance(root, BucketPath) else os.path.realpath(file.path)
            for table in tables_in(root)
            for file in data_files(lake, table)
            if not is_readable_as_written(file)
        }
        for file in sorted(files_under(root), key=str):
            if file.name.endswith("-delete.parquet"):  # it holds positions of rows, and no values
                continue
            count += 1
            where = within(file, root).parts
            predicate = predicates.get(TableName(where[0], where[1])) if len(where) > 2 else None
            if file.suffix != ".parquet" or str(real_place(file)) in damage:
                unreadable.append(str(file))
            elif predicate is not None:
                try:
                    holding += [str(file)] if _holds(lake, file, predicate) else []
                except (duckdb.Error, DamagedError):
                    unreadable.append(str(file))
        folder, beside = str(root), tuple(_files_beside(lake))
    return ExpiryReport(deletions, strays, folder, count, beside, tuple(holding), tuple(unreadable))


def _files_beside(lake: Lake) -> list[str]:
    """The files of a lake that are none of its own: neither data, nor the catalog and lock, nor rows that were kept aside."""
    folder = lake.store.data.parent
    return sorted(
        str(file)
        for file in files_under(folder)
        if within(file, folder).parts[0] != lake.store.data.name
        and not (file.parent == folder and file.name.startswith(lake.store.own_files))
        and not (within(file, folder).parts[0] == lake.store.rejected.name and file.suffix in (".jsonl", ".tmp"))
    )


def unnamed_files_holding(lake: Lake, predicates: Mapping[TableName, str]) -> list[str]:
    """The files of killed writers, which no snapshot names, that hold the rows which a predicate finds in their table.

    In a folder that cannot be written, where there is no lock, those of a writer at work count as well.
    """
    results = []
    with lake.store.lock_if_writable():
        for file in sorted(file_sizes(lake).strays, key=str):
            predicate = predicates.get(TableName(*file.parts[-4:-2])) if len(file.parts) > 3 else None
            if predicate is not None and file.suffix == ".parquet":
                with suppress(duckdb.Error, DamagedError):  # half written: it goes with the others
                    results += [str(file)] if _holds(lake, file, predicate) else []
    return results


def _holds(lake: Lake, file: Place, predicate: str) -> bool:
    """Whether a row of a file is found by a predicate; not if it lacks the columns."""
    check_file(file, REMEDY)
    try:
        rows = f"read_parquet({literal(str(file))}, hive_partitioning => false)"
        return bool(lake.connection.execute(f"SELECT 1 FROM {rows} WHERE {predicate} LIMIT 1").fetchall())
    except duckdb.BinderException:
        return False


def _splits(lake: Lake, staging: str, split: str | None) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    if split is not None:
        rows = lake.connection.execute(
            f"SELECT {PARTITION}, {quote(split)}, count(*) FROM {quote(staging)} GROUP BY ALL"
        ).fetchall()
        for partition, part, number in rows:
            counts.setdefault(partition, {})[part] = int(number)
    return counts


def _refuse_other_rows(lake: Lake, table: TableName, records: Mapping[str, PartitionRecord]) -> None:
    """Refuse partitions whose files do not hold as many rows as were committed: what they lack would be lost with the old files.

    Raises:
        DamagedError: it names them.
    """
    other = with_other_rows(lake, table, records)
    if other:
        raise DamagedError(
            f"{table.full_name} {list_some(other)} does not hold the rows that were committed: a file of it was changed, or another one "
            "put in its place. Materialize it again, then forget"
        )
