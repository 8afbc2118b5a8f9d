"""``fti dataset``: training datasets made again."""

from __future__ import annotations

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.cli.training.lookup import declaration_named
from fti_assets.errors import DataError


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
    from fti_assets.training.datasets.dataset import TrainingDataset
    from fti_assets.training.datasets.rebuilding import rebuild

    system = load_definitions(file, module)
    declaration = declaration_named(system, TrainingDataset, name, what="dataset")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    with system_stores.offline_store().connect() as lake:
        result = rebuild(lake, declaration, cutoff)
    if not result.is_equal:
        raise DataError(str(result))
    click.echo(str(result))
