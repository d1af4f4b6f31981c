"""What an operator sees: the metrics of a server, read from its parts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from fc7.errors import Reason
from fc7_service.capabilities import Capabilities
from fc7_service.served.table import ModelTable
from fc7_service.telemetry.process import count_threads
from fc7_service.tokens import METHODS

if TYPE_CHECKING:
    from fc7_service.telemetry.exporter import Exporter, Gauge


def make_exporter(models: ModelTable, parts: Callable[[], Capabilities], n_calls: Callable[[], int]) -> Exporter:
    """Make what keeps the metrics.

    Parameters
    ----------
    models
        Their names are labels.
    parts
        Returns the parts of the server, which are made after the exporter because they record into it.
    n_calls
        Returns the number of calls that are running.
    """
    from fc7_service.telemetry.exporter import Exporter  # brings an HTTP server

    allowed = {
        "method": [method.removeprefix("/") for method in METHODS],
        "code": [code.name for code in grpc.StatusCode],
        "reason": ["", *Reason.__members__],
        "model": models.names,
    }
    gauges: dict[str, Gauge] = {
        "fc7_requests_running": lambda: {(): n_calls()},
        "fc7_waiting_images": lambda: {(): parts().extractor.n_waiting},
        "fc7_open_collections": lambda: {(): parts().collections.n_open},
        "fc7_threads": count_threads,
        "fc7_info": lambda: {(importlib.metadata.version("fc7"),): 1},
        "fc7_model_info": lambda: {
            (name, parts().extractor.provider(model)): 1 for name, model in models.models.items()
        },
    }
    return Exporter(allowed, gauges)
