"""ONNX Runtime's sessions over parts of the networks' graphs, a few at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.onnx_file import cut_graph

# A session costs more than its part of the graph: packed weights, threads, and what a run leaves.
_MAX_SESSIONS = 12
_MAX_BYTES = 512 * 2**20  # of parts: two of the paper's AlexNet

OpenSession = Callable[[bytes, str], Any]  # an ONNX file, name of its bundle -> ONNX Runtime's session over it


class SessionCache:
    """Sessions of all networks, the least recently used of which leave first; for one thread.

    Parameters
    ----------
    open_session
        Makes one.
    check
        Called before each use; raises where nobody waits for the result any more.
    """

    def __init__(self, open_session: OpenSession, check: Callable[[], None]) -> None:
        self._open_session, self._check = open_session, check
        self._kept: OrderedDict[tuple[str, str, tuple[str, ...], tuple[str, ...]], tuple[Any, int]] = OrderedDict()

    def get(self, bundle: Bundle, outputs: tuple[str, ...], inputs: tuple[str, ...]) -> Any:
        """Return a session that computes ``outputs`` of a bundle's graph from the picture, or from ``inputs``.

        Raises
        ------
        FailedPrecondition
            The graph has no such tensor, or an output does not depend on ``inputs``.
        """
        self._check()
        key = (str(bundle.path), bundle.precision, outputs, inputs)  # the same for every version of its recipes
        if key not in self._kept:
            part = cut_graph(bundle.graph() + bundle.deconv(), outputs, inputs)
            self._make_room(len(part))
            self._kept[key] = self._open_session(part, bundle.name), len(part)
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _make_room(self, n_bytes: int) -> None:
        kept_bytes = sum(size for _, size in self._kept.values())
        while self._kept and (len(self._kept) >= _MAX_SESSIONS or kept_bytes + n_bytes > _MAX_BYTES):
            _, (_, size) = self._kept.popitem(last=False)
            kept_bytes -= size
