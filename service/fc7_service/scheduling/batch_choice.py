"""When the network runs, and on what.

On a CPU decoding and the network share the cores, and one run over many pictures is much cheaper than many runs over
few. So the network waits while pictures of the same class are being decoded, but never for less urgent ones. While
somebody waits for single pictures, batches of bulk work are short: whoever comes next waits until the batch ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from fc7_service.scheduling.call import WorkClass
from fc7_service.scheduling.scheduler import BULK_TURN

_ENOUGH = {WorkClass.INTERACTIVE: 16, WorkClass.BULK: 32}  # views; at 16 the rate is within 6 % of the best
_LEAST_BATCH = 4
_LONGEST_WAIT_S = {WorkClass.INTERACTIVE: 0.03, WorkClass.BULK: 0.2}
_SHORT_RUN_S = 0.03  # of a bulk batch while interactive callers are about
_ABOUT_S = 1.0  # after an interactive picture, its caller may come back


@dataclass(frozen=True, slots=True)
class Ready:
    """Decoded pictures of one class."""

    n_views: int
    n_coming: int  # views that are being decoded or wait for it
    waited_s: float  # of the one that has waited longest


class BatchChoice:
    """Chooses the class and the size of each batch of one network."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._n_passed = 0  # interactive views run since the last bulk batch, while bulk was ready
        self._view_s = 0.0  # of a run, per view
        self._last_interactive = float("-inf")

    def choose(
        self, interactive: Ready, bulk: Ready, now: float, *, shares_cores: bool
    ) -> tuple[WorkClass, int] | None:
        """Return a class and how many of its views to run at most; None to wait for more.

        Parameters
        ----------
        interactive, bulk
            What is ready.
        now
            Monotonic seconds.
        shares_cores
            Whether decoding slows the network down. If not, the network never waits.
        """
        order = [(WorkClass.INTERACTIVE, interactive), (WorkClass.BULK, bulk)]
        if self._n_passed >= BULK_TURN - 1:
            order.reverse()
        for kind, ready in order:
            size = self._size(kind, now)
            is_enough = ready.n_views >= _ENOUGH[kind] or ready.n_views >= size
            is_late = ready.waited_s >= _LONGEST_WAIT_S[kind]
            if ready.n_views and (is_enough or is_late or not ready.n_coming or not shares_cores):
                return kind, size
            if ready.n_views and kind is WorkClass.INTERACTIVE:
                return None  # a batch of bulk work would keep it waiting for longer
        return None

    def ran(self, kind: WorkClass, n_views: int, seconds: float, now: float, *, is_bulk_ready: bool) -> None:
        """Note a run."""
        if kind is WorkClass.BULK:
            self._n_passed = 0
            self._view_s = seconds / n_views
        else:
            self._last_interactive = now
            self._n_passed += n_views if is_bulk_ready else 0

    def _size(self, kind: WorkClass, now: float) -> int:
        if kind is WorkClass.INTERACTIVE or now - self._last_interactive > _ABOUT_S or not self._view_s:
            return self._max_batch
        return min(self._max_batch, max(_LEAST_BATCH, int(_SHORT_RUN_S / self._view_s)))
