"""The files that a branch shares with main: neither deletes what the other reads."""

from __future__ import annotations

from fti_assets.core.sql import literal
from fti_assets.stores.lake.branches.branch import branch_of, held_paths
from fti_assets.stores.lake.connection import ask_catalog, own_table
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.lake.reader import LakeReader

_NEVER = "9999-01-01 00:00:00+00"
"""When a file that a branch reads has come off the last snapshot: DuckLake deletes what did so before an instant."""


def shared_files(lake: LakeReader) -> list[str]:
    """The absolute paths of the files that a branch names and that lie outside of its own folder."""
    rows = ask_catalog(
        lake,
        "SELECT path FROM ducklake_data_file WHERE path_is_relative = 0 UNION SELECT path FROM ducklake_delete_file WHERE "
        "path_is_relative = 0",
    )
    own = _own_data(lake)
    return sorted(str(path) for (path,) in rows if not str(path).startswith(own))


def spare_shared_files(lake: LakeReader) -> None:
    """Before files are deleted that no snapshot needs: take out those of main, in a branch, and those that branches read, in main.

    The caller holds the writers' lock.
    """
    if isinstance(lake.store.root, LakeAddress):
        return
    waiting, execute = own_table("files_scheduled_for_deletion"), lake.connection.execute
    if branch_of(lake.store) is not None:
        execute(
            f"DELETE FROM {waiting} WHERE path_is_relative = 0 AND NOT starts_with(path, {literal(_own_data(lake))})"
        )
        return
    held = sorted(held_paths(lake.store))
    execute(
        f"UPDATE {waiting} SET schedule_start = now()::VARCHAR WHERE schedule_start = '{_NEVER}' AND path NOT IN (SELECT unnest(?))",
        [held],
    )
    if held:
        execute(f"UPDATE {waiting} SET schedule_start = '{_NEVER}' WHERE path IN (SELECT unnest(?))", [held])


def files_spared(lake: LakeReader) -> int:
    """How many files that no snapshot of main needs are kept for branches."""
    if isinstance(lake.store.root, LakeAddress):
        return 0
    [(count,)] = ask_catalog(
        lake,
        "SELECT count(*) FROM ducklake_files_scheduled_for_deletion WHERE schedule_start = ?1",
        [_NEVER],
    )
    return int(str(count))


def _own_data(lake: LakeReader) -> str:
    return f"{lake.store.folder.absolute() / 'data'}/"
