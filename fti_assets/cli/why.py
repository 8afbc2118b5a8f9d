"""``fti why``: what a logged answer rests on."""

from __future__ import annotations

import click

from fti_assets.cli.options import definitions, load_definitions, stores


@click.command()
@click.argument("request_id")
@click.option("--at", metavar="TIME", help="also as if it had been asked at another time, as ISO text")
@click.option("--build", metavar="BUILD", help="also as another build answers it")
@definitions
@stores("lake", "models", "log")
def why(
    request_id: str, at: str | None, build: str | None, file: str | None, module: str | None, **folders: str | None
) -> None:
    """Say why a logged request was answered as it was.

    REQUEST_ID stands in the answer. The rows, the snapshot, the build and the graph behind it are looked up, and the answer is computed
    again from them.
    """
    from fti_assets.describe import stores_of
    from fti_assets.why import as_text, why

    system = load_definitions(file, module)
    click.echo(as_text(why(system, request_id, stores=stores_of(system, **folders), at=at, build=build)))
