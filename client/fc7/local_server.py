"""The server of a data folder on this machine: another process's, or one started in this process."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from fc7.endpoint import Endpoint
from fc7.errors import FailedPrecondition

if TYPE_CHECKING:
    from fc7_service.local import Attached

_PATIENCE_S = 20.0  # for a holder that is ending


class LocalServer:
    """Reaches the server of a data folder, starting one where nobody holds the folder.

    Parameters
    ----------
    data
        The folder; None for this user's data folder.
    models, device, threads
        As `fc7 serve` takes them; another process's server has its own.
    """

    def __init__(
        self, data: Path | str | None, models: Sequence[str], device: str = "auto", threads: int | None = None
    ) -> None:
        self._data = default_data() if data is None else Path(data)
        self._models, self._device, self._threads = tuple(models), device, threads
        self._attached: Attached | None = None
        self._lock = threading.Lock()  # around the two above and below
        self._is_stopped = False

    @property
    def is_ours(self) -> bool:
        """Whether the server runs in this process, for this client."""
        return self._attached is not None and self._attached.is_ours

    def reach(self) -> Endpoint:
        """Attach or start; return once somebody answers.

        Raises
        ------
        FailedPrecondition
            The service's dependencies are not installed, or the folder's holder answers nowhere.
        Fc7Error
            Whatever keeps a server from starting.
        """
        atexit.register(self.stop)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            attached = self._attach_or_start()
            self._keep(attached)
            endpoint = Endpoint(attached.address, attached.token, is_retried=False)
            if attached.is_ours or _serves(endpoint):
                return endpoint
            if time.monotonic() > deadline:
                raise FailedPrecondition(
                    f"process {attached.holder.pid} holds the data folder and has not answered for "
                    f"{_PATIENCE_S:g} s: end it, or name another folder",
                    name="data",
                )
            time.sleep(0.05)  # it is ending, and lets go of the folder soon

    def stop(self) -> None:
        """Stop the server if it is ours; one that is being started in another thread is stopped there."""
        atexit.unregister(self.stop)
        with self._lock:
            self._is_stopped, attached = True, self._attached
        if attached is not None:
            attached.stop()

    def _keep(self, attached: Attached) -> None:
        with self._lock:
            if not self._is_stopped:
                self._attached = attached
                return
        attached.stop()
        raise FailedPrecondition("this client is closed: connect again")

    def _attach_or_start(self) -> Attached:
        try:
            from fc7_service.local import attach_or_start
            from fc7_service.settings import Settings, usable_cores
        except ModuleNotFoundError as error:
            raise FailedPrecondition(
                f'a server in this process needs {error.name}, which is not installed: pip install "fc7[cpu]", '
                "or name a server (HOST:PORT, FC7_SERVER)",
                name=error.name or "",
            ) from error
        threads = usable_cores() if self._threads is None else self._threads
        return attach_or_start(Settings(self._data, None, self._models, self._device, threads))


def _serves(endpoint: Endpoint) -> bool:
    with endpoint.open() as channel:
        try:
            answer = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2.0, metadata=endpoint.metadata)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def shipped_models() -> Collection[str]:
    """Return the names of the models that this installation brings."""
    from fc7_service.bundle.folder import shipped_bundles

    return shipped_bundles().keys()


def default_data() -> Path:
    """Return this user's data folder, which is used where none is named."""
    from platformdirs import user_data_path

    return user_data_path("fc7", appauthor=False)
