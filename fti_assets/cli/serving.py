"""``fti serve`` and ``fti publish``: models answered for over HTTP and gRPC."""

from __future__ import annotations

from pathlib import Path

import click

from fti_assets.cli.options import reason_option, stores
from fti_assets.core.home import default_store
from fti_assets.errors import StoreError


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@stores("models", "online", otherwise="{}/ under FTI_HOME")
@click.option("--host", default="127.0.0.1", show_default=True, help="the address to listen on")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="the port to listen on")
@click.option(
    "--grpc-port", type=click.IntRange(0, 65_535), help="the port to listen on for gRPC (default: it is not spoken)"
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="how many processes answer")
@click.option(
    "--drain", default=0.0, show_default=True, help="seconds between SIGTERM and the last accepted connection"
)
@click.option("--body-bytes", type=int, help="of a request at most (default: 16 MiB)")
@click.option("--rows", type=int, help="of a request at most (default: 10000)")
@click.option(
    "--requests", type=int, help="answered at once by a worker; one more is asked to come back later (default: 256)"
)
@click.option("--connections", type=int, help="open at once in a worker (default: 1000)")
@click.option(
    "--log", metavar="FOLDER", help="log answers with their requests and features (default: they are not logged)"
)
@click.option(
    "--redact", multiple=True, metavar="NAME", help="a field or feature that is never logged in clear; once for each"
)
@click.option("--providers", metavar="NAMES", help="what graphs run on, such as cuda (default: FTI_PROVIDERS, or cpu)")
@click.option(
    "--graph-server", metavar="URL", help="a server that runs the graphs, such as Triton (default: they run here)"
)
@click.option(
    "--refuse",
    multiple=True,
    type=click.Choice(["unknown_keys", "unknown_categories", "out_of_schema", "missing"]),
    help="what else to refuse of a request; missing is a group without a row, or with a stale one (default: it is answered, and said)",
)
def serve(
    names: tuple[str, ...],
    models: str | None,
    online: str | None,
    host: str,
    port: int,
    grpc_port: int | None,
    workers: int,
    drain: float,
    log: str | None,
    redact: tuple[str, ...],
    providers: str | None,
    graph_server: str | None,
    refuse: tuple[str, ...],
    **limits: int | None,
) -> None:
    """Answer requests to models over HTTP: the Open Inference Protocol and plain JSON; over gRPC the protocol alone.

    FTI_SERVE_TOKENS holds the tokens of which each request must bear one, with commas between them. FTI_LOG_KEY holds the secret with
    which redacted values are hashed; without it they are left out. FTI_GRAPH_TOKEN holds the token that the graph
    server asks for.
    """
    from fti_assets.inference.server.limits import Limits
    from fti_assets.inference.server.service import Settings, serve

    chosen_limits = {name: value for name, value in limits.items() if value is not None}
    settings = Settings(
        names,
        models,
        online,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        drain_seconds=drain,
        limits=Limits(**chosen_limits),
        log=log,
        redact=redact,
        providers=providers,
        graph_server=graph_server,
        refuse=refuse,
    )
    serve(settings)


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@stores("models", otherwise="{}/ under FTI_HOME")
@click.option("--version", default=1, show_default=True, help="of the model")
@reason_option("champions", default="published", show_default=True)
def publish(name: str, file: Path, models: str | None, version: int, reason: str) -> None:
    """Put an ONNX graph of your own into the model store and make it champion.

    It is served as it is, without features. FILE is an ONNX file without external data.
    """
    from fti_assets.stores.files import read_file
    from fti_assets.stores.models.plain import publish_graph
    from fti_assets.stores.models.store import ModelStore

    graph = read_file(file, "name a file, such as model.onnx")
    if graph is None:
        raise StoreError(f"{file} cannot be read: there is no such file")
    reference = publish_graph(
        ModelStore(models or default_store("models")), name, graph, version=version, reason=reason
    )
    click.echo(f"{name} is served by {reference}")
