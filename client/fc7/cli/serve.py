"""`fc7 serve`: the door to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc7.cli.settings import engine_settings, setting


@click.command()
@setting("--listen", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="Port 0: a free one.")
@setting("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of collections and heads.")
@engine_settings
@setting("--token-file", type=click.Path(path_type=Path), help="Lines SCOPE TOKEN with scope read, write or admin.")
@setting("--tls-cert", type=click.Path(path_type=Path), help="PEM certificate chain.")
@setting("--tls-key", type=click.Path(path_type=Path), help="PEM private key.")
@setting("--insecure", "insecure", is_flag=True, help="Allow an address beyond loopback without TLS and tokens.")
def serve(data: Path | None, threads: int | None, insecure: bool, **values: Any) -> None:
    """Serve trained networks, collections and heads over gRPC.

    Prints `listening on HOST:PORT` once every model is warm; logs one JSON line per request on
    standard error. On SIGTERM, SIGHUP or Ctrl-C the calls under way end first.
    """
    from fc7.contract.cores import usable_cores
    from fc7.local_server import default_data
    from fc7_service.server import serve as run
    from fc7_service.settings import Settings

    run(Settings(data=data or default_data(), threads=threads or usable_cores(), is_insecure=insecure, **values))
