"""The way from a command to its server."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fc7.cli.settings import read_engine_settings, setting

if TYPE_CHECKING:
    from fc7 import Client


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a command's server is, and what it must be."""

    server: str | None
    data: Path | None
    token_file: Path | None
    tls_ca: Path | None
    models: tuple[str, ...] = ()  # names or bundles, the default first; empty for what there is
    named: tuple[str, ...] = ()  # models and bundles that the command names, where one is a bundle
    device: str = "auto"
    threads: int | None = None

    def open(self) -> Client:
        """Connect, or start the server in this process.

        Raises
        ------
        FailedPrecondition
            A server that was not started here lacks a model that is set or named.
        """
        import fc7
        from fc7._connect import connect_local
        from fc7.requested_models import check_default, check_served

        if self.server is None:
            return connect_local(
                self.data, models=self.models, named=self.named, device=self.device, threads=self.threads
            )
        client = fc7.connect(self.server, token_file=self.token_file, tls_ca=self.tls_ca)
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
    """Add the four options of a connection; hand them on as ``connection``.

    A bundle in the command's ``model`` or ``ensemble`` becomes the name of its model there.
    """

    @setting("--server", metavar="HOST:PORT", help="Talk to this server. By default one runs in this process.")
    @setting("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder, without a server.")
    @setting("--token-file", type=click.Path(path_type=Path), help="File with the token to send.")
    @setting("--tls-ca", type=click.Path(path_type=Path), help="PEM file of the authority that the server must prove.")
    @functools.wraps(command)
    def call(
        server: str | None, data: Path | None, token_file: Path | None, tls_ca: Path | None, **kwargs: Any
    ) -> None:
        source = click.get_current_context().get_parameter_source
        if source("data") is ParameterSource.COMMANDLINE:  # then it is meant, whatever server the shell names
            if source("server") is ParameterSource.COMMANDLINE:
                raise click.UsageError("--data is for a server in this process: give it or --server")
            server = None
        for name in ("token_file", "tls_ca"):
            if server is None and source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name.replace('_', '-')} is for a server elsewhere: name it with --server")
        named = _name_bundles(kwargs, server)
        connection = Connection(server, data, token_file, tls_ca, named=named, **read_engine_settings())
        command(connection=connection, **kwargs)

    return call


def _name_bundles(kwargs: dict[str, Any], server: str | None) -> tuple[str, ...]:
    """Put the names of models in place of bundles; return what the command names if one of it is a bundle."""
    model, ensemble = kwargs.get("model"), kwargs.get("ensemble")
    given: tuple[str, ...] = (model,) if model else ensemble or ()
    if not given:
        return ()
    from fc7.requested_models import read_requested_model

    bundles = {
        text: one.name for text in given if (one := read_requested_model(text)).graph_sha256 and _is_meant(text, server)
    }
    if model:
        kwargs["model"] = bundles.get(model, model)
    else:
        kwargs["ensemble"] = tuple(bundles.get(text, text) for text in given)
    return given if bundles else ()


def _is_meant(bundle: str, server: str | None) -> bool:
    """Tell whether a folder is meant, or the model of a server that has the folder's name."""
    if Path(bundle).name != bundle:
        return True
    if server is not None:
        return False
    from fc7.local_server import shipped_models

    return bundle not in shipped_models()
