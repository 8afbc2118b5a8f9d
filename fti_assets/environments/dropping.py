"""Dropping an environment: its folder, and its keys on an online server; main's files are not touched.

What main has not all of is dropped only by ``discard``.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from fti_assets.environments.difference import Difference, difference
from fti_assets.environments.making import delete_leftovers, remove_branch
from fti_assets.environments.opening import stores_of_main
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError, count_of, list_some
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.lake.branches.branch import branch_folder, branch_named, is_branch
from fti_assets.stores.lake.postgres.store import PostgresLake
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.online.store import is_redis


def drop(stores: Stores, name: str) -> None:
    """Delete an environment, if main has all that was made in it; what it read of main stays there.

    Raises:
        NotMaterializedError: there is none of that name.
        StoreError: main has not all of it, or it is chosen itself, or is being written: nothing was deleted.
    """
    main_stores = stores_of_main(stores, "no environment can be dropped from within one")
    with suppress(DamagedError):  # of one whose main was reset since nothing can be merged any more
        if of_main := _not_in_main(difference(main_stores, name)):
            raise StoreError(
                f"the environment {name!r} has {of_main} that main has not, and nothing was dropped: fti env diff {name} shows it, fti env "
                f"merge {name} moves it into main, fti env drop {name} --force deletes it"
            )
    discard(stores, name)


def discard(stores: Stores, name: str) -> None:
    """Delete an environment with all that was written in it, whether main has it or not; what it read of main stays there.

    Raises:
        NotMaterializedError: there is none of that name.
        StoreError: it is chosen itself, or is being written.
    """
    main_stores = stores_of_main(stores, "no environment can be dropped from within one")
    store = main_stores.offline_store()
    folder = branch_folder(store, name)
    with store.lock():
        delete_leftovers(store)
    if not is_branch(folder):
        branch_named(store, name)  # says which there are
        raise NotMaterializedError(f"there is no environment {name!r}")
    with suppress(DamagedError):  # of an environment that does not say what it is, only the folder is known
        own = stores.in_environment(name)
        online = own.online_store()
        if is_redis(online.location):
            for namespace in online.namespaces():
                online.drop(namespace)
        elif isinstance(folder, BucketPath):
            shutil.rmtree(Path(online.location).parent, ignore_errors=True)
            shutil.rmtree(own.log_folder().parent, ignore_errors=True)
    if isinstance(folder, BucketPath):
        assert isinstance(store, PostgresLake)
        with store.lock():
            remove_branch(store, name)
        return
    # Whoever writes it holds its lock; whoever reads it loses what it reads.
    with hold_lock(folder / "lake" / "lake.lock", timeout=60.0), store.lock():
        trash = folder.parent / f".{name}.dropped"
        try:
            folder.rename(trash)  # in one step, so that no half of it is an environment
        except OSError as error:
            raise StoreError(f"{folder} cannot be moved: {error.strerror}. Nothing was dropped") from error
    shutil.rmtree(trash, ignore_errors=True)
    if trash.exists():
        raise StoreError(f"{trash} cannot be deleted whole: delete it by hand; the environment is dropped")
    with store.lock():
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _not_in_main(result: Difference) -> str:
    """What would be lost with an environment, in words; empty if nothing."""
    partitions = [one for one in result.partitions if one.moves_rows and one.merged != one.own.data_version]
    tables = list_some(dict.fromkeys(one.table.full_name for one in partitions))
    words = [f"{count_of(len(partitions), 'partition')} of {tables}"] if partitions else []
    if result.models:
        words.append(f"builds or a champion of {list_some(one.model for one in result.models)}")
    return " and ".join(words)
