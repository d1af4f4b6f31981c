"""The server of fc7: capabilities behind gRPC. Start it with `fc7 serve` or `fc7.connect()`.

Importing the package turns off what libraries send about their use (docs/reference/privacy.md). ONNX Runtime reads its
switch once, when it is loaded, so the switch must stand before any module of fc7 can load it.
"""

import os
import sys
import warnings

_SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: else it writes a device id into the home folder and reports its use
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which timm downloads with
}
_LATE = "onnxruntime was imported before fc7, so its telemetry may be on"

TELEMETRY = "off"
"""What the libraries in this process send about their use: "off", or why that is not certain."""

if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":  # noqa: TID251
    TELEMETRY = _LATE
    warnings.warn(f"{_LATE}: set ORT_DISABLE_TELEMETRY=1, or import fc7_service first", stacklevel=2)
os.environ.update(_SWITCHES)  # noqa: TID251  # sets the variables of the process, which C++ reads
