"""Finding rows in the lake, at every snapshot, and taking them out of it, so that no file is left that holds them.

A row is found by a predicate over the columns of its table. Files are read themselves, each once, since one file belongs to
many snapshots: that says which snapshots hold a row without reading the lake at each of them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import (
    DATASETS,
    FEATURES,
    PARTITION,
    PREDICTIONS,
    Commit,
    PartitionRecord,
    TableName,
    in_partitions,
)
from fti_assets.core.sql import literal, quoted, temporary_name
from fti_assets.errors import DamagedError, DataError, StoreError, listed
from fti_assets.stores.duckdb.nul_texts import compared_with
from fti_assets.stores.files import files_under, read_file, readable, write_atomically, written
from fti_assets.stores.lake.catalog import (
    DataFile,
    data_files,
    narrow_bounds,
    overwrite_deleted,
    snapshots,
    tables_at_any_snapshot,
)
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tiles import tiles_of
from fti_assets.stores.lake.upkeep.expiry import delete_spilled, delete_unneeded, expire
from fti_assets.stores.lake.upkeep.unnamed_files import delete_unnamed, file_sizes

_FILE = "__fti_file"
_WRITING_SECONDS = 60.0  # far longer than a step needs for some rejected rows


@dataclass(frozen=True)
class Occurrences:
    """Where a table holds some rows: now, by partition, and at which of the snapshots that can be read."""

    table: TableName
    rows: Mapping[str, int]
    snapshots: frozenset[int]


@dataclass(frozen=True)
class FoundTiles:
    """A table of tiles that holds what some rows came to, whether it is there now, and at which snapshots it holds that."""

    table: TableName
    current: bool
    snapshots: frozenset[int]


@dataclass(frozen=True)
class Expired:
    """What expiring snapshots for good did, and what a search of all files found afterwards."""

    deleted: int
    """Files that no snapshot needs any more."""
    unnamed: int
    """Files of killed writers, which no snapshot named."""
    searched: int
    holding: tuple[str, ...]
    """The files that hold the rows still."""
    unreadable: tuple[str, ...]
    """The files that could not be searched."""


def tables_with_files(lake: Lake) -> list[TableName]:
    """Every table of features, datasets and predictions, those included that were dropped and that old snapshots have still."""
    current = lake.tables()
    schemas = dict.fromkeys([FEATURES, DATASETS, PREDICTIONS, *(table.schema for table in current)])
    old = [table for schema in schemas for table in tables_at_any_snapshot(lake, schema) if table not in current]
    return [*current, *(table for table in old if data_files(lake, table))]


def columns_of(lake: Lake, table: TableName) -> dict[str, str]:
    """Column names and DuckDB types of a table, without ``_partition``; of one that was dropped, those of its files."""
    if lake.has(table):
        return lake.types(table)
    paths = ", ".join(literal(file.path) for file in data_files(lake, table))
    if not paths:
        return {}
    files = f"read_parquet([{paths}], union_by_name => true, hive_partitioning => false)"
    described = lake.connection.execute(f"DESCRIBE FROM {files}").fetchall()
    return {name: kind for name, kind, *_ in described if name != PARTITION}


def equals(lake: Lake, table: TableName, values: Mapping[str, str]) -> str:
    """A predicate: each column holds a value, written as text.

    Raises:
        StoreError: the table has no such column.
        DataError: the text is no value of the column's type.
    """
    types, parts = columns_of(lake, table), []
    for column, text in values.items():
        if column not in types:
            raise StoreError(f"{table.full_name} has no column {column!r}: it has {listed(types, limit=50)}")
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
        parts.append(f"{compared_with(text, quoted(column))} = CAST({literal(text)} AS {types[column]})")
    return " AND ".join(parts)


def matching(columns: Sequence[str], relation: str) -> str:
    """A predicate: the columns hold one of the tuples of a temporary table."""
    names = ", ".join(quoted(column) for column in columns)
    # As rows, of one column too: a scan does not take these in, which a NUL in a value would break.
    return f"row({names}) IN (SELECT row({names}) FROM {relation})"


def tuples(lake: Lake, table: TableName, predicate: str, columns: Sequence[str]) -> str:
    """The tuples of some columns in all rows that a predicate finds, at any snapshot, as a temporary table."""
    name = quoted(temporary_name("found"))
    names = ", ".join(quoted(column) for column in columns)
    types, current = columns_of(lake, table), lake.has(table)
    nothing = ", ".join(f"NULL::{types[column]} AS {quoted(column)}" for column in columns)
    rows = f"SELECT DISTINCT {names} FROM {table.sql} WHERE {predicate}" if current else f"SELECT {nothing} LIMIT 0"
    lake.connection.execute(f"CREATE TEMP TABLE {name} AS {rows}")
    _of_files(lake, table, data_files(lake, table), f"INSERT INTO {name} SELECT DISTINCT {names}", predicate)
    return name


def find(lake: Lake, table: TableName, predicate: str) -> Occurrences:
    """Where a table holds the rows that a predicate finds."""
    rows = []
    if lake.has(table):
        rows = lake.connection.execute(
            f"SELECT {PARTITION}, count(*) FROM {table.sql} WHERE {predicate} GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return Occurrences(
        table,
        {partition: int(number) for partition, number in rows},
        _read_by(lake, _holding(lake, table, [predicate])),
    )


def find_tiles(lake: Lake, source: TableName, predicate: str) -> list[FoundTiles]:
    """The tables of tiles that hold what the rows which a predicate finds in their source came to.

    These are the tiles of all partitions that ever held such a row, unless they were made anew of what the source holds now without it,
    and those that hold the predicate's columns themselves: a tile may be of rows that the source has at no snapshot any more.
    """
    tables = tiles_of(lake, source)
    if not tables:
        return []
    of_source = data_files(lake, source)
    ever = set(_of_files(lake, source, of_source, f"SELECT DISTINCT {PARTITION}", predicate))
    current = [file for file in of_source if file.end is None]
    now = set(_of_files(lake, source, current, f"SELECT DISTINCT {PARTITION}", predicate))
    versions = {partition: record.data_version for partition, record in lake.ledger(source).items()}
    results = []
    for table in tables:
        ledger = lake.ledger(table)
        made_of = {key: json.loads(record.record).get("version") for key, record in ledger.items()}
        # A tile that was made of the rows without the key holds nothing of it.
        anew = {key for key in ever - now if key in made_of and made_of[key] == versions.get(key)}
        then, still = ([in_partitions(keys), predicate] for keys in (ever, ever - anew))
        files = [file for file in _holding(lake, table, then) if file.end is not None]
        files += [file for file in _holding(lake, table, still) if file.end is None]
        if files:
            is_current = any(file.end is None for file in files)
            results.append(FoundTiles(table, is_current, _read_by(lake, files)))
    return results


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

    Their partitions are written anew without them, so that no current file holds them, and the ledger says their new data
    versions and row counts; who made them, and when, stays. A row that was deleted by a row-level change is still in its
    file: that partition is written anew too, and keeps its data version.

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
    execute, staged = lake.connection.execute, "__fti_left"
    with lake.store.lock():
        current = [file for file in data_files(lake, table) if file.end is None]
        touched = sorted(_of_files(lake, table, current, f"SELECT DISTINCT {PARTITION}", predicate))
        if not touched:
            return None
        old = lake.ledger(table, partitions=touched)
        execute(
            f"CREATE OR REPLACE TEMP TABLE {quoted(staged)} AS SELECT * FROM {table.sql} "
            f"WHERE {PARTITION} IN (SELECT unnest(?)) AND ({predicate}) IS NOT TRUE",
            [touched],
        )
        contents, splits = lake.contents(staged, touched), _splits(lake, staged, split)
        lake.keep_earlier_hashes(staged, contents, old)
        changed = tuple(partition for partition in touched if contents[partition][0] != old[partition].data_version)
        written = [
            replace(
                old[partition],
                data_version=contents[partition][0],
                rows=contents[partition][1],
                committed_at=clock.now() if partition in changed else old[partition].committed_at,
                record=record(old[partition], splits.get(partition, {})),
            )
            for partition in touched
        ]
        try:
            commit = lake.write(table, staged, touched, written, old=old, message=message, extra=extra)
            return replace(commit, changed=changed)
        finally:
            execute(f"DROP TABLE {quoted(staged)}")


def expire_snapshots(lake: Lake, versions: Sequence[int], predicates: Mapping[TableName, str]) -> Expired:
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
        deleted = delete_unneeded(lake)
        unnamed = delete_unnamed(lake)  # whoever made them is dead, since we have the writers' lock
        delete_spilled(Path(tempfile.gettempdir()), untouched_for=timedelta(0))
        for table in predicates:
            narrow_bounds(lake, table)
        overwrite_deleted(lake)
        searched, holding, unreadable = 0, [], []
        for file in sorted(files_under(lake.store.root / "data")):
            if file.name.endswith("-delete.parquet"):  # it holds positions of rows, and no values
                continue
            searched += 1
            where = file.relative_to(lake.store.root / "data").parts
            predicate = predicates.get(TableName(where[0], where[1])) if len(where) > 2 else None
            if file.suffix != ".parquet":
                unreadable.append(str(file))
            elif predicate is not None:
                try:
                    holding += [str(file)] if _holds(lake, file, predicate) else []
                except duckdb.Error:
                    unreadable.append(str(file))
    return Expired(deleted, unnamed, searched, tuple(holding), tuple(unreadable))


def unnamed_files_holding(lake: Lake, predicates: Mapping[TableName, str]) -> list[str]:
    """The files of killed writers, which no snapshot names, that hold the rows which a predicate finds in their table."""
    results = []
    with lake.store.lock():
        for file in sorted(file_sizes(lake).unnamed):
            predicate = predicates.get(TableName(*file.parts[-4:-2])) if len(file.parts) > 3 else None
            if predicate is not None and file.suffix == ".parquet":
                with suppress(duckdb.Error):  # half written: it goes with the others
                    results += [str(file)] if _holds(lake, file, predicate) else []
    return results


def _holds(lake: Lake, file: Path, predicate: str) -> bool:
    """Whether a row of a file is found by a predicate; not if it lacks the columns."""
    try:
        rows = f"read_parquet({literal(str(file))}, hive_partitioning => false)"
        return bool(lake.connection.execute(f"SELECT 1 FROM {rows} WHERE {predicate} LIMIT 1").fetchall())
    except duckdb.BinderException:
        return False


def rejected_rows(folder: Path, matches: Callable[[Mapping[str, Any]], bool], *, remove: bool) -> tuple[int, int]:
    """How many rows that were kept aside match, in how many files; with ``remove``, they are taken out.

    What a killed step had begun to write is deleted with them: its file, or the half line at the end of one.

    Raises:
        DamagedError: a file is not of rows as JSON.
        StoreError: one cannot be read, or not written.
    """
    rows = files = 0
    for file in _names(folder, "*.jsonl"):
        content = read_file(file) or b""
        lines = content.splitlines()
        whole = lines[:-1] if lines and _is_half_line(content, lines[-1]) else lines
        left = [line for line in whole if not (line.strip() and matches(_row(line, file)))]
        if len(left) < len(lines):
            rows, files = rows + len(lines) - len(left), files + 1
            if remove:
                with written(file):
                    write_atomically(file, b"".join(line + b"\n" for line in left))
    for begun in _names(folder, ".*.tmp"):
        with readable(begun), suppress(FileNotFoundError):  # its step is done
            if begun.stat().st_mtime < time.time() - _WRITING_SECONDS:
                files += 1
                if remove:
                    with written(begun):
                        begun.unlink(missing_ok=True)
    return rows, files


def _names(folder: Path, pattern: str) -> list[Path]:
    with readable(folder):  # glob leaves out what it may not read
        return sorted(file for file in folder.iterdir() if file.match(pattern)) if folder.is_dir() else []


def _is_half_line(content: bytes, last: bytes) -> bool:
    """Whether the last line of a file was begun and is no row: its writer was killed, and it may hold anybody's values."""
    if content.endswith(b"\n"):
        return False
    try:
        return not isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        return True


def _row(line: bytes, file: Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DamagedError(
            f"{file} keeps rejected rows aside, and a line of it is not a row: {line[:80]!r}. Look at it, then delete the file"
        )
    return row


def _holding(lake: Lake, table: TableName, predicates: Sequence[str]) -> list[DataFile]:
    """The files of a table in which one of some predicates finds a row."""
    files = data_files(lake, table)
    paths = {
        path
        for predicate in predicates
        for path in _of_files(lake, table, files, f"SELECT DISTINCT {_FILE}", predicate)
    }
    return [file for file in files if file.path in paths]


def _read_by(lake: Lake, files: Sequence[DataFile]) -> frozenset[int]:
    """The snapshots that read one of some files."""
    return frozenset(
        version
        for version in snapshots(lake)
        if any(file.first <= version and (file.end is None or version < file.end) for file in files)
    )


def _splits(lake: Lake, staged: str, split: str | None) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    if split is not None:
        rows = lake.connection.execute(
            f"SELECT {PARTITION}, {quoted(split)}, count(*) FROM {quoted(staged)} GROUP BY ALL"
        ).fetchall()
        for partition, part, number in rows:
            counts.setdefault(partition, {})[part] = int(number)
    return counts


def _of_files(lake: Lake, table: TableName, asked: Sequence[DataFile], select: str, predicate: str) -> list[str]:
    """Ask some files of a table, rows that are deleted in them too; nothing if none has the columns, as of an earlier table."""
    paths = ", ".join(literal(file.path) for file in asked)
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
