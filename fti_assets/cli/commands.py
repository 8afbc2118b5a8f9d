"""The command line beside Dagster's own: a new system, what a system is, its stores, and the champions of its models."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

import click

from fti_assets.cli import rows, serving
from fti_assets.cli.env import env
from fti_assets.cli.lake import lake
from fti_assets.cli.mcp import mcp
from fti_assets.cli.model_store import builds, models, tracking
from fti_assets.cli.model_store.bundle import bundle
from fti_assets.cli.model_store.export import export
from fti_assets.cli.model_store.rollout import rollout
from fti_assets.cli.monitoring.delay_audit import delay_audit
from fti_assets.cli.monitoring.leak_report import leak_report
from fti_assets.cli.monitoring.report import report
from fti_assets.cli.options import definitions, load_definitions
from fti_assets.cli.plan import plan
from fti_assets.cli.running.run import run
from fti_assets.cli.stream import stream
from fti_assets.cli.training.backtest import backtest
from fti_assets.cli.training.dataset import dataset
from fti_assets.cli.training.freshness import freshness
from fti_assets.cli.why import why
from fti_assets.core.extras import named_extras
from fti_assets.errors import FtiError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 1 with one sentence on standard error, 2 if the command line cannot be read, or its own."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with named_extras(" ".join(["fti", *arguments[:1]])):
            # Click would else end the process itself.
            code = fti.main(arguments, prog_name="fti", standalone_mode=False)
    except FtiError as error:
        click.echo(f"fti: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    return code if isinstance(code, int) else 0


@click.group(no_args_is_help=False)
@click.version_option(package_name="fti-assets", message="fti_assets %(version)s")
def fti() -> None:
    """Start a system, describe it, look at its stores and change a champion by hand."""


@fti.command()
@click.argument("name")
@click.option("--folder", help="where to write it, new or empty (default: a folder of that name)")
def init(name: str, folder: str | None) -> None:
    """Write a small working system to start from.

    NAME is that of the system and its package, such as my_system.
    """
    from fti_assets.scaffold import write_system

    path = write_system(name, folder)
    click.echo(
        f"{path} is a system of its own; go on with:\n  cd {path}\n  python -m pytest\n  fti describe\n"
        "  dagster dev -f definitions.py"
    )


@fti.command()
@definitions
@click.option("--json", "as_json", is_flag=True, help="for machines")
def describe(file: str | None, module: str | None, as_json: bool) -> None:
    """Say what a system is, from its definitions."""
    from fti_assets.describe import as_text, describe

    system = describe(load_definitions(file, module))
    click.echo(json.dumps(system, indent=2) if as_json else as_text(system))


@fti.command()
@click.argument("words", nargs=-1, required=True)
@definitions
@click.option("--json", "as_json", is_flag=True, help="for machines")
def search(words: tuple[str, ...], file: str | None, module: str | None, as_json: bool) -> None:
    """Find what is declared, by words.

    All WORDS must be in its name, columns, tags, owners or description.
    """
    from fti_assets.describe import search

    matches = search(" ".join(words), load_definitions(file, module))
    click.echo(json.dumps([dataclasses.asdict(match) for match in matches], indent=2) if as_json else str(matches))


for command in (
    builds.show,
    builds.diff,
    models.promote,
    models.rollback,
    builds.at,
    builds.retire,
    tracking.track,
    export,
):
    models.models.add_command(command)
for command in (
    models.models,
    models.promote,
    rollout,
    models.rollback,
    serving.serve,
    serving.publish,
    run,
    stream,
    bundle,
    why,
    dataset,
    backtest,
    freshness,
    delay_audit,
    leak_report,
    report,
    mcp,
    plan,
    env,
    rows.forget,
    rows.reset,
    lake,
):
    fti.add_command(command)
