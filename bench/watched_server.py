"""Run `fc7 serve` and note how long its event loop stood still: `python bench/watched_server.py FILE serve ...`.

FILE gets the longest stall so far as two numbers of seconds. The first is how late a timer ran. It includes the time in
which other programs had the cores. The second is the longest CPU time that the loop's thread took between two timers,
which is what the server itself did.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from fc7.cli import main

_EVERY_S = 0.005


async def watch(file: Path) -> None:
    """Note the longest stalls, until cancelled."""
    late_s = busy_s = 0.0
    while True:
        start, cpu = time.monotonic(), time.thread_time()
        await asyncio.sleep(_EVERY_S)
        late, busy = time.monotonic() - start - _EVERY_S, time.thread_time() - cpu
        if late > late_s or (busy > busy_s and late > _EVERY_S):  # a loop that is busy but not late runs many callbacks
            late_s = max(late, late_s)
            busy_s = max(busy, busy_s) if late > _EVERY_S else busy_s
            file.write_text(f"{late_s} {busy_s}")


def _run(file: Path, words: list[str]) -> None:
    make, watches = uvloop.new_event_loop, list[asyncio.Task[None]]()

    def make_watched() -> asyncio.AbstractEventLoop:
        loop = make()
        loop.call_soon(lambda: watches.append(loop.create_task(watch(file))))
        return loop

    uvloop.new_event_loop = make_watched  # type: ignore[assignment]  # the server asks for it when it starts
    sys.argv = ["fc7", *words]
    main()


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2:])
