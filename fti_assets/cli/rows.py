"""``fti forget`` and ``fti reset``: rows taken out of everything that is stored."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import DeclarationError, StoreError, list_some


@click.command()
@click.argument("group")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="COLUMN=VALUE",
    help="a key column and its value; once for each",
)
@click.option(
    "--expire", is_flag=True, help="also out of datasets and old snapshots, pinned ones too; deletes the files"
)
@click.option("--dry-run", is_flag=True, help="only say where it is")
@click.option(
    "--outbox",
    metavar="FOLDER",
    help="where fti stream keeps what the lake has not yet (default: outbox/ under FTI_HOME)",
)
@definitions
@stores("lake", "models", "online", "log")
def forget(
    group: str,
    keys: tuple[str, ...],
    expire: bool,
    dry_run: bool,
    outbox: str | None,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Take a key out of everything that is stored.

    GROUP is the feature group that has the key; all its versions are meant.
    """
    from fti_assets.describe import stores_of
    from fti_assets.forget import as_text, forget

    system = load_definitions(file, module)
    system_stores = stores_of(system, **folders)
    key = dict(map(_column_and_value, keys))
    folder = None if outbox is None else Path(outbox)
    result = forget(system, group, key, stores=system_stores, expire=expire, dry_run=dry_run, outbox=folder)
    click.echo(as_text(result))
    if result.still_logged:
        raise StoreError(f"not every file of {system_stores.log_folder()} is shown to be without the key: see above")
    if open_sinks := [report.place for report in result.sinks if report.may_hold]:
        raise StoreError(f"not every sink is shown to be without the key: see above for {list_some(open_sinks)}")
    if result.expired is not None and (result.expired.holding or result.expired.unreadable):
        root = system_stores.offline_store().root
        raise StoreError(f"not every file of {root} is shown to be without the key: see above")


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="do not ask")
@definitions
@stores("lake", "models", "online")
def reset(names: tuple[str, ...], yes: bool, file: str | None, module: str | None, **folders: str | None) -> None:
    """Drop what is stored, to start over with it.

    NAMES are groups, datasets or predictions, in all their versions, or in one, such as orders_v1.
    """
    from fti_assets.describe import stores_of
    from fti_assets.reset import as_text, plan_reset, reset

    system = load_definitions(file, module)
    system_stores = stores_of(system, **folders)
    plan = None
    if not yes:
        plan = plan_reset(system, names, stores=system_stores)
        click.echo(as_text(plan))
        if not plan.needs and not _confirm():
            raise StoreError("nothing was dropped: answer y, or say --yes")
    plan_done, wiped_assets = reset(system, names, stores=system_stores, agreed_plan=plan)
    click.echo(as_text(plan_done, is_done=True, wiped_assets=wiped_assets))


def _confirm() -> bool:
    try:
        return input("drop it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _column_and_value(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise DeclarationError("--key takes a column and its value, as in --key customer_id=17")
    return column, value
