"""The composition root and the life of a server: builds its parts, starts, watches, stops."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fc7_service.access import Access
from fc7_service.capabilities import Capabilities, open_models
from fc7_service.data_folder import DataFolder, RunningServer
from fc7_service.file_watch import watch_files
from fc7_service.listener import Listener
from fc7_service.monitoring import make_exporter
from fc7_service.private_socket import make_socket_folder
from fc7_service.resource_limits import file_limit, share_files
from fc7_service.rpc.interceptor import Interceptor
from fc7_service.rpc.log import Log
from fc7_service.rpc.method_handlers import MethodHandlers
from fc7_service.servicers import make_servicers
from fc7_service.settings import Settings
from fc7_service.telemetry.process import watch_event_loop
from fc7_service.telemetry.record import Record, ignore
from fc7_service.telemetry.trace import read_trace

if TYPE_CHECKING:
    from fc7_service.http.web_server import WebServer
    from fc7_service.telemetry.spans import Spans

# Signals that end a server, once the running calls have ended.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]

# When grpc.aio stops, it drops calls that have arrived but were not yet handed to Python: their callers would see
# CANCELLED. So the server waits between saying NOT_SERVING and stopping.
_SETTLE_S = 0.3
_WATCH_S = 1.0
_CLEANUP_S = 5.0  # for gRPC to clean up after calls, which takes milliseconds


class Server:
    """One server with a private address and, if the settings name them, public addresses.

    Parameters
    ----------
    settings
        Checked before anything is opened.
    folder
        The lock on the data folder. The caller releases it.
    log
        Called once per request; None if there is no log.
    """

    def __init__(self, settings: Settings, folder: DataFolder, log: Log | None = None) -> None:
        settings.check()
        self._settings, self._folder, self._log = settings, folder, log
        self._started = time.monotonic()
        models = open_models(settings.models)
        has_exporter = settings.metrics or settings.http
        self._exporter = (
            make_exporter(models, lambda: self.parts, lambda: self._interceptor.n_calls) if has_exporter else None
        )
        self._record: Record = self._exporter.record if self._exporter else ignore
        self._files = share_files(file_limit(is_raised=False))
        self.parts = Capabilities(settings, folder.path, models, self._files.n_collections, self._record)
        self._socket_folder = make_socket_folder(folder.record_socket_folder)
        self._is_started = False

    async def start(self) -> RunningServer:
        """Listen, load the networks, announce this server; return how to reach it.

        Raises
        ------
        FailedPrecondition
            The port is in use.
        """
        settings = self._settings
        self._access = Access(settings, self._say)
        self._spans = self._open_spans()
        begin_trace = self._spans.begin if self._spans else read_trace
        self._interceptor = Interceptor(
            self._access.tokens,
            self._log,
            self._record,
            begin_trace,
            self.parts.extractor.check_room,
            names_clients=settings.tls_client_ca is not None,
        )
        if self._exporter and settings.metrics:
            self._say("metrics", address=self._exporter.start(settings.metrics))
        self._listener = Listener(self._interceptor, self._files.n_connections, self._socket_folder)
        handlers = MethodHandlers()
        for add, servicer in make_servicers(self.parts, settings, self._interceptor, self._started):
            add(servicer, handlers)
        self._listener.grpc.add_generic_rpc_handlers((handlers,))
        self._web = self._make_web_server(handlers) if settings.http is not None else None
        listen = self._listener.bind(settings.listen, self._access.certificates) if settings.listen is not None else ""
        if listen or settings.device == "cuda":  # a device that was asked for and cannot be had ends the start
            await self.parts.extractor.warm_up()
        if listen:
            self._listener.reflect()
        await self._listener.start()
        self._is_started = True
        http = self._web.start() if self._web else ""
        holder = RunningServer(os.getpid(), self._listener.address, self._access.one_time, listen, http=http)
        self._folder.announce(holder)
        kept = [self._listener.keep_socket(), self._watch_folder()]
        if settings.secret_files:
            kept.append(watch_files(settings.secret_files, self._renew_secrets))
        if self._exporter:
            kept.append(watch_event_loop(self._record))
        self._keeping = [asyncio.ensure_future(one) for one in kept]
        return holder

    async def stop(self) -> None:
        """Refuse new calls, wait for the running ones, close everything."""
        try:
            for task in getattr(self, "_keeping", ()):
                task.cancel()
            if self._is_started:
                settle_s = _SETTLE_S if self._settings.listen is not None else 0
                web_stopping = self._web.stop() if self._web else asyncio.sleep(0)
                await self._listener.stop(settle_s, self._settings.drain_s, web_stopping)
                self._interceptor.close()
                if self._spans:
                    await asyncio.to_thread(self._spans.close)
            self.parts.close()
        finally:
            if self._exporter:
                self._exporter.close()
            if self._socket_folder:
                shutil.rmtree(self._socket_folder, ignore_errors=True)

    async def _watch_folder(self) -> None:
        """Say NOT_SERVING once the data folder is gone: whatever is written then is lost."""
        while self._folder.is_still_ours:
            await asyncio.sleep(_WATCH_S)
        await self._listener.say_not_serving()
        self._say("the data folder was deleted: restore it, then restart the server", data=str(self._folder.path))

    def _renew_secrets(self) -> None:
        """Read tokens and certificates again."""
        self._access.renew(self._web.renew_certificate if self._web else lambda: None)

    def _say(self, event: str, **values: Any) -> None:
        if self._log:
            self._log(event, **values)

    def _open_spans(self) -> Spans | None:
        if self._settings.traces is None:
            return None
        from fc7_service.telemetry.spans import Spans  # brings OpenTelemetry

        return Spans(self._settings.traces, importlib.metadata.version("fc7"))

    def _make_web_server(self, handlers: MethodHandlers) -> WebServer:
        from fc7_service.http.app import make_app  # brings a web framework
        from fc7_service.http.door import Door
        from fc7_service.http.probes import Probes
        from fc7_service.http.sessions import Sessions
        from fc7_service.http.web_server import WebServer

        settings, exporter, certificates = self._settings, self._exporter, self._access.certificates
        assert settings.http is not None  # the caller has looked
        assert exporter is not None  # it is made where there is HTTP
        probes = Probes(lambda: not self._interceptor.is_stopping and self._folder.is_still_ours, exporter.write)
        own = {name: handler for name, handler in handlers.items() if name.startswith("/fc7.")}
        door = Door(self._interceptor, own, Sessions(self._access.tokens))
        return WebServer(
            make_app(door, settings, probes, lambda: self._listener.address, self._log),
            settings.http,
            tls=certificates.files if certificates else None,
            n_connections=self._files.n_connections,
            drain_s=settings.drain_s,
        )


def serve(settings: Settings) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP, let running calls end, and return the exit code 0.

    Prints ``listening on HOST:PORT`` on standard output once every model is warm, then ``serving URL`` if it serves
    HTTP. Prints one JSON line per request on standard error.

    Raises
    ------
    FailedPrecondition
        The data folder or the port is in use, or there is no CUDA device and the settings ask for one.
    InvalidArgument, NotFound, DataLoss
        A setting, a file or a bundle is not valid.
    """
    from threadpoolctl import threadpool_limits

    from fc7_service.log import JsonLog

    settings.check()
    file_limit(is_raised=True)
    threadpool_limits(settings.threads)  # BLAS would use every core of the machine, whatever a container may use
    folder, log = DataFolder(settings.data), JsonLog()
    try:
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(_serve(settings, folder, log))
    finally:
        log.close()
        folder.release()
    return 0


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: uvloop, which takes a fifth less per call, or asyncio's where there is none."""
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return None
    return uvloop.new_event_loop


async def _serve(settings: Settings, folder: DataFolder, log: Log) -> None:
    is_told, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup` ignores SIGHUP
    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, is_told.set)
    server = Server(settings, folder, log)
    starting, stop = asyncio.ensure_future(server.start()), asyncio.ensure_future(is_told.wait())
    try:
        await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()  # a signal came during the warm-up; otherwise this does nothing
        await asyncio.wait((starting,))
        if not starting.cancelled():
            holder = starting.result()
            sys.stdout.write(f"listening on {holder.listen}\n")
            if holder.http:
                sys.stdout.write(f"serving {holder.http}\n")
            sys.stdout.flush()
            await stop
        for number in signals:
            loop.remove_signal_handler(number)  # a second signal ends the process at once
    finally:
        stop.cancel()
        await server.stop()
        await end_calls()


async def end_calls() -> None:
    """Wait until gRPC has cleaned up after the calls of a server that stopped.

    Otherwise the end of the event loop cancels the clean-up, and gRPC prints a traceback per call.
    """
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left, timeout=_CLEANUP_S)
