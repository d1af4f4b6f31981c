"""How a fit is stopped: it calls a function between its steps, and what that raises ends it."""

from __future__ import annotations

from collections.abc import Callable

StopCheck = Callable[[], None]


def never_stop() -> None:
    """Let the fit go on."""
