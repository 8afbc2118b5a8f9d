"""``fti plan``: what a change of code recomputes, before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from fti_assets.cli.options import definitions, file_to_write, load_definitions, stores, write_file

if TYPE_CHECKING:
    from fti_assets.plan import Plan

FAILED = 3
"""The exit code of a plan that holds what ``--fail-on`` names."""

_FAILS: dict[str, Callable[[Plan], bool]] = {
    "changes": lambda plan: plan.recomputes or _needs_version(plan),
    "version": lambda plan: _needs_version(plan),
    "champion": lambda plan: bool(plan.champions),
    "refused": lambda plan: any(one.refused for one in plan.champions),
    "unknown": lambda plan: any(one.unknown for one in plan.assets),
}


@click.command()
@click.option(
    "--against",
    metavar="ENVIRONMENT",
    help="the environment that it is held against (default: main, or what FTI_ENV says)",
)
@click.option("--json", "as_json", is_flag=True, help="for machines")
@click.option("--commands", is_flag=True, help="only the commands that run it, one a line, for a shell: | sh -e")
@click.option("--out", metavar="FILE", help="also write it to a file, such as for a comment")
@click.option(
    "--fail-on",
    type=click.Choice(list(_FAILS)),
    multiple=True,
    help="end with 3 if anything is recomputed, needs a new version, a champion rests on what changes, this code refuses to serve one, or "
    "nobody noted what code made something; once for each",
)
@click.option(
    "--max-minutes", type=float, help="end with 3 if it takes longer by the figures of earlier runs, or none are there"
)
@definitions
@stores("lake", "models")
def plan(
    against: str | None,
    as_json: bool,
    commands: bool,
    out: str | None,
    fail_on: tuple[str, ...],
    max_minutes: float | None,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Say what a change of code recomputes.

    The definitions are those of the changed code; they are held against what is stored: groups, partitions, datasets and champions, with
    rows and minutes by the figures of earlier runs, and what stays. Nothing is run or changed. What runs by itself does so only where what
    it reads has other rows, so it is a bound.
    """
    from fti_assets.describe import stores_of
    from fti_assets.plan import as_text, plan_change

    out_file = None if out is None else file_to_write(out)
    system = load_definitions(file, module)
    system_stores = stores_of(system, **folders)
    if against is not None:
        system_stores = system_stores.in_environment(against)
    source = f"-m {module}" if module is not None else f"-f {file or 'definitions.py'}"
    result = plan_change(system, system_stores, source=source)
    text = json.dumps(result.plain, indent=2) if as_json else as_text(result)
    click.echo("\n".join(result.commands) if commands else text)
    if out_file is not None:
        write_file(out_file, text + "\n")
    failures = [name for name in fail_on if _FAILS[name](result)]
    seconds = result.total.seconds
    if max_minutes is not None and result.recomputes and (seconds is None or seconds > 60 * max_minutes):
        failures.append(f"more than {max_minutes:g} minutes" if seconds is not None else "a time that nobody can tell")
    if failures:
        click.echo(f"fti: the plan has {', '.join(failures)}", err=True)
        raise click.exceptions.Exit(FAILED)


def _needs_version(plan: Plan) -> bool:
    return any(one.needs_version for one in plan.assets)
