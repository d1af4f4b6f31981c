"""The folder of the Unix socket through which this user's own programs reach the server."""

from __future__ import annotations

import re
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from fc7_service.data_folder import SOCKET_FOLDER_PREFIX, SOCKET_NAME

_SOCKET_PATH = r"[A-Za-z0-9/._-]{1,100}"  # longer ones do not fit sockets; other characters differ between gRPC's ends


def make_socket_folder(record: Callable[[Path], None]) -> Path | None:
    """Return a new folder for a Unix socket, this user's alone; None where a socket in it could not be reached.

    Parameters
    ----------
    record
        Takes note of the folder before it is made.
    """
    if not hasattr(socket, "AF_UNIX"):
        return None
    try:
        folder = Path(tempfile.gettempdir()) / f"{SOCKET_FOLDER_PREFIX}{secrets.token_hex(8)}"
        if not re.fullmatch(_SOCKET_PATH, f"{folder}/{SOCKET_NAME}"):
            return None
        record(folder)
        folder.mkdir(mode=0o700)
    except OSError:
        return None
    return folder
