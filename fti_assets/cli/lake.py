"""``fti lake``: comparing a lake with what Dagster recorded, registering the files of one that has lost its catalog, deleting others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import NotMaterializedError, StoreError, count_of, list_some

if TYPE_CHECKING:
    import dagster as dg

    from fti_assets.stores.lake.files.contents import Contents
    from fti_assets.stores.lake.lake import Lake


@click.group()
def lake() -> None:
    """Check the offline store, and repair it."""


@lake.command()
@click.option("--contents", is_flag=True, help="read every row, and compare each partition with its data version")
@definitions
@stores("lake")
def check(file: str | None, module: str | None, lake: str | None, contents: bool) -> None:
    """Say what is not there.

    It compares the lake with Dagster's records and with its own files, counts the rows of each partition, and compares the online
    store with the lake. With --contents it reads every row and compares what each partition holds with its data version, which finds
    flipped bits that DuckDB reads as other values: about five seconds for a million rows.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.orchestration.upkeep.recorded import (
        namespaces_of,
        recorded_partitions,
        refuse_lost,
        stale_namespaces,
        tables_of,
    )
    from fti_assets.stores.lake.files.contents import Contents, compare_contents
    from fti_assets.stores.lake.files.current_files import damaged_files
    from fti_assets.stores.lake.files.damage import partitions_with_other_rows
    from fti_assets.stores.lake.upkeep.unnamed_files import file_sizes, missing_files

    system = load_definitions(file, module)
    system_stores = stores_of(system, lake=lake)
    store, stale, compares = existing_store(system_stores), {}, True
    compared_contents = Contents()
    with store.connect() as open_lake:
        with store.lock_if_writable():
            sizes, missing = file_sizes(open_lake), missing_files(open_lake)
            tables_and_tiles = [*open_lake.tables(), *open_lake.tiles()]
            damage = sorted(
                file.path
                for table in tables_and_tiles
                for file in damaged_files(open_lake, table)
                if file.path not in missing
            )
            other = [
                f"{table.full_name} {key}"
                for table in open_lake.tables()
                for key in (() if contents else partitions_with_other_rows(open_lake, table))
            ]
        if contents:
            began = time.monotonic()
            compared_contents = compare_contents(open_lake, tables_and_tiles, say=click.echo)
            click.echo(_contents_text(compared_contents, time.monotonic() - began))
        click.echo(
            f"{store.root}: snapshot {open_lake.snapshot()}, {count_of(len(sizes.by_catalog), 'file')}, {len(sizes.strays)} more that no "
            "snapshot names"
        )
        with _instance() as instance:
            if instance is None:
                click.echo("not compared with Dagster, since DAGSTER_HOME is not set")
            else:
                assets = system.get_repository_def().assets_defs_by_key.values()
                stale = stale_namespaces(system_stores.online_store(), instance, namespaces_of(assets))
                for sentence in stale.values():
                    click.echo(f"warning: {sentence}", err=True)
                tables = tables_of(assets)
                for other_table in sorted({*open_lake.tables()} - {*tables.values()}, key=str):
                    click.echo(f"{other_table.full_name} is not in these definitions and was not compared")
                refuse_lost(open_lake, instance, tables)
                counts = recorded_partitions(instance, tables)
                compares = bool(counts) or not open_lake.tables()
                if compares:
                    of = f"{count_of(sum(counts.values()), 'partition')} of {count_of(len(counts), 'table')}"
                    click.echo(f"compared {of}: every partition is as Dagster recorded it, or newer")
    if missing:
        raise StoreError(
            f"{len(missing)} files that the catalog names are missing or incomplete: {list_some(missing)}. Materialize their partitions "
            "again; what old snapshots had of them is lost"
        )
    compared_contents.refuse_damage()
    if damage:
        raise StoreError(
            f"{len(damage)} files do not have the bytes that were written: {list_some(damage)}. Put them back from a copy, or "
            "materialize their partitions again"
        )
    if other:
        raise StoreError(
            f"{len(other)} partitions do not hold as many rows as were committed: {list_some(other)}. A file of theirs was changed, or "
            "another one put in its place: materialize them again"
        )
    if stale:
        raise StoreError(
            f"{len(stale)} online namespaces are not what was loaded last: {list_some(stale)}. Materialize these groups again"
        )
    if not compares:
        raise StoreError(
            f"nothing of the offline store at {store.root} was compared: Dagster, at DAGSTER_HOME={os.environ['DAGSTER_HOME']}, recorded "
            "none of the tables of these definitions. Name those of its runs, -f FILE or -m MODULE, and their DAGSTER_HOME"
        )


def _contents_text(contents: Contents, seconds: float) -> str:
    whole = contents.partitions - len(contents.damaged) - len(contents.not_comparable)
    text = f"read {count_of(contents.rows, 'row')} in {seconds:.1f} s: {whole} of {contents.partitions} partitions hold what was committed"
    if contents.not_comparable:
        text += (
            f"; {len(contents.not_comparable)} have versions of an earlier kind of hash, which cannot be compared with this release of "
            f"DuckDB: {list_some(contents.not_comparable)}"
        )
    return text


@lake.command(name="repair")
@stores("lake", "models", "online", otherwise="{}/ under FTI_HOME")
def repair_lake(**folders: Any) -> None:
    """Register files that the catalog has lost.

    They get the versions that Dagster recorded. It ends with 1 if partitions are lost still, or may have newer rows than the catalog knows.
    """
    from fti_assets.orchestration.resources import Stores
    from fti_assets.orchestration.upkeep.recorded import highest_snapshot, lost_partitions, named_like, recorded_by
    from fti_assets.stores.files import is_folder
    from fti_assets.stores.lake.upkeep.pins import highest_named
    from fti_assets.stores.lake.upkeep.repair import refuse_repair, repair
    from fti_assets.stores.lake.upkeep.unnamed_files import tables_in

    system_stores = Stores(**folders)
    store = system_stores.offline_store()
    refuse_repair(store)
    if not store.has_catalog and not is_folder(store.data):
        raise NotMaterializedError(f"there is no offline store at {store.root}: name the lake's folder, --lake FOLDER")
    tables = tables_in(store.data)
    above = highest_named(system_stores.model_store(), system_stores.online_store())
    with _instance() as instance:
        if instance is None:
            click.echo("Dagster's records are not used, since DAGSTER_HOME is not set", err=True)
        versions = {} if instance is None else recorded_by(instance, tables)
        above = max(above, 0 if instance is None else highest_snapshot(instance, tables))
    report = repair(store, versions, above=above)
    with _instance() as instance, store.connect() as open_lake, store.lock():
        is_recorded = instance is not None
        assets = {} if instance is None else named_like(instance, {*tables, *open_lake.tables()})
        lost = [] if instance is None else lost_partitions(open_lake, instance, assets)
    click.echo(f"{store.catalog} {'is a new catalog' if report.new_catalog else 'is the catalog that was there'}")
    for table, partitions in report.registered.items():
        click.echo(
            f"  {table.full_name}: registered {count_of(len(partitions), 'partition')} ({list_some(partitions)})"
        )
    for table, reasons in report.left_out.items():
        click.echo(f"  {table.full_name}: left out {count_of(len(reasons), 'partition')}, materialize them again")
        for partition, reason in reasons.items():
            click.echo(f"    {partition}: {reason}")
    for path in report.passed_over:
        click.echo(f"  passed over {path}, which cannot be read")
    for table, partitions in report.untold.items():
        click.echo(
            f"  {table.full_name}: {count_of(len(partitions), 'partition')} ({list_some(partitions)}) with newer files than the "
            "catalog names, and nothing says what they are"
        )
    for one in lost:
        if one.partition not in report.left_out.get(one.table, {}):
            click.echo(f"  {one}: lost, no file that is there holds the version that Dagster recorded")
    if lost:
        raise StoreError(
            f"{len(lost)} partitions that Dagster recorded are not there: {list_some(map(str, lost))}. Materialize them again"
        )
    if report.left_out and not is_recorded:  # else Dagster's records say whether one of them is lost
        raise StoreError(
            f"{sum(map(len, report.left_out.values()))} partitions whose files are there are not in the catalog: set DAGSTER_HOME to where "
            "Dagster recorded their runs, which says which files are the newest, or materialize them again"
        )
    if report.untold:
        raise StoreError(
            f"{sum(map(len, report.untold.values()))} partitions may have newer rows than the catalog knows: set DAGSTER_HOME to where "
            "Dagster recorded their runs, which says so, or materialize them again"
        )
    if not report.registered and not report.left_out:
        click.echo("  nothing was missing")


@lake.command(name="delete-unnamed")
@click.option("--yes", is_flag=True, help="do not ask")
@stores("lake", otherwise="{}/ under FTI_HOME")
def delete_unnamed_files(lake: str | None, yes: bool) -> None:
    """Delete the files of killed writers.

    No snapshot names them. They are listed first; without a terminal to ask at and without --yes, they are only listed. Where they
    may be the only copy of rows, since the catalog has lost commits or is another one, nothing is deleted.
    """
    from fti_assets.describe import existing_store
    from fti_assets.orchestration.resources import Stores
    from fti_assets.stores.lake.upkeep.unnamed_files import delete_unnamed, unnamed_parquet

    store = existing_store(Stores(lake=lake))
    with store.connect() as open_lake:
        with store.lock():
            _refuse_only_copies(open_lake)
            files = unnamed_parquet(open_lake)
        for file, size in sorted(files.items()):
            click.echo(f"{file}, {size} bytes")
        if files and not yes and not _confirm(len(files)):
            click.echo("nothing was deleted: answer y, or say --yes")
            return
        with store.lock():  # not while somebody thinks about the answer
            _refuse_only_copies(open_lake)
            click.echo(f"deleted {count_of(delete_unnamed(open_lake, files=files), 'file')} that no snapshot named")


def _refuse_only_copies(open_lake: Lake) -> None:
    from fti_assets.orchestration.upkeep.recorded import compared_tables
    from fti_assets.stores.lake.upkeep.unnamed_files import refuse_only_copies

    with _instance() as instance:
        tables = frozenset() if instance is None else compared_tables(open_lake, instance)
    refuse_only_copies(open_lake, tables_compared=tables)


def _confirm(files: int) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"delete these {count_of(files, 'file')}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance | None]:
    """The instance of ``DAGSTER_HOME``, None without one."""
    if not os.environ.get("DAGSTER_HOME"):
        yield None
        return
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        yield instance
