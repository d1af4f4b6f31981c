"""How a command reaches its server: the options of the connection, and what opens it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fc7.cli.options import path_type
from fc7.cli.settings import read_engine_settings, setting

if TYPE_CHECKING:
    from fc7 import Client


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a command's server is, and which models it must have."""

    server: str | None
    data: Path | None
    token_file: Path | None
    tls_ca: Path | None
    tls_client: Path | None = None
    models: tuple[str, ...] = ()  # names or bundle folders from the settings, the default first; empty if none is set
    named: tuple[str, ...] = ()  # the command's own --model or --ensemble, if it names a bundle folder
    device: str = "auto"
    threads: int | None = None

    def open(self) -> Client:
        """Connect to the server, or start one in this process.

        Raises
        ------
        FailedPrecondition
            The server is another process, and lacks a model that is set or named.
        """
        import fc7
        from fc7._connect import connect_local
        from fc7.requested_models import check_default, check_served

        if self.server is None:
            return connect_local(
                self.data, models=self.models, named=self.named, device=self.device, threads=self.threads
            )
        client = fc7.connect(self.server, token_file=self.token_file, tls_ca=self.tls_ca, tls_client=self.tls_client)
        try:
            if self.named:
                check_served(client.models(), self.named, f"the server {self.server}")
            elif self.models:
                check_default(client.models(), self.models, f"the server {self.server}")
        except BaseException:
            client.close()
            raise
        return client


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Add the four options of a connection and pass them on as ``connection``.

    A bundle folder in the command's ``model`` or ``ensemble`` is replaced by the name of the model in it.
    """

    @setting(
        "--server",
        metavar="HOST:PORT",
        help="Server to use; several with commas, or dns:///HOST:PORT for all behind a name. By default, the process "
        "that holds the data folder, or else a server inside the command.",
    )
    @setting(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Data folder to use when no server is named. Defaults to your user data folder.",
    )
    @setting("--token-file", type=path_type, help="File with the token to send to the server.")
    @setting("--tls-ca", type=path_type, help="PEM file of the authority that signed the server's certificate.")
    @setting("--tls-client", type=path_type, help="PEM file with your certificate and its key, if the server asks.")
    @functools.wraps(command)
    def call(
        server: str | None,
        data: Path | None,
        token_file: Path | None,
        tls_ca: Path | None,
        tls_client: Path | None,
        **kwargs: Any,
    ) -> None:
        source = click.get_current_context().get_parameter_source
        if source("data") is ParameterSource.COMMANDLINE:  # stronger than FC7_SERVER and fc7.toml
            if source("server") is ParameterSource.COMMANDLINE:
                raise click.UsageError("--data and --server exclude each other. --data is for a server in this process")
            server = None
        for name in ("token_file", "tls_ca", "tls_client"):
            if server is None and source(name) is ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{option} is for a server elsewhere. Name one with --server HOST:PORT")
        named = _name_bundles(kwargs, server)
        connection = Connection(server, data, token_file, tls_ca, tls_client, named=named, **read_engine_settings())
        command(connection=connection, **kwargs)

    return call


def _name_bundles(kwargs: dict[str, Any], server: str | None) -> tuple[str, ...]:
    """Replace bundle folders by the names of their models; return all that was named if a bundle was among it."""
    model, ensemble = kwargs.get("model"), kwargs.get("ensemble")
    named: tuple[str, ...] = (model,) if model else ensemble or ()
    if not named:
        return ()
    from fc7.requested_models import read_requested_model

    requested = {text: read_requested_model(text) for text in named}
    bundles = {text: found.name for text, found in requested.items() if found.graph_sha256 and _is_folder(text, server)}
    if model:
        kwargs["model"] = bundles.get(model, model)
    else:
        kwargs["ensemble"] = tuple(bundles.get(text, text) for text in named)
    return named if bundles else ()


def _is_folder(bundle: str, server: str | None) -> bool:
    """Return whether text stands for the folder of that name rather than for the server's model of that name."""
    if Path(bundle).name != bundle:  # a path such as ./name
        return True
    if server is not None:
        return False
    from fc7.local_server import shipped_models

    return bundle not in shipped_models()
