"""``fti freshness``: what a delay of each feature group costs a model."""

from __future__ import annotations

import click

from fti_assets.cli.options import definitions, file_to_write, load_definitions, stores, write_file
from fti_assets.cli.training.lookup import declaration_named, split_words


@click.command()
@click.argument("model")
@click.option("--cutoff", metavar="PARTITION", help="of the dataset (default: the newest that is materialized)")
@click.option("--groups", metavar="NAMES", default="", help="the groups that are moved, with commas (default: all)")
@click.option(
    "--delays",
    metavar="DELAYS",
    default="0h,15min,1h,6h,24h",
    show_default=True,
    help="after the event time, with commas",
)
@click.option("--metric", metavar="NAME", help="one of the model's metrics (default: its first)")
@click.option("--rows", type=int, metavar="N", help="about how many train rows are taken (default: all)")
@click.option("--svg", metavar="FILE", help="where the picture is written (default: freshness_MODEL.svg)")
@click.option(
    "--json", "json_file", metavar="FILE", help="where the curves are written for fti delay-audit (default: nowhere)"
)
@definitions
@stores("lake", "models")
def freshness(
    model: str,
    cutoff: str | None,
    groups: str,
    delays: str,
    metric: str | None,
    rows: int | None,
    svg: str | None,
    json_file: str | None,
    file: str | None,
    module: str | None,
    **folders: str | None,
) -> None:
    """Say what a delay of each feature group costs a model.

    MODEL is a model's name, or such as delay_v2 if it has several versions. It is trained again on the dataset of a cutoff, for each
    group and delay, as if the group's rows came that long after their event time, and judged on the same test rows. A table and a
    picture say how its metric changes, with intervals. A tuned model has the parameters of its newest accepted build, for which the model
    store is read. Nothing is published or promoted, and the lake stays as it is.
    """
    from fti_assets.describe import existing_store, stores_of
    from fti_assets.training.freshness.picture import picture
    from fti_assets.training.freshness.run import freshness
    from fti_assets.training.freshness.stored import to_json
    from fti_assets.training.freshness.text import as_text
    from fti_assets.training.models.model import Model

    drawing = file_to_write(svg or f"freshness_{model}.svg")
    json_target = None if json_file is None else file_to_write(json_file)
    system = load_definitions(file, module)
    declaration = declaration_named(system, Model, model, what="model")
    system_stores = stores_of(system, **folders)
    existing_store(system_stores)
    curves = freshness(
        declaration,
        stores=system_stores,
        resources=dict(system.resources or {}),
        partition=cutoff,
        groups=split_words(groups),
        delays=split_words(delays),
        metric=metric,
        rows=rows,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{as_text(curves)}\n")
    if json_target is not None:
        write_file(json_target, to_json(curves))
        click.echo(f"{json_target} has the curves")
    write_file(drawing, picture(curves))
    click.echo(f"{drawing} has the picture")
