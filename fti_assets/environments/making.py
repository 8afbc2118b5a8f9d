"""Making an environment: a copy of main's catalog that names main's files, and stores of its own beside."""

from __future__ import annotations

import getpass
import os
import shutil
from dataclasses import replace
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.home import BRANCHES
from fti_assets.core.records import to_json
from fti_assets.environments.opening import stores_of_main
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.files import guard_writes, make_folder, sync_file, sync_folder, sync_renamed
from fti_assets.stores.lake.branches.branch import (
    ABOUT,
    FIRST_NUMBER,
    HELD,
    Branch,
    branch_folder,
    branch_named,
    branch_names,
)
from fti_assets.stores.lake.branches.cloning import clone_catalog, shrink
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.pins import pins
from fti_assets.stores.models.branches import share_models


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
        if folder.exists():
            raise StoreError(
                f"the lake at {store.root} has an environment {name!r} already: name another one, or drop it, fti env drop {name}"
            )
        half_made = folder.parent / f".{name}.new"
        try:
            about = _make(main, main_stores, half_made, folder, name)
            bases = share_models(models, half_made / "models")
            about = replace(about, models=bases)
            (half_made / ABOUT).write_text(to_json(about))
            for file in (half_made / ABOUT, half_made / HELD, half_made / "lake" / "catalog.sqlite"):
                sync_file(file)
            sync_folder(half_made)
            half_made.rename(folder)
        except BaseException:
            shutil.rmtree(half_made, ignore_errors=True)
            raise
        sync_renamed(folder)
    return about


def _make(main: Lake, stores: Stores, half_made: Path, folder: Path, name: str) -> Branch:
    root, own_root = main.store.folder.absolute(), half_made / "lake"
    (own_root / "data").mkdir(parents=True)
    (half_made / "online").mkdir()
    snapshot = main.snapshot()
    numbers = [branch_named(main.store, one).number for one in branch_names(main.store)]
    number = 1 + max(numbers, default=0)
    about = Branch(
        name=name,
        main=str(root),
        number=number,
        snapshot=snapshot,
        snapshot_at=str(main.snapshot_at(snapshot)),
        first=number * FIRST_NUMBER + snapshot,
        made_at=clock.now().isoformat(),
        by=_user(),
    )
    clone_catalog(
        main,
        own_root / "catalog.sqlite",
        own_data=folder.absolute() / "lake" / "data",
        first=about.first,
        message=f"environment {name} of {root} at its snapshot {snapshot}",
    )
    keep = {*pins(main, stores.model_store(), stores.online_store()), snapshot, about.first}
    with OfflineStore(own_root).connect() as own, own.store.lock():
        paths = shrink(own, keep)
    of_main = f"{root / 'data'}/"
    lines = [path.removeprefix(of_main) for path in paths]
    (half_made / HELD).write_text("".join(f"{line}\n" for line in lines))
    return about


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
