"""The folder of the Unix socket through which this user's own programs reach the server."""

from __future__ import annotations

import re
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from fc7_service.data_folder import SOCKET_FOLDER_PREFIX, SOCKET_NAME

_SOCKET_PATH = r"[A-Za-z0-9/._-]{1,100}"  # longer paths do not fit a socket; gRPC reads other characters in two ways


def make_socket_folder(record: Callable[[Path], None]) -> Path | None:
    """Create a folder for a Unix socket, for this user only; return None if gRPC could not reach a socket in it.

    Parameters
    ----------
    record
        Called with the folder before it is created.
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
