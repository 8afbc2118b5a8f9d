"""Registering the files of a lake whose catalog is gone, or has lost its newest commits.

Which files a partition is made of is what the catalog knew. A file's name says when it was written, so the newest files of a partition
are tried, from one to all, until their content hash is the data version that was recorded elsewhere; a single file needs no such proof.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import duckdb

from fti_assets.core.names import DATASETS, PARTITION, TILES, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import literal, quote
from fti_assets.errors import FtiError, StoreError, list_some
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, hash_of, with_content
from fti_assets.stores.files import paths_in, readable
from fti_assets.stores.lake.branches.branch import refuse_branch
from fti_assets.stores.lake.catalog import skip_snapshots
from fti_assets.stores.lake.connection import is_of_full_disk, is_without_tables, lake_connection
from fti_assets.stores.lake.files.strange_files import REPAIR
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.tables.schema import fit, settled_rows
from fti_assets.stores.lake.upkeep.unnamed_files import file_sizes
from fti_assets.stores.places import Place, within

_DELETIONS = "-delete.parquet"
_MANIFEST = "its manifest was in the catalog, which is lost"


@dataclass(frozen=True)
class RecordedVersion:
    """What somebody else recorded of a partition's newest run: its data version, when, and by which run of Dagster."""

    data_version: str
    at: datetime
    run_id: str


RecordedVersions = Mapping[TableName, Mapping[str, RecordedVersion]]


@dataclass(frozen=True)
class RepairReport:
    """What a repair did."""

    new_catalog: bool
    registered: Mapping[TableName, Sequence[str]]
    """The partitions of each table that are there again."""
    left_out: Mapping[TableName, Mapping[str, str]]
    """The partitions of each table that are not, and why; their files stay."""
    untold: Mapping[TableName, Sequence[str]]
    """The partitions of each table that have newer files than the catalog names, of which nothing says what they are."""
    passed_over: Sequence[Path]
    """The files that cannot be read, beside those of a partition that is there again."""


@dataclass(frozen=True)
class _Files:
    """The newest files of a partition, what they hold, and the file of deleted rows that goes with them."""

    paths: Sequence[str]
    rows: str
    types: Mapping[str, str]
    record: PartitionRecord
    rewritten: bool
    unreadable: Sequence[Path] = ()


def repair(store: OfflineStore, versions: RecordedVersions, *, above: int) -> RepairReport:
    """Register the partitions whose files are there and which the catalog lacks, or has in an older version.

    A new catalog is put in its place whole, after all is registered; else a table's files of equal types are one commit.

    Args:
        store: the offline store.
        versions: the newest data versions that were recorded elsewhere.
        above: the highest number of a snapshot that anything names; the catalog's next one is above it, so that no number means
            two things.

    Raises:
        DamagedError: the catalog is damaged, or none of a lake.
        StoreError: the catalog cannot be opened or written.
    """
    refuse_repair(store)
    refuse_branch(
        store,
        "be repaired, as a new catalog would lack them",
        "Drop it and make it again: fti env drop, fti env create",
    )
    data = store.folder / "data"
    with store.lock(), _repair_errors(store):
        if store.has_catalog and not is_without_tables(store.folder / "catalog.sqlite"):
            with lake_connection(store.folder / "catalog.sqlite", data) as connection:
                return _repair(Lake(connection, store), versions, above, new_catalog=False)
        half_made = store.new_catalog()
        with lake_connection(half_made, data) as connection:
            report = _repair(Lake(connection, store), versions, above, new_catalog=True)
        store.put_catalog(half_made)
        return report


def refuse_repair(store: OfflineStore) -> None:
    """Refuse a lake whose catalog is no file: a database has backups of its own.

    Raises:
        StoreError: it is one.
    """
    if isinstance(store.root, LakeAddress):
        raise StoreError(
            f"the catalog of {store.root} is a database: restore it from its backup (pg_dump, or a replay of its write-ahead log to an "
            "instant). Only a catalog in a file is made again from the lake's files"
        )


@contextmanager
def _repair_errors(store: OfflineStore) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, StoreError) as error:
        if not (isinstance(error, duckdb.Error) or is_of_full_disk(error)):
            raise
        raise StoreError(
            f"the repair of the offline store at {store.root} stopped: {error}. What is registered is whole, and every file is there; mend "
            "the cause, such as a full disk, and run it again"
        ) from error


def _repair(lake: Lake, versions: RecordedVersions, above: int, *, new_catalog: bool) -> RepairReport:
    # A snapshot that says so: what is left out may be materialized again beside its old files.
    skip_snapshots(lake, max(above, lake.snapshot()) if new_catalog else above, message=REPAIR)
    registrations: dict[TableName, Sequence[str]] = {}
    left_out: dict[TableName, Mapping[str, str]] = {}
    untold: dict[TableName, Sequence[str]] = {}
    passed_over: list[Path] = []
    named = file_sizes(lake).by_catalog
    for table, by_partition in _unnamed_files(lake).items():
        newer = _newer_without_record(lake, table, by_partition, versions.get(table, {}), named)
        untold |= {table: newer} if newer else {}
        results, reasons = _matching_files(lake, table, by_partition, versions.get(table, {}))
        passed_over += [file for files in results.values() for file in files.unreadable]
        try:
            _register(lake, table, results)
            registrations |= {table: sorted(results)} if results else {}
        except (FtiError, duckdb.Error) as error:
            if is_of_full_disk(error):  # which says nothing of these files
                raise
            reasons |= dict.fromkeys(results, str(error))
        if reasons:
            left_out[table] = reasons
    if left_out and not registrations and not new_catalog:
        skip_snapshots(lake, lake.snapshot(), message=REPAIR)
    return RepairReport(new_catalog, registrations, left_out, untold, passed_over)


def _unnamed_files(lake: Lake) -> dict[TableName, dict[str, list[Path]]]:
    """The files that the catalog does not name by table and partition, the oldest first; what windows keep is made again."""
    folder = lake.store.real_data
    results: dict[TableName, dict[str, list[Path]]] = {}
    for file in sorted(file_sizes(lake).strays, key=lambda file: file.name):  # a name begins with its time
        match within(file, folder).parts:
            case (schema, name, partition, _) if schema != TILES and partition.startswith(f"{PARTITION}="):
                if file.suffix == ".parquet":
                    key = unquote(partition.removeprefix(f"{PARTITION}="))
                    # As DuckLake knows its folder, so that it stays relative to that.
                    path = lake.store.folder / "data" / within(file, folder)
                    results.setdefault(TableName(schema, name), {}).setdefault(key, []).append(path)
    return dict(sorted(results.items(), key=lambda item: str(item[0])))


def _newer_without_record(
    lake: Lake,
    table: TableName,
    by_partition: Mapping[str, Sequence[Path]],
    versions: Mapping[str, RecordedVersion],
    named: Collection[Place],
) -> list[str]:
    """The partitions that the catalog has and nobody recorded, with a file that is newer than all that it names of them."""
    ledger = lake.ledger(table)
    newest: dict[str, str] = {}
    for file in named:
        folder = str(file.parent)
        newest[folder] = max(file.name, newest.get(folder, ""))  # a name begins with its time
    return [
        partition
        for partition, files in sorted(by_partition.items())
        if partition in ledger
        and partition not in versions
        and files[-1].name > newest.get(os.path.realpath(files[-1].parent), "")
    ]


def _matching_files(
    lake: Lake, table: TableName, by_partition: Mapping[str, Sequence[Path]], versions: Mapping[str, RecordedVersion]
) -> tuple[dict[str, _Files], dict[str, str]]:
    """Of each partition that the catalog lacks or has in an older version, the files, or why there are none."""
    ledger, results, reasons = lake.ledger(table), {}, {}
    for partition, files in by_partition.items():
        newest = versions.get(partition)
        if partition in ledger and (newest is None or ledger[partition].data_version == newest.data_version):
            continue  # what is registered is the newest that is known
        if table.schema == DATASETS:
            reasons[partition] = _MANIFEST
            continue
        try:
            candidates, unreadable = _candidates(lake, table, partition, files, newest), []
        except duckdb.Error:
            unreadable = [file for file in files if not _is_read(lake, file)]
            whole = [file for file in files if file not in unreadable]
            try:
                candidates = _candidates(lake, table, partition, whole, newest)
            except duckdb.Error:  # files that do not go together
                candidates = []
        problem = f"; {list_some(file.name for file in unreadable)} cannot be read" if unreadable else ""
        fits = [one for one in candidates if newest is not None and one.record.data_version == newest.data_version]
        if fits:
            results[partition] = replace(fits[0], unreadable=unreadable)
        elif newest is None and len(files) == 1 and len(candidates) == 1:
            results[partition] = candidates[0]
        elif newest is None:
            reasons[partition] = f"nothing says which of its {len(files)} files are the newest version{problem}"
        else:
            reasons[partition] = f"its {len(files)} files do not hold the version {newest.data_version}{problem}"
    return results, reasons


def _candidates(
    lake: Lake, table: TableName, partition: str, files: Sequence[Path], newest: RecordedVersion | None
) -> list[_Files]:
    """What the newest file of a partition holds, the newest two, and so on to all of them."""
    return [
        one for number in range(1, len(files) + 1) for one in _contents(lake, table, partition, files[-number:], newest)
    ]


def _is_read(lake: Lake, file: Path) -> bool:
    """Whether all rows of a file can be read."""
    try:
        lake.connection.execute(
            f"SELECT count(*) FROM (SELECT hash(rows) AS h FROM read_parquet({literal(str(file))}, hive_partitioning => false) rows) "
            "WHERE h IS NOT NULL"
        )
    except duckdb.Error:
        return False
    return True


def _contents(
    lake: Lake, table: TableName, partition: str, files: Sequence[Path], newest: RecordedVersion | None
) -> Iterator[_Files]:
    """What some files of a partition hold: all of their rows, and those that a file of deleted rows leaves."""
    paths = [str(file) for file in files]
    file_list = ", ".join(map(literal, paths))
    read = f"read_parquet([{file_list}], union_by_name => true, hive_partitioning => false"
    deletions = _deletions(files)
    sources = [f"(FROM {read}))"]
    if deletions and newest is not None:
        deleted_rows = f"read_parquet([{', '.join(map(literal, deletions))}], union_by_name => true)"
        # By the file's own name: its folder may have been moved since.
        sources.append(
            f"(SELECT * EXCLUDE (__fti_file, file_row_number) FROM {read}, filename => '__fti_file', file_row_number => true) held "
            f"WHERE (parse_filename(__fti_file), file_row_number) NOT IN (SELECT (parse_filename(file_path), pos) FROM {deleted_rows}))"
        )
    columns = lake.connection.execute(f"DESCRIBE FROM {sources[0]}").fetchall()
    types = {name: kind for name, kind, *_ in columns if name != PARTITION}
    with readable(files[-1]):
        written_at = datetime.fromtimestamp(files[-1].stat().st_mtime, UTC).replace(tzinfo=None)
    at = written_at if newest is None else newest.at
    for source in sources:
        of = hash_of(None if newest is None else newest.data_version)
        sums = lake.connection.execute(f"SELECT {content_sums(of)} FROM {with_content(types, source, of)}").fetchall()[
            0
        ]
        version, run_id = data_version(types, tuple(map(int, sums)), of), "" if newest is None else newest.run_id
        record = PartitionRecord(partition, version, int(sums[0]), at, at, run_id, "{}")
        yield _Files(paths, source, types, record, rewritten=source != sources[0])


def _deletions(files: Sequence[Path]) -> list[str]:
    """The files of deleted rows of a table, which lie beside its partitions' folders."""
    return [str(file) for file in paths_in(files[0].parent.parent, f"*{_DELETIONS}")]


def _register(lake: Lake, table: TableName, files_by_partition: Mapping[str, _Files]) -> None:
    """Register the files of some partitions in the place of what the catalog has of them, in one commit for files of equal types.

    Placeholders go first, so that the others give their columns their types and files stay as they are.
    """
    alike: dict[str, dict[str, _Files]] = {}
    for partition, files in files_by_partition.items():
        alike.setdefault(str(sorted(files.types.items())), {})[partition] = files
    for one in sorted(alike.values(), key=lambda one: _columns_with_values(lake, one)):
        _register_alike(lake, table, one)


def _columns_with_values(lake: Lake, files_by_partition: Mapping[str, _Files]) -> int:
    types = next(iter(files_by_partition.values())).types
    counts = ", ".join(f"max({quote(name)} IS NOT NULL)" for name in types)
    return sum(
        map(bool, lake.connection.execute(f"SELECT {counts} FROM ({_rows_of(files_by_partition)})").fetchall()[0])
    )


def _rows_of(files_by_partition: Mapping[str, _Files]) -> str:
    return " UNION ALL BY NAME ".join(f"(FROM {files.rows})" for files in files_by_partition.values())


def _register_alike(lake: Lake, table: TableName, files_by_partition: Mapping[str, _Files]) -> None:
    execute, old, rows = (
        lake.connection.execute,
        lake.ledger(table, partitions=list(files_by_partition)),
        "__fti_repaired",
    )
    execute(
        f"CREATE OR REPLACE TEMP VIEW {rows} AS SELECT * EXCLUDE ({PARTITION}), {PARTITION} FROM ({_rows_of(files_by_partition)})"
    )
    staging, settled_sql = f"{rows}_settled", settled_rows(lake, table, rows)
    execute(f"CREATE OR REPLACE TEMP VIEW {staging} AS FROM {settled_sql or rows}")
    records = [files.record for files in files_by_partition.values()]
    rewritten = [
        partition for partition, files in files_by_partition.items() if files.rewritten or settled_sql is not None
    ]
    with lake.transaction(table, records, old=old, folders=rewritten, message=REPAIR, extra={}):
        fit(lake, table, staging)
        if old:
            execute(f"DELETE FROM {table.sql} WHERE {in_partitions(old)}")
        for partition, files in files_by_partition.items():
            if partition in rewritten:
                execute(f"INSERT INTO {table.sql} BY NAME FROM {staging} WHERE {PARTITION} = {literal(partition)}")
                continue
            for path in files.paths:
                execute(
                    f"CALL ducklake_add_data_files('lake', {literal(table.name)}, {literal(path)}, "
                    f"schema => {literal(table.schema)}, allow_missing => true)"
                )
    for relation in (staging, rows):
        execute(f"DROP VIEW {relation}")
