"""How many of the true neighbours an index finds, measured on recent queries while the collection is idle."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fc7_service.collections.index import Work
from fc7_service.collections.snapshot import Snapshot

K = 10  # neighbours per query: recall@10
_IDLE_S = 0.5  # no search for as long: the collection is idle
_LONGEST_WAIT_S = 60.0  # a collection that is never idle is measured after this time, one query after another
_Z = 1.96  # of the interval: 95 %

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall@10 over some queries, and its 95 % interval."""

    value: float
    low: float
    high: float
    n_queries: int  # 0 if the index compares every vector, so that it cannot miss any

    @classmethod
    def of(cls, n_found: int, n_wanted: int, n_queries: int) -> Recall:
        """Return the recall of ``n_found`` of ``n_wanted`` neighbours, with the interval of Wilson.

        References
        ----------
        Wilson 1927, Probable inference, the law of succession, and statistical inference.
        """
        share, room = n_found / n_wanted, _Z**2 / n_wanted
        middle = (share + room / 2) / (1 + room)
        half = _Z / (1 + room) * math.sqrt(share * (1 - share) / n_wanted + room / (4 * n_wanted))
        return cls(share, max(0.0, middle - half), min(1.0, middle + half), n_queries)


EVERYTHING = Recall(1.0, 1.0, 1.0, 0)  # of an index that compares every vector


def compare(snapshot: Snapshot, query: NDArray[np.float32], work: Work) -> tuple[int, int]:
    """Return how many of the true neighbours of a raw query (D,) the index finds, and how many there are.

    A neighbour that is as near as the last true one counts as one of them.
    """
    (true,) = snapshot.search(query[None], K, None, Work(is_exact=True))
    (found,) = snapshot.search(query[None], K, None, work)
    if not true:
        return 0, 0
    return sum(score >= true[-1][1] for _, score in found), len(true)


def ignore_recall(n_found: int, n_wanted: int) -> None:
    """Do nothing: nobody asked for metrics."""


class RecallMeter:
    """Compares a sample of recent queries with exact search, in a thread of its own that lives while there are any.

    Parameters
    ----------
    name
        Of the collection.
    current
        Returns its rows.
    deviations
        Returns how hard the index searches; see `Work`.
    most_queries
        How many queries, and how many results, are kept; 0 keeps none. They are never written to disk.
    report
        Called after each comparison with how many neighbours were found and how many there are.
    """

    def __init__(
        self,
        name: str,
        current: Callable[[], Snapshot],
        deviations: Callable[[], float],
        most_queries: int,
        report: Callable[[int, int], None],
    ) -> None:
        self._name, self._current, self._deviations = name, current, deviations
        self._most_queries, self._report = most_queries, report
        self._waiting: deque[NDArray[np.float32]] = deque(maxlen=most_queries)
        self._results: deque[tuple[int, int]] = deque(maxlen=most_queries)  # found, wanted
        self._last_search = -math.inf
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def is_measuring(self) -> bool:
        """Whether queries wait to be compared."""
        return self._thread is not None and self._thread.is_alive()

    def recall(self) -> Recall | None:
        """Return the recall of the queries that were compared; None if there are none."""
        with self._changed:
            results = list(self._results)
        n_wanted = sum(wanted for _, wanted in results)
        return Recall.of(sum(found for found, _ in results), n_wanted, len(results)) if n_wanted else None

    def note(self, queries: Sequence[NDArray[np.float32]]) -> None:
        """Keep queries (D,) that the index has answered, to compare them later."""
        if not self._most_queries:
            return
        with self._changed:
            self._last_search = time.monotonic()
            self._waiting.extend(queries)
            if self.is_measuring or self._is_closed:
                return
            self._thread = threading.Thread(target=self._measure, name=f"recall {self._name}", daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Drop the results: the index searches harder or less hard from now on."""
        with self._changed:
            self._results.clear()

    def wait(self) -> None:
        """Wait until every query is compared that was kept."""
        if (thread := self._thread) is not None:
            thread.join()

    def close(self) -> None:
        """Stop measuring."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self.wait()

    def _measure(self) -> None:
        try:
            started = time.monotonic()
            while (query := self._next(started)) is not None:
                found, wanted = compare(self._current(), query, Work(deviations=self._deviations()))
                with self._changed:
                    self._results.append((found, wanted))
                self._report(found, wanted)
        except Exception:
            _log.exception("collection %r: its recall could not be measured", self._name)

    def _next(self, started: float) -> NDArray[np.float32] | None:
        """Return the next query once the collection is idle; None if there is none."""
        with self._changed:
            while self._waiting:
                now = time.monotonic()
                busy_s = self._last_search + _IDLE_S - now
                if busy_s <= 0 or now - started > _LONGEST_WAIT_S:
                    return self._waiting.popleft()
                self._changed.wait(busy_s)
            self._thread = None  # under the lock: a query that comes now starts another thread
            return None
