"""``fti delay-audit``: how late a group's rows really come."""

from __future__ import annotations

import json
from typing import TextIO

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.cli.training.lookup import declaration_named


@click.command("delay-audit")
@click.argument("group")
@click.option("--since", metavar="INSTANT", help="only rows with an event time from then on (default: all)")
@click.option(
    "--quantile",
    type=float,
    default=0.99,
    show_default=True,
    help="the share of the rows that the proposed delay holds for",
)
@click.option(
    "--freshness",
    "curves",
    type=click.File(encoding="utf-8"),
    multiple=True,
    help="what fti freshness --json wrote, to price the delay",
)
@click.option("--json", "as_json", is_flag=True, help="for machines")
@definitions
@stores("lake")
def delay_audit(
    group: str,
    since: str | None,
    quantile: float,
    curves: tuple[TextIO, ...],
    as_json: bool,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Say how late a group's rows were really committed.

    GROUP is a feature group's name, or such as weather_v2 if it has several versions. Its rows are taken by their first commit to the
    lake, those of backfills left out, and compared with what its serving delay or available-at says. It proposes a delay that would
    have been honest. Nothing is stored.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.features.groups.group import FeatureGroup
    from fti_assets.monitoring.delays.text import as_text
    from fti_assets.monitors.delays.delay_audit import delay_audit
    from fti_assets.training.freshness.stored import from_json

    system = load_definitions(file, module)
    declaration = declaration_named(system, FeatureGroup, group, what="feature group")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    priced = [from_json(one.read(), what=one.name) for one in curves]
    audit = delay_audit(declaration, stores=system_stores, since=since, quantile=quantile, curves=priced)
    click.echo(json.dumps(audit.plain(), indent=2) if as_json else as_text(audit))
