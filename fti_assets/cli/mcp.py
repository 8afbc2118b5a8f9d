"""``fti mcp``: a system as tools for an agent."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import click

from fti_assets.cli.options import definitions, load_definitions, stores


@click.command()
@click.option("--no-rows", is_flag=True, help="leave out the tools that show single rows and requests")
@definitions
@stores("lake", "models", "log")
def mcp(no_rows: bool, file: str | None, module: str | None, **folders: str | None) -> None:
    """Answer an agent's questions about a system, over the Model Context Protocol.

    It reads standard input and writes standard output, as an agent that starts it expects. Its tools search, describe, list and compare
    builds, tell drift, quality and what is wrong, explain a logged request, and read a few rows. None of them writes. It sees the
    definitions as they are when it starts, and the stores as they are when it is asked.
    """
    from fti_assets.agents import Tools, server_of
    from fti_assets.describe import stores_of

    with redirect_stdout(sys.stderr):  # what definitions print is no message
        system = load_definitions(file, module)
        server = server_of(Tools(system, stores_of(system, **folders)), rows=not no_rows)
    server.run("stdio")
