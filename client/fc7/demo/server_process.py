"""A server process for the demonstration, on a free port and over a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fc7.errors import Unavailable

if TYPE_CHECKING:
    from fc7 import Client

_STOP_S = 30.0  # for the server to end before it is killed
_LOG_CHARACTERS = 500  # of the end of its log, in an error


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Client]:
    """Run `fc7 serve` as a process and yield a client of it. The caller's `FC7_` variables do not reach the server.

    Parameters
    ----------
    folder
        Gets the server's data folder and its log.

    Raises
    ------
    Unavailable
        The server did not start, or did not end well; the end of its log is in the message.
    """
    import fc7

    command = [sys.executable, "-m", "fc7", "serve", "--listen", "127.0.0.1:0", "--data", str(folder / "data")]
    log = folder / "server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FC7_")}  # noqa: TID251
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env=environment
        ) as server,
    ):
        try:
            assert server.stdout is not None
            _, is_listening, address = server.stdout.readline().strip().partition("listening on ")
            if not is_listening:
                raise Unavailable(f"the server did not start. Its log ends with: {_end_of(log)}")
            with fc7.connect(address) as client:
                yield client
        finally:
            server.terminate()
            try:
                server.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
    if server.returncode:
        raise Unavailable(f"the server ended with exit code {server.returncode}. Its log ends with: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-_LOG_CHARACTERS:] or "(nothing)"
