"""The files that a table's rows are in, as the catalog names them, and what lies in their place."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Protocol

from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError
from fti_assets.stores.buckets.path import SCHEME, BucketPath
from fti_assets.stores.file_kinds import FILE, kind_of
from fti_assets.stores.files import reason
from fti_assets.stores.lake.connection import ask_catalog, own_table
from fti_assets.stores.lake.files.checksums import Checksum, is_as_written

if TYPE_CHECKING:
    import duckdb

    from fti_assets.stores.lake.folder import LakeFolder

PATH = (
    "CASE WHEN NOT f.path_is_relative THEN '' WHEN NOT t.path_is_relative THEN t.path WHEN NOT s.path_is_relative "
    "THEN s.path || t.path ELSE ?1 || s.path || t.path END || f.path"
)
"""The SQL of where a file ``f`` of a table ``t`` and its schema ``s`` lies; the first parameter is the data folder with a slash."""
TO_SCHEMA = "JOIN ducklake_table t USING (table_id) JOIN ducklake_schema s USING (schema_id)"
OF_SCHEMA = f"JOIN {own_table('schema')} s USING (schema_id)"
OF_TABLE = f"JOIN {own_table('table')} t USING (table_id) {OF_SCHEMA}"
CHECKSUMS = "fti_file_checksums"
"""The table of checksums, which the catalog of a lake that earlier code wrote lacks."""
CHECKSUM_COLUMNS = "c.end_start, c.end_crc, c.whole_crc"
WHOLE_BYTES = 256 << 20
"""Files of a table that come to more than this are compared at their ends alone where nobody says which partitions are read: it takes
a tenth of a second, and of a large table most files may not be read at all."""
_READS_AT_ONCE, _WORTH_THREADS = 8, 64 << 20
_OTHER_BYTES = "its bytes are not those that were written"
_KEYS_AT_ONCE = 1000
"""SQLite takes some ten thousand parameters; of more keys than these the files are taken out of all of the table."""


class OpenLake(Protocol):
    """A lake that is open: its connection, and where it is."""

    connection: duckdb.DuckDBPyConnection

    @property
    def store(self) -> LakeFolder: ...

    def has_checksums(self) -> bool: ...


@dataclass(frozen=True)
class CurrentFile:
    """A Parquet file, the partition that it is of, its size in bytes when it was written, whether it holds rows that are deleted, its own
    number or that of the file that they are deleted in, and its checksum if there is one."""

    number: int
    path: str
    partition: str
    size: int
    deletes: bool
    own_number: int = -1
    checksum: Checksum | None = None

    def is_there(self) -> bool:
        """Whether something is in its place."""
        if self.path.startswith(SCHEME):
            return BucketPath.of(self.path).is_file()
        return os.path.exists(self.path)

    def exists(self) -> bool:
        """Whether it is there, in the size that it was written in."""
        if self.path.startswith(SCHEME):
            try:
                return BucketPath.of(self.path).stat().st_size == self.size
            except FileNotFoundError:
                return False
        try:
            status = os.stat(self.path)
            return S_ISREG(status.st_mode) and status.st_size == self.size
        except OSError:
            return False

    def problem(self, *, whole: bool = True) -> str | None:
        """What is seen of it without reading it as Parquet: a FIFO, a device, a folder or a socket is in its place, or it has other
        bytes than were written. None if nothing is, or if nothing is there, which DuckDB says where the file is read.

        Args:
            whole: whether all bytes are compared, or those of its end.
        """
        if self.path.startswith(SCHEME):  # what an object store gives is what it was given
            return None
        try:
            if not S_ISREG(os.stat(self.path).st_mode):
                return f"{self.size} bytes were written"
            if self.checksum is None or is_as_written(self.path, self.size, self.checksum, whole=whole):
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            return None if self.checksum is None else reason(error)
        return _OTHER_BYTES


def current_files(
    lake: OpenLake, table: TableName, *, snapshot: int | None = None, partitions: Collection[str] | None = None
) -> list[CurrentFile]:
    """The files of a table, or of some partitions of it, as it is now, or was at a snapshot; those of deleted rows have the partition
    and the number of the file that they are of."""

    def is_read(what: str) -> str:
        if snapshot is None:
            return f"{what}.end_snapshot IS NULL"
        return f"{what}.begin_snapshot <= {int(snapshot)} AND coalesce({what}.end_snapshot > {int(snapshot)}, true)"

    mine = f"{is_read('f')} AND {is_read('t')} AND s.schema_name = ?2 AND t.table_name = ?3"
    selection = None if partitions is None else set(partitions)
    keys: list[str] = []
    if selection is not None and len(selection) <= _KEYS_AT_ONCE:
        keys = sorted(selection)
        places = ", ".join(f"?{number}" for number in range(4, 4 + len(keys)))
        mine += f" AND p.partition_value IN ({places})" if keys else " AND 1 = 0"  # Postgres takes no empty list

    def of(name: str, own_number: str, deletes: int) -> str:
        return (
            f"SELECT data_file_id, {PATH} AS place, p.partition_value, f.file_size_bytes, {deletes} AS deletes, "
            f"{own_number} AS own_number, "
            f"{CHECKSUM_COLUMNS} FROM {name} f {TO_SCHEMA} JOIN ducklake_file_partition_value p USING (data_file_id) "
            f"{to_checksum(lake, own_number)} WHERE p.partition_key_index = 0 AND {mine}"
        )

    rows = ask_catalog(
        lake,
        f"{of('ducklake_data_file', 'data_file_id', 0)} UNION ALL {of('ducklake_delete_file', 'f.delete_file_id', 1)} "
        "ORDER BY 1, 2, 3, 4, 5",
        [f"{lake.store.data}/", table.schema, table.name, *keys],
    )
    files = [
        CurrentFile(
            int(str(number)),
            str(path),
            str(partition),
            int(str(size)),
            deletes == "1",
            int(str(own)),
            checksum_in(*sums),
        )
        for number, path, partition, size, deletes, own, *sums in rows
    ]
    return files if selection is None else [file for file in files if file.partition in selection]


def to_checksum(lake: OpenLake, own_number: str) -> str:
    """The SQL that joins files ``f`` to their checksums, ``CHECKSUM_COLUMNS``; of a catalog without any, to none."""
    of = (
        CHECKSUMS
        if lake.has_checksums()
        else "(SELECT 0 AS file_id, 0 AS end_start, 0 AS end_crc, 0 AS whole_crc LIMIT 0)"
    )
    return f"LEFT JOIN {of} c ON c.file_id = {own_number}"


def checksum_in(start: str | None, end: str | None, whole: str | None) -> Checksum | None:
    """A checksum of what SQLite says of it."""
    return None if start is None else Checksum(int(start), int(str(end)), int(str(whole)))


def damaged_files(
    lake: OpenLake,
    table: TableName,
    partitions: Collection[str] | None = None,
    *,
    snapshot: int | None = None,
) -> list[CurrentFile]:
    """The files of a table that are damaged as far as is seen without reading them as Parquet.

    DuckDB would wait for a FIFO, and read a device, without end; of other bytes it could give other rows, or none, or end the process.
    Of a large table, ends alone are compared unless partitions are named: they tell DuckDB where things are and what it may leave out.

    Args:
        lake: the open lake.
        table: a table.
        partitions: those that are read, whose files are compared whole; all by default.
        snapshot: the snapshot that is read; the newest by default.
    """
    return [file for file, _ in _problems(lake, table, partitions, snapshot)]


def _problems(
    lake: OpenLake,
    table: TableName,
    partitions: Collection[str] | None,
    snapshot: int | None,
    *,
    missing: bool = False,
    whole: bool = False,
) -> list[tuple[CurrentFile, str]]:
    files = current_files(lake, table, snapshot=snapshot, partitions=partitions)
    size = sum(file.size for file in files)
    whole = whole or partitions is not None or size <= WHOLE_BYTES

    def problem(file: CurrentFile) -> str | None:
        if missing and not file.exists():
            return f"{file.size} bytes were written"
        return file.problem(whole=whole)

    if whole and size >= _WORTH_THREADS and len(files) > 1:
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            problems = list(pool.map(problem, files))
    else:
        problems = list(map(problem, files))
    return [(file, text) for file, text in zip(files, problems, strict=True) if text is not None]


def refuse_damaged_files(
    lake: OpenLake,
    table: TableName,
    partitions: Collection[str] | None = None,
    *,
    snapshot: int | None = None,
) -> None:
    """Refuse to read a table, or some partitions of it, where a file is damaged; the arguments are those of ``damaged_files``.

    Raises:
        DamagedError: one is.
    """
    for file, problem in _problems(lake, table, partitions, snapshot):
        raise damage_of(table, file, problem)


def refuse_damaged_or_missing(
    lake: OpenLake, table: TableName, partitions: Collection[str] | None, *, snapshot: int, whole: bool
) -> None:
    """Refuse files that are damaged, gone, or of another size than they were written in.

    Raises:
        DamagedError: one is.
    """
    for file, problem in _problems(lake, table, partitions, snapshot, missing=True, whole=whole):
        raise damage_of(table, file, problem)


def damage_of(table: TableName, file: CurrentFile, message: str) -> DamagedError:
    """The error that names a file, its partition, what is wrong with it and what to do."""
    try:
        place = BucketPath.of(file.path) if file.path.startswith(SCHEME) else Path(file.path)
        kind = kind_of(place)
    except OSError:
        kind = FILE
    what = {FILE: "is damaged", None: "is not there"}.get(kind, f"is {kind} where a file belongs")
    return DamagedError(
        f"{file.path}, of partition {file.partition!r} of {table.full_name}, {what}: {message}. Put it back from a copy, or materialize "
        "that partition again, which needs none of its old bytes"
    )


def rows_in_files(lake: OpenLake, table: TableName, partitions: Collection[str]) -> int:
    """How many rows the files of some partitions of a table have by the catalog, without those that are deleted."""

    def of(name: str, count: str) -> str:
        return (
            f"SELECT p.partition_value, {count} FROM {name} f {TO_SCHEMA} JOIN ducklake_file_partition_value p USING (data_file_id) "
            "WHERE p.partition_key_index = 0 AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL AND s.schema_name = ?1 "
            "AND t.table_name = ?2"
        )

    counts = ask_catalog(
        lake,
        f"{of('ducklake_data_file', 'f.record_count')} UNION ALL {of('ducklake_delete_file', '-f.delete_count')}",
        [table.schema, table.name],
    )
    return sum(int(str(count)) for partition, count in counts if partition in partitions)
