"""Every metric of a server. The table of the docs, the exporter and the tests read this one.

Units are base units (seconds, bytes) and counters end in ``_total``, as Prometheus recommends
(https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_S = (*_SHORT_S[1:], 30, 60, 300)
_DELAY_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_FIT_S = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 64)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: a name, and one series per combination of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # of a histogram: upper bounds, without infinity

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series in an answer to Prometheus."""
        if self.kind == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum")
        return (self.name,)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "fc7_requests_total",
            "counter",
            "Calls that have ended. `reason` is empty for a call that succeeded.",
            ("method", "code", "reason"),
        ),
        Metric(
            "fc7_request_seconds", "histogram", "Time from a call's arrival to its last answer.", ("method",), _CALL_S
        ),
        Metric(
            "fc7_request_items_total",
            "counter",
            "Items of calls that have ended: pictures, queries or ids of a request, or messages of a stream.",
            ("method",),
        ),
        Metric("fc7_requests_running", "gauge", "Calls that are running now."),
        Metric("fc7_decode_seconds", "histogram", "Time to decode and resize one picture.", (), _SHORT_S),
        Metric("fc7_unreadable_images_total", "counter", "Pictures that could not be decoded, by reason.", ("reason",)),
        Metric(
            "fc7_queue_seconds",
            "histogram",
            "Time that one decoded picture waited for the network.",
            ("model",),
            _SHORT_S,
        ),
        Metric("fc7_compute_seconds", "histogram", "Time of one run of a network.", ("model",), _SHORT_S),
        Metric("fc7_batch_images", "histogram", "Views of pictures in one run of a network.", ("model",), _BATCH),
        Metric("fc7_waiting_images", "gauge", "Views of pictures that wait or are being computed."),
        Metric("fc7_search_seconds", "histogram", "Time to search for all queries of one call.", ("index",), _SHORT_S),
        Metric(
            "fc7_neighbours_wanted_total",
            "counter",
            "True nearest neighbours of recent queries that were compared with exact search, ten per query.",
        ),
        Metric(
            "fc7_neighbours_found_total",
            "counter",
            "Those of them that the index had found. The quotient is the recall of large collections.",
        ),
        Metric("fc7_open_collections", "gauge", "Collections that are open, with an index or without."),
        Metric("fc7_fit_seconds", "histogram", "Time to fit a head, not counting the wait for its turn.", (), _FIT_S),
        Metric(
            "fc7_event_loop_delay_seconds",
            "histogram",
            "How late the event loop ran a timer, four times per second. While it is late, no call moves.",
            (),
            _DELAY_S,
        ),
        Metric("fc7_threads", "gauge", "Threads of the process (Linux)."),
        Metric("fc7_info", "gauge", "Always 1. `version` is that of fc7.", ("version",)),
        Metric(
            "fc7_model_info",
            "gauge",
            "Always 1 per network. `provider` is what runs it, and empty before its first run.",
            ("model", "provider"),
        ),
    )
}

# The process collector of prometheus_client adds these on Linux.
PROCESS_METRICS = {
    "process_resident_memory_bytes": "Memory of the process.",
    "process_virtual_memory_bytes": "Address space of the process.",
    "process_cpu_seconds_total": "CPU time of the process.",
    "process_open_fds": "Open files and connections.",
    "process_max_fds": "How many files and connections the process may have open.",
    "process_start_time_seconds": "When the process started, in Unix time.",
}
