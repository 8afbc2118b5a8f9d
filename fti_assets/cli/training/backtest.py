"""``fti backtest``: how a model does at one cutoff after another."""

from __future__ import annotations

import click

from fti_assets.cli.options import definitions, file_to_write, load_definitions, stores, write_file
from fti_assets.cli.training.lookup import declaration_named, split_words


@click.command()
@click.argument("model")
@click.option(
    "--cutoffs", metavar="PARTITIONS", default="", help="of the dataset, with commas (default: all that are there)"
)
@click.option("--last", type=int, metavar="N", help="of these the N newest")
@click.option("--metrics", metavar="NAMES", default="", help="of the model's metrics, with commas (default: all)")
@click.option("--existing", is_flag=True, help="take the builds of the model store, and train nothing")
@click.option("--svg", metavar="FILE", help="where the picture is written (default: backtest_MODEL.svg)")
@definitions
@stores("lake", "models")
def backtest(
    model: str,
    cutoffs: str,
    last: int | None,
    metrics: str,
    existing: bool,
    svg: str | None,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Say how a model does at one cutoff after another.

    MODEL is a model's name, or such as delay_v2 if it has several versions. It is trained on the dataset of each cutoff that is
    materialized, and judged on its test rows. A table and a picture say how its metrics go, with intervals. Nothing is published or
    promoted, and the lake stays as it is.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.training.backtest.picture import picture
    from fti_assets.training.backtest.run import backtest
    from fti_assets.training.backtest.text import as_text
    from fti_assets.training.models.model import Model

    drawing = file_to_write(svg or f"backtest_{model}.svg")
    system = load_definitions(file, module)
    declaration = declaration_named(system, Model, model, what="model")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    result = backtest(
        declaration,
        stores=system_stores,
        resources=dict(system.resources or {}),
        cutoffs=split_words(cutoffs),
        last=last,
        metrics=split_words(metrics),
        existing=existing,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{as_text(result)}\n")
    write_file(drawing, picture(result))
    click.echo(f"{drawing} has the picture")
