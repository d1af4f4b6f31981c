"""The networks of one call: a name means the same network from its first use to the end of the call.

So a call never mixes two versions, however long it lasts, and the network that it uses stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fc7_service.bundle.bundle import Bundle
from fc7_service.served.served_model import ServedModel


class CallModels:
    """Which network each name means in one call."""

    def __init__(self) -> None:
        self.by_name: dict[str, ServedModel] = {}
        self.chosen: dict[str, tuple[ServedModel, Bundle]] = {}  # what each name was found to mean

    def keep(self, name: str, model: ServedModel) -> None:
        """Let ``name`` mean this network until the call ends."""
        if model not in self.by_name.values():
            model.acquire()
        self.by_name[name] = model

    def close(self) -> None:
        """Let go of the networks."""
        for model in dict.fromkeys(self.by_name.values()):
            model.release()
        self.by_name.clear()
        self.chosen.clear()


CALL_MODELS: ContextVar[CallModels | None] = ContextVar("CALL_MODELS", default=None)


@contextmanager
def hold_models() -> Iterator[None]:
    """Let names keep their meaning until the block ends. Within a call that does so already, nothing changes."""
    if CALL_MODELS.get() is not None:
        yield
        return
    models = CallModels()
    token = CALL_MODELS.set(models)
    try:
        yield
    finally:
        CALL_MODELS.reset(token)
        models.close()
