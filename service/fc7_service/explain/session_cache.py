"""Keep a few ONNX Runtime sessions open, each for a part of a network's graph."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fc7_service.bundle.bundle import DECONV, Bundle
from fc7_service.bundle.onnx_file import cut_graph

# Each session also holds packed weights, its own threads, and buffers left over from runs.
_MAX_SESSIONS = 12
_MAX_BYTES = 512 * 2**20  # of graphs: two of the paper's AlexNet

OpenSession = Callable[[bytes, str], Any]  # (ONNX file, name of its bundle) -> an ONNX Runtime session
_Graph = tuple[str, str]  # SHA-256 of the graph and of the deconvnet
_Key = tuple[_Graph, tuple[str, ...], tuple[str, ...]]  # of what, outputs, inputs


class SessionCache:
    """Sessions of all networks. The least recently used are closed first. Safe for several threads.

    Parameters
    ----------
    open_session
        Opens a session for an ONNX file.
    check_caller
        Called before each use; raises an error if nobody waits for the result any more.
    """

    def __init__(self, open_session: OpenSession, check_caller: Callable[[], None]) -> None:
        self._open_session, self._check_caller = open_session, check_caller
        self._lock = threading.Lock()
        self._sessions: OrderedDict[_Key, tuple[Any, int]] = OrderedDict()  # session, bytes of its graph

    def get(self, bundle: Bundle, outputs: tuple[str, ...], inputs: tuple[str, ...]) -> Any:
        """Return a session that computes ``outputs`` of a bundle's graph from the image, or from ``inputs``.

        Raises
        ------
        FailedPrecondition
            The graph has no such tensor, or an output does not depend on ``inputs``.
        """
        self._check_caller()
        key = (_graph_of(bundle), outputs, inputs)  # the same for every version of its recipes
        with self._lock:
            if key not in self._sessions:
                graph = cut_graph(bundle.graph() + bundle.deconv(), outputs, inputs)
                self._make_room(len(graph))
                self._sessions[key] = self._open_session(graph, bundle.name), len(graph)
            self._sessions.move_to_end(key)
            return self._sessions[key][0]

    def drop(self, bundle: Bundle) -> None:
        """Close the sessions of a bundle's graph."""
        with self._lock:
            for key in [key for key in self._sessions if key[0] == _graph_of(bundle)]:
                del self._sessions[key]

    def _make_room(self, n_bytes: int) -> None:
        n_cached_bytes = sum(size for _, size in self._sessions.values())
        while self._sessions and (len(self._sessions) >= _MAX_SESSIONS or n_cached_bytes + n_bytes > _MAX_BYTES):
            _, (_, size) = self._sessions.popitem(last=False)
            n_cached_bytes -= size


def _graph_of(bundle: Bundle) -> _Graph:
    return bundle.graph_sha256, bundle.files.get(DECONV, ("", 0))[0]
