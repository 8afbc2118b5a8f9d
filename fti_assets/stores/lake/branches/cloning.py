"""The catalog of a branch: a copy of main's that names main's files where they are, so that no row is copied."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.lake.branches.shared import shared_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.expiry import expire

# The files' paths are those that DuckLake would make of them.
_CLONE = """
import json, sqlite3, sys
order = json.loads(sys.argv[1])
source = sqlite3.connect(order["catalog"], timeout=30)
copy = sqlite3.connect(order["copy"])
source.backup(copy)
source.close()
for name in ("data", "delete"):
    copy.execute(
        f"UPDATE ducklake_{name}_file AS f SET path_is_relative = 0, path = (SELECT "
        "CASE WHEN t.path_is_relative = 0 THEN t.path WHEN s.path_is_relative = 0 THEN s.path || t.path ELSE ?1 || s.path || t.path END "
        "FROM ducklake_table t JOIN ducklake_schema s USING (schema_id) WHERE t.table_id = f.table_id LIMIT 1) || f.path "
        "WHERE path_is_relative <> 0", [order["data"]])
copy.execute("DELETE FROM ducklake_files_scheduled_for_deletion")
copy.execute("UPDATE ducklake_metadata SET value = ?1 WHERE key = 'data_path'", [order["own_data"]])
copy.execute(
    "INSERT INTO ducklake_snapshot SELECT ?1, snapshot_time, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot "
    "WHERE snapshot_id = ?2", [order["first"], order["snapshot"]])
copy.execute(
    "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made, author, commit_message) VALUES (?1, '', 'fti_assets', ?2)",
    [order["first"], order["message"]])
copy.commit()
copy.execute("PRAGMA journal_mode = WAL")
copy.close()
"""


def clone_catalog(main: Lake, copy: Path, *, own_data: Path, first: int, message: str) -> None:
    """Copy the catalog of a lake as it is now, with the files' paths made absolute; the caller holds main's writers' lock.

    Args:
        main: the open lake.
        copy: the new catalog's file.
        own_data: the folder in which the branch is to write.
        first: the number of the branch's first snapshot, which holds what main's newest does.
        message: that snapshot's.

    Raises:
        StoreError: it could not be copied.
    """
    order = {
        "catalog": str(main.store.catalog),
        "copy": str(copy),
        "data": f"{main.store.folder.absolute() / 'data'}/",
        "own_data": f"{own_data}/",
        "first": first,
        "snapshot": main.snapshot(),
        "message": message,
    }
    # A process of its own: closing the file here would let go of the locks of all lakes that are open here (as overwrite_deleted).
    child = subprocess.run(
        [sys.executable, "-I", "-c", _CLONE, json.dumps(order)], capture_output=True, text=True, check=False
    )
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or [f"the process ended with {child.returncode}"])[-1]
        raise StoreError(f"the catalog {main.store.catalog} cannot be copied to {copy}: {reason}. Nothing was made")


def shrink(branch: Lake, keep: Collection[int]) -> list[str]:
    """Expire all snapshots of a new branch but some, and give the files of main that it then reads, the paths absolute."""
    numbers = [
        int(number) for (number,) in branch.connection.execute("SELECT snapshot_id FROM lake.snapshots()").fetchall()
    ]
    expire(branch, [number for number in numbers if number not in keep])
    return shared_files(branch)
