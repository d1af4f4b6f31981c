"""The composition root: builds the capabilities, hands each what it needs, registers the servicers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib.metadata
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from fc7.contract.address import split_address
from fc7.errors import FailedPrecondition, Fc7Error, InvalidArgument, Reason
from fc7.v1 import (
    admin_pb2_grpc,
    collection_pb2_grpc,
    explain_pb2_grpc,
    feature_pb2_grpc,
    head_pb2_grpc,
    model_pb2_grpc,
)
from fc7_service.bundle.folder import open_model, shipped_bundles
from fc7_service.bundle.recipe import Recipe
from fc7_service.certificates import Certificates
from fc7_service.collections.registry import Collections
from fc7_service.data_folder import SOCKET_NAME, DataFolder, RunningServer
from fc7_service.explain.explainer import Explainer
from fc7_service.explain.prepared_image import ImageInput, PreparedImage
from fc7_service.features.extractor import Extractor
from fc7_service.features.golden_check import try_out
from fc7_service.features.session import open_session
from fc7_service.features.versions import library_versions
from fc7_service.file_watch import watch_files
from fc7_service.heads.registry import Heads
from fc7_service.private_socket import make_socket_folder
from fc7_service.resource_limits import file_limit, server_options, share_files
from fc7_service.rpc.admin_service import AdminServicer
from fc7_service.rpc.collection_service import CollectionServicer
from fc7_service.rpc.explain_service import ExplainServicer
from fc7_service.rpc.feature_service import FeatureServicer
from fc7_service.rpc.head_service import HeadServicer
from fc7_service.rpc.inference_messages import add_inference_servicer
from fc7_service.rpc.inference_service import InferenceServicer
from fc7_service.rpc.interceptor import MAX_CALLS, Interceptor, Log
from fc7_service.rpc.method_handlers import MethodHandlers
from fc7_service.rpc.model_service import ModelServicer
from fc7_service.served.changes import ModelChanges
from fc7_service.served.table import ModelTable
from fc7_service.settings import Settings
from fc7_service.telemetry.process import count_threads, watch_event_loop
from fc7_service.telemetry.record import Record, ignore
from fc7_service.telemetry.trace import read_trace
from fc7_service.tokens import METHODS, Token, Tokens, digest, read_tokens

if TYPE_CHECKING:
    from fc7_service.http.web_server import WebServer
    from fc7_service.telemetry.exporter import Exporter, Gauge
    from fc7_service.telemetry.spans import Spans

# Signals that end a server, once the running calls have ended.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]

# When grpc.aio stops, it drops calls that have arrived but were not yet handed to Python: their callers would see
# CANCELLED. So the server waits between saying NOT_SERVING and stopping.
_SETTLE_S = 0.3
_RENEW_DAYS = 14  # a certificate that expires sooner is worth a warning
_TOUCH_S = 3600.0
_WATCH_S = 1.0
_FAREWELL_S = 1.0  # for idle clients to disconnect, which takes milliseconds
_CLEANUP_S = 5.0  # for gRPC to clean up after calls, which takes milliseconds


class Server:
    """One grpc.aio server with a private address and, if the settings name one, a public address.

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
        self._settings, self._folder = settings, folder
        names = settings.models or tuple(shipped_bundles())
        if not names:
            raise FailedPrecondition("no model: this build ships none, so name a bundle with --model")
        bundles = [open_model(name) for name in names]
        if len({bundle.name for bundle in bundles}) < len(bundles):
            raise InvalidArgument("two of the models have the same name: name each once", name="models")
        self._models = ModelTable(bundles)
        self._exporter = self._make_exporter() if settings.metrics or settings.http else None
        self._record: Record = self._exporter.record if self._exporter else ignore
        self._extractor = Extractor(self._models, device=settings.device, threads=settings.threads, record=self._record)
        self._changes = ModelChanges(self._models, partial(try_out, self._extractor))
        self._files = share_files(file_limit(is_raised=False))
        self._collections = Collections(
            folder.path / "collections",
            self._files.n_collections,
            may_use_gpu=settings.device != "cpu",
            versions=library_versions(),
            recall_queries=settings.recall_queries,
            report_recall=self._record_recall,
        )
        self._heads = Heads(folder.path / "heads", library_versions())
        self._explainer = Explainer(
            self._models,
            open_session=partial(open_session, device=settings.device, threads=settings.threads, keeps_memory=False),
            prepare_image=_prepare_image,
            folder=folder.path / "explain",
        )
        self._log = log
        self._door = make_socket_folder(folder.record_socket_folder)
        self._started = time.monotonic()
        self._is_started = False

    async def start(self) -> RunningServer:
        """Listen, load the networks, announce this server; return how to reach it.

        Raises
        ------
        FailedPrecondition
            The port is in use.
        """
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        settings = self._settings
        self._one_time = secrets.token_urlsafe(32)
        self._tokens = Tokens(self._read_tokens())
        self._spans = self._open_spans()
        begin_trace = self._spans.begin if self._spans else read_trace
        self._interceptor = Interceptor(self._tokens, self._log, self._record, begin_trace)
        self._certificates = self._open_certificates()
        self._serve_metrics()
        self._grpc = grpc.aio.server(
            interceptors=(self._interceptor,),
            options=server_options(self._files.n_connections),
            maximum_concurrent_rpcs=2 * MAX_CALLS,  # with health checks; the interceptor refuses other calls earlier
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        servicers, handlers = self._make_servicers(), MethodHandlers()
        for add, servicer in servicers:
            add(servicer, self._grpc)
            add(servicer, handlers)
        self._web = self._make_web_server(handlers) if settings.http is not None else None

        if self._door:
            address = f"unix:{self._door}/{SOCKET_NAME}"
            self._grpc.add_insecure_port(address)
        else:
            address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._address = address
        listen = self._bind() if settings.listen is not None else ""
        if listen or settings.device == "cuda":  # a device that was asked for and cannot be had ends the start
            await self._extractor.warm_up()
        if listen:
            self._reflect()
        await self._grpc.start()
        self._is_started = True
        for name in _services():
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        holder = RunningServer(
            os.getpid(), address, self._one_time, listen, http=self._web.start() if self._web else ""
        )
        self._folder.announce(holder)
        kept = [self._keep_door(), self._watch_folder()]
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
                await self._health.enter_graceful_shutdown()
                if self._settings.listen is not None:
                    await asyncio.sleep(_SETTLE_S)
                web_stopping = asyncio.ensure_future(self._web.stop() if self._web else asyncio.sleep(0))
                stopping = asyncio.ensure_future(self._grpc.stop(self._settings.drain_s))
                await asyncio.wait(
                    (stopping, asyncio.ensure_future(self._interceptor.stop())), return_when="FIRST_COMPLETED"
                )
                # No call is running. A client that is cut off while it disconnects would report an error to its user.
                await asyncio.wait((stopping,), timeout=_FAREWELL_S)
                await self._grpc.stop(None)
                await stopping
                await web_stopping
                self._interceptor.close()
                if self._spans:
                    await asyncio.to_thread(self._spans.close)
            self._heads.close()
            self._explainer.close()
            self._extractor.close()  # in this thread, because a thread cannot be started while the interpreter ends
            self._collections.close()
        finally:
            if self._exporter:
                self._exporter.close()
            if self._door:
                shutil.rmtree(self._door, ignore_errors=True)

    async def _keep_door(self) -> None:
        """Touch the socket now and then: cleaners of temporary files remove files that were not touched for days."""
        while self._door:
            await asyncio.sleep(_TOUCH_S)
            for path in (self._door, self._door / SOCKET_NAME):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def _read_tokens(self) -> dict[str, Token]:
        """Return the tokens of the file, and that of the private address."""
        file = self._settings.token_file
        tokens = read_tokens(file) if file else {}
        if tokens or self._settings.listen is None:
            tokens[digest(self._one_time)] = Token("admin")
        return tokens

    def _open_spans(self) -> Spans | None:
        if self._settings.traces is None:
            return None
        from fc7_service.telemetry.spans import Spans  # brings OpenTelemetry

        return Spans(self._settings.traces, importlib.metadata.version("fc7"))

    def _open_certificates(self) -> Certificates | None:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._log_certificate(certificates)
        return certificates

    def _renew_secrets(self) -> None:
        """Read tokens and certificates again; what cannot be read leaves those in use."""
        try:
            self._tokens.replace(self._read_tokens())
            if self._certificates:
                self._certificates.renew()
                self._log_certificate(self._certificates)
                if self._web:
                    self._web.renew_certificate()
        except (Fc7Error, OSError) as error:
            text = error.message if isinstance(error, Fc7Error) else f"{error.strerror}: {error.filename}"
            self._say("tokens or certificates cannot be read again, and those read before stay in use", reason=text)
        else:
            self._say("tokens and certificates were read again")

    def _log_certificate(self, certificates: Certificates) -> None:
        days_left = (certificates.expires - datetime.datetime.now(datetime.UTC)).days
        event = "certificate" if days_left >= _RENEW_DAYS else "the certificate expires soon, or has expired: renew it"
        self._say(event, expires=certificates.expires.isoformat(), days_left=days_left)

    def _say(self, event: str, **values: Any) -> None:
        if self._log:
            self._log(event, **values)

    async def _watch_folder(self) -> None:
        """Say NOT_SERVING once the data folder is gone: whatever is written then is lost."""
        from grpc_health.v1 import health_pb2

        while self._folder.is_still_ours:
            await asyncio.sleep(_WATCH_S)
        for name in ("", *_services()):
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._say("the data folder was deleted: restore it, then restart the server", data=str(self._folder.path))

    def _make_servicers(self) -> list[tuple[Callable[[Any, Any], None], Any]]:
        """Return the servicer of each service, and what adds it to a gRPC server or to what stands in for one."""
        extractor, collections, heads, record = self._extractor, self._collections, self._heads, self._record
        explain = ExplainServicer(self._explainer, extractor, heads, collections)
        inference = InferenceServicer(extractor, self._changes, lambda: not self._interceptor.is_stopping)
        admin = AdminServicer(extractor, self._settings, self._started)
        return [
            (feature_pb2_grpc.add_FeatureServiceServicer_to_server, FeatureServicer(extractor)),
            (model_pb2_grpc.add_ModelServiceServicer_to_server, ModelServicer(extractor, self._changes)),
            (
                collection_pb2_grpc.add_CollectionServiceServicer_to_server,
                CollectionServicer(collections, extractor, record),
            ),
            (head_pb2_grpc.add_HeadServiceServicer_to_server, HeadServicer(heads, extractor, collections, record)),
            (explain_pb2_grpc.add_ExplainServiceServicer_to_server, explain),
            (admin_pb2_grpc.add_AdminServiceServicer_to_server, admin),
            (add_inference_servicer, inference),
        ]

    def _reflect(self) -> None:
        from grpc_reflection.v1alpha import reflection

        reflection.enable_server_reflection(
            (*_services(), reflection.SERVICE_NAME, "grpc.health.v1.Health"), self._grpc
        )

    def _make_exporter(self) -> Exporter:
        from fc7_service.telemetry.exporter import Exporter  # brings an HTTP server

        allowed = {
            "method": [method.removeprefix("/") for method in METHODS],
            "code": [code.name for code in grpc.StatusCode],
            "reason": ["", *Reason.__members__],
            "model": self._models.names,
        }
        gauges: dict[str, Gauge] = {
            "fc7_requests_running": lambda: {(): self._interceptor.n_calls},
            "fc7_waiting_images": lambda: {(): self._extractor.n_waiting},
            "fc7_open_collections": lambda: {(): self._collections.n_open},
            "fc7_threads": count_threads,
            "fc7_info": lambda: {(importlib.metadata.version("fc7"),): 1},
            "fc7_model_info": self._count_models,
        }
        return Exporter(allowed, gauges)

    def _make_web_server(self, handlers: MethodHandlers) -> WebServer:
        from fc7_service.http.app import make_app  # brings a web framework
        from fc7_service.http.door import Door
        from fc7_service.http.probes import Probes
        from fc7_service.http.sessions import Sessions
        from fc7_service.http.web_server import WebServer

        settings, exporter = self._settings, self._exporter
        assert settings.http is not None  # the caller has looked
        assert exporter is not None  # it is made where there is HTTP
        probes = Probes(lambda: not self._interceptor.is_stopping and self._folder.is_still_ours, exporter.write)
        door = Door(self._interceptor, handlers, Sessions(self._tokens))
        return WebServer(
            make_app(door, settings, probes, lambda: self._address, self._log),
            settings.http,
            tls=self._certificates.files if self._certificates else None,
            n_connections=self._files.n_connections,
            drain_s=settings.drain_s,
        )

    def _count_models(self) -> dict[tuple[str, ...], float]:
        return {(name, self._extractor.provider(model)): 1 for name, model in self._models.models.items()}

    def _record_recall(self, n_found: int, n_wanted: int) -> None:
        self._record("fc7_neighbours_found_total", n_found)
        self._record("fc7_neighbours_wanted_total", n_wanted)

    def _serve_metrics(self) -> None:
        if self._exporter and self._settings.metrics:
            address = self._exporter.start(self._settings.metrics)
            self._say("metrics", address=address)

    def _bind(self) -> str:
        settings = self._settings
        assert settings.listen is not None  # the caller has looked
        host, port = split_address(settings.listen)
        try:
            if self._certificates:
                bound = self._grpc.add_secure_port(settings.listen, self._certificates.credentials)
            else:
                bound = self._grpc.add_insecure_port(settings.listen)
        except RuntimeError as error:
            raise FailedPrecondition(
                f"cannot listen on {settings.listen}: the port is in use, or the address is not this machine's",
                name="listen",
                reason=Reason.CANNOT_LISTEN,
            ) from error
        return f"{host}:{bound or port}"


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


def _prepare_image(image: ImageInput, recipe: Recipe) -> PreparedImage:
    from fc7_service.features.preprocess import preprocess_with_crop  # brings Pillow

    return PreparedImage(*preprocess_with_crop(image, recipe))


def _services() -> tuple[str, ...]:
    return tuple(f"fc7.v1.{name}Service" for name in ("Feature", "Model", "Collection", "Head", "Explain", "Admin"))
