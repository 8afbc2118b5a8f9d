"""``fti lake``: comparing a lake with what Dagster recorded, and registering the files of one that has lost its catalog."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fti_assets.errors import NotMaterializedError, StoreError, listed

if TYPE_CHECKING:
    import dagster as dg


def add_lake_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``fti lake`` and what it can do to a parser's commands."""
    lake = commands.add_parser("lake", help="check the offline store, and register files that its catalog has lost")
    actions = lake.add_subparsers(required=True, metavar="action")
    check = actions.add_parser("check", help="say what of Dagster's records and of the catalog's files is not there")
    source = check.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", default="definitions.py", help="the file (default: definitions.py)")
    source.add_argument("-m", "--module", default=None, help="or the module")
    check.add_argument("--lake", default=None, help="the offline store's folder (default: what the definitions say)")
    check.set_defaults(run=_check)
    repair = actions.add_parser(
        "repair", help="register the files that are there, in the versions that Dagster recorded"
    )
    for name, what in (("lake", "offline"), ("models", "model"), ("online", "online")):
        repair.add_argument(
            f"--{name}", default=None, help=f"the {what} store's folder (default: {name}/ under FTI_HOME)"
        )
    repair.set_defaults(run=_repair)
    delete = actions.add_parser("delete-unnamed", help="delete the files that no snapshot names, of killed writers")
    delete.add_argument("--lake", default=None, help="the offline store's folder (default: lake/ under FTI_HOME)")
    delete.set_defaults(run=_delete_unnamed)


def _check(options: argparse.Namespace) -> None:
    from fti_assets.describe import load_definitions
    from fti_assets.forget import stores_of
    from fti_assets.orchestration.upkeep.recorded import refuse_lost, tables_of
    from fti_assets.stores.lake.upkeep.unnamed_files import file_sizes, missing_files

    definitions = load_definitions(file=options.file, module=options.module)
    store = stores_of(definitions, lake=options.lake).offline_store()
    if not store.exists():
        raise NotMaterializedError(f"there is no offline store at {store.root}: name the lake's folder, --lake FOLDER")
    with store.connect() as lake:
        with store.lock():
            sizes, missing = file_sizes(lake), missing_files(lake)
        print(
            f"{store.root}: snapshot {lake.snapshot()}, {len(sizes.named)} files, {len(sizes.unnamed)} more that no snapshot names"
        )
        with _instance() as instance:
            if instance is None:
                print("not compared with Dagster, since DAGSTER_HOME is not set")
            else:
                refuse_lost(lake, instance, tables_of(definitions.get_repository_def().assets_defs_by_key.values()))
                print("every partition is as Dagster recorded it, or newer")
    if missing:
        raise StoreError(
            f"{len(missing)} files that the catalog names are not there or not whole: {listed(missing)}. Materialize their partitions "
            "again; what old snapshots had of them is lost"
        )


def _repair(options: argparse.Namespace) -> None:
    from fti_assets.orchestration.resources import Stores
    from fti_assets.orchestration.upkeep.recorded import highest_snapshot, recorded_by
    from fti_assets.stores.lake.upkeep.pins import highest_named
    from fti_assets.stores.lake.upkeep.repair import repair
    from fti_assets.stores.lake.upkeep.unnamed_files import tables_in

    stores = Stores(lake=options.lake, models=options.models, online=options.online)
    store = stores.offline_store()
    if not store.has_catalog and not (store.root / "data").is_dir():
        raise NotMaterializedError(f"there is no offline store at {store.root}: name the lake's folder, --lake FOLDER")
    tables = tables_in(store.root / "data")
    above = highest_named(stores.model_store(), stores.online_store())
    with _instance() as instance:
        if instance is None:
            print("Dagster's records are not used, since DAGSTER_HOME is not set", file=sys.stderr)
        recorded = {} if instance is None else recorded_by(instance, tables)
        above = max(above, 0 if instance is None else highest_snapshot(instance, tables))
    done = repair(store, recorded, above=above)
    print(f"{store.catalog} {'is a new catalog' if done.new_catalog else 'is the catalog that was there'}")
    for table, partitions in done.registered.items():
        print(f"  {table}: registered {len(partitions)} partitions ({listed(partitions)})")
    for table, reasons in done.left_out.items():
        print(f"  {table}: left out {len(reasons)} partitions, materialize them again")
        for partition, reason in reasons.items():
            print(f"    {partition}: {reason}")
    if not done.registered and not done.left_out:
        print("  nothing was missing")


def _delete_unnamed(options: argparse.Namespace) -> None:
    from fti_assets.orchestration.resources import Stores
    from fti_assets.stores.lake.upkeep.unnamed_files import delete_unnamed

    store = Stores(lake=options.lake).offline_store()
    if not store.exists():
        raise NotMaterializedError(f"there is no offline store at {store.root}: name the lake's folder, --lake FOLDER")
    with store.connect() as lake, store.lock():
        print(f"deleted {delete_unnamed(lake)} files that no snapshot named")


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance | None]:
    """The instance of ``DAGSTER_HOME``, None without one."""
    if not os.environ.get("DAGSTER_HOME"):
        yield None
        return
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        yield instance
