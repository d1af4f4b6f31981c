"""`fc7 health`: whether the server is ready."""

from __future__ import annotations

import click

from fc7.cli.output import emit, json_option
from fc7.cli.setting import Connection, connected
from fc7.errors import Unavailable


@click.command()
@json_option
@connected
def health(connection: Connection, as_json: bool) -> None:
    """Tell whether the server is ready. Needs no token; exit code 0 or 7."""
    with connection.open() as client:
        if not client.is_ready():
            where = connection.server or "of the data folder"
            raise Unavailable(f"the server {where} is not ready: it is away, starting or draining; try again soon")
    if as_json:
        emit({"status": "ready"})
    else:
        click.echo("ready")
