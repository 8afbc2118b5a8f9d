"""``fti leak-report``: what leaks would promise of a view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from fti_assets.cli.options import definitions, file_to_write, load_definitions, stores, write_file
from fti_assets.core.names import versioned_name
from fti_assets.errors import DeclarationError, one_of

if TYPE_CHECKING:
    import dagster as dg

    from fti_assets.training.datasets.dataset import TrainingDataset


@click.command("leak-report")
@click.argument("view")
@click.option("--cutoff", metavar="PARTITION", help="of the dataset (default: the newest that is materialized)")
@click.option(
    "--rows",
    type=int,
    default=50_000,
    show_default=True,
    metavar="N",
    help="about how many train rows are taken; 0 for all",
)
@click.option("--json", "as_json", is_flag=True, help="for machines")
@click.option("--svg", metavar="FILE", help="where the picture is written (default: leak_report_VIEW.svg)")
@definitions
@stores("lake")
def leak_report(
    view: str,
    cutoff: str | None,
    rows: int,
    as_json: bool,
    svg: str | None,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Say what leaks would promise of a view, and deliver.

    VIEW is a feature view's name, or that of a dataset over it. A quick model is trained on the rows of a dataset as they are, on the
    same rows joined by event time, and on the same rows joined by day; each is scored on test rows of its own join, and on honest
    ones, as it would be served. Nothing is stored but a picture.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.monitoring.leak_report.picture import picture
    from fti_assets.monitoring.leak_report.text import as_text
    from fti_assets.monitors.leak_report.leak_report import leak_report

    drawing = file_to_write(svg or f"leak_report_{view}.svg")
    system = load_definitions(file, module)
    dataset = _dataset_of(system, view)
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    report = leak_report(
        dataset,
        stores=system_stores,
        partition=cutoff,
        rows=rows or None,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(json.dumps(report.plain(), indent=2) if as_json else f"{as_text(report)}\n")
    write_file(drawing, picture(report))
    click.echo(f"{drawing} has the picture", err=as_json)


def _dataset_of(system: dg.Definitions, name: str) -> TrainingDataset:
    """The dataset over a view, or of that name.

    Raises:
        DeclarationError: there is none, or there are several.
    """
    from fti_assets.orchestration.declaration import declarations_of
    from fti_assets.training.datasets.dataset import TrainingDataset

    datasets = [one for one in declarations_of(system) if isinstance(one, TrainingDataset)]
    matches = [one for one in datasets if name in (one.name, one.asset_name)]
    matches = matches or [
        one for one in datasets if name in (one.view.name, versioned_name(one.view.name, one.view.version))
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = one_of(sorted(one.asset_name for one in matches))
        raise DeclarationError(f"there are several datasets over a view {name!r}: name one of {names}")
    views = one_of(sorted({one.view.name for one in datasets}))
    raise DeclarationError(f"the definitions have no dataset over a view {name!r}: their views are {views}")
