"""Listening: the gRPC server with its addresses, its options, and what it says about its health."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Reason
from fc7_service.certificates import Certificates
from fc7_service.data_folder import SOCKET_NAME
from fc7_service.resource_limits import server_options
from fc7_service.rpc.interceptor import MAX_CALLS, MAX_WATCHES, Interceptor
from fc7_service.rpc.method_handlers import MethodHandlers

SERVICES = tuple(f"fc7.v1.{name}Service" for name in ("Feature", "Model", "Collection", "Head", "Explain", "Admin"))
_TOUCH_S = 3600.0
_FAREWELL_S = 1.0  # for idle clients to disconnect, which takes milliseconds


class Listener:
    """One grpc.aio server with a private address and, if it is bound, a public address.

    Parameters
    ----------
    interceptor
        Around every call.
    n_connections
        Most connections through each address.
    socket_folder
        For the socket of the private address; None for a port instead.
    """

    def __init__(self, interceptor: Interceptor, n_connections: int, socket_folder: Path | None) -> None:
        from grpc_health.v1 import health, health_pb2_grpc

        self._interceptor, self._socket_folder = interceptor, socket_folder
        self.grpc = grpc.aio.server(
            interceptors=(interceptor,),
            options=server_options(n_connections),
            maximum_concurrent_rpcs=2 * MAX_CALLS + MAX_WATCHES,  # the interceptor refuses earlier
        )
        self._health = health.aio.HealthServicer()
        health_methods = MethodHandlers()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, health_methods)
        self.grpc.add_generic_rpc_handlers((health_methods,))
        self.address = self._open_private_address()

    def bind(self, address: str, certificates: Certificates | None) -> str:
        """Open the public address; return HOST:PORT.

        Raises
        ------
        FailedPrecondition
            The port is in use.
        """
        host, port = split_address(address)
        try:
            if certificates:
                bound = self.grpc.add_secure_port(address, certificates.credentials)
            else:
                bound = self.grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise FailedPrecondition(
                f"cannot listen on {address}: the port is in use, or the address is not this machine's",
                name="listen",
                reason=Reason.CANNOT_LISTEN,
            ) from error
        return f"{host}:{bound or port}"

    def reflect(self) -> None:
        """Offer the list of services."""
        from grpc_reflection.v1alpha import reflection

        reflection.enable_server_reflection((*SERVICES, reflection.SERVICE_NAME, "grpc.health.v1.Health"), self.grpc)

    async def start(self) -> None:
        """Take calls, and say so."""
        from grpc_health.v1 import health_pb2

        await self.grpc.start()
        for name in SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def say_not_serving(self) -> None:
        """Say NOT_SERVING for everything."""
        from grpc_health.v1 import health_pb2

        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, settle_s: float, drain_s: float, web_stopping: Awaitable[Any]) -> None:
        """Say NOT_SERVING, wait, refuse new calls, wait for the running ones."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(settle_s)
        also_stopping = asyncio.ensure_future(web_stopping)
        stopping = asyncio.ensure_future(self.grpc.stop(drain_s))
        await asyncio.wait((stopping, asyncio.ensure_future(self._interceptor.stop())), return_when="FIRST_COMPLETED")
        # No call is running. A client that is cut off while it disconnects would report an error to its user.
        await asyncio.wait((stopping,), timeout=_FAREWELL_S)
        await self.grpc.stop(None)
        await stopping
        await also_stopping

    async def keep_socket(self) -> None:
        """Touch the socket now and then: cleaners of temporary files remove files that were not touched for days."""
        while self._socket_folder:
            await asyncio.sleep(_TOUCH_S)
            for path in (self._socket_folder, self._socket_folder / SOCKET_NAME):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def _open_private_address(self) -> str:
        if not self._socket_folder:
            return f"127.0.0.1:{self.grpc.add_insecure_port('127.0.0.1:0')}"
        address = f"unix:{self._socket_folder}/{SOCKET_NAME}"
        self.grpc.add_insecure_port(address)
        return address
