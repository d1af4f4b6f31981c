"""The trace that a call belongs to: its id for the log, and spans if the server is told where to send them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fc7.contract.request_id import TRACE_KEYS

_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class CallTrace:
    """What one call adds to its trace: here, nothing."""

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id  # empty if the call belongs to none

    def end(self, code: str, attributes: Mapping[str, str | int]) -> None:
        """Note how the call ended."""


BeginTrace = Callable[[str, Mapping[str, str]], CallTrace]  # (method, metadata) -> the call's part of the trace


def read_trace(method: str, metadata: Mapping[str, str]) -> CallTrace:
    """Return the trace that the caller names."""
    found = _PARENT.fullmatch(str(metadata.get(TRACE_KEYS[0], "")))
    return CallTrace(found[1] if found else "")
