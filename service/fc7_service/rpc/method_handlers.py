"""The handlers of all methods, for callers that do not come through a gRPC server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class MethodHandlers(dict[str, Any]):
    """The handlers of all methods by full name. Servicers are added to it as to a gRPC server."""

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Do nothing: the handlers come by their names too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the handlers of a service."""
        self.update({f"/{service}/{name}": handler for name, handler in handlers.items()})
