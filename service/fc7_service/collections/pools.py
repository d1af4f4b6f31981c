"""The threads in which collections work, by kind, so that no kind and no collection has to wait for another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from fc7.contract.cores import usable_cores

_READS_BEYOND_CORES = 4  # some reads wait for the disk
_BUILDS = 4  # collections opened or indexed at once
_CHANGES = 4  # collections created, deleted or listed at once
_WRITES = 16  # calls of one collection that wait for the disk together, and then share a transaction
_JOBS = 2  # calls that go through all of one collection

P = ParamSpec("P")
T = TypeVar("T")


class Pools:
    """Threads for reads, builds, changes of whole collections, and the writes and the jobs of each collection.

    They start when first needed.
    """

    def __init__(self) -> None:
        self._reads = ThreadPoolExecutor(usable_cores() + _READS_BEYOND_CORES, "read")
        self._builds = ThreadPoolExecutor(_BUILDS, "build")
        self._changes = ThreadPoolExecutor(_CHANGES, "change")
        self._maps = ThreadPoolExecutor(1, "map")  # each waits for minutes, and must not hold up builds
        self._own: dict[tuple[str, str], ThreadPoolExecutor] = {}  # by kind and collection
        self._running: dict[str, Future[Any]] = {}  # builds by what they make
        self._lock = threading.Lock()

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, which waits neither for a writer nor for a build."""
        return await asyncio.wrap_future(_submit(self._reads, partial(work, *args, **kwargs)))

    async def write(self, collection: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, which writes to a collection."""
        return await self._of(collection, "write", _WRITES, partial(work, *args, **kwargs))

    async def job(self, collection: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, which may go through all of a collection. Only its other jobs wait for it."""
        return await self._of(collection, "job", _JOBS, partial(work, *args, **kwargs))

    async def change(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, which creates, deletes or lists collections."""
        return await asyncio.wrap_future(_submit(self._changes, partial(work, *args, **kwargs)))

    async def build(self, made: str, work: Callable[[], object]) -> None:
        """Wait until ``work`` has made what ``made`` names. Calls that need the same thing wait for the same work."""
        await _wait(self.begin(made, work))

    def begin(self, made: str, work: Callable[[], object]) -> Future[Any]:
        """Let ``work`` make what ``made`` names, unless that is under way; do not wait for it."""
        return self._make(self._builds, made, work)

    async def map(self, made: str, work: Callable[[], object]) -> None:
        """Wait as `build` does for a map, of which one is made at a time. It is made even if nobody waits any more."""
        await _wait(self._make(self._maps, made, work))

    def _make(self, threads: ThreadPoolExecutor, made: str, work: Callable[[], object]) -> Future[Any]:
        with self._lock:
            if (future := self._running.get(made)) is None:
                future = self._running[made] = _submit(threads, work)
                future.add_done_callback(lambda _: self._running.pop(made, None))
        return future

    def forget(self, collection: str) -> None:
        """Let the threads of a collection that was closed end once they have nothing to do."""
        with self._lock:
            threads = [self._own.pop(key) for key in list(self._own) if key[1] == collection]
        for one in threads:
            one.shutdown(wait=False)

    def close(self) -> None:
        """Wait for what runs, and end all threads."""
        with self._lock:
            own, self._own = list(self._own.values()), {}
        for threads in (self._reads, self._builds, self._changes, self._maps, *own):
            threads.shutdown()

    async def _of(self, collection: str, kind: str, most: int, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, in one of at most so many threads of this kind and collection."""
        with self._lock:
            if (kind, collection) not in self._own:
                self._own[kind, collection] = ThreadPoolExecutor(most, f"{kind} {collection}")
            future = _submit(self._own[kind, collection], work)
        return await asyncio.wrap_future(future)


async def _wait(future: Future[Any]) -> None:
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # if nobody waits any more
    await asyncio.shield(waiting)


def _submit(threads: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    return threads.submit(contextvars.copy_context().run, work)
