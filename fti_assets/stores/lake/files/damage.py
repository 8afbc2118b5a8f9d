"""Parquet files of the lake that are gone or damaged: named in the error, and given up when their partition is replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb

from fti_assets.core.names import PARTITION, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import literal
from fti_assets.errors import DamagedError, FtiError, StoreError
from fti_assets.stores.duckdb.file_damage import OF_WRITING, first_line, is_of_files, problem_of
from fti_assets.stores.lake.catalog import end_files
from fti_assets.stores.lake.files.current_files import CurrentFile, current_files, damage_of, damaged_files
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.sources.damage import damage_of_source

T = TypeVar("T")


def unreadable_files(
    lake: LakeReader, table: TableName, partitions: Collection[str] | None = None
) -> list[CurrentFile]:
    """The files of a table, or of some partitions of it, that are gone, of another size than they were written in, or damaged."""
    with lake.connection.cursor() as cursor:  # its own transaction: a damaged file would end that of the lake
        apart = lake.on(cursor)
        files = current_files(apart, table, partitions=partitions)
        return [file for file in files if not is_readable(apart, file)]


def unreadable_partitions(lake: LakeReader, table: TableName) -> list[str]:
    """The partitions of a table of which a file cannot be read."""
    return sorted({file.partition for file in unreadable_files(lake, table)})


def without_unreadable(lake: LakeReader, table: TableName, ask: Callable[[Sequence[str]], T]) -> T:
    """Ask about a table's rows as of one snapshot, and if some partitions cannot be read, again without these, which ``ask`` is given."""
    try:
        with lake.one_snapshot():
            if not damaged_files(lake, table):
                return ask(())
            return ask(unreadable_partitions(lake, table))
    except duckdb.Error:
        unreadable = unreadable_partitions(lake, table)
        if not unreadable:
            raise
        lake.begin_again()
        with lake.one_snapshot():
            return ask(unreadable)


def partitions_with_other_rows(lake: LakeReader, table: TableName) -> list[str]:
    """The partitions of a table that can be read and do not hold as many rows as were committed."""
    records = lake.ledger(table)

    def ask(unreadable: Sequence[str]) -> list[str]:
        return with_other_rows(lake, table, {key: one for key, one in records.items() if key not in unreadable})

    return without_unreadable(lake, table, ask)


def with_other_rows(lake: LakeReader, table: TableName, records: Mapping[str, PartitionRecord]) -> list[str]:
    """The partitions that do not hold as many rows as was committed: of flipped bytes, or another file in the place of theirs."""
    if not records:
        return []
    counts = dict(
        lake.connection.execute(
            f"SELECT {PARTITION}, count(*) FROM {table.sql} WHERE {in_partitions(list(records))} GROUP BY 1"
        ).fetchall()
    )
    return [key for key, record in records.items() if counts.get(key, 0) != record.rows]


def give_up(lake: LakeReader, table: TableName, partitions: Sequence[str], *, until: int) -> None:
    """Take the files that some partitions had until a snapshot out of the newest one, without reading them. Old snapshots keep them.

    The caller holds the writers' lock and has written the partitions again: were it killed before this, their damage would still be
    told, where rows that are gone would not be missed.
    """
    end_files(
        lake,
        table,
        partitions,
        until=until,
        message=f"give up {len(partitions)} partitions of {table.full_name} whose files cannot be read",
    )


@contextmanager
def damage_errors(lake: LakeReader) -> Iterator[None]:
    """Name the file, its partition and what to do where DuckDB cannot read one of the lake's.

    Raises:
        DamagedError: a file is missing or damaged.
        StoreError: the disk is full, or cannot be written.
    """
    try:
        yield
    except (duckdb.Error, FtiError) as error:
        of_library = (error.__cause__ or error.__context__) if isinstance(error, FtiError) else error
        trouble = lake.store.trouble(of_library) if isinstance(of_library, duckdb.Error) else None
        if trouble is not None and trouble in str(error):
            raise
        if trouble is not None:
            raise StoreError(
                f"the offline store at {lake.store.root} cannot be used: {trouble}. What is committed is whole; do it again then"
            ) from error
        if isinstance(error, duckdb.Error) and _cannot_write(lake, str(error)):
            raise StoreError(
                f"the offline store at {lake.store.root} cannot be used: {first_line(str(error))}. "
                "What is committed is whole; make room, or "
                "the folder writable, and do it again"
            ) from error
        cause = error.__cause__ if isinstance(error, FtiError) and not isinstance(error, DamagedError) else error
        if isinstance(cause, duckdb.Error) and (problem := _damage(lake, cause)) is not None:
            raise problem from error
        raise


def _damage(lake: LakeReader, error: duckdb.Error) -> DamagedError | None:
    message = str(error)
    if not is_of_files(error):
        return None
    root = str(lake.store.data)
    try:
        with lake.connection.cursor() as cursor:  # its own transaction: that of the lake may have failed
            apart = lake.on(cursor)
            files = [
                (table, file) for table in [*apart.tables(), *apart.tiles()] for file in current_files(apart, table)
            ]
            matches = [(table, file) for table, file in files if Path(file.path).name in message]
            if not matches and (outside := _damage_outside(lake, error)) is not None:
                return outside
            result = matches or [(table, file) for table, file in files if not is_readable(apart, file)]
    except duckdb.Error:  # of a lake that cannot be used at all
        return None
    if not result:
        if root not in message:
            return None
        return DamagedError(
            f"a file that an old snapshot of {lake.store.root} names cannot be read: {first_line(message)}. Put it back from a copy, "
            "or read a newer snapshot"
        )
    return damage_of(*result[0], first_line(message))


def _damage_outside(lake: LakeReader, error: duckdb.Error) -> DamagedError | None:
    """The damage of a table that another system keeps and that the lake gives."""
    errors = (damage_of_source(source, error) for source in lake.outside_sources())
    return next((one for one in errors if one is not None), None)


def _cannot_write(lake: LakeReader, message: str) -> bool:
    """Whether it is the lake that cannot be written, and not a file of the user's own."""
    of_catalog = ("disk i/o error", "disk is full")
    of_files = any(word in message.lower() for word in OF_WRITING) and str(lake.store.data.parent) in message
    return of_files or any(word in message.lower() for word in of_catalog)


def is_readable(lake: LakeReader, file: CurrentFile) -> bool:
    """Whether every value of a file can be read; of its own bytes, that is known."""
    if not file.exists() or file.problem() is not None:
        return False
    if file.checksum is not None:
        return True
    return problem_of(lake.connection, f"read_parquet({literal(file.path)}, hive_partitioning => false)") is None
