"""What keeps a lake small: expiry that spares all pins, compaction, and files that nobody needs any more.

Each step holds the writers' lock for itself, so that writers wait for one step only, and leaves a whole lake behind wherever
it is killed.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import TableName
from fti_assets.core.sql import literal
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import files_under, guard_writes, sized_files, sync_file, sync_folder
from fti_assets.stores.lake.branches.shared import spare_shared_files
from fti_assets.stores.lake.catalog import delete_dead_ledger_rows, files_waiting, put_columns, snapshots
from fti_assets.stores.lake.files.current_files import current_files, refuse_damaged_files
from fti_assets.stores.lake.files.recorded_checksums import delete_dead_checksums, record_checksums
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from fti_assets.stores.lake.upkeep.pins import pins
from fti_assets.stores.lake.upkeep.unnamed_files import delete_unnamed, refuse_only_copies, refuse_to_delete_most
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore
from fti_assets.stores.places import Place
from fti_assets.stores.temporary_folders import TEMPORARY, locked_folder

DAY = timedelta(days=1)


@dataclass(frozen=True)
class LakeSize:
    """How much a lake holds: files with their bytes on disk, and snapshots."""

    files: int
    data_bytes: int
    catalog_bytes: int
    snapshots: int


@dataclass(frozen=True)
class Upkeep:
    """What one upkeep did."""

    before: LakeSize
    after: LakeSize
    pinned: Mapping[int, tuple[str, ...]]
    expired: tuple[int, ...]
    tiles: tuple[str, ...]
    """The tables of tiles that were dropped."""
    merged: Mapping[str, tuple[int, int]]
    """Of each table whose files were merged, how many there were and how many they became."""
    deleted: int
    """Files that no snapshot needs any more."""
    orphans: int
    """Files that no snapshot ever named: of killed writers."""
    spilled: int
    """What killed processes left in the folder for temporary files, and had begun to write of rejected rows."""


def upkeep(
    store: OfflineStore,
    models: ModelStore,
    online: OnlineStore,
    *,
    keep: timedelta,
    grace: timedelta = DAY,
    tables_compared: Collection[TableName] = frozenset(),
    tables_recorded: Collection[TableName] = frozenset(),
    say: Callable[[str], None] = lambda sentence: None,
) -> Upkeep:
    """Expire what nobody is pinned to, drop old tiles, merge small files, and delete the files that nobody needs.

    It can run beside readers and writers, and be killed and run again at any time.

    Args:
        store: the offline store.
        models: the model store, whose champions' snapshots stay.
        online: the online store, whose namespaces' snapshots stay.
        keep: how long a snapshot can be read after the next one came, and how long tiles stay after a run last made some of
            their table: longer than any run or query takes.
        grace: how long files stay after they were merged into others, since a reader may be at them.
        tables_compared: the tables in which Dagster was asked what is lost: of these, files of partitions that the catalog lacks
            are those of killed writers.
        tables_recorded: those of them of which Dagster recorded all that the catalog has, so that any number of files may be of
            killed writers.
        say: told each step.

    Raises:
        DamagedError: a file is missing or damaged; everything else is done.
        StoreError: a step failed, such as for want of room; what was done before it stays done, nothing is half done.
        DamagedError: the catalog has lost most of the lake, or files that it does not name may be the only copy of rows; or a
            manifest cannot be read, so nobody can say what it is pinned to. Nothing was expired.
    """
    with store.connect() as lake, _upkeep_errors(store):
        with store.lock():
            refuse_to_delete_most(lake, older_than=DAY, tables_recorded=tables_recorded)
            refuse_only_copies(lake, older_than=DAY, tables_compared=tables_compared)
        before = size(lake)
        tiles = _drop_old_tiles(lake, keep)
        pins_by_version, expiries, deletions = _expire(lake, models, online, keep, grace)
        say(
            f"expired {len(expiries)} snapshots, spared {len(pins_by_version)} that are pinned, deleted {deletions} files"
        )
        tables = [*lake.tables(), *lake.tiles()]
        merges, damage = _merge_all(lake, tables)
        say(f"merged small files of {len(merges)} tables: {merges}; dropped {len(tiles)} tables of tiles")
        orphans = _delete_orphans(lake, tables_compared, tables_recorded)
        spills = delete_spilled(Path(tempfile.gettempdir())) + _delete_begun(lake.store.rejected)
        say(f"deleted {orphans} files of killed writers and {spills} that killed runs had spilled or begun")
        if damage is not None:
            raise damage
        return Upkeep(before, size(lake), pins_by_version, expiries, tiles, merges, deletions, orphans, spills)


def size(lake: Lake) -> LakeSize:
    """How much a lake holds now."""
    results = [size for _, size, _ in sized_files(lake.store.data)]
    return LakeSize(len(results), sum(results), lake.store.catalog_bytes, len(snapshots(lake)))


def expire(lake: Lake, versions: list[int]) -> None:
    """Expire some snapshots, and forget the ledgers' rows that only they had; the caller holds the writers' lock."""
    if versions:
        put_columns(lake)  # while it is known where those of expired snapshots were
        version_list = ", ".join(str(int(version)) for version in versions)
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{version_list}])")
    delete_dead_ledger_rows(lake)
    delete_dead_checksums(lake)


def delete_unneeded(lake: Lake, *, after: timedelta = timedelta(0)) -> int:
    """Delete the files that no snapshot has needed for so long, nor a branch reads; the caller holds the writers' lock.

    DuckLake takes a file that is gone already, of a run that was killed meanwhile, for deleted.
    """
    spare_shared_files(lake)
    return len(lake.connection.execute(f"CALL ducklake_cleanup_old_files('lake', {_older_than(after)})").fetchall())


def delete_spilled(folder: Path, *, untouched_for: timedelta = DAY) -> int:
    """Delete what killed processes left so long ago among the temporary files, with folders that are a day old: what they spilled,
    and copies of catalogs. How many files it was."""
    count, then, a_day_ago = 0, time.time() - untouched_for.total_seconds(), time.time() - DAY.total_seconds()
    for left in [one for prefix in TEMPORARY for one in folder.glob(f"{prefix}*")]:
        with suppress(OSError), locked_folder(left):  # another user's, or a run's, or another upkeep is at it
            is_old = left.stat().st_mtime < a_day_ago  # a younger one may be of a run that is about to show its use
            for parent, _, names in os.walk(left, topdown=False):
                for file in (Path(parent, name) for name in names):
                    if file.lstat().st_mtime <= then:
                        file.unlink()
                        count += 1
                if is_old:
                    Path(parent).rmdir()
    return count


def _delete_begun(folder: Place) -> int:
    """Delete what killed steps had begun to write of rejected rows, a day old. How many files it was."""
    count, a_day_ago = 0, time.time() - DAY.total_seconds()
    for file in files_under(folder):
        if not fnmatchcase(file.name, ".*.tmp"):
            continue
        with guard_writes(file), suppress(FileNotFoundError):
            if file.stat().st_mtime < a_day_ago:
                file.unlink()
                count += 1
    return count


def _drop_old_tiles(lake: Lake, keep: timedelta) -> tuple[str, ...]:
    """Drop the tables of tiles to which no run has added for so long, such as those of a declaration that has changed."""
    with lake.store.lock():
        since = clock.now() - keep
        old = [table for table in lake.tiles() if all(one.run_at < since for one in lake.ledger(table).values())]
        drop_tables(lake, old, message=f"drop {len(old)} tables of old tiles")
    return tuple(table.full_name for table in old)


def _expire(
    lake: Lake, models: ModelStore, online: OnlineStore, keep: timedelta, grace: timedelta
) -> tuple[dict[int, tuple[str, ...]], tuple[int, ...], int]:
    """Expire under one lock with the look at the pins, so that no pin can come in between."""
    with lake.store.lock():
        ages = snapshots(lake)
        past = [version for version, age in ages.items() if age > keep]
        since = min(version for version in ages if version not in past)
        pins_by_version = pins(lake, models, online, since=since)
        expiries = tuple(version for version in past if version not in pins_by_version)
        merged_lately = files_waiting(lake, younger_than=grace)
        expire(lake, list(expiries))
        # Nobody has been at an expired snapshot for as long as it was kept, so its files go at once.
        return pins_by_version, expiries, delete_unneeded(lake, after=grace if merged_lately else timedelta(0))


def _merge_all(lake: Lake, tables: Sequence[TableName]) -> tuple[dict[str, tuple[int, int]], Exception | None]:
    """Merge small files of each table; a damaged file of one keeps no other from it, and is told afterwards."""
    merges: dict[str, tuple[int, int]] = {}
    first = None
    for table in tables:
        try:
            if (counts := merge_files(lake, table)) != (0, 0):
                merges[table.full_name] = counts
        except (duckdb.Error, DamagedError) as error:
            first = first or error
    return merges, first


def merge_files(lake: Lake, table: TableName) -> tuple[int, int]:
    """Merge small files of one partition of a table; every snapshot keeps its rows. How many files became how many."""
    execute = lake.connection.execute
    with lake.store.lock():
        if not lake.has(table):  # tiles that were dropped meanwhile
            return 0, 0
        refuse_damaged_files(lake, table)
        if several := _partitions_of_several_files(
            lake, table
        ):  # whose new files would hold damage as what was written
            refuse_damaged_files(lake, table, several)
        folder = lake.store.data / table.schema / table.name
        before, newest = _parquet_in(folder), lake.snapshot()
        execute("BEGIN")
        try:
            merges = execute(
                f"CALL ducklake_merge_adjacent_files('lake', {literal(table.name)}, schema => {literal(table.schema)})"
            ).fetchall()
            if not merges:
                execute("ROLLBACK")
                return 0, 0
            execute("CALL lake.set_commit_message('fti_assets', ?)", [f"merge small files of {table.full_name}"])
            for file in _parquet_in(folder) - before:
                sync_file(file)
                sync_folder(file.parent)
            lake.store.commit(lake.connection)
        except BaseException:
            with suppress(duckdb.Error):
                execute("ROLLBACK")
            raise
        record_checksums(lake, after=newest)
        return sum(int(row[2]) for row in merges), sum(int(row[3]) for row in merges)


def _parquet_in(folder: Place) -> set[Path]:
    """The files of a folder that have to be made durable; an object store has done that."""
    return set() if isinstance(folder, BucketPath) else set(folder.rglob("*.parquet"))


def _partitions_of_several_files(lake: Lake, table: TableName) -> list[str]:
    counts = Counter(file.partition for file in current_files(lake, table))
    return [partition for partition, number in counts.items() if number > 1]


def _delete_orphans(lake: Lake, tables_compared: Collection[TableName], tables_recorded: Collection[TableName]) -> int:
    """Delete the files that no snapshot names, a day old: somebody may yet find out that the catalog is not the newest."""
    with lake.store.lock():
        refuse_to_delete_most(lake, older_than=DAY, tables_recorded=tables_recorded)
        refuse_only_copies(lake, older_than=DAY, tables_compared=tables_compared)
        return delete_unnamed(lake, older_than=DAY)


def _older_than(age: timedelta) -> str:
    return f"older_than => now() - to_microseconds({age // timedelta(microseconds=1)})"


@contextmanager
def _upkeep_errors(store: OfflineStore) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise StoreError(
            f"upkeep of the offline store at {store.root} stopped: {error}. No row is lost and nothing is half done; mend the "
            "cause and run it again"
        ) from error
