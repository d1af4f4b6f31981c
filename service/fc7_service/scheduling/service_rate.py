"""How fast pictures are served, measured while there is work."""

from __future__ import annotations

import math

_MEMORY_S = 2.0  # busy seconds after which a measurement counts for 1/e
_LEAST_S = 0.05  # busy seconds before the rate is trusted


class ServiceRate:
    """Views per busy second."""

    def __init__(self) -> None:
        self._n_views = self._busy_s = 0.0
        self._is_started = False  # the first picture also waits until the network is loaded, and is not counted
        self._since: float | None = None  # start of what is not counted yet; None while nothing is under way

    @property
    def per_s(self) -> float | None:
        """Views per second; None while too little has been measured."""
        return self._n_views / self._busy_s if self._busy_s >= _LEAST_S else None

    def begin(self, now: float) -> None:
        """Note that work is under way."""
        if self._since is None:
            self._since = now

    def pause(self) -> None:
        """Note that nothing is under way any more."""
        self._since = None

    def count(self, n_views: int, now: float) -> None:
        """Note that ``n_views`` views have their features."""
        if self._since is None:
            return
        seconds, self._since = now - self._since, now
        if not self._is_started:
            self._is_started = True
            return
        fade = math.exp(-seconds / _MEMORY_S)
        self._n_views = self._n_views * fade + n_views
        self._busy_s = self._busy_s * fade + seconds
