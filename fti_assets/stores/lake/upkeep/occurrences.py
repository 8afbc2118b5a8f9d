"""Where rows are in the lake, at every snapshot.

A row is found by a predicate over the columns of its table. Files are read themselves, each once, since one file belongs to
many snapshots: that says which snapshots hold a row without reading the lake at each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from fti_assets.core.names import DATASETS, FEATURES, PARTITION, PREDICTIONS, TableName, in_partitions
from fti_assets.core.sql import literal, quote, temporary_name
from fti_assets.errors import DamagedError, DataError, StoreError, list_some
from fti_assets.stores.duckdb.nul_texts import compared_with
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.lake.catalog import DataFile, data_files, snapshots, tables_at_any_snapshot
from fti_assets.stores.lake.files.checksums import is_as_written
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tiles import tiles_of

_FILE, REMEDY = "__fti_file", "put it back from a copy, or remove it"


@dataclass(frozen=True)
class Occurrences:
    """Where a table holds some rows: now, by partition, and at which of the snapshots that can be read."""

    table: TableName
    rows: Mapping[str, int]
    snapshots: frozenset[int]


@dataclass(frozen=True)
class RowTiles:
    """A table of tiles that holds what some rows came to, whether it is there now, and at which snapshots it holds that."""

    table: TableName
    current: bool
    snapshots: frozenset[int]


def tables_with_files(lake: Lake) -> list[TableName]:
    """Every table of features, datasets and predictions, those included that were dropped and that old snapshots have still."""
    current = lake.tables()
    schemas = dict.fromkeys([FEATURES, DATASETS, PREDICTIONS, *(table.schema for table in current)])
    old = [table for schema in schemas for table in tables_at_any_snapshot(lake, schema) if table not in current]
    return [*current, *(table for table in old if data_files(lake, table))]


def columns_of(lake: Lake, table: TableName) -> dict[str, str]:
    """Column names and DuckDB types of a table, without ``_partition``; of one that was dropped, those of its files."""
    with lake.one_snapshot():  # whose tables and types are read once, however often they are asked for
        if lake.has(table):
            return lake.types(table)
    paths = _paths(data_files(lake, table))
    if not paths:
        return {}
    files = f"read_parquet([{paths}], union_by_name => true, hive_partitioning => false)"
    columns = lake.connection.execute(f"DESCRIBE FROM {files}").fetchall()
    return {name: kind for name, kind, *_ in columns if name != PARTITION}


def equals(lake: Lake, table: TableName, values: Mapping[str, str]) -> str:
    """A predicate: each column holds a value, written as text.

    Raises:
        StoreError: the table has no such column.
        DataError: the text is no value of the column's type.
    """
    types, parts = columns_of(lake, table), []
    for column, text in values.items():
        if column not in types:
            raise StoreError(f"{table.full_name} has no column {column!r}: it has {list_some(types, limit=50)}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{column} of {table.full_name} cannot be {text!r:.200}, which is not valid Unicode"
            ) from error
        castable = lake.connection.execute(f"SELECT TRY_CAST(? AS {types[column]}) IS NOT NULL", [text]).fetchall()[0][
            0
        ]
        if not castable:
            raise DataError(f"{column} of {table.full_name} is {types[column]}, which {text!r} is not")
        parts.append(f"{compared_with(text, quote(column))} = CAST({literal(text)} AS {types[column]})")
    return " AND ".join(parts)


def match_sql(columns: Sequence[str], relation: str) -> str:
    """A predicate: the columns hold one of the tuples of a temporary table."""
    # As structs, of one column too: a scan does not take these in, which a NUL in a value would break. Fields have names, since DuckDB
    # takes a row of one column for the column itself, and refuses to compare it with rows.
    fields = ", ".join(f"c{place} := {quote(column)}" for place, column in enumerate(columns))
    return f"struct_pack({fields}) IN (SELECT struct_pack({fields}) FROM {relation})"


def tuples(lake: Lake, table: TableName, predicate: str, columns: Sequence[str]) -> str:
    """The tuples of some columns in all rows that a predicate finds, at any snapshot, as a temporary table."""
    name = quote(temporary_name("found"))
    names = ", ".join(quote(column) for column in columns)
    refuse_damaged_files(lake, table)
    types, current = columns_of(lake, table), lake.has(table)
    nothing = ", ".join(f"NULL::{types[column]} AS {quote(column)}" for column in columns)
    rows = f"SELECT DISTINCT {names} FROM {table.sql} WHERE {predicate}" if current else f"SELECT {nothing} LIMIT 0"
    lake.connection.execute(f"CREATE TEMP TABLE {name} AS {rows}")
    files_answer(lake, table, data_files(lake, table), f"INSERT INTO {name} SELECT DISTINCT {names}", predicate)
    return name


def find(lake: Lake, table: TableName, predicate: str) -> Occurrences:
    """Where a table holds the rows that a predicate finds."""
    rows = []
    if lake.has(table):
        refuse_damaged_files(lake, table)
        rows = lake.connection.execute(
            f"SELECT {PARTITION}, count(*) FROM {table.sql} WHERE {predicate} GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return Occurrences(
        table,
        {partition: int(number) for partition, number in rows},
        _read_by(lake, _files_with(lake, table, [predicate])),
    )


def find_tiles(lake: Lake, source: TableName, predicate: str) -> list[RowTiles]:
    """The tables of tiles that hold what the rows which a predicate finds in their source came to.

    These are the tiles of all partitions that ever held such a row, unless they were made anew of what the source holds now without it,
    and those that hold the predicate's columns themselves: a tile may be of rows that the source has at no snapshot any more.
    """
    tables = tiles_of(lake, source)
    if not tables:
        return []
    of_source = data_files(lake, source)
    ever = set(files_answer(lake, source, of_source, f"SELECT DISTINCT {PARTITION}", predicate))
    current = [file for file in of_source if file.end is None]
    now = set(files_answer(lake, source, current, f"SELECT DISTINCT {PARTITION}", predicate))
    versions = {partition: record.data_version for partition, record in lake.ledger(source).items()}
    results = []
    for table in tables:
        ledger = lake.ledger(table)
        made_of = {key: json.loads(record.record).get("version") for key, record in ledger.items()}
        # A tile that was made of the rows without the key holds nothing of it.
        anew = {key for key in ever - now if key in made_of and made_of[key] == versions.get(key)}
        then, still = ([in_partitions(keys), predicate] for keys in (ever, ever - anew))
        files = [file for file in _files_with(lake, table, then) if file.end is not None]
        files += [file for file in _files_with(lake, table, still) if file.end is None]
        if files:
            is_current = any(file.end is None for file in files)
            results.append(RowTiles(table, is_current, _read_by(lake, files)))
    return results


def _files_with(lake: Lake, table: TableName, predicates: Sequence[str]) -> list[DataFile]:
    """The files of a table in which one of some predicates finds a row."""
    files = data_files(lake, table)
    paths = {
        path
        for predicate in predicates
        for path in files_answer(lake, table, files, f"SELECT DISTINCT {_FILE}", predicate)
    }
    return [file for file in files if file.path in paths]


def _read_by(lake: Lake, files: Sequence[DataFile]) -> frozenset[int]:
    """The snapshots that read one of some files."""
    return frozenset(
        version
        for version in snapshots(lake)
        if any(file.first <= version and (file.end is None or version < file.end) for file in files)
    )


def _paths(files: Sequence[DataFile]) -> str:
    """Paths of files as SQL.

    Raises:
        DamagedError: one has other bytes than were written, or a FIFO, or anything else that is no file, is in its place.
    """
    for file in files:
        check_file(Path(file.path), REMEDY)
        if not is_readable_as_written(file):
            raise DamagedError(
                f"{file.path} is damaged: its bytes are not those that were written. Put it back from a copy, or "
                + ("materialize its partition again" if file.end is None else "expire the old snapshots that read it")
            )
    return ", ".join(literal(file.path) for file in files)


def is_readable_as_written(file: DataFile) -> bool:
    """Whether a file has the bytes that were written, as far as is known; of one that is not there DuckDB says so."""
    try:
        return file.checksum is None or is_as_written(file.path, file.size, file.checksum, whole=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def files_answer(lake: Lake, table: TableName, of_table: Sequence[DataFile], select: str, predicate: str) -> list[str]:
    """Ask some files of a table, rows that are deleted in them too; nothing if none has the columns, as of an earlier table."""
    paths = _paths(of_table)
    if not paths:
        return []
    files = f"read_parquet([{paths}], union_by_name => true, hive_partitioning => false, filename => '{_FILE}')"
    try:
        return [
            str(first) for first, *_ in lake.connection.execute(f"{select} FROM {files} WHERE {predicate}").fetchall()
        ]
    except duckdb.BinderException:
        return []
    except duckdb.Error as error:
        raise StoreError(f"the files of {table.full_name} in {lake.store.root} cannot be read: {error}") from error
