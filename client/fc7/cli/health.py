"""`fc7 health`: whether the server is ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import json_option
from fc7.cli.output import print_json, print_text
from fc7.errors import Unavailable


@click.command()
@json_option
@connected
def health(connection: Connection, as_json: bool) -> None:
    """Tell whether the server is ready. Needs no token, starts none; exit code 0 where it is, 7 where it is not.

    Without a server the process that holds the data folder is asked. Else the codes are those of every command: 2 for
    an address that is none, 4 where that process is to be asked and the extra "cpu" or "gpu" is not installed.
    """
    if connection.server is None:
        connection = Connection(_holder(connection.data), None, None, None)
    with replace(connection, models=()).open() as client:
        client.check_ready()
    if as_json:
        print_json({"status": "ready"})
    else:
        print_text("ready")


def _holder(data: Path | None) -> str:
    """Return where the process that holds the data folder can be reached."""
    from fc7.local_server import default_data
    from fc7_service.data_folder import read_running_server

    folder = data or default_data()
    holder = read_running_server(folder)
    if holder is None:
        raise Unavailable(
            f"no server holds the data folder {str(folder)!r}: start one with `fc7 serve`, or name one with --server",
            name=str(folder),
        )
    return holder.address
