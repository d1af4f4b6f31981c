"""The server of a data folder on this machine: another process's, or one started in this process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from fc7.contract.cores import usable_cores
from fc7.endpoint import Endpoint
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7_service.local import Attached

_PROBE_S = 2.0  # a server that serves answers a health check in milliseconds


class LocalServer:
    """Reaches the server of a data folder, and starts one if no process holds the folder.

    Parameters
    ----------
    data
        The data folder. Defaults to this user's data folder.
    models, device, threads
        Settings of a server that is started here, as `fc7 serve` takes them. The server of another process keeps
        its own.
    """

    def __init__(
        self, data: Path | str | None, models: Sequence[str], device: str = "auto", threads: int | None = None
    ) -> None:
        self._data = default_data() if data is None else Path(data)
        self._models, self._device = tuple(models), device
        self._threads = usable_cores() if threads is None else threads
        self._lock = threading.Lock()  # guards the two fields below
        self._attached: Attached | None = None
        self._is_stopped = False

    @property
    def is_ours(self) -> bool:
        """Whether the server runs in this process, for this client."""
        return self._attached is not None and self._attached.is_ours

    def reach(self) -> Endpoint:
        """Attach to the folder's server, or start one. Return when it answers.

        Raises
        ------
        FailedPrecondition
            The server's libraries are not installed, or the process that holds the folder does not answer.
        Fc7Error
            The server cannot start.
        """
        atexit.register(self.stop)
        attached = self._attach_or_start()
        with self._lock:
            if not self._is_stopped:
                self._attached = attached
        if self._is_stopped:
            attached.stop()
        self._check_open()
        return Endpoint(attached.address, attached.token, is_retried=False)

    def stop(self) -> None:
        """Stop the server if it is ours. A server that another thread is starting is stopped by that thread."""
        atexit.unregister(self.stop)
        with self._lock:
            self._is_stopped, attached = True, self._attached
        if attached is not None:
            attached.stop()

    def _attach_or_start(self) -> Attached:
        try:
            from fc7_service.local import attach_or_start
            from fc7_service.settings import Settings
        except ModuleNotFoundError as error:
            raise FailedPrecondition(
                f"{error.name} is not installed, and a server in this process needs it. "
                'Install it with: pip install "fc7[cpu]". Or name a running server (HOST:PORT, FC7_SERVER)',
                name=error.name or "",
            ) from error
        settings = Settings(self._data, None, self._models, self._device, self._threads)
        return attach_or_start(settings, self._is_serving)

    def _is_serving(self, address: str, token: str) -> bool:
        self._check_open()
        return is_serving(address, token)

    def _check_open(self) -> None:
        if self._is_stopped:
            raise FailedPrecondition("this client is closed. Connect again with fc7.connect()")


def is_serving(address: str, token: str) -> bool:
    """Ask another process's server, which may be starting or about to end, whether it takes calls."""
    endpoint = Endpoint(address, token)
    with endpoint.open() as channel:
        check, request = HealthStub(channel).Check, health_pb2.HealthCheckRequest()
        try:
            answer = check(request, timeout=_PROBE_S, metadata=endpoint.metadata)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def shipped_models() -> Collection[str]:
    """Return the names of the models that this installation includes."""
    from fc7_service.bundle.folder import shipped_bundles

    return shipped_bundles().keys()


def default_data() -> Path:
    """Return this user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("fc7", appauthor=False)
