"""``fti run``: any step, called by Airflow, cron, make or a person; no daemon and no web server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from fti_assets.cli.options import definitions, load_definitions
from fti_assets.errors import FtiError


@click.command()
@click.argument("assets", nargs=-1, required=True, metavar="ASSET...")
@click.option("--partition", metavar="KEY", help="the partition to run")
@click.option("--from", "first", metavar="KEY", help="or the first of a range,")
@click.option("--to", "last", metavar="KEY", help="and its last, which is run too")
@click.option("-c", "--config", metavar="FILE", help="YAML with the config of the run, as Dagster takes it")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    default="warning",
    show_default=True,
    help="what of the run's log goes to standard error",
)
@click.option("--json", "as_json", is_flag=True, help="for machines")
@definitions
def run(
    assets: tuple[str, ...],
    partition: str | None,
    first: str | None,
    last: str | None,
    config: str | None,
    log_level: str,
    as_json: bool,
    file: str | None,
    module: str | None,
) -> None:
    """Materialize assets, in this process.

    ASSET is an asset, such as weather_v1, or the name of what has one version, weather. Several that have the same partitions are one
    run, those that others rest on first. A range is one run, or one for each partition of an asset whose backfill policy asks for that.
    The events go to the instance of DAGSTER_HOME, if that is set. Neither a daemon nor a web server has to run.

    It ends with 0 if everything was materialized, 1 if a run failed or the definitions cannot be loaded, 2 if there is no such asset or
    partition, 3 if a blocking check or a gate refused, or what is stored needs another version of the code, so that trying again cannot
    help, and 4 if runs succeeded and something is not
    materialized, such as a model whose gates do not fail its run.
    """
    from fti_assets.cli.running.launch import launch

    try:
        # What the user's code prints would stand before the one object that a machine reads.
        with redirect_stdout(sys.stderr) if as_json else nullcontext(), _termination_as_interrupt():
            outcome = launch(
                load_definitions(file, module),
                assets,
                partition=partition,
                first=first,
                last=last,
                config={} if config is None else _config(Path(config)),
                log_level=log_level,
            )
    except (click.UsageError, FtiError) as error:
        if as_json:
            status, code = ("failed", 1) if isinstance(error, FtiError) else ("not run", 2)
            text = error.format_message() if isinstance(error, click.UsageError) else str(error)
            plain = {"assets": list(assets), "status": status, "exit_code": code, "errors": [text]}
            click.echo(json.dumps(plain, indent=2))
        raise
    if as_json:
        click.echo(outcome.as_json())
    else:
        for line in outcome.lines():
            click.echo(line)
    if outcome.exit_code:
        click.echo(f"fti: {outcome.problem()}", err=True)
        raise click.exceptions.Exit(outcome.exit_code)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """As Airflow and Kubernetes stop a task: within the block the run is then recorded as failed, and nothing is half written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _config(file: Path) -> dict[str, Any]:
    """The config of a run that a file holds.

    Raises:
        UsageError: it cannot be read, or is no mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise click.UsageError(f"the config {file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise click.UsageError(f"the config {file} holds no mapping: write such as ops: {{...}}")
    return content
