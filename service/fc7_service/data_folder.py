"""One process owns a data folder: an OS lock, and beside it where its holder can be reached."""

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

SOCKET_FOLDER_PREFIX = "fc7-"  # of the temporary folder that holds a private socket
SOCKET_NAME = "s"  # in that folder
_LOCK_FILE = "lock"
_ADDRESS_FILE, _DOOR_FILE = "holder.json", "door.json"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Who holds a data folder."""

    pid: int
    address: str  # of the private door: "unix:PATH", or HOST:PORT where there are no Unix sockets
    token: str = ""  # one-time token of a door on a port
    listen: str = ""  # public address, where there is one
    folder: str = ""  # the data folder, so that a copy of it is told from it


class DataFolder:
    """The lock on a data folder, held until ``release``.

    Parameters
    ----------
    path
        The folder; made where it is missing.

    Raises
    ------
    FailedPrecondition
        Another live process holds it (named), or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / _LOCK_FILE, thread_local=False)  # taken here, released where the server ends
            self._lock.acquire(timeout=0)
            self._held = os.stat(path / _LOCK_FILE)
        except Timeout:
            holder = read_running_server(path)
            who = f"process {holder.pid}" if holder else "another process"
            where = f", listening on {holder.listen}" if holder and holder.listen else ""
            raise FailedPrecondition(
                f"data folder {str(path)!r} is held by {who}{where}: use that server, stop it, or name another --data",
                name=str(path),
                reason=Reason.DATA_FOLDER_IN_USE,
            ) from None
        except OSError as error:
            raise FailedPrecondition(f"data folder {str(path)!r} cannot be used: {error}", name=str(path)) from error
        self._sweep()

    @property
    def is_still_ours(self) -> bool:
        """Whether the folder still holds our lock: once it is deleted, another process may make and hold a new one."""
        try:
            return os.path.samestat(self._held, os.stat(self.path / _LOCK_FILE))
        except OSError:
            return False

    def record_socket_folder(self, door: Path) -> None:
        """Note the folder of a private socket before it is made: the next holder removes it if this one is killed."""
        self._write(_DOOR_FILE, {"door": str(door), "folder": str(self.path.resolve())})

    def _sweep(self) -> None:
        """Remove what a holder that was killed has left: its address, and its socket's folder."""
        try:
            left = json.loads((self.path / _DOOR_FILE).read_text())
            door, is_of_here = Path(left["door"]), left["folder"] == str(self.path.resolve())  # a copy's is not ours
        except (OSError, ValueError, KeyError, TypeError):
            is_of_here = False
        if is_of_here and door.name.startswith(SOCKET_FOLDER_PREFIX):
            with contextlib.suppress(OSError):  # nothing else is removed, whatever the record says
                (door / SOCKET_NAME).unlink(missing_ok=True)
                door.rmdir()
        for file in (_DOOR_FILE, _ADDRESS_FILE):
            (self.path / file).unlink(missing_ok=True)

    def announce(self, holder: RunningServer) -> None:
        """Write where the holder can be reached, readable by this user alone."""
        self._write(_ADDRESS_FILE, asdict(replace(holder, folder=str(self.path.resolve()))))

    def _write(self, file: str, values: dict[str, Any]) -> None:
        replace_file(self.path / file, json.dumps(values).encode(), mode=0o600, is_durable=False)

    def release(self) -> None:
        """Give the folder back."""
        for file in (_ADDRESS_FILE, _DOOR_FILE) if self.is_still_ours else ():
            (self.path / file).unlink(missing_ok=True)
        self._lock.release()


def read_running_server(path: Path) -> RunningServer | None:
    """Return the holder that announced itself in ``path``; None where nobody did, or where the folder is a copy."""
    try:
        holder = RunningServer(**json.loads((path / _ADDRESS_FILE).read_text()))
        return holder if holder.folder == str(path.resolve()) else None
    except (OSError, ValueError, TypeError):
        return None
