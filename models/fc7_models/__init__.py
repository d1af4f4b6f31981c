"""Networks: training, export, import and what they have learnt. The only package that needs torch."""

import os

from platformdirs import user_cache_path

import fc7_service.bundle  # noqa: F401  # turns telemetry off before torch's exporter can load ONNX Runtime

# Matplotlib reads this when it is imported. Its list of fonts belongs in a folder of ours, not in the home folder.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache_path("fc7", appauthor=False) / "matplotlib"))  # noqa: TID251
