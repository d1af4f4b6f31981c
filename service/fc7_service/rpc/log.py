"""What writes the log: handed to everything that has something to say to the operator."""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """Writes events to the log."""

    def __call__(self, event: str, *, error: BaseException | None = None, **values: object) -> None:
        """Write one event; ``error`` adds its traceback."""
