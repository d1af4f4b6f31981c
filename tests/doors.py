"""Bare channels to the private door of a data folder, with its token, as other people's clients would open them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from fc7_service.data_folder import RunningServer, read_running_server


def private_door(data: Path) -> grpc.Channel:
    """Open the door of whoever holds ``data``."""
    holder = holder_of(data)
    return grpc.intercept_channel(grpc.insecure_channel(holder.address), _Bearer(holder.token))


def private_door_aio(holder: RunningServer) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(
        holder.address, interceptors=[kind(holder.token) for kind in (_AioUnary, _AioStream)]
    )


def holder_of(data: Path) -> RunningServer:
    holder = read_running_server(data)
    assert holder is not None
    return holder


def _with_token(details: Any, token: str) -> Any:
    return details._replace(metadata=(*(details.metadata or ()), ("authorization", f"Bearer {token}")))


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, token: str) -> None:
        self._token = token

    def _send(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(_with_token(details, self._token), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _send


class _AioUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        details.metadata.add("authorization", f"Bearer {self._token}")
        return await continuation(details, request)


class _AioStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        details.metadata.add("authorization", f"Bearer {self._token}")
        return await continuation(details, requests)
