"""`fc7 health`: tell whether the server is ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option
from fc7.cli.output import print_json, print_text
from fc7.errors import Fc7Error, Unavailable

if TYPE_CHECKING:
    from fc7 import Client


@example("fc7 health --server 127.0.0.1:50051")
@click.command()
@json_option
@connected
def health(connection: Connection, as_json: bool) -> None:
    """Tell whether the server is ready.

    The exit code is 0 if the server is ready and 7 if it is not. Other failures use the usual
    exit codes; an invalid address gives 2.

    With --json, it also names the device that the default model runs on, if the caller may know
    that (scope admin). The command needs no token and never starts a server. Without --server, it asks the process
    that holds the data folder. For that, 'fc7[cpu]' or 'fc7[gpu]' must be installed; otherwise
    the exit code is 4.
    """
    if connection.server is None:
        connection = Connection(_holder(connection.data), None, None, None)
    with replace(connection, models=()).open() as client:
        client.check_ready()
        device = _device(client) if as_json else ""
    if as_json:
        print_json({"status": "ready"} | ({"device": device} if device else {}))
    else:
        print_text("ready")


def _device(client: Client) -> str:
    """Return what the default model runs on; nothing if the caller may not know it, or if it has not run yet."""
    try:
        return client.server_info(timeout_s=5).provider
    except Fc7Error:
        return ""


def _holder(data: Path | None) -> str:
    """Return the address of the process that holds the data folder."""
    from fc7.local_server import default_data
    from fc7_service.data_folder import read_running_server

    folder = data or default_data()
    holder = read_running_server(folder)
    if holder is None:
        raise Unavailable(
            f"no server holds the data folder {str(folder)!r}. Start one with `fc7 serve`, or name one with --server",
            name=str(folder),
        )
    return holder.address
