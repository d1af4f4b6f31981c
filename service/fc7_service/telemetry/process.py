"""What the process itself reports: its threads, and how late its event loop runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from fc7_service.telemetry.record import Record

_EVERY_S = 0.25  # four wake-ups per second take 0.001 of a core (bench/metrics_cost.py)
_THREADS = "/proc/self/task"


async def watch_event_loop(record: Record) -> None:
    """Record, until cancelled, how late the running event loop is."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        record("fc7_event_loop_delay_seconds", max(0.0, loop.time() - due))


def count_threads() -> Mapping[tuple[str, ...], float]:
    """Return the number of threads, those of native libraries included; nothing where there is no `/proc`."""
    try:
        return {(): len(os.listdir(_THREADS))}
    except OSError:
        return {}
