"""New Parquet files made durable."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from urllib import parse

from fti_assets.core.names import PARTITION, TableName
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import sync_file, sync_folder
from fti_assets.stores.places import Place

_SYNCS_AT_ONCE = 16


def sync_new_files(data: Place, table: TableName, partitions: Sequence[str]) -> None:
    """Make the files of some partitions, and those of deletions, durable, with their folders, under the folder of all data."""
    if isinstance(data, BucketPath):
        return  # what an object store has taken is durable
    folder = data / table.schema / table.name
    for deletions in folder.glob("*-delete.parquet"):  # of row-level changes, beside the partitions' folders
        sync_file(deletions)
    folders = [
        folder / f"{PARTITION}={parse.quote(partition, safe='')}" for partition in partitions
    ]  # ':' is written %3A
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:  # the disk joins what waits for it at the same time
        list(pool.map(_sync_files_of, filter(Path.is_dir, folders)))
    for parent in filter(Path.is_dir, (folder, data / table.schema, data)):
        sync_folder(parent)


def _sync_files_of(folder: Path) -> None:
    for file in folder.iterdir():
        if S_ISREG(file.lstat().st_mode):  # what is put in place of a damaged file may be a link to nowhere
            sync_file(file)
    sync_folder(folder)
