"""``fti bundle``: a model in one file."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.model_store.models import find_sources_here, store_in
from fti_assets.cli.options import stores
from fti_assets.core.home import default_store
from fti_assets.core.times import duration


@click.command()
@click.argument("model")
@click.option(
    "--answers-for",
    required=True,
    metavar="DURATION",
    help="how long it answers from now on, such as 7d or 36h: its features grow no newer",
)
@click.option("--out", type=click.Path(path_type=Path), help="the file to write (default: MODEL.zip)")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="a CSV, or one JSON object a line, of the keys to take along (default: all)",
)
@click.option("--build", help="such as v1/20130501T000000Z-1f9ac3d2 (default: the champion)")
@click.option("--replace", is_flag=True, help="write over a file that is there")
@stores("models", "online", otherwise="{}/ under FTI_HOME")
def bundle(
    model: str,
    answers_for: str,
    out: Path | None,
    keys: Path | None,
    build: str | None,
    replace: bool,
    models: str | None,
    online: str | None,
) -> None:
    """Write MODEL into one file, for an app or a device without stores.

    The file holds the graph, its manifest, the on-demand code and what the online store has for its features. The predictor opens
    it with numpy and onnxruntime alone: Predictor.open_bundle(file).
    """
    from fti_assets.inference.serving.bundle.writing import write_bundle
    from fti_assets.stores.online.store import online_store

    find_sources_here()
    file = out or Path(f"{model}.zip")
    result = write_bundle(
        file,
        model,
        models=store_in(models),
        online=online_store(online or default_store("online")),
        answers_for=duration(answers_for, what="--answers-for"),
        build=build,
        keys=keys,
        overwrite=replace,
    )
    record = result.record
    click.echo(f"{file} holds {record.model} {record.build} in {result.size} bytes")
    click.echo(f"  answers until {record.answers_until.isoformat()}, from features as of {record.as_of}")
    for name, about in record.namespaces.items():
        click.echo(f"  {name}: {about.keys} of {result.keys_before[name]} keys")
    click.echo(f"  sha256 {result.sha256}")
