"""How often a model was used through the Open Inference Protocol, and where the time went."""

from __future__ import annotations

import time
from typing import Any

from fc7.contract.timing import Timing
from fc7_service.rpc.inference_messages import pb


class InferenceCounts:
    """Counts the requests for one version of a model."""

    def __init__(self) -> None:
        self.n_images = 0
        self._last_ms = 0
        self._totals: dict[str, list[float]] = {}  # what -> number of requests, seconds

    def close(self) -> None:
        """Hold nothing: the counts go with their model."""

    def succeed(self, seconds: float, n_images: int, timing: Timing) -> None:
        """Count a request that was answered."""
        self.n_images += n_images
        self._last_ms = time.time_ns() // 1_000_000
        parts = {"queue": timing.queue_s, "compute_input": timing.decode_s, "compute_infer": timing.compute_s}
        rest = max(0.0, seconds - sum(parts.values()))
        for what, spent in {"success": seconds, **parts, "compute_output": rest}.items():
            self._add(what, spent)

    def fail(self, seconds: float) -> None:
        """Count a request that was refused or given up."""
        self._add("fail", seconds)

    def write(self, name: str, version: int, n_runs: int) -> Any:
        """Return the message; ``n_runs`` is the number of batches that the model ran."""
        durations = {
            what: pb.StatisticDuration(count=int(count), ns=int(seconds * 1e9))
            for what, (count, seconds) in self._totals.items()
        }
        return pb.ModelStatistics(
            name=name,
            version=str(version),
            last_inference=self._last_ms,
            inference_count=self.n_images,
            execution_count=n_runs,
            inference_stats=pb.InferStatistics(**durations),
        )

    def _add(self, what: str, seconds: float) -> None:
        total = self._totals.setdefault(what, [0, 0.0])
        total[0] += 1
        total[1] += seconds
