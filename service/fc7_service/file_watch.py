"""Notice that files have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

_LOOK_S = 0.5


async def watch_files(paths: Sequence[Path], on_change: Callable[[], None]) -> None:
    """Call ``on_change`` in a thread after the files have changed, for ever.

    A file that is just being written is left alone: it must look the same twice. Links are followed, so that a folder
    of secrets that is replaced as a whole is noticed.
    """
    known = before = await asyncio.to_thread(_look, paths)
    while True:
        await asyncio.sleep(_LOOK_S)
        now = await asyncio.to_thread(_look, paths)
        if now == before and now != known:
            known = now
            await asyncio.to_thread(on_change)
        before = now


def _look(paths: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    return [_facts(path) for path in paths]


def _facts(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
