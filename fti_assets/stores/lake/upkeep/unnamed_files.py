"""Files in the lake's folder that its catalog does not name: of killed writers, or of a catalog that has lost them.

A writer makes its files and commits them under the writers' lock, so whoever holds the lock and finds such a file knows that
nobody is about to commit it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.files import files_under, readable, reason
from fti_assets.stores.lake.catalog import current_files, named_paths
from fti_assets.stores.lake.lake import Lake


@dataclass(frozen=True)
class FileSizes:
    """The files of a lake's folder with their bytes, by whether the catalog names them."""

    named: dict[Path, int]
    unnamed: dict[Path, int]


def file_sizes(lake: Lake) -> FileSizes:
    """Every file under ``data/``; the caller holds the writers' lock, or takes files of a writer at work for unnamed."""
    folder = Path(os.path.realpath(lake.store.root / "data"))
    names = named_paths(lake, folder)
    result = FileSizes({}, {})
    for file in files_under(folder):
        with readable(file):
            try:
                size = file.stat().st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
        (result.named if str(file) in names else result.unnamed)[file] = size
    return result


def missing_files(lake: Lake) -> list[str]:
    """The files that current rows are in, and that are not there or of another size than they were written in."""
    return sorted(
        file.path
        for table in [*lake.tables(), *lake.tiles()]
        for file in current_files(lake, table)
        if not file.exists()
    )


def tables_in(data: Path) -> list[TableName]:
    """The tables that have a folder."""
    with readable(data):
        return [TableName(folder.parent.name, folder.name) for folder in sorted(data.glob("*/*")) if folder.is_dir()]


def refuse_to_delete_most(lake: Lake, *, older_than: timedelta) -> None:
    """Raise an error if most of a lake is in files of that age that its catalog does not name; the caller holds the writers' lock.

    Killed writers leave little. A catalog that was put back from an old copy, or lost its newest commits, leaves the only
    copy of the rows.

    Raises:
        DamagedError: it is so.
    """
    sizes = file_sizes(lake)
    rows = {file: size for file, size in sizes.unnamed.items() if _is_old_parquet(file, older_than)}
    named, unnamed = sum(sizes.named.values()), sum(rows.values())
    # By bytes and by number: one large file of a killed writer is no sign of an old catalog.
    if unnamed > named and len(rows) > len(sizes.named):
        raise DamagedError(
            f"{lake.store.catalog} names {len(sizes.named)} files of {named} bytes, and {lake.store.root / 'data'} holds {len(rows)} "
            f"more of {unnamed} bytes, such as {min(map(str, rows))}: the catalog seems to be an old one, and to delete what it does "
            "not name would delete most of the lake. Nothing was deleted. Put the right catalog back, or register the files that are "
            f"there: fti lake repair --lake {lake.store.root}. If killed writers left them, delete them: fti lake delete-unnamed "
            f"--lake {lake.store.root}"
        )


def delete_unnamed(lake: Lake, *, older_than: timedelta = timedelta(0)) -> int:
    """Delete the Parquet files that no snapshot names and that are so old; the caller holds the writers' lock. How many it was.

    Raises:
        StoreError: one cannot be deleted.
    """
    deleted = 0
    for file in file_sizes(lake).unnamed:
        if _is_old_parquet(file, older_than):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"{file}, which no snapshot names, cannot be deleted: {reason(error)}") from error
            deleted += 1
    return deleted


def _is_old_parquet(file: Path, age: timedelta) -> bool:
    with readable(file), suppress(FileNotFoundError):
        return file.suffix == ".parquet" and file.stat().st_mtime <= time.time() - age.total_seconds()
    return False
