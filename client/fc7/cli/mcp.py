"""`fc7 mcp`: tools for an assistant, over standard input and output."""

from __future__ import annotations

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example


@example("fc7 mcp --data ./fc7-data")
@click.command()
@connected
def mcp(connection: Connection) -> None:
    """Give an assistant tools to search, classify, label, train and explain.

    Speaks the Model Context Protocol over standard input and output, until its input ends. An
    assistant starts this command by itself: name it in the assistant's settings. It needs the
    extra mcp: pip install "fc7[mcp]".

    The tools can do what you can do: on your own data folder everything, on a server what your
    token allows.
    """
    import asyncio
    from contextlib import nullcontext

    from fc7.assistants import make_server

    with connection.open() as client:
        server = make_server(lambda _: nullcontext(client), reads_files=True)
        asyncio.run(server.run_stdio_async())
