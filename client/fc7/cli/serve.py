"""`fc7 serve`: serve networks, collections and heads over gRPC and HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fc7.cli.options import example, path_type
from fc7.cli.settings import engine_settings, setting


@example("fc7 serve")
@click.command()
@setting(
    "--listen",
    default="127.0.0.1:50051",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on. Port 0 takes a free port.",
)
@setting(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds collections and heads. Defaults to your user data folder.",
)
@engine_settings
@setting(
    "--token-file",
    type=path_type,
    help="File of access tokens, one per line as SCOPE TOKEN. SCOPE is read, write or admin.",
)
@setting("--tls-cert", type=path_type, help="PEM file with the certificate chain of the server.")
@setting("--tls-key", type=path_type, help="PEM file with the private key of the certificate.")
@setting("--tls-client-ca", type=path_type, help="PEM file of the authority that signed the certificates of clients.")
@setting("--insecure", "insecure", is_flag=True, help="Let other machines connect without TLS and tokens.")
@setting(
    "--metrics",
    metavar="HOST:PORT",
    help="Address that serves metrics to Prometheus, over HTTP without a token. By default, no metrics are served.",
)
@setting(
    "--http",
    metavar="HOST:PORT",
    help="Address that serves every call over HTTP, and the page for browsers. By default, no HTTP is served.",
)
@setting(
    "--http-host",
    "http_hosts",
    multiple=True,
    metavar="NAME",
    help="Name by which browsers reach the HTTP address, beside localhost and IP addresses. Repeatable.",
)
@setting(
    "--http-origin",
    "http_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Another site whose pages may call the HTTP address (CORS), such as https://example.org. Repeatable.",
)
@setting(
    "--pictures",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder whose pictures the HTTP address may show, as thumbnails and whole. Repeatable.",
)
@setting(
    "--recall-queries",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="Recent queries per collection that are kept in memory, to measure in idle time what its index misses.",
)
@setting(
    "--traces",
    metavar="HOST:PORT",
    help="OpenTelemetry collector that gets a span per call. Needs 'fc7[otel]'. By default, no spans are sent.",
)
def serve(data: Path | None, threads: int | None, insecure: bool, **values: Any) -> None:
    """Serve trained networks, collections and heads over gRPC and HTTP.

    Prints `listening on HOST:PORT` when every model is ready, and then `serving URL` if you ask
    for HTTP. Logs one line of JSON per request to standard error. On SIGTERM, SIGHUP or Ctrl-C,
    the server first finishes the running calls.

    Addresses that other machines can reach need tokens and TLS, or --insecure.
    """
    from fc7.contract.cores import usable_cores
    from fc7.local_server import default_data
    from fc7_service.server import serve as run
    from fc7_service.settings import Settings

    run(Settings(data=data or default_data(), threads=threads or usable_cores(), is_insecure=insecure, **values))
