"""Train networks, export and import them, and study what they learnt. Only this package needs torch."""

import os

from platformdirs import user_cache_path

import fc7_service.bundle  # noqa: F401  # turns off telemetry before torch's exporter can load ONNX Runtime

# Matplotlib reads this when it is imported. It then keeps its list of fonts in fc7's cache, not in the home folder.
os.environ.setdefault("MPLCONFIGDIR", str(user_cache_path("fc7", appauthor=False) / "matplotlib"))  # noqa: TID251
