"""`fc7 ui`: open the page in the browser, over the user's own data folder."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from fc7.cli.login import login_name
from fc7.cli.options import example, path_type
from fc7.cli.output import print_text
from fc7.cli.settings import read_engine_settings, setting
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7.picture_folders import PictureFolders
    from fc7_service.local import Attached


@example("fc7 ui")
@click.command()
@setting(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds collections and heads. Defaults to your user data folder.",
)
@click.option(
    "--http",
    default="127.0.0.1:8077",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of the page on this machine. Port 0 takes a free one.",
)
@click.option(
    "--pictures",
    multiple=True,
    type=path_type,
    metavar="DIR",
    help="Show pictures from this folder, without asking. Repeatable.",
)
@click.option("--no-open", "is_opened", is_flag=True, default=True, help="Print the address, and open no browser.")
def ui(data: Path | None, http: str, pictures: tuple[Path, ...], is_opened: bool) -> None:
    """Open the page in the browser, over your data folder.

    The first time, the command asks whether the page may show the pictures of the folders from which you added
    pictures. It remembers the answer. The page runs until Ctrl-C; only this user can reach it.

    If another process serves the data folder with --http, the command opens that page and returns.
    """
    from fc7.local_server import default_data
    from fc7.picture_folders import PictureFolders

    data = data or default_data()
    folders = PictureFolders(data)
    folders.answer((folder.resolve() for folder in pictures), is_shown=True)
    attached = _start(data, http, folders)
    try:
        if attached.is_ours and _ask_about_new(attached, folders):
            attached.stop()
            attached = _start(data, http, folders)
        address = f"{attached.holder.http}/#token={attached.holder.token}&by={quote(login_name())}"
        print_text(address)
        sys.stdout.flush()
        if is_opened:
            webbrowser.open(address)
        if attached.is_ours:
            _wait()
    finally:
        attached.stop()


def _start(data: Path, http: str, folders: PictureFolders) -> Attached:
    from fc7.local_server import is_serving
    from fc7_service.local import attach_or_start
    from fc7_service.settings import Settings

    engine = {name: value for name, value in read_engine_settings().items() if value is not None}
    attached = attach_or_start(Settings(data, None, http=http, pictures=folders.shown, **engine), is_serving)
    if not attached.holder.http:
        raise FailedPrecondition(
            f"process {attached.holder.pid} uses the data folder and serves no page. Stop it, or start it with: "
            "fc7 serve --http 127.0.0.1:8080"
        )
    return attached


def _ask_about_new(attached: Attached, folders: PictureFolders) -> bool:
    """Ask about folders that nobody was asked about; return whether there are more to show now."""
    from fc7._session import Session
    from fc7.client import Client
    from fc7.endpoint import Endpoint

    with Client(Session(Endpoint(attached.address, attached.token, is_retried=False), None)) as client:
        new = folders.find_new(client)
    if new and not sys.stdin.isatty():
        print_text(f"Pictures from {len(new)} folders are not shown. Name them with --pictures DIR.", err=True)
        return False
    is_shown = bool(new) and click.confirm(
        "Pictures were added from\n" + "\n".join(f"    {folder}" for folder in new) + "\nShow them on the page?",
        default=True,
    )
    folders.answer(new, is_shown=is_shown)
    folders.save()
    return is_shown


def _wait() -> None:
    """Wait for Ctrl-C, or for a supervisor that ends the process."""
    is_told = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, lambda *_: is_told.set())
    while not is_told.wait(3600):
        pass
