"""One version of a network that a server has: its bundle, what was opened for it, and how many calls use it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

from fc7_service.bundle.bundle import Bundle
from fc7_service.served.memory import give_memory_back


class Opened(Protocol):
    """Something that holds memory for a network: sessions, threads, what was read from its files."""

    def close(self) -> None:
        """Let go of it. Nobody uses it any more."""
        ...


O = TypeVar("O", bound=Opened)  # noqa: E741


class ServedModel:
    """A network, and everything that is held in memory for it. Safe for several threads.

    What was opened is closed in a thread of its own, once the network is retired and its last user has left.

    Parameters
    ----------
    bundle
        Its graph is read when it is first needed.
    version
        Tells networks of the same name apart; counted from 1.
    """

    def __init__(self, bundle: Bundle, version: int) -> None:
        self.bundle, self.version = bundle, version
        self.is_released = threading.Event()
        self._opened: dict[Hashable, Opened] = {}
        self._lock = threading.Lock()
        self._n_users, self._is_retired = 0, False

    @property
    def key(self) -> str:
        """NAME:VERSION, which no other network of this server has."""
        return f"{self.bundle.name}:{self.version}"

    @property
    def n_users(self) -> int:
        """Number of calls that use it."""
        return self._n_users

    def open(self, kind: Hashable, make: Callable[[], O]) -> O:
        """Return what was opened under ``kind``; the first caller opens it. Only a user may ask."""
        with self._lock:
            if kind not in self._opened:
                self._opened[kind] = make()
            return cast("O", self._opened[kind])

    def opened(self, kind: Hashable) -> Opened | None:
        """Return what was opened under ``kind``, if it was."""
        return self._opened.get(kind)

    def acquire(self) -> None:
        """Count a user. The network stays in memory until it leaves."""
        with self._lock:
            self._n_users += 1

    def release(self) -> None:
        """Count that a user left."""
        with self._lock:
            self._n_users -= 1
            is_last = self._is_retired and not self._n_users
        if is_last:
            self._close_aside()

    def retire(self) -> None:
        """Give the memory back as soon as nobody uses the network. Call it once no new user can come."""
        with self._lock:
            self._is_retired = True
            is_idle = not self._n_users
        if is_idle:
            self._close_aside()

    def close(self) -> None:
        """Close what was opened, now."""
        with self._lock:
            opened, self._opened = list(self._opened.values()), {}
        for one in opened:
            one.close()
        opened.clear()
        give_memory_back()
        self.is_released.set()

    def _close_aside(self) -> None:
        """Close in a thread, because closing waits for the run under way."""
        threading.Thread(target=self.close, name="fc7-unload", daemon=True).start()
