"""The metrics of a server, from the table in the code."""

from __future__ import annotations

from fc7_service.telemetry.metrics import METRICS, PROCESS_METRICS
from tables.markdown import code, table


def metrics() -> str:
    """Return a row for each metric."""
    rows = [(code(m.name), m.kind, ", ".join(map(code, m.labels)), m.meaning) for m in METRICS.values()]
    for name, meaning in PROCESS_METRICS.items():
        rows.append((code(name), "counter" if name.endswith("_total") else "gauge", "", f"{meaning} Linux only."))
    return table(("Metric", "Kind", "Labels", "What it says"), rows)
