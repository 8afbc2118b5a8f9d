"""The files that a branch shares with main: neither deletes what the other reads."""

from __future__ import annotations

from fti_assets.core.sql import literal
from fti_assets.stores.lake.branches.branch import branch_of, paths_of_branches
from fti_assets.stores.lake.connection import ask_catalog, own_table
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.places import absolute

_NEVER = "9999-01-01 00:00:00+00"
"""When a file that a branch reads has come off the last snapshot: DuckLake deletes what did so before an instant."""


def shared_files(lake: LakeReader) -> list[str]:
    """The absolute paths of the files that a branch names and that lie outside of its own folder."""
    rows = ask_catalog(
        lake,
        "SELECT path FROM ducklake_data_file WHERE NOT path_is_relative UNION SELECT path FROM ducklake_delete_file WHERE "
        "NOT path_is_relative",
    )
    own = _own_data(lake)
    return sorted(str(path) for (path,) in rows if not str(path).startswith(own))


def spare_shared_files(lake: LakeReader) -> None:
    """Before files are deleted that no snapshot needs: take out those of main, in a branch, and those that branches read, in main.

    The caller holds the writers' lock.
    """
    waiting, execute = own_table("files_scheduled_for_deletion"), lake.connection.execute
    if branch_of(lake.store) is not None:
        execute(
            f"DELETE FROM {waiting} WHERE NOT path_is_relative::BOOLEAN AND NOT starts_with(path, {literal(_own_data(lake))})"
        )
        return
    paths = sorted(paths_of_branches(lake.store))
    never = f"schedule_start::TIMESTAMPTZ = TIMESTAMPTZ '{_NEVER}'"
    execute(
        f"UPDATE {waiting} SET schedule_start = now()::VARCHAR WHERE {never} AND path NOT IN (SELECT unnest(?))",
        [paths],
    )
    if paths:
        execute(f"UPDATE {waiting} SET schedule_start = '{_NEVER}' WHERE path IN (SELECT unnest(?))", [paths])


def _own_data(lake: LakeReader) -> str:
    return f"{absolute(lake.store.data)}/"
