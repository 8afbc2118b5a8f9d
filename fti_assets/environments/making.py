"""Making an environment: a copy of main's catalog that names main's files, and stores of its own beside."""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.home import BRANCHES
from fti_assets.core.records import to_json
from fti_assets.environments.opening import stores_of_main
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import guard_writes, make_folder, sync_file, sync_folder, sync_renamed
from fti_assets.stores.folders import remove_folder
from fti_assets.stores.lake.branches.branch import (
    ABOUT,
    FIRST_NUMBER,
    HELD,
    Branch,
    branch_folder,
    branch_named,
    branch_names,
    is_branch,
)
from fti_assets.stores.lake.branches.cloning import clone_catalog, shrink
from fti_assets.stores.lake.branches.places import branch_store
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.lake.postgres.cloning import clone_database, drop_database
from fti_assets.stores.lake.postgres.store import PostgresLake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.pins import pins
from fti_assets.stores.models.branches import share_models
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.places import absolute


def create(stores: Stores, name: str) -> Branch:
    """Make an environment of main as it is now. No row is copied: it reads main's files, and writes its own.

    Args:
        stores: those of main.
        name: such as ``pr-12``.

    Raises:
        NotMaterializedError: there is no lake.
        StoreError: the name is none, there is one of that name, or an environment is meant as main.
    """
    main_stores = stores_of_main(stores, "an environment is made of main alone")
    store, models = main_stores.offline_store(), main_stores.model_store()
    folder = branch_folder(store, name)
    if not store.exists():
        raise NotMaterializedError(
            f"there is no offline store at {store.root}, of which an environment could be made: materialize something first"
        )
    with guard_writes(folder), store.connect() as main, store.lock():
        make_folder(folder.parent)
        delete_leftovers(store)
        if is_branch(folder):
            raise StoreError(
                f"the lake at {store.root} has an environment {name!r} already: name another one, or drop it, fti env drop {name}"
            )
        about = _about(main, name)
        keep = {*pins(main, models, main_stores.online_store()), about.snapshot, about.first}
        if isinstance(folder, BucketPath):
            return _make_in_database(main, store, models, about, keep, folder)
        return _make_in_folder(main, models, about, keep, folder)


def _make_in_folder(main: Lake, models: ModelStore, about: Branch, keep: Collection[int], folder: Path) -> Branch:
    half_made = folder.parent / f".{about.name}.new"
    own_root = half_made / "lake"
    try:
        (own_root / "data").mkdir(parents=True)
        (half_made / "online").mkdir()
        own_data = folder.absolute() / "lake" / "data"
        clone_catalog(main, own_root / "catalog.sqlite", own_data=own_data, first=about.first, message=_message(about))
        files = _list_main_files(main, OfflineStore(own_root), keep)
        about = replace(about, models=share_models(models, half_made / "models"))
        (half_made / HELD).write_bytes(files)
        (half_made / ABOUT).write_text(to_json(about))
        for file in (half_made / ABOUT, half_made / HELD, own_root / "catalog.sqlite"):
            sync_file(file)
        sync_folder(half_made)
        half_made.rename(folder)
    except BaseException:
        shutil.rmtree(half_made, ignore_errors=True)
        raise
    sync_renamed(folder)
    return about


def _make_in_database(
    main: Lake, store: OfflineStore, models: ModelStore, about: Branch, keep: Collection[int], folder: BucketPath
) -> Branch:
    own = branch_store(store, about.name)
    assert isinstance(store, PostgresLake)
    assert isinstance(own, PostgresLake)
    remove_branch(store, about.name)  # what somebody was killed over
    try:
        clone_database(store, own, snapshot=about.snapshot, first=about.first, message=_message(about))
        files = _list_main_files(main, own, keep)
        about = replace(about, models=share_models(models, folder / "models"))
        (folder / HELD).write_bytes(files)
        (folder / ABOUT).write_bytes(to_json(about).encode())  # last: from here on it is there
    except BaseException:
        with suppress(StoreError):  # it would hide the cause
            remove_branch(store, about.name)
        raise
    return about


def _about(main: Lake, name: str) -> Branch:
    snapshot = main.snapshot()
    number = 1 + max((branch_named(main.store, one).number for one in branch_names(main.store)), default=0)
    root = main.store.root
    return Branch(
        name=name,
        main=str(root.absolute() if isinstance(root, Path) else root),
        number=number,
        snapshot=snapshot,
        snapshot_at=str(main.snapshot_at(snapshot)),
        first=number * FIRST_NUMBER + snapshot,
        made_at=clock.now().isoformat(),
        by=_user(),
    )


def _message(about: Branch) -> str:
    return f"environment {about.name} of {about.main} at its snapshot {about.snapshot}"


def _list_main_files(main: Lake, store: OfflineStore, keep: Collection[int]) -> bytes:
    """The files of main that a new branch reads, once it has no snapshots but those that are kept."""
    with store.connect() as own, store.lock():
        paths = shrink(own, keep)
    of_main = f"{absolute(main.store.data)}/"
    return "".join(f"{path.removeprefix(of_main)}\n" for path in paths).encode()


def remove_branch(store: PostgresLake, name: str) -> None:
    """Remove what there is of a branch in a database and a bucket; what it says of itself goes first."""
    folder, own = branch_folder(store, name), branch_store(store, name)
    assert isinstance(own, PostgresLake)
    assert isinstance(folder, BucketPath)
    (folder / ABOUT).unlink(missing_ok=True)
    drop_database(store.root, own.root)
    remove_folder(folder)


def delete_leftovers(store: OfflineStore) -> None:
    """Delete what was left of environments that somebody was killed over, making or dropping; the caller holds main's writers' lock."""
    if isinstance(store.root, LakeAddress):
        return
    for left in (store.folder / BRANCHES).glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def _user() -> str:
    try:
        return os.environ.get("GITHUB_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        return ""
