"""The files that a table's rows are in, as the catalog names them, and what lies in their place."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Protocol

from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError
from fti_assets.stores.file_kinds import FILE, kind_of
from fti_assets.stores.lake.connection import ask_catalog, own_table

if TYPE_CHECKING:
    import duckdb

    from fti_assets.stores.lake.folder import LakeFolder

PATH = (
    "CASE WHEN f.path_is_relative = 0 THEN '' WHEN t.path_is_relative = 0 THEN t.path WHEN s.path_is_relative = 0 "
    "THEN s.path || t.path ELSE ?1 || s.path || t.path END || f.path"
)
"""The SQL of where a file ``f`` of a table ``t`` and its schema ``s`` lies; the first parameter is the data folder with a slash."""
TO_SCHEMA = "JOIN ducklake_table t USING (table_id) JOIN ducklake_schema s USING (schema_id)"
OF_SCHEMA = f"JOIN {own_table('schema')} s USING (schema_id)"
OF_TABLE = f"JOIN {own_table('table')} t USING (table_id) {OF_SCHEMA}"
_KEYS_AT_ONCE = 1000
"""SQLite takes some ten thousand parameters; of more keys than these the files are taken out of all of the table."""


class OpenLake(Protocol):
    """A lake that is open: its connection, and where it is."""

    connection: duckdb.DuckDBPyConnection

    @property
    def store(self) -> LakeFolder: ...


@dataclass(frozen=True)
class CurrentFile:
    """A file that a table's rows are in now, or that says which of them are deleted."""

    number: int
    path: str
    partition: str
    size: int
    deletes: bool

    def exists(self) -> bool:
        """Whether it is there, in the size that it was written in."""
        try:
            status = os.stat(self.path)
            return S_ISREG(status.st_mode) and status.st_size == self.size
        except OSError:
            return False

    def is_no_file(self) -> bool:
        """Whether a FIFO, a device, a folder or a socket is in its place; not if nothing is."""
        try:
            return not S_ISREG(os.stat(self.path).st_mode)
        except OSError:
            return False


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
    chosen = None if partitions is None else set(partitions)
    keys: list[str] = []
    if chosen is not None and len(chosen) <= _KEYS_AT_ONCE:
        keys = sorted(chosen)
        mine += f" AND p.partition_value IN ({', '.join(f'?{number}' for number in range(4, 4 + len(keys)))})"
    joined = f"{TO_SCHEMA} JOIN ducklake_file_partition_value p USING (data_file_id) WHERE p.partition_key_index = 0 AND {mine}"
    selected = f"SELECT data_file_id, {PATH}, p.partition_value, f.file_size_bytes"
    rows = ask_catalog(
        lake.connection,
        f"{selected}, 0 FROM ducklake_data_file f {joined} UNION ALL {selected}, 1 FROM ducklake_delete_file f {joined} "
        "ORDER BY 1, 2, 3, 4, 5",
        [f"{lake.store.root / 'data'}/", table.schema, table.name, *keys],
    )
    files = [
        CurrentFile(int(str(number)), str(path), str(partition), int(str(size)), deletes == "1")
        for number, path, partition, size, deletes in rows
    ]
    return files if chosen is None else [file for file in files if file.partition in chosen]


def not_files(
    lake: OpenLake, table: TableName, partitions: Collection[str] | None = None, *, snapshot: int | None = None
) -> list[CurrentFile]:
    """The files of a table in whose place is something else: DuckDB would wait for a FIFO, and read a device, without end."""
    return [file for file in current_files(lake, table, snapshot=snapshot, partitions=partitions) if file.is_no_file()]


def refuse_not_files(
    lake: OpenLake, table: TableName, partitions: Collection[str] | None = None, *, snapshot: int | None = None
) -> None:
    """Refuse to read a table, or some partitions of it, where something else is in place of a file.

    Raises:
        DamagedError: something is.
    """
    for file in not_files(lake, table, partitions, snapshot=snapshot):
        raise damage_of(table, file, f"{file.size} bytes were written")


def damage_of(table: TableName, file: CurrentFile, message: str) -> DamagedError:
    """The error that names a file, its partition, what is wrong with it and what to do."""
    try:
        kind = kind_of(Path(file.path))
    except OSError:
        kind = FILE
    what = {FILE: "is damaged", None: "is not there"}.get(kind, f"is {kind} where a file belongs")
    return DamagedError(
        f"{file.path}, of partition {file.partition!r} of {table.full_name}, {what}: {message}. Put it back from a copy, or materialize "
        "that partition again, which needs none of its old bytes"
    )
