"""``fti dataset``: training datasets made again."""

from __future__ import annotations

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import DataError, DeclarationError, one_of


@click.group()
def dataset() -> None:
    """Look after training datasets."""


@dataset.command()
@click.argument("name", metavar="DATASET")
@click.argument("cutoff")
@definitions
@stores("lake")
def rebuild(name: str, cutoff: str, file: str | None, module: str | None, **folders: str | None) -> None:
    """Make a dataset again from its manifest and compare it with what is stored.

    DATASET is its name, or such as delays_v2 if it has several versions; CUTOFF is its partition. The rows are made by the code that is
    here, of the snapshot of the lake that the manifest names, and their content is compared by its hash. It says that both are equal, or
    what differs, and ends with 1 then. Nothing is stored.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.orchestration.declaration import declarations_of
    from fti_assets.training.datasets.dataset import TrainingDataset
    from fti_assets.training.datasets.rebuilding import rebuild

    system = load_definitions(file, module)
    datasets = [one for one in declarations_of(system) if isinstance(one, TrainingDataset)]
    named = [one for one in datasets if name in (one.name, one.table_name)]
    if not named:
        there = one_of(sorted({one.name for one in datasets}))
        raise DeclarationError(f"the definitions have no dataset {name!r}: they have {there}")
    if len(named) > 1:
        versions = one_of(sorted(one.table_name for one in named))
        raise DeclarationError(f"the definitions have several versions of dataset {name!r}: write {versions}")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    with system_stores.offline_store().connect() as lake:
        result = rebuild(lake, named[0], cutoff)
    if not result.is_equal:
        raise DataError(str(result))
    click.echo(str(result))
