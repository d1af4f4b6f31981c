"""`fc7 model load`, `reload` and `unload`: change which models a running server has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fc7.cli.connection import Connection, connected
from fc7.cli.options import example, json_option
from fc7.cli.output import print_json, print_text, printable
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7 import Client, Model


@example("fc7 model load networks/birds")
@click.command()
@click.argument("bundle")
@click.option(
    "--default",
    "is_default",
    is_flag=True,
    help="Make it the default model. BUNDLE may then also be the name of a served model.",
)
@json_option
@connected
def load(connection: Connection, bundle: str, is_default: bool, as_json: bool) -> None:
    """Have a running server serve one more model.

    BUNDLE is the name of a shipped model, or a bundle folder on the server's machine. The server
    first checks the golden vectors. If another model has the name, the new one is called
    NAME:VERSION; with --default it takes the name over.

    The server forgets the model when it ends. To keep it, name it with `fc7 serve --model`.
    """
    with _running_server(connection) as client:
        loaded = client.load_model(_path(bundle, connection), default=is_default)
    if as_json:
        print_json(model_facts(loaded))
    else:
        print_text(f"{_described(loaded)} is served{' as the default model' if is_default else ''}")


@example("fc7 model reload birds")
@click.command()
@click.argument("name", default="")
@click.option("--bundle", default="", metavar="BUNDLE", help="Bundle to take. Defaults to the one the model came from.")
@click.option("--keep-old", is_flag=True, help="Keep serving the old version, as NAME:VERSION.")
@json_option
@connected
def reload(connection: Connection, name: str, bundle: str, keep_old: bool, as_json: bool) -> None:
    """Have a running server replace a model by a newer version of it.

    Calls go on meanwhile: those that began before finish with the old version. The server first
    checks the golden vectors of the new version. If they do not match, the old one stays, and the
    exit code is 8.

    Without NAME, the server's default model is reloaded.
    """
    with _running_server(connection) as client:
        done = client.reload_model(name, _path(bundle, connection) if bundle else "", keep_old=keep_old)
    if as_json:
        facts = {"old_version": done.old_version, "old_running_calls": done.running_calls}
        print_json(model_facts(done.model) | facts)
        return
    print_text(f"{_described(done.model)} replaces version {done.old_version}")
    _say_running(done.running_calls)


@example("fc7 model unload birds")
@click.command()
@click.argument("name")
@json_option
@connected
def unload(connection: Connection, name: str, as_json: bool) -> None:
    """Have a running server stop serving a model, and give its memory back.

    NAME may be NAME:VERSION. If the server has other versions, the plain name then means the next
    one. The default model cannot be unloaded.
    """
    with _running_server(connection) as client:
        n_calls = client.unload_model(name)
    if as_json:
        print_json({"name": name, "running_calls": n_calls})
        return
    print_text(f"{printable(name)} is no longer served")
    _say_running(n_calls)


def model_facts(model: Model) -> dict[str, Any]:
    """Return what the commands print of a model with --json."""
    facts = asdict(model)
    del facts["classes"], facts["card"]
    return facts


@contextmanager
def _running_server(connection: Connection) -> Iterator[Client]:
    """Connect to a server that outlives this command."""
    with connection.open() as client:
        if client.server_info().pid == os.getpid():
            raise FailedPrecondition(
                "no server is running that could keep the model. Start one with: fc7 serve --model BUNDLE",
                name="server",
            )
        yield client


def _path(bundle: str, connection: Connection) -> str | Path:
    """Return a bundle as the server finds it: without --server it may run in another folder."""
    is_path = os.sep in bundle or Path(bundle, "manifest.json").is_file()
    return Path(bundle) if connection.server is None and is_path else bundle


def _described(model: Model) -> str:
    return f"{printable(model.name)} (version {model.version}, graph {printable(model.graph_sha256[:12])})"


def _say_running(n_calls: int) -> None:
    if n_calls:
        print_text(f"{n_calls} calls still use the old version. Its memory is given back when they end")
