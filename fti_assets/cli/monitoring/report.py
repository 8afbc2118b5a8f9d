"""``fti report``: how a system does, as one page."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.options import definitions, file_to_write, load_definitions, stores, write_file
from fti_assets.errors import count_of


@click.command()
@click.option("--since", metavar="INSTANT", help="only what is of then or later (default: everything)")
@click.option("--out", metavar="FILE", default="report.html", show_default=True, help="where the page is written")
@click.option("--title", metavar="TEXT", help="of the page (default: the name of the definitions)")
@definitions
@stores("lake", "models")
def report(
    since: str | None, out: str, title: str | None, file: str | None, module: str | None, **folders: str | None
) -> None:
    """Write how a system does as one HTML page.

    What is wrong, quality, drift, parity, builds and champions, rollouts, freshness and delays, from the tables of monitors, the model
    store and the lake. The page needs nothing from elsewhere, so it can be sent. Nothing is run and nothing else is written; with
    DAGSTER_HOME set it also says which checks and runs have failed. If the lake cannot be read the page says so, and the command fails.
    """
    from fti_assets.describe import stores_of
    from fti_assets.report import page_of, report
    from fti_assets.stores.lake.snapshots import moment_of

    page = file_to_write(out)
    start = None if since is None else moment_of(since, what="since")
    system = load_definitions(file, module)
    name = title or module or Path(file or "definitions.py").stem
    result = report(system, stores=stores_of(system, **folders), title=name, since=start)
    write_file(page, page_of(result))
    count = len(result.causes.causes)
    click.echo(f"{page} has the report; {count_of(count, 'cause')} open")
    if result.problem:
        raise click.ClickException(f"the lake cannot be read, which the report says: {result.problem}")
