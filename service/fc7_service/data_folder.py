"""The lock on a data folder, which one process holds, and the record of how to reach that process."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fc7.errors import FailedPrecondition, Reason
from fc7_service.bundle.disk import replace_file

SOCKET_FOLDER_PREFIX = "fc7-"  # of the temporary folder that the private socket is in
SOCKET_NAME = "s"  # of the socket in that folder
_LOCK_FILE = "lock"
_ADDRESS_FILE, _SOCKET_FILE = "holder.json", "door.json"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The server that holds a data folder."""

    pid: int
    address: str  # private: "unix:PATH", or HOST:PORT where there are no Unix sockets
    token: str = ""  # one-time token that the private address asks for
    listen: str = ""  # public address, if there is one
    folder: str = ""  # the data folder; differs in a copy of it
    http: str = ""  # URL of the HTTP door, if there is one


class DataFolder:
    """The lock on a data folder, held until ``release``.

    Parameters
    ----------
    path
        The folder; created if it is missing.

    Raises
    ------
    FailedPrecondition
        Another process holds it (the error names it), or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / _LOCK_FILE, thread_local=False)  # another thread may release it
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._held = os.stat(path / _LOCK_FILE)
            self._remove_leftovers()
        except Timeout:
            server = read_running_server(path)
            who = f"process {server.pid}" if server else "another process"
            where = f", listening on {server.listen}" if server and server.listen else ""
            raise FailedPrecondition(
                f"data folder {str(path)!r} is held by {who}{where}. Use that server, stop it, or name another --data",
                name=str(path),
                reason=Reason.DATA_FOLDER_IN_USE,
            ) from None
        except OSError as error:
            self._lock.release()
            raise FailedPrecondition(f"data folder {str(path)!r} cannot be used: {error}", name=str(path)) from error

    @property
    def is_still_ours(self) -> bool:
        """Whether the folder still contains our lock. If it was deleted, another process may have created a new one."""
        try:
            return os.path.samestat(self._held, os.stat(self.path / _LOCK_FILE))
        except OSError:
            return False

    def record_socket_folder(self, socket_folder: Path) -> None:
        """Record the folder of the private socket before it is created, so that it is removed even after a kill."""
        self._write(_SOCKET_FILE, {"door": str(socket_folder), "folder": str(self.path.resolve())})

    def _remove_leftovers(self) -> None:
        """Remove what a killed server left: its address, and the folder of its socket."""
        try:
            left = json.loads((self.path / _SOCKET_FILE).read_text())
            socket_folder = Path(left["door"])
            is_of_here = left["folder"] == str(self.path.resolve())  # in a copy of a data folder it is not
        except (OSError, ValueError, KeyError, TypeError):
            is_of_here = False
        if is_of_here and socket_folder.name.startswith(SOCKET_FOLDER_PREFIX):
            with contextlib.suppress(OSError):  # removes nothing else, whatever the record says
                (socket_folder / SOCKET_NAME).unlink(missing_ok=True)
                socket_folder.rmdir()
        for file in (_SOCKET_FILE, _ADDRESS_FILE):
            (self.path / file).unlink(missing_ok=True)

    def announce(self, server: RunningServer) -> None:
        """Write how this server can be reached, readable by this user alone."""
        self._write(_ADDRESS_FILE, asdict(replace(server, folder=str(self.path.resolve()))))

    def _write(self, file: str, values: dict[str, Any]) -> None:
        replace_file(self.path / file, json.dumps(values).encode(), mode=0o600, is_durable=False)

    def release(self) -> None:
        """Let go of the folder."""
        for file in (_ADDRESS_FILE, _SOCKET_FILE) if self.is_still_ours else ():
            (self.path / file).unlink(missing_ok=True)
        self._lock.release()


def read_running_server(path: Path) -> RunningServer | None:
    """Return the server that announced itself in ``path``; None if none did, or if the folder is a copy."""
    try:
        server = RunningServer(**json.loads((path / _ADDRESS_FILE).read_text()))
        return server if server.folder == str(path.resolve()) else None
    except (OSError, ValueError, TypeError):
        return None
