"""``fti env``: environments that share main's rows, to run a change on real data."""

from __future__ import annotations

import json

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import StoreError, count_of

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="for machines")


@click.group()
def env() -> None:
    """Run a change on real data, in an environment that shares main's rows.

    An environment reads what main had when it was made and writes its own. FTI_ENV=NAME chooses it for everything that takes its stores
    from the definitions.
    """


@env.command()
@click.argument("name")
@definitions
@stores("lake", "models", "online")
def create(name: str, file: str | None, module: str | None, **folders: str | None) -> None:
    """Make an environment of main as it is now.

    NAME is such as pr-12. No row is copied.
    """
    from fti_assets import environments
    from fti_assets.describe import stores_of

    about = environments.create(stores_of(load_definitions(file, module), **folders), name)
    click.echo(
        f"{name} is an environment of {about.main} at its snapshot {about.snapshot}; go on with:\n  export FTI_ENV={name}\n"
        "and with a DAGSTER_HOME of its own, since Dagster would take what runs there for main's"
    )


@env.command()
@click.argument("name")
@definitions
@stores("lake", "models", "online")
def load(name: str, file: str | None, module: str | None, **folders: str | None) -> None:
    """Load the online store of an environment from its lake.

    NAME is the environment's, whose online store is empty when it is made. All groups and predictions with online=True are loaded, from
    what main had and what was run in the environment since.
    """
    from fti_assets import environments
    from fti_assets.describe import stores_of

    system = load_definitions(file, module)
    counts = environments.load(system, stores_of(system, **folders), name)
    for namespace, keys in counts.items():
        click.echo(f"{namespace}: {count_of(keys, 'key')}")
    if not counts:
        click.echo(f"nothing of the environment {name} is served online: no group or prediction of it has online=True")


@env.command("list")
@_AS_JSON
@definitions
@stores("lake")
def list_(as_json: bool, file: str | None, module: str | None, **folders: str | None) -> None:
    """List the environments, with what was run in each."""
    from fti_assets import environments
    from fti_assets.describe import stores_of

    facts = environments.environments(stores_of(load_definitions(file, module), **folders))
    if as_json:
        click.echo(json.dumps([one.plain for one in facts], indent=2))
        return
    click.echo("\n".join(map(str, facts)) or "there is no environment; make one with fti env create NAME")


@env.command()
@click.argument("name")
@_AS_JSON
@click.option("--exit-code", is_flag=True, help="end with 1 if main has not all that was made in the environment")
@definitions
@stores("lake", "models")
def diff(
    name: str, as_json: bool, exit_code: bool, file: str | None, module: str | None, **folders: str | None
) -> None:
    """Say what an environment has that main has not.

    NAME is the environment's. Partitions with their rows and versions, builds and champions.
    """
    from fti_assets import environments
    from fti_assets.describe import stores_of

    result = environments.difference(stores_of(load_definitions(file, module), **folders), name)
    click.echo(json.dumps(result.plain, indent=2) if as_json else str(result))
    if exit_code and not result.is_empty:
        raise StoreError(f"main has not all that was made in the environment {name!r}")


@env.command()
@click.argument("name")
@_AS_JSON
@definitions
@stores("lake", "models", "online")
def merge(name: str, as_json: bool, file: str | None, module: str | None, **folders: str | None) -> None:
    """Move what was made in an environment into main.

    NAME is the environment's; the definitions are those that made it. Its partitions go in one transaction, then its builds and champions.
    Nothing is moved if main has changed the same partitions, or what they rest on, since the environment was made. Then main's online
    store is loaded, and the Dagster instance of DAGSTER_HOME is told, which has to be that of main: its conditions run nothing of it again.
    """
    from fti_assets import environments
    from fti_assets.cli.running.instance import instance_of_home
    from fti_assets.describe import stores_of

    system = load_definitions(file, module)
    with instance_of_home() as instance:
        result = environments.merge(system, stores_of(system, **folders), name, instance=instance)
    click.echo(json.dumps(result.plain, indent=2) if as_json else str(result))


@env.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="also what main has not")
@definitions
@stores("lake", "models", "online")
def drop(name: str, force: bool, file: str | None, module: str | None, **folders: str | None) -> None:
    """Delete an environment with all that was written in it.

    NAME is the environment's. What it read of main stays. Rows, builds and champions that main has not are deleted with --force alone.
    """
    from fti_assets import environments
    from fti_assets.describe import stores_of

    delete = environments.discard if force else environments.drop
    delete(stores_of(load_definitions(file, module), **folders), name)
    click.echo(f"the environment {name} is dropped")
