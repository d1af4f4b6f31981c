"""The callable with which the rooms of the server report a number. They know nothing else of the metrics."""

from __future__ import annotations

from typing import Protocol


class Record(Protocol):
    """Reports a number. It may be called from any thread."""

    def __call__(self, metric: str, value: float = 1, **labels: str) -> None:
        """Add ``value`` to a counter, or put it into a histogram.

        Parameters
        ----------
        metric
            Name of a counter or histogram of `fc7_service.telemetry.metrics.METRICS`.
        value
            In the unit of the metric.
        labels
            A value for each label of the metric.
        """


def ignore(metric: str, value: float = 1, **labels: str) -> None:
    """Do nothing: nobody asked for metrics."""
