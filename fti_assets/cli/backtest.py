"""``fti backtest``: how a model does at one cutoff after another."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.options import definitions, load_definitions, stores
from fti_assets.errors import DeclarationError, one_of


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

    MODEL is trained on the dataset of each cutoff that is materialized, and judged on its test rows. A table and a picture say how its
    metrics go, with intervals. Nothing is published or promoted, and the lake stays as it is.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.orchestration.declaration import declarations_of
    from fti_assets.training.backtest.picture import picture
    from fti_assets.training.backtest.run import backtest
    from fti_assets.training.backtest.text import as_text
    from fti_assets.training.models.model import Model

    system = load_definitions(file, module)
    models = {one.name: one for one in declarations_of(system) if isinstance(one, Model)}
    if model not in models:
        raise DeclarationError(f"the definitions have no model {model!r}: they have {one_of(models)}")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    result = backtest(
        models[model],
        stores=system_stores,
        resources=dict(system.resources or {}),
        cutoffs=_words(cutoffs),
        last=last,
        metrics=_words(metrics),
        existing=existing,
        say=lambda line: click.echo(line, err=True),
    )
    path = Path(svg or f"backtest_{model}.svg")
    path.write_text(picture(result), encoding="utf-8")
    click.echo(as_text(result))
    click.echo(f"\n{path} has the picture")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
