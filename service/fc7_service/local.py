"""The server inside the caller's process: attach to the server of a data folder, or start one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fc7.errors import FailedPrecondition, Fc7Error, Reason, Unavailable
from fc7_service.data_folder import DataFolder, RunningServer, read_running_server
from fc7_service.server import Server, end_calls
from fc7_service.settings import Settings

_PATIENCE_S = 20.0  # for a holder that is starting or ending
_GONE_S = 2.0  # for a holder without its door: one that ends removes it a moment before it lets go of the folder


@dataclass(frozen=True, slots=True)
class Attached:
    """A way to the server of a data folder."""

    holder: RunningServer
    running: _Running | None  # ours; None where another process's server answers

    @property
    def address(self) -> str:
        """The private door: "unix:PATH", or HOST:PORT with ``token``."""
        return self.holder.address

    @property
    def token(self) -> str:
        """One-time token for an address that is a port; else empty."""
        return self.holder.token

    @property
    def is_ours(self) -> bool:
        """Whether the server runs in this process."""
        return self.running is not None

    def stop(self) -> None:
        """Stop the server if it is ours; leave another's alone."""
        if self.running is not None:
            self.running.stop()


def attach_or_start(settings: Settings, is_serving: Callable[[str, str], bool]) -> Attached:
    """Reach the server of ``settings.data``, and start one if no process holds the folder.

    Parameters
    ----------
    settings
        Settings of the server, if one is started here.
    is_serving
        Asks the server of another process, given its address and token, whether it takes calls.

    Raises
    ------
    FailedPrecondition
        Another process holds the folder and does not answer, or the folder cannot be used.
    Fc7Error
        The server cannot start.
    """
    start = time.monotonic()
    while True:
        try:
            folder = DataFolder(settings.data)
        except FailedPrecondition as error:
            if error.reason != Reason.DATA_FOLDER_IN_USE.name:
                raise
            waited_s = time.monotonic() - start
            holder = _reachable(read_running_server(settings.data), waited_s)
            if holder is not None and is_serving(holder.address, holder.token):
                return Attached(holder, None)
            if waited_s > _PATIENCE_S:
                raise
            time.sleep(0.05)  # the holder is starting, or about to end and to give the folder back
            continue
        running = _Running(settings, folder)
        return Attached(running.start(), running)


class _Running:
    """A server on an event loop of its own, in a background thread."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._settings, self._folder = settings, folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fc7-server", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._holder: RunningServer | None = None
        self._error: BaseException | None = None

    def start(self) -> RunningServer:
        """Start; return once it answers."""
        self._thread.start()
        self._ready.wait()
        if self._holder is None:
            self._thread.join()
            if isinstance(self._error, Fc7Error):
                raise self._error
            raise Unavailable(f"the embedded server could not start: {self._error}") from self._error
        return self._holder

    def stop(self) -> None:
        """Drain, close, give the data folder back."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # handed to the starter
            self._error = error
        finally:
            self._folder.release()
            self._ready.set()

    async def _serve(self) -> None:
        server = Server(self._settings, self._folder)
        try:
            self._holder = await server.start()
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._stop.wait()
        finally:
            await server.stop()
            await end_calls()


def _reachable(holder: RunningServer | None, waited_s: float) -> RunningServer | None:
    """Return the holder with an address that exists: its private one or, if its socket was removed, its public one."""
    if holder is None or not holder.address.startswith("unix:"):
        return holder
    socket = holder.address.removeprefix("unix:")
    if Path(socket).exists():
        return holder
    if waited_s <= _GONE_S:
        return None
    if holder.listen:
        return replace(holder, address=holder.listen)
    raise FailedPrecondition(
        f"process {holder.pid} holds the data folder, but its socket {socket!r} was removed, perhaps by a cleaner of "
        "temporary files. Restart that process, or name another --data",
        name="data",
        reason=Reason.DATA_FOLDER_IN_USE,
    )
