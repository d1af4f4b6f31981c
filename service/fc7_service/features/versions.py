"""The versions of the libraries that make features of pictures and compare them."""

from __future__ import annotations

import contextlib
import importlib.metadata

from PIL import features

_PACKAGES = {  # several packages provide FAISS and ONNX Runtime; one of each is installed
    "Pillow": ("pillow",),
    "numpy": ("numpy",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}


def library_versions() -> dict[str, str]:
    """Return the version of each library, libjpeg as Pillow was built with it among them."""
    versions = {"libjpeg": features.version("libjpeg_turbo") or features.version("jpg") or ""}
    for library, packages in _PACKAGES.items():
        for package in packages:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[library] = importlib.metadata.version(package)
    return versions
