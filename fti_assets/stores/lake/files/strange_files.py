"""Files of a table that the catalog does not know and that no writer of this catalog can have left: they are another catalog's.

A writer that was killed over a table's first rows leaves files of an unknown table too. It made them after the catalog was made, whose
own files are there.
"""

from __future__ import annotations

import re

from fti_assets.core.names import LEDGER, TILES, TableName
from fti_assets.errors import DamagedError, count_of, list_some
from fti_assets.stores.files import files_under, is_folder
from fti_assets.stores.lake.catalog import named_paths
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.places import Place, real_place

REPAIR = "repair the lake from its files"
"""The message of a repair's commits: what it left out stays beside the catalog, and is known to be no rows of it."""
_NAME = re.compile(r"ducklake-([0-9a-f]{8})-([0-9a-f]{4})-7")


def refuse_strange_files(lake: LakeReader, table: TableName) -> None:
    """Refuse the first commit of a table whose folder holds rows of another catalog; the caller holds the writers' lock.

    Raises:
        DamagedError: it does, so that the catalog is not the one of these files.
        StoreError: the folder cannot be looked at.
    """
    if table.schema in (TILES, LEDGER) or lake.has(table):
        return
    folder = real_place(lake.store.data / table.schema / table.name)
    files = [file for file in files_under(folder) if file.suffix == ".parquet"] if is_folder(folder) else []
    if not files:
        return
    names = named_paths(lake, lake.store.real_data)
    strays = [file for file in files if str(file) not in names]
    if not strays or not (sign := _sign_of_another_catalog(lake, strays)):
        return
    files_named = list_some(one.name for one in strays)
    raise DamagedError(
        f"{lake.store.catalog} does not know {table.full_name}, and {folder} holds {count_of(len(strays), 'file')} of it: {files_named}. "
        f"{sign}, so it is not the catalog of these files. Nothing was written. Put the right catalog back, or register the files that "
        f"are there: fti lake repair --lake {lake.store.root}"
    )


def _sign_of_another_catalog(lake: LakeReader, strays: list[Place]) -> str:
    execute = lake.connection.execute
    snapshots = execute("SELECT snapshot_id, epoch_ms(snapshot_time), commit_message FROM lake.snapshots()").fetchall()
    if any(message == REPAIR for _, _, message in snapshots):
        return ""
    made_ms = next((int(at) for number, at, _ in snapshots if number == 0), None)  # None when it is expired
    if made_ms is not None and (older := [file for file in strays if (_written_ms(file) or made_ms) < made_ms]):
        return f"{older[0].name} was written before this catalog was made"
    absent = [file.path for one in lake.tables() for file in current_files(lake, one) if not file.is_there()]
    return f"The catalog names {len(absent)} files that are not there, such as {min(absent)}" if absent else ""


def _written_ms(file: Place) -> int | None:
    """When DuckLake wrote a file, in milliseconds since 1970, by the UUID in its name."""
    match = _NAME.match(file.name)
    return None if match is None else int(match[1] + match[2], 16)
