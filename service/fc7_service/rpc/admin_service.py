"""AdminService: what this server is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import time
from typing import Any

from fc7.v1 import MAX_MESSAGE_BYTES, admin_pb2, admin_pb2_grpc
from fc7_service import TELEMETRY
from fc7_service.collections.registry import Collections
from fc7_service.features.extractor import Extractor
from fc7_service.heads.registry import Heads
from fc7_service.rpc.interceptor import MAX_CALLS, Interceptor
from fc7_service.settings import Settings

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "numpy", "Pillow", "grpcio", "protobuf")


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """GetServerInfo."""

    def __init__(
        self,
        extractor: Extractor,
        collections: Collections,
        heads: Heads,
        settings: Settings,
        interceptor: Interceptor,
        started: float,
    ) -> None:
        self._extractor, self._collections, self._heads = extractor, collections, heads
        self._settings, self._interceptor, self._started = settings, interceptor, started

    async def GetServerInfo(  # noqa: N802
        self, request: admin_pb2.GetServerInfoRequest, context: Any
    ) -> admin_pb2.GetServerInfoResponse:
        """Return versions, device, limits, the data folder, and what runs now."""
        models = self._extractor.models.models
        return admin_pb2.GetServerInfoResponse(
            version=_version("fc7"),
            libraries=_libraries(),
            device=self._settings.device,
            provider=self._extractor.provider(self._extractor.models.default),
            threads=self._settings.threads,
            data=str(self._settings.data.resolve()),
            max_message_bytes=MAX_MESSAGE_BYTES,
            models=list(models),
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            telemetry=TELEMETRY,
            max_calls=MAX_CALLS,
            running_calls={
                name.removeprefix("/fc7.v1."): n for name, n in self._interceptor.running.items() if name.isascii()
            },
            training=self._heads.training,
            building=self._collections.building,
        )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _libraries() -> dict[str, str]:
    found = {name: _version(name) for name in _LIBRARIES}
    found |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return {name: version for name, version in found.items() if version}
