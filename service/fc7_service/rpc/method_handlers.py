"""The handlers of all methods by name, for a gRPC server and for what stands in for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc


class MethodHandlers(dict[str, Any], grpc.GenericRpcHandler):
    """The handlers of all methods by full name. Servicers are added to it as to a gRPC server.

    A gRPC server gets it as one generic handler. Servicers that are added to the server itself register each method,
    and grpc.aio then waits for each method anew after every call: with 70 methods, that took longer than the rest of
    accepting a call, and calls queued up before anyone could refuse them.
    """

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Do nothing: the handlers come by their names too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the handlers of a service."""
        self.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; None if there is no such method."""
        return self.get(handler_call_details.method)
